"""My drawings: those that one device sent, for whoever has that device's secret, who may erase them."""

import base64
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException
from pydantic import Field

from gradejax.drawings import Drawing
from gradejax.stores import Query, Store
from gradejax.web.erasing import EraserDep
from gradejax.web.gone import GoneDep
from gradejax.web.languages import Text
from gradejax.web.limits import bounded, no_repeats
from gradejax.web.messages import MAX_SELECTED, Message, Name
from gradejax.web.pictures import MAX_DRAWN_BYTES
from gradejax.web.state import StoreDep, StoreWorkersDep
from gradejax.web.writers import WriterKey, writer_of

_MAX_PAGE = 60  # drawings
_MAX_PAGE_BYTES = 2**18  # of PNG; about forty drawings

router = APIRouter(prefix="/mine", dependencies=[Depends(no_repeats)], route_class=bounded(2 * MAX_SELECTED))


class OwnPage(Message):
    writer_key: Annotated[WriterKey, Field(repr=False)]
    after: Name | None = Field(None, description="the last id of the previous page")
    limit: Annotated[int, Field(ge=1, le=_MAX_PAGE)] = 30


class Own(Message):
    """One of the own drawings."""

    id: str
    label: str
    date: datetime
    aside: bool = Field(description="whether it is excluded")
    data: str | None = Field(description="the PNG as base64; null if it is larger than any that the pages send")


class OwnShelf(Message):
    """A page of the own drawings, newest first; shorter than requested if it would be too many bytes."""

    drawings: list[Own]
    next: str | None = Field(description="`after` for the next page; null on the last")
    total: int | None = Field(description="how many there are; on the first page only")


class OwnSelection(Message):
    writer_key: Annotated[WriterKey, Field(repr=False)]
    ids: Annotated[list[Name], Field(min_length=1, max_length=MAX_SELECTED)]


class ErasedOwn(Message):
    erased: int


# POST, although nothing changes: the secret must not be in an address.
@router.post("")
async def look(page: OwnPage, store: StoreDep, workers: StoreWorkersDep) -> OwnShelf:
    """Returns a page of the drawings that were sent with the key, also of excluded ones, with their pictures."""
    return await workers.run(_page, store, page)


@router.post("/erase")
async def erase_own(
    selection: OwnSelection, store: StoreDep, workers: StoreWorkersDep, eraser: EraserDep, gone: GoneDep
) -> ErasedOwn:
    """Erases drawings that were sent with the key for good, also those that have yet to arrive; others stay."""
    writer = writer_of(selection.writer_key)
    gone.mark(selection.ids, writer)
    own = await workers.run(_own_ids, store, writer, selection.ids)
    return ErasedOwn(erased=(await eraser.erase(own)).drawings if own else 0)


def _page(store: Store, page: OwnPage) -> OwnShelf:
    query = Query(writer=writer_of(page.writer_key), deleted=None)
    if page.after is not None and not _own_ids(store, writer_of(page.writer_key), [page.after]):
        raise HTTPException(404, Text("server.no-such-drawing"))
    shown: list[Own] = []
    size, is_last = 0, True
    for drawing in store.find(query, newest_first=True, after=page.after, limit=page.limit + 1, strokes=False):
        size += len(drawing.png)
        if shown and (len(shown) == page.limit or size > _MAX_PAGE_BYTES):
            is_last = False
            break
        shown.append(_own(drawing))
    total = store.count(query) if page.after is None else None
    return OwnShelf(drawings=shown, next=None if is_last else shown[-1].id, total=total)


def _own(drawing: Drawing) -> Own:
    data = base64.b64encode(drawing.png).decode() if len(drawing.png) <= MAX_DRAWN_BYTES else None
    aside = drawing.deleted is not None
    return Own(id=drawing.id, label=drawing.label, date=drawing.date, aside=aside, data=data)


def _own_ids(store: Store, writer: str, ids: Sequence[str]) -> list[str]:
    return [id for id, drawing in store.get_many(ids, pictures=False).items() if drawing.writer == writer]
