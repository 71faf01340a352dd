"""Answers of 400 or more: what the schema says of them, and how exceptions become one."""

import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.types import Scope

from gradejax.errors import BadDrawing, StoreError, StoreFull, UserError
from gradejax.web.languages import LANGUAGE, Text, Wrong, told
from gradejax.web.messages import Refused
from gradejax.web.roles import ROLE, TEACHER_ONLY, Role

log = logging.getLogger(__name__)

_DESCRIPTIONS = {
    400: "the request cannot be read",
    401: "a code is needed first",
    403: "the request comes from another origin",
    404: "there is no such thing",
    408: "the body takes too long",
    409: "another drawing has this id, another training is going on, or the model is still checking the drawings;"
    " or both tags have drawings, or the store has drawings of another scale",
    410: "the drawing was erased while it was on its way",
    413: "the body is over 1 MB",
    421: "the request names another host",
    422: "not a drawing, or not what the schema says",
    429: "too many requests, or wrong codes",
    503: "the store or the model is not available",
    507: "the server's disk is full",
}
_REFUSED = {"application/json": {"schema": {"$ref": "#/components/schemas/Refused"}}}
RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"description": text, "content": _REFUSED} for status, text in _DESCRIPTIONS.items()
}
"""What each status means, for the schema."""
# A model for each status would take a third of a second, once for all routes together: one brings it into the schema.
RESPONSES[422] = {"description": _DESCRIPTIONS[422], "model": Refused}

TEACHER_ONLY_DESCRIPTION = "only the teacher may do this, or the request comes from another origin"
"""What 403 means where pupils are refused."""

_SECONDS_BETWEEN_LINES = 10.0


def describe_roles(app: FastAPI, routers: Iterable[APIRouter], prefix: str) -> None:
    """Lets the schema of `app` say which of the routes, below `prefix`, refuse pupils."""
    routes = [route for router in routers for route in router.routes if isinstance(route, APIRoute)]
    make_schema = app.openapi

    def make_schema_with_roles() -> dict[str, Any]:
        schema = make_schema()
        for route in routes:
            if route.include_in_schema and TEACHER_ONLY in route.dependencies:
                for method in route.methods or ():
                    operation = schema["paths"][prefix + route.path][method.lower()]
                    operation["responses"]["403"]["description"] = TEACHER_ONLY_DESCRIPTION
        return schema

    app.openapi = make_schema_with_roles


def add_handlers(app: FastAPI) -> None:
    """Makes `app` answer exceptions with one line of JSON."""
    app.exception_handler(HTTPException)(_refuse)
    app.exception_handler(RequestValidationError)(_refuse_invalid)
    app.exception_handler(UserError)(_refuse_mistake)
    app.exception_handler(StoreError)(_store_handler())


async def _refuse(request: Request, error: HTTPException) -> Response:
    return refusal(request.scope, error.status_code, error.detail, error.headers)


async def _refuse_invalid(request: Request, error: RequestValidationError) -> Response:
    first = error.errors()[0]
    # A field's name may come from the client, and be anything.
    field = ".".join(ascii(part)[1:-1] if isinstance(part, str) else str(part) for part in first["loc"][1:])[:100]
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, Wrong):
        return refusal(request.scope, 422, cause.text)
    problem = first["msg"].removeprefix("Value error, ")
    return JSONResponse({"detail": f"{field}: {problem}" if field else problem}, 422)


async def _refuse_mistake(request: Request, error: UserError) -> Response:
    if isinstance(error, BadDrawing):
        return JSONResponse({"detail": str(error)}, 422)
    # What to do about it is a command in a terminal, which is for the teacher.
    detail = str(error) if request.scope.get(ROLE) is Role.TEACHER else Text("server.tell-teacher")
    return refusal(request.scope, 503, detail)


def refusal(scope: Scope, status: int, detail: object, headers: Mapping[str, str] | None = None) -> Response:
    """Returns an answer that says `detail`; a Text in the language of the request."""
    return JSONResponse({"detail": told(detail, scope[LANGUAGE])}, status, headers)


def _store_handler() -> Callable[[Request, StoreError], Awaitable[Response]]:
    """The page is told what a class may know; the log, now and then, what the teacher needs to know."""
    logged = -_SECONDS_BETWEEN_LINES

    async def refuse(request: Request, error: StoreError) -> Response:
        nonlocal logged
        if time.monotonic() - logged >= _SECONDS_BETWEEN_LINES:
            logged = time.monotonic()
            log.error("%s", error)
        if isinstance(error, StoreFull):
            return refusal(request.scope, 507, Text("server.disk-full"))
        return refusal(request.scope, 503, Text("server.store-away"), {"Retry-After": "1"})

    return refuse
