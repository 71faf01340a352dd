"""The invitation to a class: the pages' address, the code, and a QR code that contains both."""

from dataclasses import dataclass
from io import BytesIO
from typing import Annotated
from urllib.parse import quote, urlsplit

import segno
from fastapi import APIRouter, Depends, Response

from gradejax.web.guard import is_loopback
from gradejax.web.limits import bounded, no_repeats
from gradejax.web.messages import Invited
from gradejax.web.roles import TEACHER_ONLY
from gradejax.web.state import from_state


@dataclass(frozen=True)
class Invitation:
    """How others get to the pages.

    Attributes:
        address: the URL of the first page.
        code: what they enter there; None if it needs no code.
    """

    address: str
    code: str | None = None

    @property
    def link(self) -> str:
        """The address with the code. The part after # stays in the browser: no server or log sees it."""
        return f"{self.address}#code={quote(self.code, safe='')}" if self.code else self.address

    @property
    def is_reachable(self) -> bool:
        """Whether other machines can reach the address."""
        return not is_loopback(urlsplit(self.address).hostname or "")

    def qr_code(self) -> segno.QRCode:
        """Returns the link as a QR code."""
        return segno.make_qr(self.link, error="m")


InvitationDep = Annotated[Invitation, from_state("invitation")]

router = APIRouter(prefix="/invitation", dependencies=[TEACHER_ONLY, Depends(no_repeats)], route_class=bounded(0))


@router.get("")
async def invitation(invitation: InvitationDep) -> Invited:
    """Returns what to show to a class."""
    return Invited(address=invitation.address, code=invitation.code, is_reachable=invitation.is_reachable)


@router.get(
    ".svg", response_class=Response, responses={200: {"content": {"image/svg+xml": {}}, "description": "a QR code"}}
)
async def picture(invitation: InvitationDep) -> Response:
    """Returns the QR code: dark on white whatever the page's colours, for some phones read no other."""
    svg = BytesIO()
    invitation.qr_code().save(svg, kind="svg", light="white", omitsize=True, xmldecl=False)
    return Response(svg.getvalue(), media_type="image/svg+xml")
