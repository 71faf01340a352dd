"""Shuffled, augmented batches. Epoch `e` of seed `s` is the same on every machine."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Int, Int32, UInt8

from gradejax.augment import DistortionRanges, Distortions, distort, draw

MAX_STEPS = 128
"""Batches of at most so many steps are made together. Results depend on it: each such group draws its distortions from
a random generator of its own."""
_TOGETHER = 2**22
"""Bytes of ink that a program takes at a time, unless a single batch is larger."""


class Batch(NamedTuple):
    """Drawings to train on: one batch, or those of several steps in a row, which one jitted scan takes.

    Attributes:
        ink: `(*steps, batch, size, size)`, distorted.
        labels: `(*steps, batch)`.
    """

    ink: UInt8[Array, "*steps batch size size"] | UInt8[np.ndarray, "*steps batch size size"]
    labels: Int32[Array, "*steps batch"] | Int32[np.ndarray, "*steps batch"]


class BatchPlan(NamedTuple):
    """A `Batch` that is not distorted yet.

    Attributes:
        rows: which drawings it holds, `(*steps, batch)`.
        labels: `(*steps, batch)`.
        distortions: arrays of `(*steps, batch, ...)`.
    """

    rows: Int32[Array, "*steps batch"] | Int32[np.ndarray, "*steps batch"]
    labels: Int32[Array, "*steps batch"] | Int32[np.ndarray, "*steps batch"]
    distortions: Distortions


def steps_per_epoch(n: int, batch_size: int) -> int:
    """The fewest steps in which each of `n` drawings is seen."""
    return -(-n // batch_size)


def epoch_plans(
    size: int,
    labels: Int32[np.ndarray, " n"],
    rows: Int[np.ndarray, " rows"],
    *,
    batch_size: int,
    augment: DistortionRanges,
    seed: int,
    epoch: int,
    max_steps: int = MAX_STEPS,
) -> Iterator[BatchPlan]:
    """Plans one epoch: shuffles the drawings, cuts them into batches and draws their distortions.

    Each drawing is seen once; the last batch is filled up from the start of the shuffled order.

    Args:
        size: pixels a side of the ink.
        labels: of all drawings.
        rows: the drawings to train on.
        batch_size: drawings a step.
        augment: how far each distortion may go.
        seed: of the shuffling and the distortions.
        epoch: its number, which the random numbers depend on, too.
        max_steps: steps a plan at most.

    Yields:
        Plans whose numbers of steps differ by at most one, so that a scan is compiled for at most two lengths.
    """
    steps = steps_per_epoch(len(rows), batch_size)
    order = np.random.default_rng((seed, epoch)).permutation(rows)
    order = np.resize(order, steps * batch_size).reshape(steps, batch_size)
    for number, plan_rows in enumerate(np.array_split(order, -(-steps // max_steps))):
        distortions = draw(np.random.default_rng((seed, epoch, number)), plan_rows.size, size, augment)
        yield BatchPlan(plan_rows.astype(np.int32), labels[plan_rows], _reshaped(distortions, plan_rows.shape, 1))


def epoch_batches(
    ink: UInt8[np.ndarray, "n size size"],
    labels: Int32[np.ndarray, " n"],
    rows: Int[np.ndarray, " rows"],
    **options: Any,
) -> Iterator[Batch]:
    """The batches of one epoch.

    Args:
        ink: of all drawings; may be an `InkFile`, for only one plan's drawings are read at a time.
        labels: of all drawings.
        rows: the drawings to train on.
        **options: as in `epoch_plans`.
    """
    size = ink.shape[1]
    for plan in epoch_plans(size, labels, rows, **options):
        plan_rows = np.asarray(plan.rows)
        distorted = distort(ink[plan_rows.ravel()], _reshaped(plan.distortions, (plan_rows.size,), 2))
        yield Batch(distorted.reshape(*plan_rows.shape, size, size), plan.labels)


def padded(batches: Batch) -> Iterator[tuple[Batch, int]]:
    """Cuts batches of several steps into parts of the same number of steps; the last part is filled up with zeros.

    That number depends on the size of a batch alone, not on how many there are.

    Yields:
        Each part, and how many of its steps are real.
    """
    capacity = max(1, min(MAX_STEPS, _TOGETHER // batches.ink[0].nbytes))
    for start in range(0, len(batches.labels), capacity):
        part = Batch(*(np.asarray(field)[start : start + capacity] for field in batches))
        count = len(part.labels)
        if missing := capacity - count:
            part = Batch(*(np.pad(field, [(0, missing)] + [(0, 0)] * (field.ndim - 1)) for field in part))
        yield part, count


def whole_epoch(plans: Iterator[BatchPlan]) -> BatchPlan:
    """Joins the plans of an epoch into one."""
    return jax.tree.map(lambda *parts: np.concatenate(parts), *plans)


def _reshaped(distortions: Distortions, shape: tuple[int, ...], axes: int) -> Distortions:
    """The distortions with their first `axes` axes replaced by those of `shape`."""
    return jax.tree.map(lambda field: field.reshape(*shape, *field.shape[axes:]), distortions)
