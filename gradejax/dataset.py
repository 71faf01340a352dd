"""Drawings as arrays."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Int32, Int64, Shaped, UInt8

from gradejax.scales import LETTERS, Scale

TEST_TAG = "test-set"
"""Drawings with this tag are neither trained nor validated on: they say how good a model is on what it never met."""
QUARANTINE_TAG = "quarantine"
"""An excluded drawing with this tag waits for the teacher: it looks like no grade. Nobody can give it by hand."""


@dataclass(frozen=True)
class Dataset:
    """Drawings as arrays, in order of insertion.

    Attributes:
        ink: `(n, size, size)`, 0 (ground) to 255 (stroke). An `InkFile` where it comes from a large cache.
        labels: class indices of `scale`, `(n,)`; -1 for a drawing that shows no grade.
        writers: for each drawing the index of its writer in `writer_names`, `(n,)`. Drawings without a writer count as
            one writer per set of tags.
        writer_names: `writer NAME` or `tags a, b`.
        digest: SHA-256 of all of the above. It does not depend on which store the drawings lie in.
        refused: how many documents were skipped, by reason.
        ids: the drawings' ids in the store, as UTF-8, `(n,)`; empty for those of `mixture.mix`.
        scale: of the grades.
    """

    ink: UInt8[np.ndarray, "n size size"]
    labels: Int32[np.ndarray, " n"]
    writers: Int32[np.ndarray, " n"]
    writer_names: tuple[str, ...]
    digest: str
    refused: dict[str, int] = field(default_factory=dict)
    ids: Shaped[np.ndarray, " n"] = field(default_factory=lambda: np.empty(0, np.bytes_))
    scale: Scale = LETTERS

    def __len__(self) -> int:
        return len(self.labels)


class Picture(NamedTuple):
    """A drawing that is not decoded yet.

    Attributes:
        label: a grade, or the name of something else.
        writer: as in `Dataset.writer_names`.
        ink: decodes it; raises BadDrawing where that fails.
        id: in the store.
    """

    label: str
    writer: str
    ink: Callable[[], UInt8[np.ndarray, "height width"]]
    id: str = ""


def of_grades(dataset: Dataset) -> Dataset:
    """The drawings of a dataset that show a grade."""
    rows = np.flatnonzero(dataset.labels >= 0)
    if len(rows) == len(dataset):
        return dataset
    digest = hashlib.sha256(f"{dataset.digest} grades".encode()).hexdigest()
    ink, labels, writers = dataset.ink[rows], dataset.labels[rows], dataset.writers[rows]
    return replace(dataset, ink=ink, labels=labels, writers=writers, digest=digest, ids=dataset.ids[rows])


def subset(dataset: Dataset, rows: Int64[np.ndarray, " rows"]) -> Dataset:
    """Some drawings of a store's dataset, as if the store held no others.

    Args:
        dataset: of a store.
        rows: which drawings, in ascending order.
    """
    ink, labels = dataset.ink[rows], dataset.labels[rows]
    present, first, numbers = np.unique(dataset.writers[rows], return_index=True, return_inverse=True)
    order = np.argsort(first)  # of first appearance
    names = tuple(dataset.writer_names[present[place]] for place in order)
    writers = np.argsort(order).astype(np.int32)[numbers]
    content = hashlib.sha256()  # as in `cache.decode`
    for one, label, writer in zip(ink, labels, writers, strict=True):
        content.update(one)
        content.update(f"{dataset.scale.all_labels[label]} {names[writer]};".encode())
    return Dataset(ink, labels, writers, names, content.hexdigest(), dataset.refused, dataset.ids[rows], dataset.scale)


def concatenate(first: Dataset, second: Dataset) -> Dataset:
    """The drawings of both, which have one scale, in memory. Their writers count as different people."""
    return Dataset(
        np.concatenate([first.ink, second.ink]),
        np.concatenate([first.labels, second.labels]),
        np.concatenate([first.writers, second.writers + len(first.writer_names)]),
        (*first.writer_names, *second.writer_names),
        hashlib.sha256(f"{first.digest} {second.digest}".encode()).hexdigest(),
        first.refused,
        np.concatenate([first.ids, second.ids]),
        first.scale,
    )
