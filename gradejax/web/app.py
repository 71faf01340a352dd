"""The pages and their API as one ASGI application."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

from fastapi import APIRouter, FastAPI, Response
from fastapi.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

from gradejax.stores import Store
from gradejax.web import downloads, editing, gallery, guessing, models, refusals, saving, sign_in, totals
from gradejax.web.access import Access
from gradejax.web.examining import TestSet
from gradejax.web.guard import Guard
from gradejax.web.limits import Turns
from gradejax.web.messages import Refused
from gradejax.web.model import Model
from gradejax.web.ranking import Rankings
from gradejax.web.sending import SendBudget
from gradejax.web.shutdown import LAST_ANSWERS_SECONDS, ShutdownAnswers
from gradejax.web.training import Trainings
from gradejax.web.workers import Workers

STATIC = Path(__file__).parent / "static"
PAGES = {"/": "draw.html", "/guess": "guess.html", "/browse": "browse.html", "/models": "models.html"}
_OPEN_PATHS = frozenset({"/sign-in", "/static/style.css", "/static/sign-in.js", "/static/icon.svg"})
_SIGN_OUT = (
    '<script type="module" src="/static/sign-out.js"></script>',
    '<button class="plain" id="sign-out" disabled>Sign out</button>',
)
"""In each page, unless there is nothing to sign out of. Appearing later, the button would move the links in the bar."""
_STORE_THREADS = 16


def create_app(store: Store, *, model: Model, access: Access | None = None, uri: str | None = None) -> FastAPI:
    """Creates the application.

    Args:
        store: closed when the application ends.
        model: guesses as soon as there is one.
        access: without it nobody needs a code, and only requests to loopback's names are answered.
        uri: the store's address with its credentials, for trainings; `store.uri` if it needs none.
    """
    rankings = Rankings(store, model)
    trainings = Trainings(uri or store.uri, finished=model.look_now)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        with closing(store), rankings.open(), trainings.open():
            yield
            await asyncio.sleep(LAST_ANSWERS_SECONDS)

    app = FastAPI(title="gradejax", docs_url=None, redoc_url=None, lifespan=lifespan)
    app.add_middleware(ShutdownAnswers)
    app.add_middleware(Guard, access=access, open_paths=_OPEN_PATHS, sign_in_page=STATIC / "sign-in.html")
    refusals.add_handlers(app)

    state = app.state
    state.store, state.model, state.access, state.rankings = store, model, access, rankings
    state.store_workers = Workers(_STORE_THREADS)
    state.turns = defaultdict(Turns)
    state.totals = totals.Totals(store)
    state.saver = saving.Saver(store)
    state.guesser = guessing.Guesser(model)
    state.editor = editing.Editor(store, state.store_workers, state.totals, rankings)
    state.trainings, state.test_set = trainings, TestSet(store, model)
    state.send_budget = SendBudget()
    state.downloads = downloads.Downloads(store, state.send_budget)

    api = APIRouter(
        prefix="/api",
        responses={status: {"model": Refused, "description": text} for status, text in refusals.DESCRIPTIONS.items()},
    )
    for module in (saving, guessing, totals, gallery, editing, downloads, models):
        api.include_router(module.router)
    app.include_router(api)
    if access is not None:
        app.include_router(sign_in.router)
    for path, file in PAGES.items():
        app.add_api_route(path, _page(STATIC / file, signed_in=access is not None), include_in_schema=False)
    app.mount("/static", StaticFiles(directory=STATIC))
    return app


def _page(file: Path, *, signed_in: bool) -> Callable[[], Awaitable[Response]]:
    html = file.read_text("utf-8")
    if not signed_in:
        for part in _SIGN_OUT:
            html = html.replace(part, "")

    async def page() -> Response:
        return HTMLResponse(html)

    return page
