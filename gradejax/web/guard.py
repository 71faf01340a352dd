"""What every request passes before it reaches a page or route, and what every answer carries."""

import asyncio
import ipaddress
import logging
import math
import time
from collections import OrderedDict
from collections.abc import Collection
from pathlib import Path
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gradejax.web.access import Access
from gradejax.web.sessions import COOKIE

logger = logging.getLogger(__name__)

SESSION = "gradejax.session"
"""In a request's scope: the session that it has shown a cookie of."""
MAX_BODY_BYTES = 2**20
MAX_STRANGERS_BODY_BYTES = 2**12
"""Before signing in there is nothing to send but a code."""
BODY_SECONDS = 20.0
"""From a request's head to its body's end; a page itself waits no longer for its answer."""
RATE = 600.0
"""Requests a second that all who are signed in behind one address, or who need no code, may go on making."""
BURST = 6000
"""Requests that they may make beyond that: a hundred people behind one router open a gallery each at once."""
SESSION_RATE = 150.0
SESSION_BURST = 3000
STRANGERS_RATE = 200.0
STRANGERS_BURST = 3000

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_METHODS = ("GET", "HEAD", "POST")
_MOST_KEPT = 10_000
_MOST_COOKIES = 8
_SECONDS_BETWEEN_TRACES = 10.0


class Allowances:
    """How many requests each address or session has left: a bucket of `burst` tokens that gains `rate` a second."""

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = burst
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, whose: str, now: float) -> float:
        """Takes a token of `whose` at the time `now`, in seconds: 0, or the seconds until there is one."""
        left, then = self._left.pop(whose, (self._burst, now))
        left = min(self._burst, left + self._rate * (now - then))
        allowed = left >= 1
        self._left[whose] = (left - allowed, now)
        if len(self._left) > _MOST_KEPT:
            self._left.popitem(last=False)  # who has asked for nothing for longest has most left anyway
        return 0.0 if allowed else (1 - left) / self._rate


class Guard:
    """ASGI middleware: refuses strange hosts, other origins, strangers, large or slow bodies, and too many requests
    from one address or session; adds the headers; answers HEAD and errors.

    Without `access` (a server on loopback) only loopback's own names are answered, against DNS rebinding; with
    it the cookie is the defence, for it is bound to the name it was given under.
    """

    def __init__(self, app: ASGIApp, *, access: Access | None, open_paths: Collection[str], sign_in_page: Path):
        """`open_paths` need no cookie; whoever asks for another page is shown `sign_in_page`."""
        self.app = app
        self.access = access
        self.open_paths = open_paths
        self.sign_in_page = sign_in_page.read_bytes()
        # What strangers ask for takes nothing from those who are signed in behind the same router.
        self._of_strangers = Allowances(STRANGERS_RATE, STRANGERS_BURST)
        self._of_sessions = Allowances(SESSION_RATE, SESSION_BURST)
        self._of_addresses = Allowances(RATE, BURST)
        self._traced = -_SECONDS_BETWEEN_TRACES

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        headers = Headers(scope=scope)
        session = self._session(headers)
        if session is not None:
            scope[SESSION] = session
        started = ended = False

        async def answer(message: Message) -> None:
            nonlocal started, ended
            if ended:
                return
            if message["type"] == "http.response.start":
                started = True
                self._add_headers(scope["path"], MutableHeaders(scope=message))
            elif scope["method"] == "HEAD":
                ended = True
                message = {"type": "http.response.body"}
            await send(message)

        limit = MAX_BODY_BYTES if session is not None or self.access is None else MAX_STRANGERS_BODY_BYTES
        refusal = self._refusal(scope, headers, session, limit)
        if refusal is not None:
            return await refusal(scope, receive, answer)
        asked = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope
        try:
            await self.app(asked, _limited(receive, limit), answer)
        except Exception:
            if started:
                raise  # the server ends the connection: what has been sent is not whole
            self._trace(scope)
            await _sentence(500, "Something went wrong here; the server's log says what.")(scope, receive, answer)

    def _session(self, headers: Headers) -> str | None:
        if self.access is None:
            return None
        found = map(self.access.sessions.find, _cookies(headers))
        return next((session for session in found if session is not None), None)

    def _add_headers(self, path: str, headers: MutableHeaders) -> None:
        for name, value in SECURITY_HEADERS.items():
            headers.setdefault(name, value)
        # Asked for again each time, but sent only when changed; what people drew is kept nowhere.
        if path.startswith("/static/"):
            headers.setdefault("Cache-Control", "no-cache")
        elif self.access is not None:
            headers["Cache-Control"] = "no-store"
        else:
            headers.setdefault("Cache-Control", "no-store")

    def _trace(self, scope: Scope) -> None:
        """Logs the exception that is being handled, now and then: what fails may be asked for all the time."""
        if time.monotonic() - self._traced >= _SECONDS_BETWEEN_TRACES:
            self._traced = time.monotonic()
            logger.exception("%s %r failed", scope["method"], scope["path"])

    def _refusal(self, scope: Scope, headers: Headers, session: str | None, limit: int) -> Response | None:
        wait = math.ceil(self._wait(source(scope), session))
        if wait:
            return _sentence(429, "Too many requests from this address; slower, please.", {"Retry-After": str(wait)})
        if len(headers.getlist("host")) != 1:
            return _sentence(400, "A request names one host.")
        if self.access is None and not is_loopback(_host_name(headers["host"])):
            return _sentence(421, "This server answers only to localhost and 127.0.0.1.")
        if _from_another_origin(scope["method"], headers):
            return _sentence(403, "Requests from another origin are refused.")
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length[:20]) > limit:
            # The connection cannot be used again: what follows on it is the body that nobody read.
            return _sentence(413, f"The body is over {_size(limit)}.", {"Connection": "close"})
        if self.access is not None and session is None and scope["path"] not in self.open_paths:
            if scope["method"] in ("GET", "HEAD") and "text/html" in headers.get("accept", ""):
                return HTMLResponse(self.sign_in_page, 401)
            return _sentence(401, "The access code is needed first: open the first page and enter it.")
        if scope["method"] not in _METHODS:
            return _sentence(405, "Method Not Allowed", {"Allow": ", ".join(_METHODS)})
        return None

    def _wait(self, address: str, session: str | None) -> float:
        now = time.monotonic()
        if self.access is not None and session is None:
            return self._of_strangers.wait(address, now)
        if session is not None and (wait := self._of_sessions.wait(session, now)):
            return wait
        return self._of_addresses.wait(address, now)


def _sentence(status: int, detail: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"detail": detail}, status, headers)


def source(scope: Scope) -> str:
    """Whose request it is: the address, or of IPv6 the first 64 bits, behind which one machine may have any number."""
    host = scope["client"][0] if scope.get("client") else ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.version == 4:
        return host
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((int(address) >> 64 << 64, 64)))


def is_loopback(host: str) -> bool:
    """Whether `host`, a name or an address, is this machine's own and reached from nowhere else."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.rstrip(".").lower() == "localhost"


def _host_name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _from_another_origin(method: str, headers: Headers) -> bool:
    # Sec-Fetch-Site is sent to trustworthy origins only, which plain HTTP on a network is not; Origin always.
    # A link on another site may lead to a page; nothing else may come from there.
    site = headers.get("sec-fetch-site", "none")
    follows_link = method in ("GET", "HEAD") and headers.get("sec-fetch-mode") == "navigate"
    if site not in ("none", "same-origin") and not follows_link:
        return True
    origin = headers.get("origin")
    return origin is not None and origin.partition("://")[2] != headers.get("host")


def _cookies(headers: Headers) -> list[str]:
    """What cookies of our name hold: the jar is shared with every other server under this host's name."""
    pairs = (pair.partition("=") for line in headers.getlist("cookie") for pair in line.split(";"))
    return [value.strip() for name, _, value in pairs if name.strip() == COOKIE][:_MOST_COOKIES]


def _size(limit: int) -> str:
    return f"{limit // 2**20} MB" if limit >= 2**20 else f"{limit // 2**10} kB"


def _limited(receive: Receive, limit: int) -> Receive:
    """`receive` that stops reading after `limit` bytes, or too much time, whatever length was announced."""
    total = 0
    deadline = time.monotonic() + BODY_SECONDS
    more = True

    async def receive_within_limits() -> Message:
        nonlocal total, more
        try:
            # Behind the body comes the end of the connection, for which an answer may wait as long as it likes.
            async with asyncio.timeout(deadline - time.monotonic() if more else None):
                message = await receive()
        except TimeoutError:
            raise HTTPException(408, f"The body took over {BODY_SECONDS:.0f} s.", {"Connection": "close"}) from None
        more = message.get("more_body", False)
        total += len(message.get("body", b""))
        if total > limit:
            raise HTTPException(413, f"The body is over {_size(limit)}.", {"Connection": "close"})
        return message

    return receive_within_limits
