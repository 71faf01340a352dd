"""Server-sent events: what a class does, live, on the teacher's pages.

The events of `GET /api/events`: `counts` (see `gradejax.web.messages.Live`), at once and when they change; `saved`, the
id and label of a new drawing; `edited`, without data, when drawings have been relabelled, excluded or restored here.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from gradejax.errors import StoreError
from gradejax.web.collection import Collection, device_of
from gradejax.web.languages import Text
from gradejax.web.limits import bounded, no_repeats
from gradejax.web.messages import Live, SavedNow
from gradejax.web.roles import TEACHER_ONLY
from gradejax.web.state import from_state
from gradejax.web.totals import Totals

MAX_STREAMS = 32
STREAMS_PER_DEVICE = 8
"""A browser opens six connections to one server: more streams than that belong to pages that are gone."""
STREAM_SECONDS = 3600.0
"""Then the stream ends, and the browser asks for another one if its session still lasts."""
KEEP_ALIVE_SECONDS = 15.0
SAVED_PER_SECOND = 10
"""Of the drawings beyond that only the counts tell."""

_SECONDS_BETWEEN_COUNTS = 0.5
_MAX_WAITING = 2 * SAVED_PER_SECOND
_RETRY = b"retry: 1000\n\n"
_KEEP_ALIVE = b":\n\n"
_EDITED = b"event: edited\ndata: {}\n\n"


class Stream:
    """What one page has yet to be sent: the latest counts and a few events, however slowly it reads."""

    def __init__(self, device: str):
        self.device = device
        self._events: deque[bytes] = deque(maxlen=_MAX_WAITING)
        self._counts = b""
        self._counts_are_new = False
        self._is_open = True
        self._news = asyncio.Event()

    def show(self, counts: bytes) -> None:
        """Sends the counts if they are others than before."""
        if counts != self._counts:
            self._counts, self._counts_are_new = counts, True
            self._news.set()

    def tell(self, event: bytes) -> None:
        """Sends an event; one that has waited for long is dropped for it."""
        self._events.append(event)
        self._news.set()

    def end(self) -> None:
        """Ends the stream at once, unless the page has yet to read what was sent."""
        self._is_open = False
        self._news.set()

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yields what to send, until the end of the stream."""
        deadline = time.monotonic() + STREAM_SECONDS
        yield _RETRY
        while self._is_open and time.monotonic() < deadline:
            try:
                async with asyncio.timeout(KEEP_ALIVE_SECONDS):
                    await self._news.wait()
            except TimeoutError:
                yield _KEEP_ALIVE
                continue
            self._news.clear()
            piece = b"".join([*self._events, self._counts if self._counts_are_new else b""])
            self._events.clear()
            self._counts_are_new = False
            if piece:
                yield piece


class Events:
    """All streams. The counts are looked up once for all, and only while somebody reads."""

    def __init__(self, totals: Totals, collection: Collection):
        self._totals = totals
        self._collection = collection
        self._streams: dict[Stream, None] = {}  # the oldest first
        self._following: asyncio.Task[None] | None = None
        self._edits = 0
        self._told: deque[float] = deque(maxlen=SAVED_PER_SECOND)
        self._is_open = True

    async def open(self, device: str) -> Stream:
        """Returns a new stream; the device's oldest one ends if it has too many.

        Raises:
            StoreError: if the store cannot be read.
            HTTPException: if there are too many streams, or the server is shutting down.
        """
        counts = await self._counts()
        if not self._is_open:
            raise HTTPException(503, Text("server.shutting-down"), {"Retry-After": "5"})
        of_device = [stream for stream in self._streams if stream.device == device]
        if len(of_device) >= STREAMS_PER_DEVICE:
            self.close(of_device[0])
        elif len(self._streams) >= MAX_STREAMS:
            raise HTTPException(503, Text("server.too-many-live-pages"), {"Retry-After": "5"})
        stream = Stream(device)
        stream.show(counts)
        self._streams[stream] = None
        if self._following is None:
            self._edits = self._totals.edits
            self._following = asyncio.create_task(self._follow())
        return stream

    def close(self, stream: Stream) -> None:
        """Ends one stream."""
        self._streams.pop(stream, None)
        stream.end()

    def close_all(self, device: str | None = None) -> None:
        """Ends the streams of `device`; without one, all, and no other begins: the server is shutting down."""
        self._is_open = self._is_open and device is not None
        for stream in [stream for stream in self._streams if device in (None, stream.device)]:
            self.close(stream)

    def saved(self, id: str, label: str) -> None:
        """Tells of a new drawing, unless SAVED_PER_SECOND others were told of within the last second."""
        now = time.monotonic()
        if not self._streams or (len(self._told) == SAVED_PER_SECOND and now - self._told[0] < 1):
            return
        self._told.append(now)
        self._tell(f"event: saved\ndata: {SavedNow(id=id, label=label).model_dump_json()}\n\n".encode())

    def _tell(self, event: bytes) -> None:
        for stream in self._streams:
            stream.tell(event)

    async def _follow(self) -> None:
        try:
            while self._streams:
                await asyncio.sleep(_SECONDS_BETWEEN_COUNTS)
                if self._edits != self._totals.edits:
                    self._edits = self._totals.edits
                    self._tell(_EDITED)
                try:
                    counts = await self._counts()
                except StoreError:
                    continue  # the pages go on showing what they have
                for stream in self._streams:
                    stream.show(counts)
        finally:
            self._following = None

    async def _counts(self) -> bytes:
        summary = await self._totals.get()
        grades = summary.grades
        live = Live(
            total=sum(grades.values()),
            grades=grades,
            waiting=summary.waiting,
            devices=self._collection.devices(),
            paused=self._collection.paused,
        )
        return f"event: counts\ndata: {live.model_dump_json()}\n\n".encode()


class _Answer(StreamingResponse):
    """A stream, which ends when its page is gone."""

    def __init__(self, events: Events, stream: Stream):
        # nginx would hold the events back until it has a buffer of them.
        unbuffered = {"X-Accel-Buffering": "no"}
        super().__init__(stream.pieces(), headers=unbuffered, media_type="text/event-stream")
        self._close = lambda: events.close(stream)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._close()


EventsDep = Annotated[Events, from_state("events")]

router = APIRouter(dependencies=[TEACHER_ONLY, Depends(no_repeats)], route_class=bounded(0))


# Not in the schema: an answer without an end is more than it can describe, and programs that try all of it would hang.
@router.get("/events", response_class=StreamingResponse, include_in_schema=False)
async def events(request: Request, events: EventsDep) -> StreamingResponse:
    """Streams what the class does, for an EventSource."""
    return _Answer(events, await events.open(device_of(request.scope)))
