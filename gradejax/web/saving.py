"""How a drawing comes into the store: checked, and written together with those that came at the same time."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

from fastapi import APIRouter

from gradejax.drawings import Drawing, from_document
from gradejax.errors import BadDrawing, StoreAway
from gradejax.stores import Store
from gradejax.web.batcher import Batcher
from gradejax.web.messages import NewDrawing, Saved
from gradejax.web.pictures import picture_from

PATIENCE = 10.0
"""Seconds that a save waits for the store; then the page keeps the drawing, and sends it again."""

_MOST_AT_ONCE = 128


def routes(store: Store) -> APIRouter:
    """`POST /drawings`."""
    router = APIRouter()

    def save_all(messages: Sequence[NewDrawing]) -> list[str | Exception]:
        results: list[str | Exception] = []
        drawings = []
        for message in messages:
            try:
                drawings.append(_drawing(message))
                results.append(message.id)
            except BadDrawing as error:
                results.append(error)
        store.add(drawings)
        return results

    save_one = Batcher(save_all, _MOST_AT_ONCE)

    @router.post("/drawings", status_code=201)
    async def save(drawing: NewDrawing) -> Saved:
        """Answers once the store has it; an id that it has already is taken as done."""
        try:
            return Saved(id=await asyncio.wait_for(save_one(drawing), PATIENCE))
        except TimeoutError:
            raise StoreAway(f"{store.uri} has not taken a drawing for {PATIENCE:.0f} s") from None

    return router


def _drawing(message: NewDrawing) -> Drawing:
    """The PNG is checked to its last checksum, but not unpacked: that costs more than all the rest together, and the
    checksums leave only pictures that somebody made wrong with care."""
    picture_from(message.data)
    document = message.model_dump(exclude={"id", "date"})
    # A telephone whose clock is ahead would stay the newest for ever.
    date = min(message.date, datetime.now(UTC))
    return from_document({"_id": message.id, "date": date, **document})
