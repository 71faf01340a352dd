"""Checks that every request passes before it reaches a route, and headers that every answer carries."""

import asyncio
import ipaddress
import logging
import math
import time
from collections.abc import Collection, Mapping
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gradejax.web import languages
from gradejax.web.access import Access
from gradejax.web.languages import LANGUAGE, Text
from gradejax.web.proxy import PublicAddress
from gradejax.web.rates import Asked, Rates
from gradejax.web.refusals import refusal
from gradejax.web.roles import ROLE, Role
from gradejax.web.sessions import COOKIE, Session

log = logging.getLogger(__name__)

SESSION = "gradejax.session"
"""The key in a request's scope of the id of the session that its cookie belongs to."""
ADMIT = "gradejax.admit"
"""The key of a function, of the connection, to call with that id before the request is answered."""
SIGN_IN = "/sign-in"
SAVE = "/api/drawings"
MAX_BODY_BYTES = 2**20
MAX_STRANGERS_BODY_BYTES = 2**12
"""Before signing in, a code is all there is to send."""
BODY_SECONDS = 20.0
"""From the end of a request's head to the end of its body; a page waits no longer for its answer either."""

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
_FORWARDED = frozenset({"forwarded", "x-forwarded-for"})
_MAX_COOKIES = 8
_SECONDS_BETWEEN_TRACES = 10.0


class Guard:
    """ASGI middleware that rejects unwanted requests, adds headers, and answers HEAD and errors.

    It rejects unknown hosts, other origins, strangers, large or slow bodies, and too many requests from one address
    or session. Without `access`, for a server on loopback, it answers only to loopback's own names, against DNS
    rebinding; with it, the cookie is the defence, for a browser sends it only to the name that set it.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        access: Access | None,
        public: PublicAddress | None,
        open_paths: Collection[str],
        sign_in_page: Mapping[str, str],
    ):
        """Creates the middleware.

        Args:
            app: the application behind it.
            access: knows the sessions; None if nobody needs a code, and everybody is the teacher.
            public: the address at a reverse proxy, if there is one.
            open_paths: paths that need no cookie.
            sign_in_page: the page shown to strangers instead of any other: language → HTML.
        """
        self.app = app
        self.access = access
        self._origin = public.origin if public else None
        self.open_paths = open_paths
        self.sign_in_page = sign_in_page
        self._rates = Rates(needs_code=access is not None)
        self._logged = -_SECONDS_BETWEEN_TRACES

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        headers = Headers(scope=scope)
        accepted = headers.get("accept-language", "")
        scope[LANGUAGE] = languages.preferred(_cookies(headers, languages.COOKIE), accepted)
        session = self._session(headers)
        admit = scope.pop(ADMIT, lambda _: None)
        if session is not None:
            scope[SESSION], scope[ROLE] = session
            admit(session.id)
        elif self.access is None:
            scope[ROLE] = Role.TEACHER
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
        refused = self._refusal(scope, headers, session and session.id, limit)
        if refused is not None:
            return await refused(scope, receive, answer)
        handled = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope
        try:
            await self.app(handled, _limited(receive, limit), answer)
        except Exception:
            if started:
                raise  # the server closes the connection: the answer is incomplete
            self._log_exception(scope)
            await refusal(scope, 500, Text("server.failed"))(scope, receive, answer)

    def _session(self, headers: Headers) -> Session | None:
        if self.access is None:
            return None
        sessions = map(self.access.sessions.find, _cookies(headers, COOKIE))
        return next((session for session in sessions if session is not None), None)

    def _add_headers(self, path: str, headers: MutableHeaders) -> None:
        for name, value in SECURITY_HEADERS.items():
            headers.setdefault(name, value)
        # Files are revalidated each time, and sent again only if changed; drawings are never cached.
        if path.startswith("/static/"):
            headers.setdefault("Cache-Control", "no-cache")
        elif self.access is not None:
            headers["Cache-Control"] = "no-store"
        else:
            headers.setdefault("Cache-Control", "no-store")

    def _log_exception(self, scope: Scope) -> None:
        """Logs the current exception, now and then: a failing request may be repeated all the time."""
        if time.monotonic() - self._logged >= _SECONDS_BETWEEN_TRACES:
            self._logged = time.monotonic()
            log.exception("%s %r failed", scope["method"], scope["path"])

    def _refusal(self, scope: Scope, headers: Headers, session: str | None, limit: int) -> Response | None:
        # Of a body whose length is not announced, the most that it may have is counted.
        length = headers.get("content-length", str(limit) if "transfer-encoding" in headers else "0")
        n_bytes = int(length[:20]) if length.isdecimal() else 0
        asked = (scope["method"], scope["path"])
        counted = Asked(asked == ("POST", SIGN_IN), asked == ("POST", SAVE), min(n_bytes, limit))
        excess = self._rates.excess(source(scope), session, counted)
        if excess is not None:
            return refusal(scope, 429, excess.reason, {"Retry-After": str(math.ceil(excess.seconds))})
        if len(headers.getlist("host")) != 1:
            return refusal(scope, 400, "A request must name exactly one host.")
        if self.access is None and not is_loopback(_host_name(headers["host"])):
            return refusal(scope, 421, "This server answers only to localhost and 127.0.0.1.")
        if self.access is None and not _FORWARDED.isdisjoint(headers.keys()):
            # Everybody would be the teacher.
            return refusal(
                scope, 421, "This server is behind a proxy: restart it with --public-url, so that it asks for codes."
            )
        if _from_another_origin(scope["method"], headers, self._origin):
            return refusal(scope, 403, "Requests from another origin are refused.")
        if not length.isdecimal() or n_bytes > limit:
            # The connection cannot be reused: the body that follows is not read.
            return refusal(scope, 413, f"The body is over {_size(limit)}.", {"Connection": "close"})
        if self.access is not None and session is None and scope["path"] not in self.open_paths:
            if scope["method"] in ("GET", "HEAD") and "text/html" in headers.get("accept", ""):
                return HTMLResponse(self.sign_in_page[scope[LANGUAGE]], 401)
            return refusal(scope, 401, Text("server.code-needed"))
        if scope["method"] not in _METHODS:
            return refusal(scope, 405, "Method Not Allowed", {"Allow": ", ".join(_METHODS)})
        return None


def source(scope: Scope) -> str:
    """Returns the address that a request comes from; of IPv6 the first 64 bits, for one machine may use all others."""
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
    """Whether `host`, a name or an address, can be reached from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.rstrip(".").lower() == "localhost"


def _host_name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _from_another_origin(method: str, headers: Headers, own: str | None) -> bool:
    """Whether a page of neither this host nor the origin `own` makes the request."""
    # Browsers send Origin always, but Sec-Fetch-Site only over HTTPS or to loopback.
    # Another site may link to a page, and nothing else.
    site = headers.get("sec-fetch-site", "none")
    follows_link = method in ("GET", "HEAD") and headers.get("sec-fetch-mode") == "navigate"
    if site not in ("none", "same-origin") and not follows_link:
        return True
    origin = headers.get("origin")
    return origin not in (None, own) and origin.partition("://")[2] != headers.get("host")


def _cookies(headers: Headers, cookie: str) -> list[str]:
    """Returns the values of cookies of this name: other servers on this host may set one of that name, too."""
    pairs = (pair.partition("=") for line in headers.getlist("cookie") for pair in line.split(";"))
    return [value.strip() for name, _, value in pairs if name.strip() == cookie][:_MAX_COOKIES]


def _size(limit: int) -> str:
    return f"{limit // 2**20} MB" if limit >= 2**20 else f"{limit // 2**10} kB"


def _limited(receive: Receive, limit: int) -> Receive:
    """Returns a `receive` that stops after `limit` bytes, or BODY_SECONDS, whatever length was announced."""
    total = 0
    deadline = time.monotonic() + BODY_SECONDS
    more = True

    async def receive_within_limits() -> Message:
        nonlocal total, more
        try:
            # After the body, an answer may wait for the end of the connection as long as it likes.
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
