"""The model behind the pages: loaded once, asked about several drawings at a time."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from threading import Event, Lock
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from gradejax.errors import BadDrawing
from gradejax.recogniser import Recogniser, load_chosen

BATCH_SIZES = (1, 4, 16, 32)
"""The program for each is compiled before the first guess; smaller batches are padded to the next size."""

_MAX_REMEMBERED = 200_000  # 400 bytes each


class Judgement(NamedTuple):
    """What the model says about a drawing: its confidence in each label, and whether it accepts it as a grade."""

    confidences: Float[np.ndarray, " labels"]
    is_grade: bool


class Model:
    """The recogniser of one run, or of the newest; looked for again until there is one."""

    def __init__(self, workdir: Path | None):
        self._workdir = workdir
        self._lock = Lock()
        self._nobody_waits = Event()
        self._nobody_waits.set()
        self._loaded: tuple[str, Recogniser] | None = None

    def get(self) -> tuple[str, Recogniser]:
        """Returns the run's name and its recogniser.

        Raises:
            UserError: if there is none; says which command trains one.
        """
        with self._lock:
            if self._loaded is None:
                run, recogniser = load_chosen(self._workdir)
                for size in BATCH_SIZES:
                    recogniser.confidences(np.zeros((size, recogniser.size, recogniser.size), np.uint8))
                self._loaded = run.resolve().name, recogniser
            return self._loaded

    @contextmanager
    def urgent(self) -> Iterator[None]:
        """While this is open, somebody waits for a guess. For one thread at a time."""
        self._nobody_waits.clear()
        try:
            yield
        finally:
            self._nobody_waits.set()

    def wait_for_urgent(self) -> None:
        """Waits, at most a second, while something urgent is computed."""
        self._nobody_waits.wait(1.0)

    def judge(self, pngs: Sequence[bytes]) -> list[Judgement | BadDrawing]:
        """Judges at most 32 PNGs; a BadDrawing says why one cannot be read."""
        _, recogniser = self.get()
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
        size = next(size for size in BATCH_SIZES if size >= len(inks))
        padded = np.resize(np.stack(inks), (size, recogniser.size, recogniser.size))
        confidences = recogniser.confidences(padded)
        are_grades = recogniser.calibration.are_grades(confidences, padded)
        judgements = map(Judgement, confidences, are_grades)
        return [error or next(judgements) for error in errors]


class Judgements:
    """The model's judgements of the pictures it saw last: after a relabelling none is computed again."""

    def __init__(self, model: Model):
        self._model = model
        self._by_digest: OrderedDict[bytes, Judgement] = OrderedDict()

    def of(self, pngs: Sequence[bytes]) -> list[Judgement | None]:
        """Returns the judgement of each of at most 32 PNGs; None if its pixels cannot be read."""
        digests = [blake2b(png, digest_size=16).digest() for png in pngs]
        new = {digest: png for digest, png in zip(digests, pngs, strict=True) if digest not in self._by_digest}
        for digest, judgement in zip(new, self._model.judge(list(new.values())), strict=True):
            if not isinstance(judgement, BadDrawing):
                self._by_digest[digest] = judgement
        judgements = [self._by_digest.get(digest) for digest in digests]
        for digest in digests:
            if digest in self._by_digest:
                self._by_digest.move_to_end(digest)
        while len(self._by_digest) > _MAX_REMEMBERED:
            self._by_digest.popitem(last=False)
        return judgements
