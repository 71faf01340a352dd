"""How the server ends, also where a store does not answer: whoever still waits is told so, and nobody is waited for."""

import asyncio
import logging
import socket

import uvicorn
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

GRACE_SECONDS = 3
"""For what is being answered when the server is told to end."""
LAST_WORDS_SECONDS = 0.2
"""For telling whoever still waits then."""


class Leaving:
    """Answers 503 for a request that the end of the server cancels. An answer that has begun is cut off."""

    def __init__(self, app: ASGIApp):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except asyncio.CancelledError:
            if begun or scope["type"] != "http":
                raise
            refusal = JSONResponse({"detail": "The server is ending."}, 503, {"Retry-After": "5"})
            await refusal(scope, receive, send)


class Server(uvicorn.Server):
    """Says nothing of the requests that it does not wait for: their clients know."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        await super().shutdown(sockets)
