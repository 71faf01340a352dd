"""Signing in with one of the two codes, and signing out."""

from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import APIRouter, HTTPException, Request, Response

from gradejax.web.access import Access
from gradejax.web.events import EventsDep
from gradejax.web.guard import SESSION, SIGN_IN, source
from gradejax.web.languages import Text
from gradejax.web.locks import TooManyAttempts
from gradejax.web.messages import Code, SignedIn
from gradejax.web.proxy import PublicAddress
from gradejax.web.sessions import COOKIE, COOKIE_SECONDS
from gradejax.web.state import from_state

AccessDep = Annotated[Access, from_state("access")]

router = APIRouter(include_in_schema=False)


@router.post(SIGN_IN)
async def sign_in(message: Code, request: Request, response: Response, access: AccessDep) -> SignedIn:
    """Sets the cookie of a new session if the code is right; it has the role that the code belongs to."""
    try:
        role = await access.try_code(message.code, source(request.scope))
    except TooManyAttempts:
        retry = {"Retry-After": "2"}
        raise HTTPException(429, Text("server.many-wrong-codes"), retry) from None
    if role is None:
        raise HTTPException(403, Text("server.wrong-code"))
    response.set_cookie(COOKIE, access.sessions.begin(role), COOKIE_SECONDS, **_attributes(request))
    return SignedIn(role=role)


@router.post("/sign-out", status_code=204)
async def sign_out(request: Request, access: AccessDep, events: EventsDep) -> Response:
    """Ends the session, for every copy of its cookie."""
    access.sessions.end(request.scope[SESSION])
    events.close_all(request.scope[SESSION])
    # Not "storage": unsent drawings in the browser belong to whoever drew them.
    response = Response(status_code=204, headers={"Clear-Site-Data": '"cache"'})
    response.delete_cookie(COOKIE, **_attributes(request))
    return response


def _attributes(request: Request) -> dict[str, Any]:
    """Returns the cookie's attributes. Below a path of a proxy's host there may be another class below another path."""
    public: PublicAddress | None = request.app.state.public
    path = public.path if public and urlsplit(public.origin).netloc == request.headers["host"] else "/"
    return {"path": path, "secure": request.url.scheme == "https", "httponly": True, "samesite": "strict"}
