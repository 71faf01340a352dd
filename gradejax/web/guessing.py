"""Guesses: the grades that the model takes a drawing for, while it is drawn."""

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from fastapi import APIRouter, HTTPException, Request

from gradejax.errors import BadDrawing, UserError
from gradejax.recogniser import Chosen
from gradejax.web.batcher import Batcher
from gradejax.web.collection import CollectionDep, device_of
from gradejax.web.limits import bounded
from gradejax.web.messages import Guess, Guesses, ToGuess
from gradejax.web.model import BATCH_SIZES, Judgement, Model, judge
from gradejax.web.pictures import picture_from
from gradejax.web.roles import NO_RECOGNISER, ROLE, Role
from gradejax.web.state import from_state

_LIKELIEST = 5
_MAX_PARTS = 10  # of a body that holds one text


class Guesser:
    """Asks the model about the drawings of all visitors together."""

    def __init__(self, model: Model):
        self._model = model
        self._batcher = Batcher(self._guess_all, BATCH_SIZES[-1])

    async def guess(self, png: bytes) -> Guesses:
        """Guesses what a PNG shows; rankings make way for it at once. Raises BadDrawing if it cannot be read."""
        with self._model.urgent():
            return await self._batcher(png)

    def _guess_all(self, pngs: Sequence[bytes]) -> list[Guesses | Exception]:
        chosen = self._model.get_at_once()
        judgements = judge(chosen.recogniser, pngs)
        return [one if isinstance(one, BadDrawing) else _likeliest(chosen, one) for one in judgements]


router = APIRouter(route_class=bounded(_MAX_PARTS))


@router.post("/guess")
async def guess(
    drawing: ToGuess, request: Request, guesser: Annotated[Guesser, from_state("guesser")], collection: CollectionDep
) -> Guesses:
    """Returns the grades that the model takes a drawing for, likeliest first; 503 if there is no model."""
    collection.note(device_of(request.scope))
    try:
        return await guesser.guess(picture_from(drawing.data))
    except BadDrawing:
        raise
    except UserError as error:
        if request.scope.get(ROLE) is Role.TEACHER:
            raise
        raise HTTPException(503, NO_RECOGNISER) from error


def _likeliest(chosen: Chosen, judgement: Judgement) -> Guesses:
    labels = chosen.recogniser.labels
    best = np.argsort(-judgement.confidences, kind="stable")[:_LIKELIEST]
    guesses = [Guess(label=labels[int(i)], confidence=float(judgement.confidences[i])) for i in best]
    return Guesses(guesses=guesses, is_grade=bool(judgement.is_grade), model=chosen.name, is_shipped=chosen.run is None)
