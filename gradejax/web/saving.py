"""Saving a drawing: it is checked, decoded, and written together with those that arrive at the same time."""

import asyncio
import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, HTTPException, Request

from gradejax.drawings import Drawing, from_document
from gradejax.errors import StoreAway
from gradejax.ink import decode_ink, stripped_png
from gradejax.stores import Store
from gradejax.web.batcher import Batcher
from gradejax.web.collection import CollectionDep, device_of
from gradejax.web.events import EventsDep
from gradejax.web.limits import bounded
from gradejax.web.messages import MAX_POINTS, NewDrawing, Saved
from gradejax.web.pictures import picture_from, size_of
from gradejax.web.state import from_state
from gradejax.web.taking_back import ReceiptsDep
from gradejax.web.workers import Workers

log = logging.getLogger(__name__)

PATIENCE = 10.0
"""Seconds that a save waits for the store; after that the page keeps the drawing and sends it again."""

_MAX_BATCH = 128
_MAX_PARTS = 6 * MAX_POINTS  # a point has five
_USUAL_PIXELS = 2**18
_WRITTEN = datetime(2026, 11, 25, tzinfo=UTC)
"""When this was written: a clock that shows an earlier time is certainly wrong."""
_CERTAINLY_WRONG = timedelta(days=3650)
"""A date this far ahead is wrong. A smaller lead is kept as the client sent it, for the server's own clock may be years
behind, for example on a machine whose clock stops without power."""
_SUSPICIOUS = timedelta(days=1)


class Saver:
    """Examines drawings and adds them to the store, many in one transaction."""

    def __init__(self, store: Store):
        self._store = store
        self._save = Batcher(self._save_all, _MAX_BATCH)
        # Large pictures wait for one another, not ahead of those that the pages send.
        self._decoders, self._slow_decoder = Workers(2), Workers(1)
        self._dates = _Dates()

    async def save(self, message: NewDrawing) -> None:
        """Returns when the drawing is in the store.

        Raises:
            BadDrawing: if it is not a drawing.
            HTTPException: 409 if another drawing has its id.
            StoreError: if the store cannot be written, or does not answer for PATIENCE seconds.
        """
        png = picture_from(message.data)
        width, height = size_of(png)
        decoders = self._decoders if width * height <= _USUAL_PIXELS else self._slow_decoder
        try:
            async with asyncio.timeout(PATIENCE):
                await self._save(await decoders.run(self._examine, message, png))
        except TimeoutError:
            raise StoreAway(f"{self._store.uri} has not taken a drawing for {PATIENCE:.0f} s") from None

    def _examine(self, message: NewDrawing, png: bytes) -> Drawing:
        decode_ink(png)
        document = message.model_dump(exclude={"id", "date", "data"})
        date = self._dates.plausible(message.date)
        return from_document({"_id": message.id, "date": date, "data": png, **document})

    def _save_all(self, drawings: Sequence[Drawing]) -> list[Exception | None]:
        if self._store.add(drawings) == len(drawings):
            return [None] * len(drawings)
        kept = self._store.get_many([drawing.id for drawing in drawings])
        return [
            None if drawing.id in kept and _is_same(drawing, kept[drawing.id]) else _id_is_taken()
            for drawing in drawings
        ]


router = APIRouter(route_class=bounded(_MAX_PARTS))


@router.post("/drawings", status_code=201)
async def save(
    message: NewDrawing,
    request: Request,
    saver: Annotated[Saver, from_state("saver")],
    receipts: ReceiptsDep,
    collection: CollectionDep,
    events: EventsDep,
) -> Saved:
    """Answers once the store has the drawing. The same one may be sent again; 409 if another drawing has its id."""
    collection.require_open()
    await saver.save(message)
    collection.note(device_of(request.scope))
    events.saved(message.id, message.label)
    return Saved(id=message.id, receipt=receipts.issue(message.id))


def _is_same(sent: Drawing, kept: Drawing) -> bool:
    """Whether `kept` is `sent`, whose first answer the page lost; it may have been relabelled since."""
    labels = {kept.label, *(entry["label"] for entry in kept.history)}
    same_source = (sent.tags, sent.writer) == (kept.tags, kept.writer)
    return same_source and sent.label in labels and sent.png == stripped_png(kept.png)


def _id_is_taken() -> HTTPException:
    return HTTPException(409, "Another drawing has this id: send it with a new one.")


class _Dates:
    """Replaces dates that cannot be right; the log is warned once."""

    def __init__(self) -> None:
        self._warned = False

    def plausible(self, date: datetime) -> datetime:
        """Returns `date`, or the latest date possible if it is certainly in the future."""
        now = datetime.now(UTC)
        if now < _WRITTEN:
            self._warn("this machine's clock is wrong: it says %s; drawings keep the dates that browsers send", now)
        elif date > now + _SUSPICIOUS:
            self._warn("a drawing arrived with the date %s, ahead of this machine's clock, %s", date, now)
        latest = max(now, _WRITTEN)
        return date if date <= latest + _CERTAINLY_WRONG else latest

    def _warn(self, message: str, *args: datetime) -> None:
        if not self._warned:
            log.warning(message, *args)
        self._warned = True
