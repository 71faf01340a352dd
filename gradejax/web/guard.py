"""What every request passes before it reaches a page or route, and what every answer carries."""

import ipaddress
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


class Guard:
    """ASGI middleware: refuses strange hosts, other origins, strangers and large bodies; adds the headers.

    Without `access` (a server on loopback) only loopback's own names are answered, against DNS rebinding; with
    it the cookie is the defence, for it is bound to the name it was given under.
    """

    def __init__(self, app: ASGIApp, *, access: Access | None, open_paths: Collection[str], sign_in_page: Path):
        """`open_paths` need no cookie; whoever asks for another page is shown `sign_in_page`."""
        self.app = app
        self.access = access
        self.open_paths = open_paths
        self.sign_in_page = sign_in_page

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
    """`receive` that stops reading at the limit, whatever length was announced."""
    total = 0

    async def receive_within_limit() -> Message:
        nonlocal total
        message = await receive()
        total += len(message.get("body", b""))
        if total > MAX_BODY_BYTES:
            raise HTTPException(413, f"The body is over {MAX_BODY_BYTES // 2**20} MB.", {"Connection": "close"})
        return message

    return receive_within_limit
