"""Taking back a drawing: whoever saved it may exclude it again, with the receipt that the save was answered with."""

import hashlib
import hmac
import time
from functools import partial
from typing import Annotated

from fastapi import APIRouter, HTTPException

from gradejax.web.editing import EditorDep
from gradejax.web.languages import Text
from gradejax.web.limits import bounded
from gradejax.web.messages import Changed, Refused, TakingBack
from gradejax.web.quarantine import reject
from gradejax.web.state import from_state

RECEIPT_SECONDS = 24 * 3600

_MAX_PARTS = 10  # of a body that holds two texts


class Receipts:
    """Proofs that a drawing was saved by whoever shows them. Nothing about them is stored: they are signed."""

    def __init__(self, key: bytes):
        """`key` is secret; receipts are valid for as long as it stays the same."""
        self._key = key

    def issue(self, id: str) -> str:
        """Returns a receipt for the drawing `id`, valid for RECEIPT_SECONDS."""
        expiry = int(time.time()) + RECEIPT_SECONDS
        return f"{expiry}.{self._sign(id, expiry)}"

    def prove(self, id: str, receipt: str) -> bool:
        """Whether `receipt` was issued for the drawing `id`, and is still valid."""
        expiry, _, signature = receipt.partition(".")
        # Compared before the number is read: only our own signature says that it is one.
        genuine = hmac.compare_digest(signature.encode(), self._sign(id, expiry).encode())
        return genuine and int(expiry) > time.time()

    def _sign(self, id: str, expiry: int | str) -> str:
        return hmac.new(self._key, f"{id}.{expiry}".encode(), hashlib.sha256).hexdigest()


ReceiptsDep = Annotated[Receipts, from_state("receipts")]

router = APIRouter(prefix="/drawings", route_class=bounded(_MAX_PARTS))


_REFUSAL = "the receipt is not this drawing's, or too old; or the request comes from another origin"


@router.post("/take-back", responses={403: {"model": Refused, "description": _REFUSAL}})
async def take_back(message: TakingBack, receipts: ReceiptsDep, editor: EditorDep) -> Changed:
    """Excludes the drawing that the receipt belongs to; the teacher can restore it. 403 after a day."""
    if not receipts.prove(message.id, message.receipt):
        raise HTTPException(403, Text("server.too-late-to-take-back"))
    return await editor.apply([message.id], partial(reject, editor.store))
