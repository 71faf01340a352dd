"""Room for what is on its way to clients: an answer that nobody reads stays in memory until its minute is over."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

USUAL_BYTES = 2**18
"""A drawing's PNG, or some lines of NDJSON, are smaller and wait for no room."""
MOST_BYTES = 2**26
"""Of all that is larger, in the whole process."""


class Room:
    """MOST_BYTES for pieces of answers that are larger than usual and not yet read."""

    def __init__(self) -> None:
        self._left = MOST_BYTES
        self._freed = asyncio.Event()

    @asynccontextmanager
    async def holding(self, make: Callable[[], Awaitable[bytes]]) -> AsyncIterator[bytes]:
        """What `make` makes, in the room that it takes while this is open.

        Where there is no room it is thrown away, and made again later: whoever waits holds nothing.
        """
        while True:
            piece = await make()
            size = min(len(piece), MOST_BYTES) if len(piece) > USUAL_BYTES else 0
            if size <= self._left:
                break
            del piece
            self._freed.clear()
            await self._freed.wait()
        self._left -= size
        try:
            yield piece
        finally:
            self._left += size
            self._freed.set()
