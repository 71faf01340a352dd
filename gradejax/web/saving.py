"""How a drawing comes into the store: checked, decoded, and written together with those that came at the same time."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from fastapi import APIRouter, HTTPException

from gradejax.drawings import Drawing, from_document
from gradejax.errors import StoreAway
from gradejax.ink import decode_ink, stripped_png
from gradejax.stores import Store
from gradejax.web.batcher import Batcher
from gradejax.web.bodies import bounded
from gradejax.web.messages import MAX_POINTS, NewDrawing, Saved
from gradejax.web.pictures import picture_from, size_of

logger = logging.getLogger(__name__)

PATIENCE = 10.0
"""Seconds that a save waits for the store; then the page keeps the drawing, and sends it again."""

_MOST_AT_ONCE = 128
_PARTS = 6 * MAX_POINTS  # of a point there are five
_USUAL_PIXELS = 2**18
_WRITTEN = datetime(2026, 11, 25, tzinfo=UTC)
"""When this was written: a clock that is behind is wrong beyond doubt."""
_BEYOND_DOUBT = timedelta(days=3650)
"""A date that is so far ahead is wrong. A server's clock may itself be years behind, as where nothing keeps it running
while the power is off; so what is less ahead stays as the client said."""
_ODD = timedelta(days=1)


def routes(store: Store) -> APIRouter:
    """`POST /drawings`."""
    router = APIRouter(route_class=bounded(_PARTS))
    decoders, slow_decoder = ThreadPoolExecutor(2), ThreadPoolExecutor(1)
    believed = _doubting()

    def save_all(drawings: Sequence[Drawing]) -> list[Exception | None]:
        if store.add(drawings) == len(drawings):
            return [None] * len(drawings)
        kept = store.get_many([drawing.id for drawing in drawings])
        return [
            None if drawing.id in kept and _is_same(drawing, kept[drawing.id]) else _taken() for drawing in drawings
        ]

    save_one = Batcher(save_all, _MOST_AT_ONCE)

    def examined(message: NewDrawing, png: bytes) -> Drawing:
        decode_ink(png)
        document = message.model_dump(exclude={"id", "date", "data"})
        return from_document({"_id": message.id, "date": believed(message.date), "data": png, **document})

    @router.post("/drawings", status_code=201)
    async def save(message: NewDrawing) -> Saved:
        """Answers once the store has it. The same drawing may come again; 409 where its id is another's."""
        png = picture_from(message.data)
        width, height = size_of(png)
        # What takes long to decode waits for its like, not before what a page sends.
        threads = decoders if width * height <= _USUAL_PIXELS else slow_decoder
        try:
            async with asyncio.timeout(PATIENCE):
                await save_one(await asyncio.get_running_loop().run_in_executor(threads, examined, message, png))
        except TimeoutError:
            raise StoreAway(f"{store.uri} has not taken a drawing for {PATIENCE:.0f} s") from None
        return Saved(id=message.id)

    return router


def _is_same(sent: Drawing, kept: Drawing) -> bool:
    """Whether `kept` is what became of `sent`, of which a page has lost the answer; it may be relabelled by now."""
    labels = {kept.label, *(entry["label"] for entry in kept.history)}
    same_hand = (sent.tags, sent.writer) == (kept.tags, kept.writer)
    return same_hand and sent.label in labels and sent.png == stripped_png(kept.png)


def _taken() -> HTTPException:
    return HTTPException(409, "Another drawing has this id: send it with a new one.")


def _doubting() -> Callable[[datetime], datetime]:
    """What a drawing's date becomes: itself, unless it is in the future beyond doubt. The log is warned once."""
    warned = False

    def warn(*told: object) -> None:
        nonlocal warned
        if not warned:
            logger.warning(*told)
        warned = True

    def believed(date: datetime) -> datetime:
        now = datetime.now(UTC)
        if now < _WRITTEN:
            warn("this machine's clock is wrong, it says %s: set it; drawings keep the dates of those who draw", now)
        elif date > now + _ODD:
            warn("a drawing came with the date %s, which is ahead of this machine's clock, %s", date, now)
        latest = max(now, _WRITTEN)
        return date if date <= latest + _BEYOND_DOUBT else latest

    return believed
