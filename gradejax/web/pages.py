"""The pages: which there are, and who may open them."""

from collections.abc import Awaitable, Callable
from html import escape
from pathlib import Path
from typing import NamedTuple

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse

from gradejax.web.roles import ROLE, Role, require_teacher

STATIC = Path(__file__).parent / "static"


class Page(NamedTuple):
    """A page.

    Attributes:
        file: its HTML, below STATIC.
        name: what the links to it say.
        roles: who may open it.
    """

    file: str
    name: str
    roles: frozenset[Role] = frozenset({Role.TEACHER})


_EVERYBODY = frozenset(Role)
PAGES = {
    "/": Page("draw.html", "Draw", _EVERYBODY),
    "/guess": Page("guess.html", "Guess", _EVERYBODY),
    "/mine": Page("mine.html", "Mine", _EVERYBODY),
    "/browse": Page("browse.html", "Browse"),
    "/models": Page("models.html", "Models"),
    "/class": Page("class.html", "Class"),
}
"""In the order of the links."""
_TEACHER_ONLY = "teacher-only.html"
_BAR = '<header class="bar"></header>'
"""In each page, where the bar goes."""
_SIGN_OUT = """
    <button class="plain" id="sign-out" disabled>Sign out</button>
    <script type="module" src="static/sign-out.js"></script>"""
"""In the bar, if there is something to sign out of. Appearing later, the button would move the links."""


def router(*, needs_code: bool) -> APIRouter:
    """Returns the pages' routes. A page that a pupil may not open asks for the teacher's code instead."""
    router = APIRouter(include_in_schema=False)
    for path, page in PAGES.items():
        router.add_api_route(path, _route(path, page, needs_code))
    return router


def _route(path: str, page: Page, needs_code: bool) -> Callable[[Request], Awaitable[Response]]:
    html = {role: _html(path, page.file, role, needs_code) for role in page.roles}
    refusal = _html(path, _TEACHER_ONLY, Role.PUPIL, needs_code)

    async def show(request: Request) -> Response:
        role = request.scope[ROLE]
        if role in html:
            return HTMLResponse(html[role])
        if "text/html" not in request.headers.get("accept", ""):
            await require_teacher(request)  # refuses as it does everywhere else
        return HTMLResponse(refusal, 403)

    return show


def _html(path: str, file: str, role: Role, needs_code: bool) -> str:
    """Reads a page and fills its bar: links for `role`, and a button to sign out if there is something to."""
    links = []
    for other, page in PAGES.items():
        if role in page.roles:
            mark = ' aria-current="page"' if other == path else ""
            links.append(f'<a href=".{other}"{mark}>{escape(page.name)}</a>')
    content = f"""
    <span class="brand">gradejax</span>
    <nav aria-label="Pages">{"".join(links)}</nav>{_SIGN_OUT if needs_code else ""}
  """
    return (STATIC / file).read_text("utf-8").replace(_BAR, _BAR.replace("><", f">{content}<"))
