"""What is looked at before a request is parsed: its parts are counted, and large bodies are taken one by one."""

import asyncio
from collections.abc import Awaitable, Callable

from fastapi import HTTPException, Request, Response
from fastapi.routing import APIRoute

USUAL_BYTES = 2**15
"""A drawing from a page is smaller, if it was drawn within twenty seconds; it waits for no larger one."""
MOST_PARAMETERS = 64

_MOST_WAITING = 64  # of a megabyte each


def bounded(most_parts: int) -> type[APIRoute]:
    """A class of routes that parse one large body at a time: so however many come, small ones find time between.

    Args:
        most_parts: lists, objects and their entries in a body, more or less. Each of them that is wrong costs time;
            a megabyte of them would take a second to refuse.
    """
    one_at_a_time = asyncio.Lock()
    waiting = 0

    class Bounded(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:
            handle = super().get_route_handler()

            async def look_first(request: Request) -> Response:
                nonlocal waiting
                if request.scope["query_string"].count(b"&") >= MOST_PARAMETERS:
                    raise HTTPException(422, f"There are more than {MOST_PARAMETERS} parameters.")
                if self.body_field is None:  # nobody waits for what nobody wants
                    return await handle(request)
                body = await request.body()
                if sum(map(body.count, (b"{", b"[", b","))) > most_parts:
                    raise HTTPException(413, f"The body has more than {most_parts:,} parts.")
                if len(body) <= USUAL_BYTES:
                    return await handle(request)
                if waiting == _MOST_WAITING:
                    raise HTTPException(503, "Others are sending large drawings.", {"Retry-After": "5"})
                waiting += 1
                try:
                    async with one_at_a_time:
                        return await handle(request)
                finally:
                    waiting -= 1

            return look_first

    return Bounded
