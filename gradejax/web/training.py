"""Trains for the teacher: one training at a time, in a process of its own that a restart of the server resumes.

`runs/.training.json` says which training was begun here and has not ended. Its process ends with the server; the next
server that starts in the same folder goes on with it.
"""

import logging
import os
import runpy
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from threading import Lock, Thread
from typing import Any, Literal, NamedTuple

from gradejax import choice, recipe, regular, runs
from gradejax.errors import UserError
from gradejax.web.failures import explained
from gradejax.web.languages import Text

log = logging.getLogger(__name__)

SHIPPED_NETWORK = "best"
"""The recipe with the network of the shipped recogniser, from which it can start."""
LOG = "training.log"

_FILE = ".training.json"
_PARTS = 20
"""A training that is cut off loses at most one of so many parts of it."""
_PATIENCE = 3.0
"""Seconds that a training has to end after SIGTERM; killing it does no harm."""
_MAX_LOG_BYTES = 2**20

Phase = Literal["preparing", "training", "evaluating"]
Outcome = Literal["finished", "cancelled", "failed"]


class Busy(UserError):
    """A training is going on already."""


@dataclass(frozen=True)
class Order:
    """What is to be trained.

    Attributes:
        run: the name of its folder below `runs/`.
        recipe: the name of a shipped recipe.
        tags: only drawings with one of these; all if empty.
        seed: the recipe's.
        starts_from_shipped: whether it begins with the parameters of the shipped recogniser.
        epochs: the recipe's.
    """

    run: str
    recipe: str
    tags: tuple[str, ...]
    seed: int
    starts_from_shipped: bool
    epochs: int

    @property
    def workdir(self) -> Path:
        """The run's folder."""
        return runs.ROOT / self.run

    def flags(self) -> list[str]:
        """The flags of `gradejax.main`."""
        settings = {
            "data.tags": ",".join(self.tags),
            "seed": self.seed,
            "train.start_from": "shipped" if self.starts_from_shipped else "",
            "train.checkpoint_every": max(1, self.epochs // _PARTS),
        }
        flags = [f"--config.{key}={value}" for key, value in settings.items()]
        return [f"--config={recipe.SHIPPED[self.recipe]}", f"--workdir={self.workdir}", *flags]


class Progress(NamedTuple):
    """How far a training has come.

    Attributes:
        order: what is trained.
        phase: what it does now.
        history: its epochs so far, as in `metrics.jsonl`.
        seconds_left: of training; None while that cannot be told.
    """

    order: Order
    phase: Phase
    history: list[dict[str, Any]]
    seconds_left: float | None


class Ended(NamedTuple):
    """How the last training ended.

    Attributes:
        run: the name of its folder.
        outcome: how.
        reason: if it failed, in one line.
    """

    run: str
    outcome: Outcome
    reason: Text | str = ""


class Trainings:
    """Begins, watches, cancels and resumes trainings."""

    def __init__(self, uri: str, finished: Callable[[], None]):
        """Creates it; nothing is trained until `open`.

        Args:
            uri: the store's address, with its credentials.
            finished: called after a run has finished.
        """
        self._uri = uri
        self._finished = finished
        self._lock = Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._watcher: Thread | None = None
        self._order: Order | None = None
        self._cancelled = self._closing = False
        self.ended: Ended | None = None

    @contextmanager
    def open(self) -> Iterator[None]:
        """While the application runs. Goes on with a training that was cut off; in the end cuts this one off."""
        self._closing = False
        order = _unfinished()
        if order and not runs.is_held(order.workdir):  # by another server's training
            log.info("going on with the training of %s", order.workdir)
            with self._lock:
                self._start(order)
        try:
            yield
        finally:
            self._closing = True
            if self._process:
                _end(self._process)

    def begin(self, name: str, tags: Sequence[str], seed: int, *, starts_from_shipped: bool) -> Order:
        """Begins a training.

        Args:
            name: of a shipped recipe.
            tags: only drawings with one of these; all if empty.
            seed: the recipe's.
            starts_from_shipped: only for the recipe `SHIPPED_NETWORK`.

        Raises:
            Busy: if one is going on.
            UserError: if it cannot be begun.
        """
        if any("," in tag for tag in tags):
            raise UserError("a tag with a comma cannot be trained on: the recipe separates tags by commas")
        with self._lock:
            if self._process or ((other := _unfinished()) and runs.is_held(other.workdir)):
                raise Busy("a training is going on already: wait until it has ended, or cancel it")
            epochs = runpy.run_path(str(recipe.SHIPPED[name]))["get_config"]().train.epochs
            workdir = runs.new_workdir(name)
            order = Order(workdir.name, name, tuple(tags), seed, starts_from_shipped, epochs)
            _remember(order)
            self.ended = None
            self._start(order)
        return order

    def cancel(self) -> bool:
        """Ends the training and removes what it has written; returns whether there was one."""
        with self._lock:
            process, watcher = self._process, self._watcher
            self._cancelled = process is not None
        if process and watcher:
            _end(process)
            watcher.join()
        return process is not None

    def progress(self) -> Progress | None:
        """Returns how far the training has come; None if there is none."""
        with self._lock:
            order = self._order if self._process else None
        if order is None:
            return None
        with suppress(UserError):
            history = runs.read_history(order.workdir)[: order.epochs]
            return Progress(order, _phase(order, history), history, _seconds_left(order, history))
        return Progress(order, "preparing", [], None)

    def _start(self, order: Order) -> None:
        order.workdir.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, "GRADEJAX_STORE": self._uri}  # a flag would show its password to everybody here
        environment.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # the server has most of a GPU's memory
        with (order.workdir / LOG).open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "gradejax.web.trainer", *order.flags()],
                stdin=subprocess.PIPE, stdout=output, stderr=output, env=environment,
                start_new_session=True,  # Ctrl-C is for the server
            )  # fmt: skip
        self._order, self._cancelled = order, False
        self._watcher = Thread(target=partial(self._watch, self._process, order), daemon=True)
        self._watcher.start()

    def _watch(self, process: subprocess.Popen[bytes], order: Order) -> None:
        status = process.wait()
        with self._lock:
            if self._closing:
                return
            self._process = None
            is_finished = not self._cancelled and (order.workdir / "summary.json").exists()  # a plot may be missing
            if self._cancelled:
                shutil.rmtree(order.workdir, ignore_errors=True)
                _forget()
                self.ended = Ended(order.run, "cancelled")
            elif is_finished:
                self.ended = Ended(order.run, "finished")
            elif "the drawings have changed since" in str(reason := _reason(order, status)):
                # They were drawn while the server was down. What was trained on the earlier ones cannot go on.
                shutil.rmtree(order.workdir, ignore_errors=True)
                self._start(order)
                return
            else:
                self.ended = Ended(order.run, "failed", reason)
                log.warning("the training of %s failed: %s", order.workdir, reason)
            if status != -signal.SIGTERM:  # which a service manager sends to all: the server goes on with it later
                _forget()
        if is_finished:
            self._finished()


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:  # it may be compiling, which no signal interrupts
        process.kill()
        process.wait()


def _remember(order: Order) -> None:
    runs.write_json(runs.ROOT / _FILE, asdict(order))


def _forget() -> None:
    (runs.ROOT / _FILE).unlink(missing_ok=True)


def _unfinished() -> Order | None:
    """The training that was begun and has not ended; None if there is none, or the file is not one that we wrote."""
    try:
        order = Order(**runs.read_json(runs.ROOT / _FILE))
        order = Order(**{**asdict(order), "tags": tuple(order.tags)})
        is_ours = order.recipe in recipe.SHIPPED and choice.is_name(order.run) and order.epochs > 0
    except (UserError, TypeError, ValueError, AttributeError):
        return None
    return order if is_ours and not (order.workdir / "summary.json").exists() else None


def _phase(order: Order, history: Sequence[object]) -> Phase:
    if len(history) >= order.epochs:
        return "evaluating"
    return "training" if (order.workdir / "config.json").exists() else "preparing"


def _seconds_left(order: Order, history: Sequence[dict[str, Any]]) -> float | None:
    """From how long the last epochs took; the first one includes compiling."""
    last = history[-6:]
    if len(last) < 2:
        return None
    each = (last[-1]["elapsed"] - last[0]["elapsed"]) / (len(last) - 1)
    since = time.time() - (order.workdir / "metrics.jsonl").stat().st_mtime
    return max(0.0, each * (order.epochs - len(history)) - since)


def _reason(order: Order, status: int) -> Text | str:
    """Why a training failed: the last line of its log."""
    if status < 0:
        return Text("server.signal-ended-it", signal=-status)
    with suppress(OSError, regular.Irregular):
        text = regular.read(order.workdir / LOG, _MAX_LOG_BYTES).decode(errors="replace")
        if lines := [line for line in text.splitlines() if line.startswith("error: ")]:
            return explained(lines[-1].removeprefix("error: "))
    return Text("server.log-says-why", file=order.workdir / LOG)
