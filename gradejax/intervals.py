"""Confidence intervals that are about writers who have not been asked yet.

Drawings by one writer resemble each other, and several trainings read the same drawings, so drawings are no independent
samples. An accuracy would be another with other writers, and another with other trainings; the intervals here allow for
both. `python -m benchmarks.coverage` shows how often they contain the truth.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Shaped
from scipy import special

LEVEL = 0.05
"""An interval misses the truth in this fraction of experiments."""


class Interval(NamedTuple):
    """An estimate and its confidence interval; the bounds are NaN where there are too few samples for one."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return "–" if np.isnan(self.low) else f"{100 * self.low:.2f} to {100 * self.high:.2f}"


class Tally(NamedTuple):
    """Predictions, counted by training and writer.

    Attributes:
        right: how many are right.
        total: how many there are; 0 where a training does not hold a writer out.
    """

    right: Float[np.ndarray, "trainings writers"]
    total: Float[np.ndarray, "trainings writers"]

    @property
    def accuracy(self) -> float:
        """Of all predictions."""
        return float(self.right.sum() / self.total.sum())

    @property
    def writers(self) -> int:
        """How many have predictions."""
        return int(self.total.any(axis=0).sum())

    @property
    def trainings(self) -> int:
        """How many have predictions."""
        return int(self.total.any(axis=1).sum())


def tally(
    correct: Bool[np.ndarray, " n"],
    trainings: Shaped[np.ndarray, " n"],
    writers: Shaped[np.ndarray, " n"],
    shape: tuple[int, int],
) -> Tally:
    """Counts predictions by training and writer.

    Args:
        correct: whether each prediction is right.
        trainings: which training made it: an index.
        writers: whose drawing it is about: an index.
        shape: how many trainings and writers there are.
    """
    right, total = np.zeros((2, *shape))
    np.add.at(right, (trainings, writers), correct)
    np.add.at(total, (trainings, writers), 1)
    return Tally(right, total)


def accuracy(correct: Bool[np.ndarray, " n"], writers: Shaped[np.ndarray, " n"], level: float = LEVEL) -> Interval:
    """The accuracy of one model on drawings by unseen writers; see `proportion`."""
    names, positions = np.unique(writers, return_inverse=True)
    return proportion(tally(correct, np.zeros_like(positions), positions, (1, len(names))), level)


def proportion(counts: Tally, level: float = LEVEL) -> Interval:
    """The accuracy on drawings by unseen writers; of a recipe where there are several trainings, else of one model.

    The interval is Clopper and Pearson's for so many independent drawings as would make the accuracy as certain as
    these drawings make it: E. L. Korn and B. I. Graubard, "Confidence intervals for proportions with small expected
    number of positive counts estimated from survey data", Survey Methodology 24, 1998. Unlike mean ± 2 s it stays
    within 0 and 1, and has a width where no mistake was made.

    Args:
        counts: of all trainings.
        level: of the interval.
    """
    mean, size = counts.accuracy, float(counts.total.sum())
    if counts.writers < 2:
        return Interval(mean, np.nan, np.nan)
    variance, freedom = _variance(_influence(counts), counts.total > 0)
    if variance > 0:
        independent = mean * (1 - mean) / variance
        # The variance is itself estimated from few writers.
        independent *= (special.ndtri(1 - level / 2) / special.stdtrit(freedom, 1 - level / 2)) ** 2
        size = min(size, independent)
    low = special.betaincinv(mean * size, (1 - mean) * size + 1, level / 2) if mean > 0 else 0.0
    high = special.betaincinv(mean * size + 1, (1 - mean) * size, 1 - level / 2) if mean < 1 else 1.0
    return Interval(mean, float(low), float(high))


def binomial(
    right: Float[np.ndarray, " n"], total: Float[np.ndarray, " n"], level: float = LEVEL
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Clopper and Pearson's intervals of shares of independent drawings.

    Args:
        right: how many are right, for each share.
        total: of how many, at least one.
        level: of the intervals.

    Returns:
        The lower and the upper bounds.
    """
    wrong = total - right
    low = np.where(right > 0, special.betaincinv(np.maximum(right, 1), wrong + 1, level / 2), 0.0)
    high = np.where(wrong > 0, special.betaincinv(right + 1, np.maximum(wrong, 1), 1 - level / 2), 1.0)
    return low, high


class Difference(NamedTuple):
    """A difference of two accuracies.

    Attributes:
        interval: of the difference.
        p: the probability of a difference at least as large if the two do not differ.
    """

    interval: Interval
    p: float


def difference(base: Tally, other: Tally, level: float = LEVEL) -> Difference:
    """How much more accurate `other` is than `base`, on drawings by unseen writers and with other trainings.

    Args:
        base: of the one recipe.
        other: of the other; the same trainings and writers in the same order.
        level: of the interval.

    Returns:
        Student's t interval. There is none, and p is 1, for a single writer or a single training, for then what another
        would change is unknown.
    """
    mean = other.accuracy - base.accuracy
    if min(base.writers, other.writers, base.trainings, other.trainings) < 2:
        return Difference(Interval(mean, np.nan, np.nan), 1.0)
    variance, freedom = _variance(_influence(other) - _influence(base), base.total + other.total > 0)
    if variance == 0:
        # No drawing is read differently: so rarely does none of so many show a difference.
        half_width = 1 - (level / 2) ** (1 / base.total.sum())
        return Difference(Interval(mean, mean - half_width, mean + half_width), 1.0)
    error = np.sqrt(variance)
    half_width = float(special.stdtrit(freedom, 1 - level / 2) * error)
    p = float(2 * special.stdtr(freedom, -abs(mean) / error))
    return Difference(Interval(mean, mean - half_width, mean + half_width), p)


def _influence(counts: Tally) -> Float[np.ndarray, "trainings writers"]:
    """By how much each cell moves the accuracy from what it is: they add up to 0."""
    return (counts.right - counts.accuracy * counts.total) / counts.total.sum()


def _variance(
    influence: Float[np.ndarray, "trainings writers"], observed: Bool[np.ndarray, "trainings writers"]
) -> tuple[float, float]:
    """The variance of a sum of influences over samples of writers and of trainings, and its degrees of freedom.

    Writers and trainings are crossed, so their variances are added and what is counted in both is taken off:
    A. C. Cameron, J. B. Gelbach and D. L. Miller, "Robust inference with multiway clustering", Journal of Business and
    Economic Statistics 29, 2011. The degrees of freedom are F. E. Satterthwaite's ("An approximate distribution of
    estimates of variance components", Biometrics Bulletin 2, 1946).
    """
    writers, trainings, cells = (int(np.count_nonzero(each)) for each in (observed.any(0), observed.any(1), observed))
    of_writers = _of_sum(influence.sum(axis=0), writers)
    of_trainings = _of_sum(influence.sum(axis=1), trainings)
    of_cells = _of_sum(influence, cells)
    shared = max(of_trainings - of_cells, 0.0)
    variance = of_writers + shared
    if variance == 0:
        return 0.0, 1.0
    # What is taken off does not make the trainings' variance any better known.
    spread = of_writers**2 / (writers - 1) + (of_trainings**2 / (trainings - 1) if shared else 0.0)
    return variance, max(variance**2 / spread, 1.0)


def _of_sum(values: Float[np.ndarray, "..."], n: int) -> float:
    """The variance of the sum of `n` independent values whose mean is 0; a single one says nothing about it."""
    return float(n / (n - 1) * np.sum(values**2)) if n > 1 else 0.0


def holm(p: Float[np.ndarray, " comparisons"]) -> Float[np.ndarray, " comparisons"]:
    """Probabilities corrected for their number: those at most 0.05 contain a false one in at most 5% of experiments.

    S. Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6, 1979. It
    is never weaker than Bonferroni's correction.
    """
    order = np.argsort(p, kind="stable")
    corrected = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1)
    result = np.empty(len(p))
    result[order] = corrected
    return result
