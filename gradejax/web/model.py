"""The model behind the pages: asked about several drawings at a time."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from threading import Event, Lock
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from gradejax import runs
from gradejax.errors import BadDrawing
from gradejax.grades import NO_GRADE
from gradejax.recogniser import Chosen, Recogniser, load_chosen, load_newest

BATCH_SIZES = (1, 4, 16, 32)
"""The program for each is compiled before the first guess; smaller batches are padded to the next size."""

_LOOK_SECONDS = 3.0


class Judgement(NamedTuple):
    """What the model says about a drawing: its confidence in each label, and whether it accepts it as a grade."""

    confidences: Float[np.ndarray, " labels"]
    is_grade: bool


class Model:
    """The recogniser of one run, of the newest, or the shipped one until there is a finished run."""

    def __init__(self, workdir: Path | None):
        """Creates it; nothing is loaded yet.

        Args:
            workdir: the run; None for the newest finished one when it is first needed, else the first to finish.
        """
        self._workdir = workdir
        self._lock = Lock()
        self._counting = Lock()
        self._urgent = 0
        self._nobody_waits = Event()
        self._nobody_waits.set()
        self._loaded: Chosen | None = None
        self._finished_runs: list[Path] = []
        self._look_at = 0.0

    def get(self) -> Chosen:
        """Returns the recogniser and where it is from.

        Raises:
            UserError: if it cannot be loaded; says what to do.
        """
        with self._lock:
            has_another_finished = self._has_another_run_finished()
            if self._loaded is None:
                self._loaded = _compiled(load_chosen(self._workdir))
            elif has_another_finished and (newest := load_newest()):
                self._loaded = _compiled(newest)
            return self._loaded

    def _has_another_run_finished(self) -> bool:
        """Whether there may be a run to use in the place of the shipped recogniser."""
        if (self._loaded and self._loaded.run) or time.monotonic() < self._look_at:
            return False
        self._look_at = time.monotonic() + _LOOK_SECONDS
        before, self._finished_runs = self._finished_runs, runs.finished_runs()
        return self._finished_runs != before

    @contextmanager
    def urgent(self) -> Iterator[None]:
        """While this is open, somebody waits for a guess."""
        with self._counting:
            self._urgent += 1
            self._nobody_waits.clear()
        try:
            yield
        finally:
            with self._counting:
                self._urgent -= 1
                if not self._urgent:
                    self._nobody_waits.set()

    def wait_for_urgent(self) -> None:
        """Waits, at most a second, while something urgent is computed."""
        self._nobody_waits.wait(1.0)


def _compiled(chosen: Chosen) -> Chosen:
    """`chosen`, after its programs are compiled, or the first guesses would wait for that."""
    for size in BATCH_SIZES:
        chosen.recogniser.logits(np.zeros((size, chosen.recogniser.size, chosen.recogniser.size), np.uint8))
    return chosen


def judge(recogniser: Recogniser, pngs: Sequence[bytes]) -> list[Judgement | BadDrawing]:
    """Judges at most 32 PNGs; a BadDrawing says why one cannot be read."""
    errors: list[BadDrawing | None] = []
    inks = []
    for png in pngs:
        try:
            inks.append(recogniser.ink(png))
            errors.append(None)
        except BadDrawing as error:
            errors.append(error)
    if not inks:
        return [error for error in errors if error]
    judgements = iter(judge_ink(recogniser, inks))
    return [error or next(judgements) for error in errors]


def judge_ink(recogniser: Recogniser, inks: Sequence[UInt8[np.ndarray, "size size"]]) -> list[Judgement]:
    """Judges at least one and at most 32 pictures that `recogniser.ink` decoded, in one call of the network."""
    size = next(size for size in BATCH_SIZES if size >= len(inks))
    padded = np.resize(np.stack(inks), (size, recogniser.size, recogniser.size))
    logits, calibration = recogniser.logits(padded), recogniser.calibration
    judgements = map(Judgement, calibration.confidences(logits), calibration.are_grades(logits, padded))
    return list(islice(judgements, len(inks)))


def confidence_in(label: str, labels: Sequence[str], confidences: Float[np.ndarray, " labels"]) -> float:
    """The model's confidence in a drawing's label; that it is no grade, as far as no grade is likely."""
    return float(1 - confidences.max() if label == NO_GRADE else confidences[labels.index(label)])
