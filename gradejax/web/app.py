"""The pages and their API as one ASGI application."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import APIRouter, FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.staticfiles import StaticFiles

from gradejax.errors import BadDrawing, StoreError, StoreFull, UserError
from gradejax.stores import Store
from gradejax.web import browsing, guessing, saving
from gradejax.web.access import COOKIE, COOKIE_SECONDS, Access
from gradejax.web.guard import Guard, source
from gradejax.web.guessing import Model
from gradejax.web.leaving import LAST_WORDS_SECONDS, Leaving
from gradejax.web.messages import Code, Refused
from gradejax.web.ranking import Rankings

logger = logging.getLogger(__name__)

STATIC = Path(__file__).parent / "static"
PAGES = {"/": "draw.html", "/guess": "guess.html", "/browse": "browse.html"}
_OPEN_PATHS = frozenset({"/sign-in", "/static/style.css", "/static/sign-in.js", "/static/icon.svg"})
_REFUSALS = {
    400: "a request that cannot be read",
    401: "the access code is needed first",
    403: "from another origin",
    404: "no such thing",
    408: "a body that takes too long",
    413: "a body over 1 MB",
    421: "asked for under a strange name",
    422: "not a drawing, or not what the schema says",
    429: "too many requests, or wrong codes",
    503: "the store or the model is not there",
    507: "the server's disk is full",
}
_SECONDS_BETWEEN_LINES = 10.0


def create_app(store: Store, *, model: Model, access: Access | None = None) -> FastAPI:
    """The application over `store`.

    Args:
        store: closed by the caller, after the application.
        model: what guesses, as soon as there is one.
        access: without it nobody is asked for a code, and only requests to loopback's names are answered.
    """
    rankings = Rankings(store, model)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with rankings.open():
            yield
            await asyncio.sleep(LAST_WORDS_SECONDS)

    app = FastAPI(title="gradejax", docs_url=None, redoc_url=None, lifespan=lifespan)
    app.add_middleware(Leaving)
    app.add_middleware(Guard, access=access, open_paths=_OPEN_PATHS, sign_in_page=STATIC / "sign-in.html")
    app.add_exception_handler(StarletteHTTPException, _refuse)
    app.add_exception_handler(RequestValidationError, _refuse_invalid)
    app.add_exception_handler(UserError, _refuse_mistake)
    app.add_exception_handler(StoreError, _store_refusal())

    api = APIRouter(
        prefix="/api",
        responses={status: {"model": Refused, "description": text} for status, text in _REFUSALS.items()},
    )
    api.include_router(saving.routes(store))
    api.include_router(guessing.routes(model))
    api.include_router(browsing.routes(store, model, rankings))
    app.include_router(api)
    if access is not None:
        app.include_router(_sign_in(access))
    for path, file in PAGES.items():
        app.add_api_route(path, _page(STATIC / file), include_in_schema=False)
    app.mount("/static", StaticFiles(directory=STATIC))
    return app


def _page(file: Path) -> Callable[[], Awaitable[FileResponse]]:
    async def page() -> FileResponse:
        return FileResponse(file, headers={"Cache-Control": "no-cache"})

    return page


def _sign_in(access: Access) -> APIRouter:
    router = APIRouter()

    @router.post("/sign-in", status_code=204, include_in_schema=False)
    async def sign_in(given: Code, request: Request) -> Response:
        # On the event loop, so that no other try comes between the look at the wait and the try.
        address = source(request.scope)
        wait = access.wait(address)
        if wait:
            raise HTTPException(429, f"Too many wrong codes. Try again in {wait} s.", {"Retry-After": str(wait)})
        if not access.try_code(given.code, address):
            raise HTTPException(403, "This is not the code.")
        response = Response(status_code=204)
        response.set_cookie(COOKIE, access.cookie, COOKIE_SECONDS, httponly=True, samesite="strict")
        return response

    return router


def _refuse(request: Request, error: StarletteHTTPException) -> Response:
    return JSONResponse({"detail": error.detail}, error.status_code, error.headers)


def _refuse_invalid(request: Request, error: RequestValidationError) -> Response:
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"][1:])
    return JSONResponse({"detail": f"{field}: {first['msg']}" if field else first["msg"]}, 422)


def _refuse_mistake(request: Request, error: UserError) -> Response:
    return JSONResponse({"detail": str(error)}, 422 if isinstance(error, BadDrawing) else 503)


def _store_refusal() -> Callable[[Request, StoreError], Awaitable[Response]]:
    """Tells the page what a class may know, and the log, now and then, what whoever runs the server must."""
    said = -_SECONDS_BETWEEN_LINES

    async def refuse(request: Request, error: StoreError) -> Response:
        nonlocal said
        if time.monotonic() - said >= _SECONDS_BETWEEN_LINES:
            said = time.monotonic()
            logger.error("%s", error)
        if isinstance(error, StoreFull):
            return JSONResponse({"detail": "The server's disk is full: tell who runs it."}, 507)
        return JSONResponse({"detail": "The store does not answer at the moment."}, 503, {"Retry-After": "1"})

    return refuse
