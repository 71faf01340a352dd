"""Shutting down, even if a store does not answer: nothing is waited for, and whoever still waits gets an answer."""

import asyncio
import logging
import socket
from collections.abc import Callable

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gradejax.web.languages import Text
from gradejax.web.refusals import refusal

GRACE_SECONDS = 3
"""For requests in progress when the shutdown begins."""
LAST_ANSWERS_SECONDS = 0.2
"""For answering the requests that are cancelled after that."""


class ShutdownAnswers:
    """ASGI middleware that answers 503 to a request cancelled by the shutdown; an answer already begun is cut off."""

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
            await refusal(scope, 503, Text("server.shutting-down"), {"Retry-After": "5"})(scope, receive, send)


class Server(uvicorn.Server):
    """Does not log the requests that it cancels: their clients are told."""

    def __init__(self, config: uvicorn.Config, end_streams: Callable[[], None]):
        """`end_streams` ends the answers that would go on for ever: requests in progress are waited for."""
        super().__init__(config)
        self._end_streams = end_streams

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._end_streams()
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        await super().shutdown(sockets)
