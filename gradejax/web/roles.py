"""Who may do what: pupils draw, guess, and see and delete their own drawings; the teacher may do everything."""

from enum import StrEnum

from fastapi import Depends, HTTPException, Request

from gradejax.web.languages import Text

ROLE = "gradejax.role"
"""The key in a request's scope of the role that it is made in; missing before signing in."""
NO_RECOGNISER = Text("server.no-recogniser")
"""For pupils; the teacher is told what to do about it, in a terminal."""


class Role(StrEnum):
    """What a session may do."""

    PUPIL = "pupil"
    TEACHER = "teacher"


async def require_teacher(request: Request) -> None:
    """Raises HTTPException unless the teacher makes the request."""
    if request.scope.get(ROLE) is not Role.TEACHER:
        raise HTTPException(403, Text("server.teacher-only"))


TEACHER_ONLY = Depends(require_teacher)
"""For the `dependencies` of a router or route that pupils may not use."""
