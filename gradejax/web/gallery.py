"""The gallery: drawings a page at a time, and their pictures."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from itertools import accumulate, islice, takewhile
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Response
from fastapi import Query as InQuery
from fastapi.responses import StreamingResponse

from gradejax.drawings import Drawing
from gradejax.stores import Query, Store
from gradejax.web.filters import ListPage, Page
from gradejax.web.languages import Text
from gradejax.web.limits import bounded, no_repeats
from gradejax.web.messages import Listed, Listing, Name, Shelf, Shown
from gradejax.web.ranking import Rankings
from gradejax.web.roles import TEACHER_ONLY
from gradejax.web.sending import USUAL_BYTES, SendBudget
from gradejax.web.state import LanguageDep, StoreDep, StoreWorkersDep, from_state

_MAX_PAGE_BYTES = 2**18
_MAX_EARLIER_LABELS = 20
_MAX_LISTED = 2000


router = APIRouter(dependencies=[TEACHER_ONLY, Depends(no_repeats)], route_class=bounded(0))


@router.get("/drawings")
async def look(
    page: Annotated[Page, InQuery()],
    store: StoreDep,
    workers: StoreWorkersDep,
    rankings: Annotated[Rankings, from_state("rankings")],
    language: LanguageDep,
) -> Shelf:
    """Returns a page of drawings: newest first or, with a model, those first whose label is doubted most."""
    query = page.query(store.scale)
    if page.is_ranked():
        return await workers.run(_page_by_disagreement, store, rankings, query, page, language)
    looking = workers.run(_newest, store, query, page)
    if page.after is not None:
        return _fitting(await looking, page, None)
    # At the same time: FerretDB reads all drawings for each.
    shown, total = await asyncio.gather(looking, workers.run(store.count, query))
    return _fitting(shown, page, total)


@router.get("/drawings/ids")
async def list_ids(
    page: Annotated[ListPage, InQuery()],
    store: StoreDep,
    workers: StoreWorkersDep,
    rankings: Annotated[Rankings, from_state("rankings")],
) -> Listing:
    """Returns the ids of all drawings that match, 2,000 at a time: to change them all."""
    return await workers.run(_list, store, rankings, page)


@router.get("/picture", response_class=Response, responses={200: {"content": {"image/png": {}}, "description": "PNG"}})
async def picture(
    id: Name,
    store: StoreDep,
    workers: StoreWorkersDep,
    budget: Annotated[SendBudget, from_state("send_budget")],
) -> Response:
    """Returns a drawing's PNG. Browsers must not cache it: without the access code it cannot be seen."""
    png = await workers.run(_png, store, id)
    if len(png) <= USUAL_BYTES:
        return Response(png, media_type="image/png")
    length = {"Content-Length": str(len(png))}

    async def pieces() -> AsyncIterator[bytes]:
        async with budget.holding(lambda: workers.run(_png, store, id)) as png:
            yield png
            yield b""  # uvicorn asks for this once the client has read nearly all of the picture

    return StreamingResponse(pieces(), media_type="image/png", headers=length)


def _png(store: Store, id: str) -> bytes:
    drawing = store.get(id)
    if drawing is None:
        raise HTTPException(404, Text("server.no-such-drawing"))
    return drawing.png


def _check_after(store: Store, page: Page | ListPage) -> None:
    if page.after is not None and store.get(page.after) is None:
        raise HTTPException(404, Text("server.no-such-drawing"))


def _newest(store: Store, query: Query, page: Page) -> list[Shown]:
    _check_after(store, page)
    found = store.find(query, newest_first=True, after=page.after, limit=page.limit, pictures=False)
    return [_shown(drawing) for drawing in found]


def _page_by_disagreement(store: Store, rankings: Rankings, query: Query, page: Page, language: str) -> Shelf:
    _check_after(store, page)
    ranking = rankings.ranking(query, refresh=page.after is None)
    if not ranking.finished:
        return Shelf(drawings=[], next=None, total=ranking.total, done=ranking.done)
    ranked = rankings.page(ranking, page.after, page.limit, page.guess)
    shown = [_shown(one.drawing, one.guess, one.is_grade, one.confidence) for one in ranked]
    shelf = _fitting(shown, page, ranking.count(page.guess) if page.after is None else None)
    assert ranking.ranked_by
    by = {"ranked_by": ranking.ranked_by.to(language), "ranked_by_model": ranking.ranked_by_model}
    return shelf.model_copy(update=by)


def _list(store: Store, rankings: Rankings, page: ListPage) -> Listing:
    query = page.query(store.scale)
    _check_after(store, page)
    if page.is_ranked():
        ranking = rankings.ranking(query, refresh=False)
        if not ranking.finished:
            raise HTTPException(409, Text("server.still-checking"), {"Retry-After": "1"})
        ids = list(islice(ranking.ids(page.guess, page.after), _MAX_LISTED))
        listed = [Listed(id=id, label=ranking.label_of(id), guess=ranking.guess_of(id)) for id in ids]
    else:
        drawings = store.find(query, newest_first=True, after=page.after, limit=_MAX_LISTED, pictures=False)
        listed = [Listed(id=drawing.id, label=drawing.label, guess=None) for drawing in drawings]
    return Listing(drawings=listed, next=listed[-1].id if len(listed) == _MAX_LISTED else None)


def _fitting(shown: Sequence[Shown], page: Page, total: int | None) -> Shelf:
    """Puts as many of `shown` on a page as fit; the next page begins after them, and the first one says the total."""
    sizes = accumulate(len(one.model_dump_json()) for one in shown)
    fitting = max(1, sum(1 for _ in takewhile(lambda size: size <= _MAX_PAGE_BYTES, sizes)))
    is_last = len(shown) < page.limit and len(shown) <= fitting
    return Shelf(
        drawings=list(shown[:fitting]),
        next=None if is_last else shown[:fitting][-1].id,
        total=total,
        done=None,
    )


def _shown(drawing: Drawing, guess: str | None = None, is_grade: bool = True, confidence: float | None = None) -> Shown:
    return Shown(
        id=drawing.id,
        tags=list(drawing.tags),
        label=drawing.label,
        date=drawing.date,
        writer=drawing.writer,
        earlier=[entry["label"] for entry in drawing.history[-_MAX_EARLIER_LABELS:]],
        guess=guess,
        is_grade=is_grade,
        confidence=confidence,
    )
