"""Statistics on repeated trainings: confidence intervals, paired differences, verdicts."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

LEVEL = 0.05
"""Significance level of all verdicts of an experiment together."""

Values = Mapping[int, float]
"""A variant's value of a measure for each seed."""


class Interval(NamedTuple):
    """A mean and the half-width of its confidence interval, which is infinite for a single value."""

    mean: float
    half_width: float

    def __str__(self) -> str:
        if math.isinf(self.half_width):
            return "–"
        return f"{100 * (self.mean - self.half_width):.2f} to {100 * (self.mean + self.half_width):.2f}"


class Comparison(NamedTuple):
    """A variant compared with the base.

    Attributes:
        name: of the variant.
        values: by seed.
        mean: with its 95% interval.
        deviation: the sample standard deviation; NaN for a single value.
        difference: variant minus base, paired by seed, with its interval at `corrected_level`; None for the base.
        verdict: `better`, `worse` or `no difference shown`; `base` for the base.
    """

    name: str
    values: Values
    mean: Interval
    deviation: float
    difference: Interval | None
    verdict: str


def interval(values: Sequence[float], level: float) -> Interval:
    """Student's t interval of a mean, which misses the true mean in a fraction `level` of samples.

    Student, "The probable error of a mean", Biometrika 6, 1908: mean ± t(1 - level / 2; n - 1) s / √n.
    """
    n = len(values)
    mean = float(np.mean(values))
    if n < 2:
        return Interval(mean, math.inf)
    return Interval(mean, float(stats.t.ppf(1 - level / 2, n - 1) * np.std(values, ddof=1) / np.sqrt(n)))


def corrected_level(variants: int) -> float:
    """The level of each verdict: if no variant differs, at most 5% of experiments contain a false verdict.

    Bonferroni correction (O. J. Dunn, "Multiple comparisons among means", JASA 56, 1961): the level is divided by the
    number of comparisons, `variants` - 1.
    """
    return LEVEL / max(variants - 1, 1)


def compare(variants: Mapping[str, Values]) -> list[Comparison]:
    """Compares each variant with the first, the base.

    Pairing by seed cancels what equal seeds share: split, order and initial parameters. Seeds that either variant lacks
    do not enter the difference. A variant is better or worse if the interval of its difference excludes 0.
    """
    level = corrected_level(len(variants))
    (base, base_values), *_ = variants.items()
    comparisons = []
    for name, by_seed in variants.items():
        values = list(by_seed.values())
        deviation = float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
        difference, verdict = None, "base"
        if name != base:
            difference = interval([by_seed[seed] - base_values[seed] for seed in by_seed if seed in base_values], level)
            verdict = "no difference shown"
            if abs(difference.mean) > difference.half_width:
                verdict = "better" if difference.mean > 0 else "worse"
        comparisons.append(Comparison(name, by_seed, interval(values, LEVEL), deviation, difference, verdict))
    return comparisons
