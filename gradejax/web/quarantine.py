"""Quarantine: a drawing that looks like no grade is kept out of use until the teacher has looked at it.

Such a drawing is in the store like all others, excluded and tagged `QUARANTINE_TAG`. Blank paper and dots go there when
they are saved. What the model rejects is moved there right after it was saved; if the model is busy, the save is
answered first.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from gradejax.calibration import is_too_small
from gradejax.dataset import QUARANTINE_TAG, TEST_TAG
from gradejax.drawings import MAX_TAGS, Drawing
from gradejax.errors import BadDrawing, StoreError, UserError
from gradejax.recogniser import Recogniser
from gradejax.resampling import resample
from gradejax.scales import NO_GRADE
from gradejax.stores import Query, Store
from gradejax.web.batcher import Batcher
from gradejax.web.model import Model, judge_ink
from gradejax.web.workers import Workers

log = logging.getLogger(__name__)

WAITING = Query(tags=(QUARANTINE_TAG,), deleted=True)
"""The drawings in quarantine."""
ANSWER_SECONDS = 0.15
"""How long a save waits for the model."""

_TOGETHER = 4  # drawings in one call of the network, for which a guess may have to wait
_MAX_AWAITED = 32
_MAX_UNJUDGED = 100_000  # 80 bytes each
_CROWD = 50  # saves within a second; a class that draws at its own pace makes fewer
_CROWDED_SECONDS = 2.0  # between two batches then
_PAUSES = (1.0, 5.0, 20.0)  # seconds before trying again to move a drawing, when the store does not answer
_LAST_SECONDS = 1.0
_WITHOUT_MODEL = 30.0  # seconds until a model is looked for again


def hold(store: Store, ids: Sequence[str]) -> int:
    """Puts drawings in quarantine; returns how many changed.

    Should the server end in between, `recover` does the rest.
    """
    return max(store.retag(ids, add=(QUARANTINE_TAG,)), store.exclude(ids))


def accept(store: Store, ids: Sequence[str]) -> int:
    """Puts excluded drawings back in use, out of quarantine, too; returns how many changed."""
    return max(store.restore(ids), store.retag(ids, remove=(QUARANTINE_TAG,)))


def reject(store: Store, ids: Sequence[str]) -> int:
    """Excludes drawings; those in quarantine no longer wait, and stay excluded. Returns how many changed."""
    return max(store.exclude(ids), store.retag(ids, remove=(QUARANTINE_TAG,)))


def recover(store: Store) -> int:
    """Excludes drawings in use with the tag, which an interrupted `hold` or `accept` left; returns how many."""
    ids = [drawing.id for drawing in store.find(Query(tags=(QUARANTINE_TAG,)), pictures=False)]
    return store.exclude(ids) if ids else 0


def is_in_quarantine(drawing: Drawing) -> bool:
    """Whether a drawing waits for the teacher."""
    return drawing.deleted is not None and QUARANTINE_TAG in drawing.tags


def examined(drawing: Drawing, ink: UInt8[np.ndarray, "height width"]) -> Drawing:
    """Returns a new drawing as it goes to the store: in quarantine if it is blank or a dot, labelled as a grade."""
    if drawing.label == NO_GRADE or len(drawing.tags) == MAX_TAGS or not is_too_small(ink):
        return drawing
    return replace(drawing, tags=(*drawing.tags, QUARANTINE_TAG), deleted=datetime.now(UTC))


Edit = Callable[[Sequence[str]], int]
"""Changes drawings, and returns how many it changed."""


class Unjudged(NamedTuple):
    """A saved drawing; its ink as `recogniser` sees it, if one was loaded."""

    id: str
    recogniser: Recogniser | None
    ink: UInt8[np.ndarray, "size size"] | None


class Quarantine:
    """Asks the model about the drawings that are saved, those of all devices together."""

    def __init__(self, store: Store, model: Model, edit: Callable[[Sequence[str], Edit], object]):
        """Creates it.

        Args:
            store: holds the drawings.
            model: judges them.
            edit: calls its second argument with its first, a change to these drawings, so that all who show them
                learn of it.
        """
        self._store = store
        self._model = model
        self._edit = edit
        self._batcher = Batcher(self._judge_all, _TOGETHER)
        self._judging: dict[str, asyncio.Task[bool]] = {}
        # What a crowd has saved waits as ids: tasks would be walked through by each full collection of garbage.
        self._later: deque[str] = deque()
        self._catching_up: asyncio.Task[None] | None = None
        self._arrivals: deque[float] = deque(maxlen=_CROWD)
        self._judged_at = self._rest_until = 0.0
        self._no_model_until = 0.0

    def note_arrival(self) -> None:
        """Notes that a drawing is being saved. While many are, judging makes way for them."""
        self._arrivals.append(time.monotonic())

    def prepare(self, drawing: Drawing, ink: UInt8[np.ndarray, "height width"]) -> Unjudged | None:
        """Returns what `judge` takes; None for a drawing that no model is asked about.

        That is one that deliberately shows no grade, or belongs to a test set: it must not be chosen by the models it
        tests.
        """
        if drawing.deleted or drawing.label == NO_GRADE or TEST_TAG in drawing.tags or len(drawing.tags) == MAX_TAGS:
            return None
        chosen = self._model.loaded
        if chosen is None or self._is_crowded:  # then it is read from the store once there is time
            return Unjudged(drawing.id, None, None)
        recogniser = chosen.recogniser
        return Unjudged(drawing.id, recogniser, resample(ink, recogniser.size, recogniser.resampling))

    async def judge(self, unjudged: Unjudged) -> bool:
        """Judges a drawing that is in the store.

        Returns:
            Whether it is in quarantine now. It may get there later, if the model takes more than ANSWER_SECONDS.
        """
        if self._is_crowded or len(self._judging) >= _MAX_AWAITED:
            self._judge_later(unjudged.id)
            return False
        task = asyncio.create_task(self._judge(unjudged))
        self._judging[unjudged.id] = task
        task.add_done_callback(lambda _: self._judging.pop(unjudged.id, None))
        return await self.outcome(unjudged.id)

    async def outcome(self, id: str) -> bool:
        """As `judge`, for a drawing that is being judged; False for any other one."""
        task = self._judging.get(id)
        if task is None or self._is_crowded:
            return False
        done, _ = await asyncio.wait({task}, timeout=ANSWER_SECONDS)
        return bool(done) and task.result()

    async def recover(self, workers: Workers) -> None:
        """Calls `recover` in one of the `workers`: at the start, when the store may not answer yet."""
        try:
            await workers.run(recover, self._store)
        except StoreError as error:
            log.warning("what was being moved to quarantine when the server ended was not looked for: %s", error)

    async def finish(self, recovering: asyncio.Task[None]) -> None:
        """Waits for what is under way, but not for long: the server ends."""
        catching_up = {self._catching_up} if self._catching_up else set()
        await asyncio.wait({recovering, *self._judging.values(), *catching_up}, timeout=_LAST_SECONDS)

    def _judge_later(self, id: str) -> None:
        if len(self._later) >= _MAX_UNJUDGED:
            log.warning("more drawings arrive than can be examined: %s stays in use", id)
            return
        self._later.append(id)
        if self._catching_up is None:
            self._catching_up = asyncio.create_task(self._catch_up())

    async def _catch_up(self) -> None:
        while self._later:
            together = [self._later.popleft() for _ in range(min(_TOGETHER, len(self._later)))]
            await asyncio.gather(*(self._judge(Unjudged(id, None, None)) for id in together))
        self._catching_up = None

    async def _judge(self, unjudged: Unjudged) -> bool:
        for pause in (*_PAUSES, None):
            try:
                return await self._batcher(unjudged)
            except StoreError as error:
                if pause is None:
                    log.warning("drawing %s was not examined, and stays in use: %s", unjudged.id, error)
                    break
                await asyncio.sleep(pause)
            except Exception:  # the drawing is saved; whatever the model does, the save is answered so
                log.exception("drawing %s was not examined, and stays in use", unjudged.id)
                break
        return False

    def _judge_all(self, batch: Sequence[Unjudged]) -> list[bool | Exception]:
        if time.monotonic() < self._no_model_until:
            return [False] * len(batch)
        self._make_way()
        began = time.monotonic()
        try:
            rejected = self._rejected(batch)
        except UserError as error:
            if isinstance(error, StoreError):
                raise
            log.warning("drawings are saved without being examined: %s", error)
            self._no_model_until = time.monotonic() + _WITHOUT_MODEL
            return [False] * len(batch)
        held: set[str] = set()
        if rejected:
            self._edit(rejected, lambda ids: self._hold_untouched(ids, held))
        self._judged_at = time.monotonic()
        self._rest_until = self._judged_at + min(1.0, 3 * (self._judged_at - began))
        return [one.id in held for one in batch]

    @property
    def _is_crowded(self) -> bool:
        return len(self._arrivals) == _CROWD and self._arrivals[0] > time.monotonic() - 1

    def _make_way(self) -> None:
        """Lets guesses and many saves come first, and then takes at most a quarter of the time."""
        self._model.wait_for_urgent()
        time.sleep(max(0.0, self._rest_until - time.monotonic()))
        while self._is_crowded and time.monotonic() < self._judged_at + _CROWDED_SECONDS:
            time.sleep(0.02)

    def _rejected(self, batch: Sequence[Unjudged]) -> list[str]:
        """Returns the ids of the drawings that are no grade to the model."""
        recogniser = self._model.get_at_once().recogniser
        inks = {one.id: one.ink for one in batch if one.ink is not None and one.recogniser is recogniser}
        # Another model was in use when these were saved, or none yet, or there was no time.
        others = [one.id for one in batch if one.id not in inks]
        for id, drawing in self._store.get_many(others).items() if others else ():
            with suppress(BadDrawing):
                inks[id] = recogniser.ink(drawing.png)
        if not inks:
            return []
        self._model.wait_for_urgent()
        judgements = judge_ink(recogniser, list(inks.values()))
        return [id for id, judgement in zip(inks, judgements, strict=True) if not judgement.is_grade]

    def _hold_untouched(self, ids: Sequence[str], held: set[str]) -> int:
        """Holds those drawings that nobody has excluded or relabelled meanwhile, and adds them to `held`."""
        drawings = self._store.get_many(ids, pictures=False)
        held.update(id for id, drawing in drawings.items() if drawing.deleted is None and not drawing.history)
        return hold(self._store, list(held)) if held else 0
