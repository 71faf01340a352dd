"""How models read the test set: the drawings tagged `test-set`, which no training uses."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from pydantic import ValidationError

from gradejax import held_out, intervals, prepare, runs
from gradejax.dataset import TEST_TAG
from gradejax.errors import UserError
from gradejax.recogniser import Recogniser, check_scale
from gradejax.stores import Query, Store
from gradejax.web.model import Model, judge_ink
from gradejax.web.run_messages import TestScore

QUERY = Query(tags=(TEST_TAG,))
_FILE = ".test-set.json"
_TOGETHER = 16  # drawings; a guess may have to wait for them


class TestSet:
    """Scores models on the test set, and remembers the scores until it changes, in `runs/.test-set.json`."""

    def __init__(self, store: Store, model: Model):
        self._store = store
        self._model = model
        self._one_at_a_time = Lock()

    def __len__(self) -> int:
        return self._store.count(QUERY)

    def known(self) -> dict[str, TestScore]:
        """Returns the scores of the present test set that have been asked for, by the name of the run."""
        kept, fingerprint = _kept(), self._fingerprint()
        scores = {}
        for name, row in kept.items():
            with suppress(ValidationError, TypeError):
                if row.pop("fingerprint") == fingerprint:
                    scores[name] = TestScore(**{**row, "interval": row["interval"] and tuple(row["interval"])})
        return scores

    def score(self, name: str, run: Path | None, recogniser: Recogniser) -> TestScore:
        """Returns the score of a model.

        Args:
            name: under which it is remembered.
            run: the model's; None for the shipped recogniser.
            recogniser: the model.

        Raises:
            UserError: if there are no such drawings, or they have another scale.
        """
        with self._one_at_a_time:
            fingerprint = self._fingerprint()
            check_scale(recogniser, self._store.scale)
            data = prepare.load(self._store, QUERY, recogniser.size, None, recogniser.resampling)
            known = held_out.trained_on(run) if run else None
            is_grade = data.labels >= 0
            is_known = np.zeros(len(data), bool) if known is None else held_out.seen(known, np.asarray(data.ink))
            rows = np.flatnonzero(is_grade & ~is_known)
            score = TestScore(n=len(rows), trained_on=int((is_grade & is_known).sum()), accuracy=None, interval=None)
            if len(rows):
                guesses = np.concatenate(list(self._guesses(recogniser, data.ink[rows])))
                columns = [recogniser.labels.index(grade) for grade in data.scale.labels]
                right = np.array(columns)[data.labels[rows]] == guesses
                mean, low, high = intervals.accuracy(right, data.writers[rows])
                bounds = None if np.isnan(low) else (low, high)
                score = score.model_copy(update={"accuracy": mean, "interval": bounds})
            kept = _kept()
            kept[name] = {"fingerprint": fingerprint, **score.model_dump()}
            runs.ROOT.mkdir(exist_ok=True)
            runs.write_json(runs.ROOT / _FILE, kept)
        return score

    def _fingerprint(self) -> str:
        return f"{self._store.uri} {self._store.fingerprint(QUERY)}"

    def _guesses(self, recogniser: Recogniser, ink: np.ndarray) -> Iterator[np.ndarray]:
        """The likeliest label of each drawing, a few at a time: whoever draws meanwhile comes first."""
        for start in range(0, len(ink), _TOGETHER):
            self._model.wait_for_urgent()
            judged = judge_ink(recogniser, list(ink[start : start + _TOGETHER]))
            yield np.array([judgement.confidences.argmax() for judgement in judged])


def _kept() -> dict[str, dict[str, Any]]:
    with suppress(UserError):
        kept = runs.read_json(runs.ROOT / _FILE)
        if isinstance(kept, dict):
            return {name: row for name, row in kept.items() if isinstance(row, dict) and "fingerprint" in row}
    return {}
