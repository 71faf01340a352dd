"""What every request passes before it reaches a page or route, and what every answer carries."""

import asyncio
import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Collection
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gradejax.web.access import COOKIE, Access

MAX_BODY_BYTES = 2**20
BODY_SECONDS = 20.0
"""From a request's head to its body's end; a page itself waits no longer for its answer."""
RATE = 600.0
"""Requests a second that one address may go on making."""
BURST = 6000
"""Requests that one address may make beyond that: a hundred people behind one router open a gallery each at once."""

_MOST_ADDRESSES = 10_000
_HEADERS = {
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


class Allowances:
    """How many requests each address has left: a bucket of BURST tokens that gains RATE a second."""

    def __init__(self) -> None:
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, address: str, now: float) -> float:
        """Takes a token of `address` at the time `now`, in seconds: 0, or the seconds until there is one."""
        left, then = self._left.pop(address, (BURST, now))
        left = min(BURST, left + RATE * (now - then))
        allowed = left >= 1
        self._left[address] = (left - allowed, now)
        if len(self._left) > _MOST_ADDRESSES:
            self._left.popitem(last=False)  # who has asked for nothing for longest has most left anyway
        return 0.0 if allowed else (1 - left) / RATE


class Guard:
    """ASGI middleware: refuses strange hosts, other origins, strangers, large or slow bodies, and too many requests
    from one address; adds the headers.

    Without `access` (a server on loopback) only loopback's own names are answered, against DNS rebinding; with
    it the cookie is the defence, for it is bound to the name it was given under.
    """

    def __init__(self, app: ASGIApp, *, access: Access | None, open_paths: Collection[str], sign_in_page: Path):
        """`open_paths` need no cookie; whoever asks for another page is shown `sign_in_page`."""
        self.app = app
        self.access = access
        self.open_paths = open_paths
        self.sign_in_page = sign_in_page
        self._allowances = Allowances()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                # Asked for again each time, but sent only when changed; what people drew is kept nowhere.
                headers.setdefault("Cache-Control", "no-cache" if scope["path"].startswith("/static/") else "no-store")
            await send(message)

        headers = Headers(scope=scope)
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            return await refusal(scope, receive, send_with_headers)
        await self.app(scope, _limited(receive), send_with_headers)

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        wait = math.ceil(self._allowances.wait(source(scope), time.monotonic()))
        if wait:
            return _sentence(429, "Too many requests from this address; slower, please.", {"Retry-After": str(wait)})
        if self.access is None and not is_loopback(_host_name(headers.get("host", ""))):
            return _sentence(421, "This server answers only to localhost and 127.0.0.1.")
        if _from_another_origin(scope["method"], headers):
            return _sentence(403, "Requests from another origin are refused.")
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length[:20]) > MAX_BODY_BYTES:
            # The connection cannot be used again: what follows on it is the body that nobody read.
            return _sentence(413, f"The body is over {MAX_BODY_BYTES // 2**20} MB.", {"Connection": "close"})
        if self.access is None or scope["path"] in self.open_paths or self.access.admits(_cookie(headers)):
            return None
        if scope["method"] in ("GET", "HEAD") and "text/html" in headers.get("accept", ""):
            return FileResponse(self.sign_in_page, 401)
        return _sentence(401, "The access code is needed first: open the first page and enter it.")


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
        return host == "localhost"


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


def _cookie(headers: Headers) -> str | None:
    try:
        morsel = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return None
    return morsel.value if morsel else None


def _limited(receive: Receive) -> Receive:
    """`receive` that stops reading at the limits of size and of time, whatever length was announced."""
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
        if total > MAX_BODY_BYTES:
            raise HTTPException(413, f"The body is over {MAX_BODY_BYTES // 2**20} MB.", {"Connection": "close"})
        return message

    return receive_within_limits
