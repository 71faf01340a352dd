"""Connections with limits: uvicorn's own would wait for ever for slow clients, and buffer whatever they send."""

import json
from typing import Any, Protocol, cast, runtime_checkable

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from gradejax.web.crowd import Crowd
from gradejax.web.guard import ADMIT, MAX_BODY_BYTES, SECURITY_HEADERS, source

HEAD_SECONDS = 20.0
"""From the connection's beginning, or the answer before, to the end of a request's head."""
MAX_HEAD_BYTES = 2**15
MAX_HEAD_FIELDS = 100
MAX_REQUEST_BYTES = MAX_BODY_BYTES + 2**16
"""A whole request: head, body, the framing of its chunks, trailers, and what follows an answer given early."""
MAX_AHEAD = 8
"""Requests that may arrive before an earlier one is answered; browsers send none."""
READ_SECONDS = 60.0
"""How long a client may leave an answer unread."""

_PIECE_BYTES = 2**14


@runtime_checkable
class _Timer(Protocol):
    """asyncio's TimerHandle, or uvloop's, which is not a subclass."""

    def cancel(self) -> None: ...


class _TooMuch(Exception):
    """Makes the parser give up on what has arrived."""


class Connection(HttpToolsProtocol):
    """One client's connection; cut off if a request is too large or slow, or its answer is not read.

    How large a request's body may be, and how long it may take, is up to `guard`.
    """

    _head_timer: _Timer | None = None
    _read_timer: _Timer | None = None
    _bytes = 0  # of this request, or since the one before
    _piece = 0
    _in_head = True

    def __init__(self, *args: Any, crowd: Crowd, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._crowd = crowd
        self._room = crowd.strangers
        self._session: str | None = None

    def connection_made(self, transport: Any) -> None:  # uvloop's transports have no class in common with asyncio's
        super().connection_made(transport)
        self._room.enter(self, source({"client": self.client}))
        self._await_head()

    def data_received(self, data: bytes) -> None:
        # In pieces, so that limits also hold within one read.
        for start in range(0, len(data), _PIECE_BYTES):
            piece = data[start : start + _PIECE_BYTES]
            self._piece = len(piece)
            self._bytes += self._piece
            if self._bytes > MAX_REQUEST_BYTES:
                self.cut_off()
            if self.transport.is_closing():
                return
            super().data_received(piece)
            if self._in_head and self._bytes > MAX_HEAD_BYTES:
                self.send_400_response("")

    def on_message_begin(self) -> None:
        if len(self.pipeline) >= MAX_AHEAD:
            self.cut_off()
            raise _TooMuch
        super().on_message_begin()
        self._bytes = self._piece  # as if the whole piece belonged to this request
        self._in_head = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_head:
            return  # a trailer, which nothing uses
        if len(self.headers) >= MAX_HEAD_FIELDS:
            raise _TooMuch
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._bytes > MAX_HEAD_BYTES:
            raise _TooMuch
        self._in_head = False
        _cancel(self._head_timer)
        self._room.touch(self)
        cast(dict[str, Any], self.scope)[ADMIT] = self._admit
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if self.pipeline and len(self.cycle.body) > _PIECE_BYTES:
            self.cut_off()  # an earlier request is still being answered
        super().on_body(body)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._bytes = 0
        self._in_head = True

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.cycle.response_complete:  # else the next request has already begun
            self.cycle.body.clear()
            self._await_head()

    def send_400_response(self, msg: str) -> None:
        if self._in_head and (self._bytes > MAX_HEAD_BYTES or len(self.headers or ()) >= MAX_HEAD_FIELDS):
            self._refuse(
                431, f"A request's head may have {MAX_HEAD_BYTES // 2**10} kB and {MAX_HEAD_FIELDS} fields at most."
            )
        else:
            self._refuse(400, msg)

    def _unsupported_upgrade_warning(self) -> None:
        # Answered as an ordinary request; what follows may be another protocol.
        self.cycle.keep_alive = False
        if self.cycle.response_complete:
            self.transport.close()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._read_timer = self.loop.call_later(READ_SECONDS, self.cut_off)

    def resume_writing(self) -> None:
        super().resume_writing()
        _cancel(self._read_timer)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._room.leave(self)
        _cancel(self._head_timer)
        _cancel(self._read_timer)

    def is_idle(self) -> bool:
        """Whether no complete request awaits its answer."""
        return self.cycle is None or self.cycle.response_complete or self.cycle.more_body

    def cut_off(self) -> None:
        """Aborts the connection; closing it would wait until the client has read everything."""
        self.transport.abort()

    def _admit(self, session: str) -> None:
        """Moves to the room of those signed in; not only after the answer, which may be a stream without an end."""
        if session != self._session and not self.transport.is_closing():
            self._room.leave(self)
            self._room, self._session = self._crowd.insiders, session
            self._room.enter(self, session)

    def _refuse(self, status: int, detail: str) -> None:
        """Answers a malformed request, or just cuts off if an earlier answer is still due."""
        if self.transport.is_closing():
            return
        if self.pipeline or (self.cycle is not None and self.cycle.response_started and not self.is_idle()):
            return self.cut_off()
        body = json.dumps({"detail": detail}).encode()
        headers = SECURITY_HEADERS | {
            "Cache-Control": "no-store",
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "Connection": "close",
        }
        lines = [f"{name}: {value}\r\n".encode() for name, value in headers.items()]
        self.transport.write(b"".join([STATUS_LINE[status], *lines, b"\r\n", body]))
        self.transport.close()
        if self.cycle is not None:
            self.cycle.disconnected = True

    def _await_head(self) -> None:
        _cancel(self._head_timer)
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self.cut_off)


def _cancel(timer: _Timer | None) -> None:
    if timer is not None:
        timer.cancel()
