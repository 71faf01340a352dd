"""The model behind the pages: asked about several drawings at a time."""

import gc
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice, takewhile
from pathlib import Path
from threading import Event, Lock, main_thread
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from gradejax import choice, results, runs, shipped, threads
from gradejax.errors import BadDrawing, UserError
from gradejax.recogniser import Chosen, Recogniser, load_chosen, load_first, load_own, of_run
from gradejax.scales import LETTERS, NO_GRADE, Scale
from gradejax.web.about import about
from gradejax.web.languages import Text

BATCH_SIZES = (1, 4, 16, 32)
"""The program for each is compiled before the first guess; smaller batches are padded to the next size."""

_LOOK_SECONDS = 3.0


class Judgement(NamedTuple):
    """What the model says about a drawing: its confidence in each label, and whether it accepts it as a grade."""

    confidences: Float[np.ndarray, " labels"]
    is_grade: bool


class Model:
    """The recogniser of one run, of the one that was chosen, or of the best; the shipped one until there is a run."""

    def __init__(self, workdir: Path | None, scale: Callable[[], Scale] = lambda: LETTERS):
        """Creates it; nothing is loaded yet.

        Args:
            workdir: the run; None for the one that was chosen with `use`, now or before a restart, else the most
                accurate finished one (`choice.best_first`), also if it finishes later.
            scale: says which scale the models must read; others are not used.
        """
        self.workdir = workdir
        self._scale = scale
        self._changing = Lock()
        self._counting = Lock()
        self._urgent = 0
        self._nobody_waits = Event()
        self._nobody_waits.set()
        self._loaded: Chosen | None = None
        self._missing: str | None = None
        self._described: tuple[Chosen | None, Text | None] = None, None
        self._seen: tuple[Scale, str | None, list[Path]] | None = None
        self._look_at = 0.0

    def get(self) -> Chosen:
        """Returns the recogniser and where it is from; looks, now and then, for one to use in its place.

        Raises:
            UserError: if none can be loaded; says what to do.
        """
        loaded = self._loaded
        if not self._is_look_due():
            if loaded:
                return loaded
            if self._missing:
                raise UserError(self._missing)
        # While another is being loaded, only those wait who have none.
        if not self._changing.acquire(blocking=loaded is None):
            assert loaded
            return loaded
        try:
            self._missing = None
            chosen, before = self._look(), self._loaded
            if before is None:
                # The server has just been started: whoever opens a page need not wait for it.
                threads.start(_compile_meanwhile, chosen)
            elif chosen is not before:
                _compile(chosen)
            self._loaded = chosen
        except UserError as error:
            self._missing = str(error)
            raise
        finally:
            self._changing.release()
        return chosen

    @property
    def loaded(self) -> Chosen | None:
        """The recogniser in use, if one has been loaded."""
        return self._loaded

    def get_at_once(self) -> Chosen:
        """Does as `get`, but looks in the background: somebody waits for a guess."""
        loaded = self._loaded
        if loaded is None:
            return self.get()
        if self._is_look_due() and not self._changing.locked():
            threads.start(self.get)
        return loaded

    def about(self, chosen: Chosen) -> Text | None:
        """Says which run `chosen`, from `get`, is and how good it is; None for the shipped recogniser."""
        if chosen is not self._described[0]:
            text = about(chosen.name, results.read(chosen.run)) if chosen.run else None
            self._described = chosen, text
        return self._described[1]

    def use(self, name: str) -> Chosen:
        """Chooses what guesses from now on, also after a restart.

        Args:
            name: of a finished run's folder below `runs/`, or `shipped`.

        Raises:
            UserError: if there is no such run, it cannot be loaded, or the command line has chosen another.
        """
        if self.workdir:
            raise UserError(f"the server was started with --workdir={self.workdir}: start it without to choose here")
        with self._changing:
            scale = self._scale()
            wanted = load_own(scale) if name == shipped.NAME else of_run(choice.finished(name), scale)
            _compile(wanted)
            choice.choose(name)
            self._loaded, self._seen = wanted, (scale, name, runs.finished_runs())
        return wanted

    def look_now(self) -> None:
        """Makes the next `get` look: a run has finished."""
        self._look_at = 0.0

    def _is_look_due(self) -> bool:
        return time.monotonic() >= self._look_at

    def _look(self) -> Chosen:
        self._look_at = time.monotonic() + _LOOK_SECONDS
        scale = self._scale()
        if self._loaded and self._loaded.recogniser.scale != scale:
            self._loaded = None  # the store has been given another
        if self.workdir:
            return self._loaded or load_chosen(self.workdir, scale)
        seen = scale, choice.chosen(), runs.finished_runs()
        if self._loaded and seen == self._seen:
            return self._loaded
        name = seen[1]
        candidates = [] if name == shipped.NAME else choice.best_first()
        if name and name != shipped.NAME:
            candidates.insert(0, runs.ROOT / name)
        self._seen = seen
        if self._loaded and [self._loaded.run] == (candidates or [None])[:1]:
            return self._loaded
        found = load_first(candidates, scale)
        if self._loaded and self._loaded.run == (found.run if found else None):
            return self._loaded
        return found or load_own(scale)

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


def _compile(chosen: Chosen, sizes: Iterable[int] = BATCH_SIZES) -> None:
    """Compiles the programs of a recogniser, or the first guesses would wait for that."""
    for size in sizes:
        chosen.recogniser.logits(np.zeros((size, chosen.recogniser.size, chosen.recogniser.size), np.uint8))


def _compile_meanwhile(chosen: Chosen) -> None:
    """Does as `_compile`, in a thread, until the process ends. Whoever asks for a guess learns of errors."""
    with suppress(UserError):
        _compile(chosen, takewhile(lambda _: main_thread().is_alive(), BATCH_SIZES))
    gc.freeze()  # as `serving` does before: what compiling leaves need not be walked through either


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
