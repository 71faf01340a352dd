"""A table of judgements in arrays: a model's answer to each of many pictures, by the drawing's id."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from gradejax.web.model import Judgement

DIGEST_BYTES = 16
"""Of the digest of a picture."""
_FEWEST_ROWS = 1000


class Arrays(NamedTuple):
    """The content of a table.

    Attributes:
        names: the drawings' ids.
        digests: of the pictures that were judged.
        confidences: what the model said.
        are_grades: whether it accepted them.
        are_unchanged: whether the pictures cannot have changed since.
    """

    names: Sequence[str]
    digests: UInt8[np.ndarray, "n bytes"]
    confidences: Float32[np.ndarray, "n labels"]
    are_grades: Bool[np.ndarray, " n"]
    are_unchanged: Bool[np.ndarray, " n"]


class Table:
    """Judgements by id, each with its picture's digest, and whether the picture cannot have changed since."""

    def __init__(self, most: int, content: Arrays | None = None) -> None:
        """Creates it.

        Args:
            most: how many it holds; beyond that, a new one takes the place of the oldest.
            content: to begin with.

        Raises:
            ValueError: if the content's arrays do not belong together.
        """
        self._most = most
        self._rows: dict[str, int] = {}
        self._names: list[str | None] = []  # of each row; None for one that is empty
        self._next = 0  # the row to use next, once there is one for each that it holds
        self._arrays: Arrays | None = None  # without names; with more rows than are in use
        if content is not None and len(content.names):
            self._begin_with(content)

    def __len__(self) -> int:
        return len(self._rows)

    def put(self, id: str, digest: bytes, judgement: Judgement) -> None:
        """Adds or replaces a judgement of an unchanged picture."""
        row = self._rows.get(id)
        if row is None:
            row = self._free_row(len(judgement.confidences))
            self._names[row] = id
            self._rows[id] = row
        assert self._arrays is not None
        self._arrays.digests[row] = np.frombuffer(digest, np.uint8)
        self._arrays.confidences[row] = judgement.confidences
        self._arrays.are_grades[row] = judgement.is_grade
        self._arrays.are_unchanged[row] = True

    def judgement(self, id: str) -> Judgement:
        """The judgement of a drawing that the table has."""
        assert self._arrays is not None
        row = self._rows[id]
        return Judgement(self._arrays.confidences[row].astype(np.float64), bool(self._arrays.are_grades[row]))

    def digest(self, id: str) -> bytes | None:
        """The digest of the picture; None for a drawing that the table has not."""
        row = self._rows.get(id)
        return None if row is None or self._arrays is None else self._arrays.digests[row].tobytes()

    def is_unchanged(self, id: str) -> bool:
        """Whether the table has the drawing, and its picture cannot have changed."""
        row = self._rows.get(id)
        return row is not None and self._arrays is not None and bool(self._arrays.are_unchanged[row])

    def trust(self, id: str) -> None:
        """Notes that the picture has not changed."""
        if self._arrays is not None:
            self._arrays.are_unchanged[self._rows[id]] = True

    def doubt_all(self) -> None:
        """Notes that each picture may have changed."""
        if self._arrays is not None:
            self._arrays.are_unchanged[:] = False

    def doubted(self) -> list[str]:
        """The ids of the drawings whose pictures may have changed."""
        if self._arrays is None:
            return []
        rows = np.flatnonzero(~self._arrays.are_unchanged[: len(self._names)]).tolist()
        return [name for row in rows if (name := self._names[row]) is not None]

    def remove(self, ids: Iterable[str]) -> int:
        """Removes drawings; returns how many it had."""
        rows = [row for id in ids if (row := self._rows.pop(id, None)) is not None]
        for row in rows:
            self._names[row] = None
        return len(rows)

    def arrays(self) -> Arrays:
        """A copy of the content."""
        used = np.fromiter((name is not None for name in self._names), bool, len(self._names))
        names = [name for name in self._names if name is not None]
        if self._arrays is None:
            empty = np.empty(0, bool)
            return Arrays(names, np.empty((0, DIGEST_BYTES), np.uint8), np.empty((0, 0), np.float32), empty, empty)
        return Arrays(names, *(array[: len(used)][used] for array in self._arrays[1:]))

    def _begin_with(self, content: Arrays) -> None:
        n = len(content.names)
        whole = content.digests.shape == (n, DIGEST_BYTES) and content.confidences.dtype == np.float32
        if not whole or any(len(array) != n for array in content[1:]) or not np.isfinite(content.confidences).all():
            raise ValueError("the arrays do not belong together")
        self._names = list(content.names[-self._most :])
        self._rows = {id: row for row, id in enumerate(content.names[-self._most :])}
        self._arrays = Arrays((), *(array[-self._most :].copy() for array in content[1:]))

    def _free_row(self, labels: int) -> int:
        if len(self._names) < self._most:
            row = len(self._names)
            self._names.append(None)
            if self._arrays is None or row == len(self._arrays.digests):
                self._grow(min(self._most, max(_FEWEST_ROWS, 2 * row)), labels)
            return row
        row, self._next = self._next, (self._next + 1) % self._most
        if (oldest := self._names[row]) is not None:
            del self._rows[oldest]
        return row

    def _grow(self, n: int, labels: int) -> None:
        larger = Arrays(
            (), np.zeros((n, DIGEST_BYTES), np.uint8), np.zeros((n, labels), np.float32), np.zeros(n, bool),
            np.zeros(n, bool),
        )  # fmt: skip
        if self._arrays is not None:
            for array, before in zip(larger[1:], self._arrays[1:], strict=True):
                array[: len(before)] = before
        self._arrays = larger
