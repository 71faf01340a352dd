"""Saving a drawing: it is checked, decoded, and written together with those that arrive at the same time."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated, NamedTuple

from fastapi import APIRouter, HTTPException, Request

from gradejax.dataset import QUARANTINE_TAG
from gradejax.drawings import Drawing, from_document
from gradejax.errors import BadDrawing, StoreAway
from gradejax.ink import decode_ink
from gradejax.png import stripped_png
from gradejax.stores import Store
from gradejax.web.batcher import Batcher
from gradejax.web.collection import CollectionDep, device_of
from gradejax.web.dates import Dates
from gradejax.web.events import EventsDep
from gradejax.web.gone import Gone
from gradejax.web.languages import Text
from gradejax.web.limits import bounded
from gradejax.web.messages import MAX_POINTS, NewDrawing, Saved
from gradejax.web.pictures import picture_from, size_of
from gradejax.web.quarantine import Quarantine, Unjudged, examined, is_in_quarantine
from gradejax.web.roles import ROLE
from gradejax.web.settings import SettingsDep
from gradejax.web.state import from_state
from gradejax.web.tags import tags_now, why_refused
from gradejax.web.taking_back import ReceiptsDep
from gradejax.web.workers import Workers
from gradejax.web.writers import writer_of

log = logging.getLogger(__name__)

PATIENCE = 10.0
"""Seconds that a save waits for the store; after that the page keeps the drawing and sends it again."""

_MAX_BATCH = 128
_MAX_PARTS = 6 * MAX_POINTS  # a point has five
_USUAL_PIXELS = 2**18


class _Examined(NamedTuple):
    drawing: Drawing
    unjudged: Unjudged | None


class _Saved(NamedTuple):
    in_quarantine: bool
    unjudged: Unjudged | None = None
    """What the model must judge; None for a drawing that the store had already, or that needs no judgement."""


class Saver:
    """Examines drawings and adds them to the store, many in one transaction."""

    def __init__(self, store: Store, workers: Workers, quarantine: Quarantine, gone: Gone, dates: Dates):
        """Creates the saver.

        Args:
            store: takes the drawings.
            workers: read it.
            quarantine: takes those that look like no grade.
            gone: drawings that were erased while they were on their way.
            dates: corrects the drawings' dates.
        """
        self._store, self._readers = store, workers
        self._quarantine, self._gone = quarantine, gone
        self._save = Batcher(self._save_all, _MAX_BATCH)
        # Large pictures wait for one another, not ahead of those that the pages send.
        self._slow_decoder = Workers(1)
        self._dates = dates

    async def save(self, message: NewDrawing) -> bool:
        """Returns when the drawing is in the store: whether it is in quarantine.

        Raises:
            BadDrawing: if it is not a drawing.
            HTTPException: 409 if another drawing has its id; 410 if it was erased meanwhile.
            StoreError: if the store cannot be written, or does not answer for PATIENCE seconds.
        """
        self._quarantine.note_arrival()
        try:
            async with asyncio.timeout(PATIENCE):
                saved = await self._save(await self._to_examine(message))
        except TimeoutError:
            raise StoreAway(f"{self._store.uri} has not taken a drawing for {PATIENCE:.0f} s") from None
        if saved.unjudged:
            return await self._quarantine.judge(saved.unjudged)
        return saved.in_quarantine or await self._quarantine.outcome(message.id)

    async def has(self, message: NewDrawing) -> bool:
        """Whether the drawing is in the store already, and is only sent again.

        Raises:
            BadDrawing: if it is not a drawing.
            StoreError: if the store cannot be read.
        """
        examine = await self._to_examine(message)
        drawing, _ = await self._readers.run(examine)
        kept = await self._readers.run(self._store.get_many, [drawing.id])
        return drawing.id in kept and _is_same(drawing, kept[drawing.id])

    async def _to_examine(self, message: NewDrawing) -> Callable[[], _Examined]:
        """Returns the function that examines a drawing, in a fraction of a millisecond: large ones have been."""
        png = picture_from(message.data)
        width, height = size_of(png)
        examine = partial(self._examine, message, png)
        if width * height <= _USUAL_PIXELS:
            return examine
        examined = await self._slow_decoder.run(examine)
        return lambda: examined

    def _examine(self, message: NewDrawing, png: bytes) -> _Examined:
        ink = decode_ink(png)
        fields = message.model_dump(exclude={"id", "date", "data", "writer", "writer_key"})
        date = self._dates.corrected(message.date)
        writer = message.writer
        if message.writer_key is not None:
            if writer is not None:
                raise BadDrawing("a writer and a writer_key: send one of them")
            writer = writer_of(message.writer_key)
        document = {"_id": message.id, "date": date, "data": png, "writer": writer, **fields}
        drawing = from_document(document, scale=self._store.scale)
        drawing = examined(drawing, ink)
        return _Examined(drawing, self._quarantine.prepare(drawing, ink))

    def _save_all(self, examinations: Sequence[Callable[[], _Examined]]) -> list[_Saved | Exception]:
        examined = [_result_of(examine) for examine in examinations]
        good = [one for one in examined if isinstance(one, _Examined)]
        results = iter(self._add(good) if good else [])
        return [next(results) if isinstance(one, _Examined) else one for one in examined]

    def _add(self, examined: Sequence[_Examined]) -> list[_Saved | Exception]:
        drawings = [drawing for drawing, _ in examined]
        ids = [drawing.id for drawing in drawings]
        # What the teacher has decided about one that is sent again must stand.
        earlier = self._store.get_many(ids, pictures=False)
        are_all_new = self._store.add(drawings) == len(drawings)
        # Looked for after adding them: whoever erases a drawing marks it first, and so one of both meets it.
        gone = [drawing.id for drawing in drawings if self._gone.has(drawing.id, drawing.writer)]
        if gone:
            self._store.erase(gone)
        elif are_all_new:
            return [_Saved(is_in_quarantine(drawing), unjudged) for drawing, unjudged in examined]
        kept = self._store.get_many(ids)
        return [
            _was_erased()
            if drawing.id in gone
            else _Saved(is_in_quarantine(kept[drawing.id]), None if drawing.id in earlier else unjudged)
            if drawing.id in kept and _is_same(drawing, kept[drawing.id])
            else _id_is_taken()
            for drawing, unjudged in examined
        ]


def _result_of(examine: Callable[[], _Examined]) -> _Examined | Exception:
    try:
        return examine()
    except Exception as error:  # whatever is wrong with one drawing, the others are saved
        return error


router = APIRouter(route_class=bounded(_MAX_PARTS))


@router.post("/drawings", status_code=201)
async def save(
    message: NewDrawing,
    request: Request,
    saver: Annotated[Saver, from_state("saver")],
    receipts: ReceiptsDep,
    collection: CollectionDep,
    events: EventsDep,
    settings: SettingsDep,
) -> Saved:
    """Answers once the store has the drawing. The same one may be sent again; 409 if another drawing has its id.

    410 if it was erased while it was on its way.
    """
    collection.require_open()
    tags = tags_now(message.tags, settings.now)
    message = message.model_copy(update={"tags": tags})
    refusal = why_refused(tags, settings.now, request.scope[ROLE])
    # A page that lost the answer sends the drawing again, perhaps for the receipt: that must not depend on its tags.
    if refusal and not await saver.has(message):
        raise HTTPException(422, refusal)
    in_quarantine = await saver.save(message)
    collection.note(device_of(request.scope))
    if not in_quarantine:
        events.saved(message.id, message.label)
    return Saved(id=message.id, receipt=receipts.issue(message.id), tags=tags, in_quarantine=in_quarantine)


def _is_same(sent: Drawing, kept: Drawing) -> bool:
    """Whether `kept` is `sent`, whose first answer the page lost; it may have been relabelled since."""
    labels = {kept.label, *(entry["label"] for entry in kept.history)}
    same_source = (_given_tags(sent), sent.writer) == (_given_tags(kept), kept.writer)
    return same_source and sent.label in labels and sent.png == stripped_png(kept.png)


def _given_tags(drawing: Drawing) -> set[str]:
    return {tag for tag in drawing.tags if tag != QUARANTINE_TAG}


def _id_is_taken() -> HTTPException:
    return HTTPException(409, Text("server.id-taken"))


def _was_erased() -> HTTPException:
    return HTTPException(410, Text("server.deleted"))
