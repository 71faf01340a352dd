"""The model behind the pages: loaded once, asked for several drawings at a time."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Lock
from typing import NamedTuple

import numpy as np
from fastapi import APIRouter
from jaxtyping import Float

from gradejax.errors import BadDrawing
from gradejax.recogniser import Recogniser, load_chosen
from gradejax.web.batcher import Batcher
from gradejax.web.bodies import bounded
from gradejax.web.messages import Guess, Guesses, ToGuess
from gradejax.web.pictures import picture_from

LIKELIEST = 5
BATCH_SIZES = (1, 4, 16, 32)
"""Each is a program of its own, compiled before the first guess; what comes is filled up to the next."""
_PARTS = 10  # of a body that holds one text


class Judgement(NamedTuple):
    """What the model makes of a drawing: its confidence in each label, and whether it is a grade at all."""

    confidences: Float[np.ndarray, " labels"]
    is_grade: bool


class Model:
    """The recogniser in `workdir`, or of the newest run; looked for again until there is one."""

    def __init__(self, workdir: Path | None):
        self._workdir = workdir
        self._lock = Lock()
        self._free = Event()
        self._free.set()
        self._loaded: tuple[str, Recogniser] | None = None

    def get(self) -> tuple[str, Recogniser]:
        """The run's name and its recogniser.

        Raises:
            UserError: says which command makes one.
        """
        with self._lock:
            if self._loaded is None:
                run, recogniser = load_chosen(self._workdir)
                for size in BATCH_SIZES:
                    recogniser.confidences(np.zeros((size, recogniser.size, recogniser.size), np.uint8))
                self._loaded = run.resolve().name, recogniser
            return self._loaded

    @contextmanager
    def in_a_hurry(self) -> Iterator[None]:
        """For one thread at a time, which somebody waits for."""
        self._free.clear()
        try:
            yield
        finally:
            self._free.set()

    def let_pass(self) -> None:
        """Waits, no longer than a second, while somebody is in a hurry."""
        self._free.wait(1.0)

    def judge(self, pngs: Sequence[bytes]) -> list[Judgement | BadDrawing]:
        """What the model makes of each of at most 32 PNGs, or why it cannot be read."""
        _, recogniser = self.get()
        found: list[BadDrawing | None] = []
        inks = []
        for png in pngs:
            try:
                inks.append(recogniser.ink(png))
                found.append(None)
            except BadDrawing as error:
                found.append(error)
        if not inks:
            return found
        size = next(size for size in BATCH_SIZES if size >= len(inks))
        filled = np.resize(np.stack(inks), (size, recogniser.size, recogniser.size))
        confidences = recogniser.confidences(filled)
        are_grades = recogniser.calibration.are_grades(confidences, filled)
        judgements = map(Judgement, confidences, are_grades)
        return [error or next(judgements) for error in found]


def routes(model: Model) -> APIRouter:
    """`POST /guess`."""
    router = APIRouter(route_class=bounded(_PARTS))

    def guess_all(pngs: Sequence[bytes]) -> list[Guesses | Exception]:
        labels = model.get()[1].labels
        with model.in_a_hurry():
            judged = model.judge(pngs)
        return [one if isinstance(one, BadDrawing) else _likeliest(labels, one) for one in judged]

    guess_one = Batcher(guess_all, BATCH_SIZES[-1])

    @router.post("/guess")
    async def guess(drawing: ToGuess) -> Guesses:
        """The grades that the model takes a drawing for, likeliest first. 503 while there is no model."""
        return await guess_one(picture_from(drawing.data))

    return router


def _likeliest(labels: Sequence[str], judgement: Judgement) -> Guesses:
    confidences, is_grade = judgement
    best = np.argsort(-confidences, kind="stable")[:LIKELIEST]
    guesses = [Guess(label=labels[i], confidence=float(confidences[i])) for i in best]
    return Guesses(guesses=guesses, is_grade=bool(is_grade))
