"""Confidence intervals that are about writers who have not been asked yet.

Drawings by one writer resemble each other, and several trainings read the same drawings, so neither drawings nor
trainings are independent samples; writers are. Here a writer is one observation: all that all trainings make of all his
or her drawings. `python -m benchmarks.coverage` shows how often the intervals contain the truth.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from scipy import stats

LEVEL = 0.05
"""An interval misses the truth for this fraction of samples of writers."""

Numbers = Float[np.ndarray, " writers"]


class Interval(NamedTuple):
    """An estimate and its confidence interval; the bounds are NaN where there are too few samples for one."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return "–" if np.isnan(self.low) else f"{100 * self.low:.2f} to {100 * self.high:.2f}"


class Tally(NamedTuple):
    """Predictions counted by writer.

    Attributes:
        right: how many are right.
        total: how many there are.
    """

    right: Numbers
    total: Numbers

    @property
    def accuracy(self) -> float:
        """Of all predictions."""
        return float(self.right.sum() / self.total.sum())


def tally(correct: Bool[np.ndarray, " n"], writers: Shaped[np.ndarray, " n"]) -> Tally:
    """Counts predictions by writer; a drawing may have several, by several trainings."""
    _, positions = np.unique(writers, return_inverse=True)
    return Tally(np.bincount(positions, correct).astype(float), np.bincount(positions).astype(float))


def accuracy(correct: Bool[np.ndarray, " n"], writers: Int[np.ndarray, " n"], level: float = LEVEL) -> Interval:
    """The accuracy on drawings by unseen writers; see `proportion`."""
    return proportion(tally(correct, writers), level)


def proportion(counts: Tally, level: float = LEVEL) -> Interval:
    """The accuracy on drawings by unseen writers.

    The interval is Clopper and Pearson's for so many independent drawings as would make the accuracy as certain as
    these drawings make it: E. L. Korn and B. I. Graubard, "Confidence intervals for proportions with small expected
    number of positive counts estimated from survey data", Survey Methodology 24, 1998. Unlike mean ± 2 s it stays
    within 0 and 1, and has a width where no mistake was made.

    Args:
        counts: a row per writer.
        level: of the interval.
    """
    mean, writers, size = counts.accuracy, len(counts.total), float(counts.total.sum())
    if writers < 2:
        return Interval(mean, np.nan, np.nan)
    error = standard_error(counts)
    if error > 0:
        independent = mean * (1 - mean) / error**2
        # The error is itself estimated from few writers.
        independent *= (stats.norm.ppf(1 - level / 2) / stats.t.ppf(1 - level / 2, writers - 1)) ** 2
        size = min(size, independent)
    low = stats.beta.ppf(level / 2, mean * size, (1 - mean) * size + 1) if mean > 0 else 0.0
    high = stats.beta.ppf(1 - level / 2, mean * size + 1, (1 - mean) * size) if mean < 1 else 1.0
    return Interval(mean, float(low), float(high))


class Difference(NamedTuple):
    """A difference of two accuracies.

    Attributes:
        interval: of the difference.
        p: the probability of a difference at least as large if the two do not differ.
    """

    interval: Interval
    p: float


def difference(base: Tally, other: Tally, level: float = LEVEL) -> Difference:
    """How much more accurate `other` is than `base`, on drawings by unseen writers.

    Student's t with as many degrees of freedom as there are writers but one.

    Args:
        base: a row per writer.
        other: the same writers in the same order; the total of one who has no predictions is 0.
        level: of the interval.
    """
    mean, writers = other.accuracy - base.accuracy, len(base.total)
    if min(np.count_nonzero(base.total), np.count_nonzero(other.total)) < 2:
        return Difference(Interval(mean, np.nan, np.nan), 1.0)
    error = standard_error(base, other)
    if error == 0:
        # Nobody's drawings are read differently; so rarely does it happen that none of so many shows it.
        half_width = 1 - (level / 2) ** (1 / base.total.sum())
        return Difference(Interval(mean, mean - half_width, mean + half_width), 1.0)
    half_width = stats.t.ppf(1 - level / 2, writers - 1) * error
    return Difference(
        Interval(mean, float(mean - half_width), float(mean + half_width)),
        float(2 * stats.t.sf(abs(mean) / error, writers - 1)),
    )


def standard_error(base: Tally, other: Tally | None = None) -> float:
    """The standard error of an accuracy, or of a difference of two, over samples of writers.

    It is the jackknife's, which leaves out one writer after another: B. Efron and C. Stein, "The jackknife estimate of
    variance", Annals of Statistics 9, 1981.
    """
    without = _leaving_one_out(base)
    if other is not None:
        without = _leaving_one_out(other) - without
    writers = len(without)
    return float(np.sqrt((writers - 1) / writers * np.sum((without - without.mean()) ** 2)))


def _leaving_one_out(counts: Tally) -> Numbers:
    """The accuracy without each of the writers."""
    return (counts.right.sum() - counts.right) / (counts.total.sum() - counts.total)


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
