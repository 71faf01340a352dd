"""The pages: which there are, and who may open them."""

import json
from collections.abc import Awaitable, Callable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse

from gradejax.scales import NAMED, Scale
from gradejax.web.languages import LANGUAGE, LANGUAGES, translated
from gradejax.web.roles import ROLE, Role, require_teacher
from gradejax.web.state import StoreDep

STATIC = Path(__file__).parent / "static"


class Page(NamedTuple):
    """A page.

    Attributes:
        file: its HTML, below STATIC.
        name: the key of what the links to it say.
        roles: who may open it.
    """

    file: str
    name: str
    roles: frozenset[Role] = frozenset({Role.TEACHER})


_EVERYBODY = frozenset(Role)
PAGES = {
    "/": Page("draw.html", "page.draw", _EVERYBODY),
    "/guess": Page("guess.html", "page.guess", _EVERYBODY),
    "/mine": Page("mine.html", "page.mine", _EVERYBODY),
    "/browse": Page("browse.html", "page.browse"),
    "/models": Page("models.html", "page.models"),
    "/class": Page("class.html", "page.class"),
}
"""In the order of the links."""
_SIGN_IN = "sign-in.html"
_TEACHER_ONLY = "teacher-only.html"
_BAR = '<header class="bar"></header>'
"""In each page, where the bar goes."""
_SIGN_OUT = """
    <button class="plain" id="sign-out" disabled>{{bar.sign-out}}</button>
    <script type="module" src="static/sign-out.js"></script>"""
"""In the bar, if there is something to sign out of. Appearing later, the button would move the links."""
_CHOICE = '<div class="language"></div>'
"""In each page without a bar, where the choice of a language goes; it is in the bar of the others."""
_GLOBE = (
    '<svg viewBox="0 0 20 20" aria-hidden="true"><circle cx="10" cy="10" r="8"/>'
    '<ellipse cx="10" cy="10" rx="3.5" ry="8"/><path d="M2.5 7h15M2.5 13h15"/></svg>'
)


def router(*, needs_code: bool) -> APIRouter:
    """Returns the pages' routes. A page that a pupil may not open asks for the teacher's code instead."""
    router = APIRouter(include_in_schema=False)
    for path, page in PAGES.items():
        router.add_api_route(path, _route(path, page, needs_code))
    return router


def _route(path: str, page: Page, needs_code: bool) -> Callable[[Request, StoreDep], Awaitable[Response]]:
    html = {role: _in_each_language(page.file, path, role, needs_code) for role in page.roles}
    refusal = _in_each_language(_TEACHER_ONLY, path, Role.PUPIL, needs_code)

    async def show(request: Request, store: StoreDep) -> Response:
        role, language = request.scope[ROLE], request.scope[LANGUAGE]
        if role in html:
            return HTMLResponse(html[role][language].replace("</head>", _in_page(store.scale), 1))
        if "text/html" not in request.headers.get("accept", ""):
            await require_teacher(request)  # refuses as it does everywhere else
        return HTMLResponse(refusal[language], 403)

    return show


@lru_cache(maxsize=4)
def _in_page(scale: Scale) -> str:
    """Returns the end of a page's head with the scale, and those with a name, for static/scale.js."""
    named = [{"name": one.name, "labels": one.labels} for one in NAMED.values()]
    data = json.dumps({"labels": scale.labels, "groups": scale.groups, "named": named}, ensure_ascii=False)
    return f'  <script type="application/json" id="scale">{data}</script>\n</head>'


def sign_in_page() -> dict[str, str]:
    """Returns the page shown to strangers, language → HTML."""
    return _in_each_language(_SIGN_IN)


def _in_each_language(file: str, path: str = "", role: Role | None = None, needs_code: bool = False) -> dict[str, str]:
    """Reads a page. Fills its bar, if it has one, with links for `role`, and a button to sign out if there is need."""
    links = []
    for other, page in PAGES.items():
        if role in page.roles:
            mark = ' aria-current="page"' if other == path else ""
            links.append(f'<a href=".{other}"{mark}>{{{{{page.name}}}}}</a>')
    html = (STATIC / file).read_text("utf-8")
    bar = f"""
    <span class="brand">gradejax</span>
    <nav aria-label="{{{{bar.pages}}}}">{"".join(links)}</nav>
    {_CHOICE}{_SIGN_OUT if needs_code else ""}
  """
    html = html.replace(_BAR, _BAR.replace("><", f">{bar}<"))
    return {language: translated(html.replace(_CHOICE, _choice(language)), language) for language in LANGUAGES}


def _choice(chosen: str) -> str:
    """Returns the choice of a language, while the page is in `chosen`."""
    options = (
        f'<option value="{language}" lang="{language}"{" selected" if language == chosen else ""}>{name}</option>'
        for language, name in LANGUAGES.items()
    )
    # Without "off", some browsers bring the earlier choice back when they reload the page.
    select = f'<select id="language" aria-label="{{{{bar.language}}}}" autocomplete="off">{"".join(options)}</select>'
    script = '<script type="module" src="static/choose-language.js"></script>'
    return f'<div class="language">{_GLOBE}{select}</div>\n    {script}'
