"""Shuffled, augmented, prefetched batches. Epoch `e` of seed `s` is always the same, on every machine."""

import mmap
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Int32, UInt8

from gradejax.augment import DistortionRanges, Distortions, distort, draw

MAX_STEPS = 128
"""Steps in a row that are made together. Every `MAX_STEPS` steps take their distortions from a new generator, so that
results depend on it."""
_LARGE = 2**26
"""Memory-mapped arrays this large (bytes) release their pages after each read."""


class Batch(NamedTuple):
    """Drawings to train on: one batch, or the batches of several steps in a row, which one jitted scan takes.

    Attributes:
        ink: `(*steps, batch, size, size)`, distorted.
        labels: `(*steps, batch)`.
    """

    ink: UInt8[Array | np.ndarray, "*steps batch size size"]
    labels: Int32[Array | np.ndarray, "*steps batch"]


def steps_per_epoch(n: int, batch_size: int) -> int:
    """Steps in which each of `n` drawings is seen at least once."""
    return -(-n // batch_size)


class BatchPlan(NamedTuple):
    """A `Batch` that is not distorted yet.

    Attributes:
        rows: the drawings, `(*steps, batch)`.
        labels: theirs.
        distortions: theirs.
    """

    rows: Int32[Array | np.ndarray, "*steps batch"]
    labels: Int32[Array | np.ndarray, "*steps batch"]
    distortions: Distortions


def epoch_plans(
    size: int,
    labels: Int32[np.ndarray, " n"],
    rows: np.ndarray,
    *,
    batch_size: int,
    augment: DistortionRanges,
    seed: int,
    epoch: int,
    max_steps: int = MAX_STEPS,
) -> Iterator[BatchPlan]:
    """One epoch over the drawings `rows`, in plans of at most `max_steps` steps, for pictures of `size` x `size`.

    Each drawing is seen once; the last batch is filled up with the first of the shuffled order. The plans are as
    even as can be, so that a scan over them is compiled for at most two lengths.
    """
    steps = steps_per_epoch(len(rows), batch_size)
    order = np.random.default_rng((seed, epoch)).permutation(rows)
    order = np.resize(order, steps * batch_size).reshape(steps, batch_size)
    for number, taken in enumerate(np.array_split(order, -(-steps // max_steps))):
        drawn = draw(np.random.default_rng((seed, epoch, number)), taken.size, size, augment)
        # An array for each field that there is: `(steps, batch, ...)`.
        by_step = [None if each is None else each.reshape(*taken.shape, *each.shape[1:]) for each in drawn]
        yield BatchPlan(np.int32(taken), labels[taken], Distortions(*by_step))


def epoch_batches(
    ink: UInt8[np.ndarray, "n size size"], labels: Int32[np.ndarray, " n"], rows: np.ndarray, **how
) -> Iterator[Batch]:
    """The chunks of `epoch_plans`, which says what the other arguments are.

    `ink` may be memory-mapped: a chunk is all that is read at a time.
    """
    size = ink.shape[1]
    for plan in epoch_plans(size, labels, rows, **how):
        flat = Distortions(*(None if each is None else each.reshape(-1, *each.shape[2:]) for each in plan.distortions))
        distorted = distort(_read(ink, plan.rows.ravel()), flat)
        yield Batch(distorted.reshape(*plan.rows.shape, size, size), plan.labels)


def whole_epoch(plans: Iterator[BatchPlan]) -> BatchPlan:
    """The plans of an epoch as one."""
    plans = list(plans)
    fields = zip(*(plan.distortions for plan in plans), strict=True)
    drawn = Distortions(*(None if each[0] is None else np.concatenate(each) for each in fields))
    return BatchPlan(*(np.concatenate([plan[i] for plan in plans]) for i in (0, 1)), drawn)


def _read(ink: UInt8[np.ndarray, "n size size"], rows: np.ndarray) -> UInt8[np.ndarray, "rows size size"]:
    if ink.nbytes < _LARGE or not isinstance(ink.base, mmap.mmap) or not hasattr(mmap, "MADV_DONTNEED"):
        return ink[rows]
    parts = []
    for some in np.array_split(rows, -(-len(rows) // 128)):
        parts.append(ink[some])
        # Else all of a large cache would in time count as this process's memory. The kernel keeps the pages.
        ink.base.madvise(mmap.MADV_DONTNEED)
    return np.concatenate(parts)
