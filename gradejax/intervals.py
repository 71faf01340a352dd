"""Confidence intervals that are about writers who were not asked yet.

Drawings by one writer resemble each other, and several trainings read the same drawings, so neither drawings nor
trainings are independent samples; writers are. Each interval here treats the writers as the sample, and what is known
of a writer (all drawings, read by all trainings) as one observation. `python -m benchmarks.coverage` shows how often
such intervals cover the truth.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats

LEVEL = 0.05
"""An interval misses the truth in this fraction of samples of writers."""


class Interval(NamedTuple):
    """An estimate and its confidence interval; the bounds are NaN where there are too few samples for one."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return "–" if np.isnan(self.low) else f"{100 * self.low:.2f} to {100 * self.high:.2f}"


def accuracy(correct: Bool[np.ndarray, " n"], writers: Int[np.ndarray, " n"], level: float = LEVEL) -> Interval:
    """The accuracy on drawings by writers who were not asked yet.

    The interval is Clopper and Pearson's for as many independent drawings as would make the accuracy as certain as
    these are: E. L. Korn and B. I. Graubard, "Confidence intervals for proportions with small expected number of
    positive counts estimated from survey data", Survey Methodology 24, 1998. Unlike mean ± 2 s it stays within 0 and 1,
    and it is not empty where no mistake was made.

    Args:
        correct: whether each prediction is right. A drawing may have several, by several trainings.
        writers: whose drawing each is.
        level: of the interval.
    """
    right, total = _by_writer(correct, writers)
    mean = float(right.sum() / total.sum())
    groups = len(total)
    if groups < 2:
        return Interval(mean, np.nan, np.nan)
    size = float(total.sum())
    if 0 < mean < 1:
        variance = _jackknife(right, total)
        size = min(mean * (1 - mean) / variance, size) if variance else size
        size *= (stats.t.ppf(1 - level / 2, size - 1) / stats.t.ppf(1 - level / 2, groups - 1)) ** 2 if size > 2 else 1
    low = stats.beta.ppf(level / 2, mean * size, (1 - mean) * size + 1) if mean > 0 else 0.0
    high = stats.beta.ppf(1 - level / 2, mean * size + 1, (1 - mean) * size) if mean < 1 else 1.0
    return Interval(mean, float(low), float(high))


def _by_writer(
    values: np.ndarray, writers: Int[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, " writers"], Float[np.ndarray, " writers"]]:
    """The sum of the values and their number, for each writer."""
    positions = np.unique(writers, return_inverse=True)[1]
    return np.bincount(positions, values).astype(float), np.bincount(positions).astype(float)


def _jackknife(sums: Float[np.ndarray, " writers"], totals: Float[np.ndarray, " writers"]) -> float:
    """The variance of the ratio of the two sums over writers, from leaving out one writer after another.

    B. Efron and C. Stein, "The jackknife estimate of variance", Annals of Statistics 9, 1981.
    """
    groups = len(totals)
    without = (sums.sum() - sums) / (totals.sum() - totals)
    return float((groups - 1) / groups * np.sum((without - sums.sum() / totals.sum()) ** 2))
