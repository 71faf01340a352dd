"""Memory for answers on their way: one that its client does not read stays in memory until it times out."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

USUAL_BYTES = 2**18
"""Pieces up to this size, such as a drawing's PNG or some lines of NDJSON, are not counted."""
MAX_BYTES = 2**26
"""For all larger pieces in the process together."""


class SendBudget:
    """MAX_BYTES for the large pieces of answers that are not read yet."""

    def __init__(self) -> None:
        self._left = MAX_BYTES
        self._freed = asyncio.Event()

    @asynccontextmanager
    async def holding(self, make: Callable[[], Awaitable[bytes]]) -> AsyncIterator[bytes]:
        """Makes a piece, and counts its bytes until the context is left.

        Args:
            make: makes the piece. If there is no room for it, the piece is dropped and made again later: whoever
                waits holds no memory.

        Yields:
            The piece.
        """
        while True:
            piece = await make()
            size = min(len(piece), MAX_BYTES) if len(piece) > USUAL_BYTES else 0
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
