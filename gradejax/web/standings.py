"""The order of a ranking: drawings by a model's confidence in their label, and what else it said of each.

A store may hold a million drawings. So all is in arrays, 250 bytes a drawing with its id, and a page of the order, a
count or a change takes milliseconds.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np

from gradejax.scales import NO_GRADE
from gradejax.web.model import Judgement, confidence_in

_AT_ONCE = 1000  # rows that become numbers of Python
_NO_GRADE = -1  # as a guess
_NOT_A_LABEL = -2


class Standings:
    """Judged drawings in the order of confidence in their label, lowest first.

    One thread at a time may change them; others may read meanwhile, and see them as they were before or after.
    """

    def __init__(self, labels: Sequence[str], expected: int = 0) -> None:
        """Creates it, without drawings.

        Args:
            labels: that the judgements are about, which are those of the drawings.
            expected: how many drawings there will be, as far as that is known.
        """
        self._labels = labels
        self._all_labels = (*labels, NO_GRADE)
        self._label_index = {label: index for index, label in enumerate(self._all_labels)}
        self._names: list[str] = []  # of each row; rows are in the order of `add`
        self._rows: dict[str, int] = {}
        self._gone: set[str] = set()  # those that have a row and no place
        self._order = np.empty(0, np.int32)
        self._confidences = np.empty((expected, len(labels)), np.float32)
        self._scores = np.empty(expected, np.float32)
        self._guesses = np.empty(expected, np.int8)
        self._label_indices = np.empty(expected, np.int8)

    def __len__(self) -> int:
        return len(self._rows) - len(self._gone)

    def __contains__(self, id: str) -> bool:
        return id in self._rows and id not in self._gone

    def add(self, id: str, label: str, judgement: Judgement) -> float:
        """Adds a drawing, which gets its place with the next `sort`; returns the confidence in its label."""
        row = self._rows.get(id, len(self._names))
        if row == len(self._scores):
            self._grow(max(1000, 2 * row))
        confidences, is_grade = judgement
        self._confidences[row] = confidences
        self._scores[row] = score = confidence_in(label, self._labels, confidences)
        self._guesses[row] = confidences.argmax() if is_grade else _NO_GRADE
        self._label_indices[row] = self._label_index[label]
        if row == len(self._names):
            self._names.append(id)
            self._rows[id] = row
        self._gone.discard(id)
        return score

    def sort(self) -> None:
        """Gives each drawing its place."""
        order = np.argsort(self._scores[: len(self._names)], kind="stable").astype(np.int32)
        gone = [self._rows[id] for id in self._gone]
        self._order = order[~np.isin(order, gone)] if gone else order

    def move(self, changed: Mapping[str, tuple[str, Judgement] | None]) -> None:
        """Moves a few drawings to their places; the others stay in order.

        Args:
            changed: the label and judgement of each drawing, by id; None for one that has no place any more.
        """
        moved = [self._rows[id] for id in changed if id in self]
        order = self._order[~np.isin(self._order, moved)] if moved else self._order
        for id, now in changed.items():
            if now is not None:
                self.add(id, *now)
            elif id in self._rows:
                self._gone.add(id)
        new = np.array([self._rows[id] for id, now in changed.items() if now is not None], np.int32)
        new = new[np.argsort(self._scores[new], kind="stable")]
        places = np.searchsorted(self._scores[order], self._scores[new])
        self._order = np.insert(order, places, new)

    def label_of(self, id: str) -> str:
        """The label of a drawing."""
        return self._all_labels[self._label_indices[self._rows[id]]]

    def judgement_of(self, id: str) -> Judgement:
        """The judgement of a drawing."""
        row = self._rows[id]
        return Judgement(self._confidences[row], bool(self._guesses[row] != _NO_GRADE))

    def guess_of(self, id: str) -> str:
        """What the model takes a drawing for, which may be no grade."""
        guess = self._guesses[self._rows[id]]
        return NO_GRADE if guess == _NO_GRADE else self._labels[int(guess)]

    def ids(self, guess: str | None = None, after: str | None = None) -> Iterator[str]:
        """The ids in order.

        Args:
            guess: only drawings that the model takes for this; None for all.
            after: begin after this one; None from the first. Nothing follows one that has no place.
        """
        names, order = self._names, self._order
        if after is not None:
            (places,) = np.nonzero(order == self._rows.get(after, -1))
            order = order[places[0] + 1 :] if len(places) else order[:0]
        if guess is not None:
            order = order[self._guesses[order] == self._index_of(guess)]
        for start in range(0, len(order), _AT_ONCE):
            yield from (names[row] for row in order[start : start + _AT_ONCE].tolist())

    def count(self, guess: str | None, without: Collection[str]) -> int:
        """How many ids `ids(guess)` yields, except those in `without`."""
        order = self._order
        n = len(order) if guess is None else int(np.count_nonzero(self._guesses[order] == self._index_of(guess)))
        return n - sum(id in self and guess in (None, self.guess_of(id)) for id in without)

    def _index_of(self, guess: str) -> int:
        if guess == NO_GRADE:
            return _NO_GRADE
        return self._labels.index(guess) if guess in self._labels else _NOT_A_LABEL

    def _grow(self, n: int) -> None:
        """Makes room for `n` drawings; whoever reads an array goes on with the smaller one."""
        old = (self._confidences, self._scores, self._guesses, self._label_indices)
        larger = [np.empty((n, *array.shape[1:]), array.dtype) for array in old]
        for array, before in zip(larger, old, strict=True):
            array[: len(before)] = before
        self._confidences, self._scores, self._guesses, self._label_indices = larger
