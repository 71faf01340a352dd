"""Limits on requests before they are parsed: parts are counted, and large bodies are parsed one at a time."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from fastapi import HTTPException, Request, Response
from fastapi.routing import APIRoute

from gradejax.web.languages import Text

USUAL_BYTES = 2**15
"""A drawing made within twenty seconds is smaller, and never waits for a larger one."""
MAX_PARAMETERS = 64

_MAX_WAITING = 64  # bodies of up to a megabyte each


class Turns:
    """Lets one large body be parsed at a time, so that small ones are answered in between."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._waiting = 0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Waits for a turn. Raises HTTPException if too many wait."""
        if self._waiting == _MAX_WAITING:
            raise HTTPException(503, Text("server.others-send-large"), {"Retry-After": "5"})
        self._waiting += 1
        try:
            async with self._lock:
                yield
        finally:
            self._waiting -= 1


def bounded(max_parts: int) -> type[APIRoute]:
    """Returns a class of routes whose requests are checked before they are parsed.

    The routes of one class take turns at parsing large bodies; `app.state.turns` holds the `Turns` of each class.

    Args:
        max_parts: roughly the lists, objects and entries that a body may have. Rejecting a megabyte of invalid ones
            would take a second.
    """

    class BoundedRoute(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # pyright: ignore[reportIncompatibleMethodOverride]
            handle = super().get_route_handler()

            async def check_first(request: Request) -> Response:
                if request.scope["query_string"].count(b"&") >= MAX_PARAMETERS:
                    raise HTTPException(422, f"There are more than {MAX_PARAMETERS} parameters.")
                if self.body_field is None:  # a body that the route ignores needs no turn
                    return await handle(request)
                body = await request.body()
                if sum(map(body.count, (b"{", b"[", b","))) > max_parts:
                    raise HTTPException(413, f"The body has more than {max_parts:,} parts.")
                if len(body) <= USUAL_BYTES:
                    return await handle(request)
                async with request.app.state.turns[BoundedRoute].turn():
                    return await handle(request)

            return check_first

    return BoundedRoute


async def no_repeats(request: Request) -> None:
    """Rejects a repeated parameter, of which FastAPI would take the last; only `tag` may be repeated."""
    names = [name for name, _ in request.query_params.multi_items() if name != "tag"]
    if len(set(names)) < len(names):
        raise HTTPException(422, "A parameter is given twice; only tags may be repeated.")
