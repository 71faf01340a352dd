"""The pages and their API as one ASGI application."""

import asyncio
import secrets
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, nullcontext
from datetime import timedelta

from fastapi import APIRouter, FastAPI
from starlette.staticfiles import StaticFiles

from gradejax.stores import Store
from gradejax.web import (
    collection,
    downloads,
    editing,
    erasing,
    events,
    exporting,
    gallery,
    guessing,
    invitation,
    mine,
    models,
    pages,
    refusals,
    renaming,
    saving,
    scale_choice,
    sign_in,
    tags,
    taking_back,
    totals,
)
from gradejax.web.access import Access
from gradejax.web.dates import Dates
from gradejax.web.examining import TestSet
from gradejax.web.gone import Gone
from gradejax.web.guard import SIGN_IN, Guard
from gradejax.web.limits import Turns
from gradejax.web.model import Model
from gradejax.web.pages import STATIC
from gradejax.web.proxy import PublicAddress
from gradejax.web.quarantine import Quarantine
from gradejax.web.ranking import Rankings
from gradejax.web.retention import Retention
from gradejax.web.sending import SendBudget
from gradejax.web.settings import Settings
from gradejax.web.shutdown import LAST_ANSWERS_SECONDS, ShutdownAnswers
from gradejax.web.training import Trainings
from gradejax.web.workers import Workers

_OF_SIGN_IN = ("style.css", "sign-in.js", "language.js", "choose-language.js", "icon.svg")
_OPEN_PATHS = frozenset({SIGN_IN, *(f"/static/{file}" for file in _OF_SIGN_IN)})
_STORE_THREADS = 16


def create_app(
    store: Store,
    *,
    model: Model,
    access: Access | None = None,
    invited: invitation.Invitation | None = None,
    uri: str | None = None,
    public: PublicAddress | None = None,
    retention: timedelta | None = None,
    whole_minutes: bool = False,
) -> FastAPI:
    """Creates the application.

    Args:
        store: closed when the application ends.
        model: guesses as soon as there is one.
        access: without it nobody needs a code, and only requests to loopback's names are answered.
        invited: how others get to the pages; without it nobody else can.
        public: the pages' address at a reverse proxy, if there is one.
        uri: the store's address with its credentials, for trainings; `store.uri` if it needs none.
        retention: the age at which drawings are erased; None keeps them.
        whole_minutes: whether the dates of drawings are kept to the minute only.
    """
    rankings = Rankings(store, model)
    workers, counts = Workers(_STORE_THREADS), totals.Totals(store)
    editor = editing.Editor(store, workers, counts, rankings)
    held = Quarantine(store, model, editor.apply_here)
    gone = Gone()
    eraser = erasing.Eraser(editor, workers, rankings, gone)
    trainings = Trainings(uri or store.uri, finished=model.look_now)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        by_age = Retention(store, retention, eraser).open() if retention else nullcontext()
        with closing(store), rankings.open(), trainings.open(), by_age:
            recovering = asyncio.create_task(held.recover(workers))
            yield
            await held.finish(recovering)
            await asyncio.sleep(LAST_ANSWERS_SECONDS)

    app = FastAPI(title="gradejax", docs_url=None, redoc_url=None, lifespan=lifespan)
    app.add_middleware(ShutdownAnswers)
    app.add_middleware(Guard, access=access, public=public, open_paths=_OPEN_PATHS, sign_in_page=pages.sign_in_page())
    refusals.add_handlers(app)

    state = app.state
    state.public = public
    state.store, state.model, state.access, state.rankings = store, model, access, rankings
    state.store_workers = workers
    state.turns = defaultdict(Turns)
    state.totals = counts
    state.settings = Settings(store.uri)
    state.collection = collection.Collection(state.settings)
    state.events = events.Events(counts, state.collection)
    state.invitation = invited or invitation.Invitation("http://localhost:8000/")
    state.gone, state.retention_days = gone, retention and retention.days
    state.saver = saving.Saver(store, workers, held, gone, Dates(retention, whole_minutes))
    state.guesser = guessing.Guesser(model)
    state.editor = editor
    state.renamer = renaming.Renamer(editor, state.settings, workers)
    state.eraser = eraser
    state.trainings, state.test_set = trainings, TestSet(store, model)
    state.send_budget = SendBudget()
    key = secrets.token_bytes() if access is None else access.sessions.derive_key("receipts")
    state.receipts = taking_back.Receipts(key)
    state.downloads = downloads.Downloads(store, state.send_budget)
    state.exporter = exporting.Exporter(model, state.send_budget)

    api = APIRouter(prefix="/api", responses=refusals.RESPONSES)
    routed = saving, taking_back, guessing, totals, gallery, editing, downloads, collection, events, invitation, models
    routed += tags, renaming, mine, erasing, exporting, scale_choice
    for module in routed:
        api.include_router(module.router)
    refusals.describe_roles(app, [module.router for module in routed], api.prefix)
    app.include_router(api)
    if access is not None:
        app.include_router(sign_in.router)
    app.include_router(pages.router(needs_code=access is not None))
    app.mount("/static", StaticFiles(directory=STATIC))
    return app
