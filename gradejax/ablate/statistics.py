"""Statistics on repeated trainings: intervals for two populations, paired differences, verdicts."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int
from scipy import stats

from gradejax import intervals
from gradejax.intervals import LEVEL, Interval, Tally


class Predictions(NamedTuple):
    """The predictions of all trainings of a variant for the drawings held out from them.

    Attributes:
        seed: of the training, `(n,)`.
        fold: of the training, `(n,)`.
        drawing: its number, `(n,)`.
        writer: whose drawing it is, `(n,)`.
        correct: whether the prediction is right, `(n,)`.
    """

    seed: Int[np.ndarray, " n"]
    fold: Int[np.ndarray, " n"]
    drawing: Int[np.ndarray, " n"]
    writer: Int[np.ndarray, " n"]
    correct: Bool[np.ndarray, " n"]


class Comparison(NamedTuple):
    """A variant compared with the base.

    Attributes:
        name: of the variant.
        by_seed: the accuracy with each seed.
        these_writers: the mean over seeds, and the 95% interval of what other seeds would give on these writers.
        unseen_writers: the accuracy of all predictions, and its 95% interval for writers who have not been asked.
        difference: variant minus base, with its 95% interval for unseen writers; None for the base.
        p: of the difference, corrected for the number of comparisons; None for the base.
        fixed: how many predictions the base has wrong and the variant right; None for the base, and where the two are
            judged on different drawings.
        broken: the reverse.
        verdict: `better`, `worse` or `no difference shown`; `base` for the base.
    """

    name: str
    by_seed: Mapping[int, float]
    these_writers: Interval
    unseen_writers: Interval
    difference: Interval | None = None
    p: float | None = None
    fixed: int | None = None
    broken: int | None = None
    verdict: str = "base"


def student(values: Sequence[float], level: float = LEVEL) -> Interval:
    """Student's t interval of a mean, which misses the true mean in a fraction `level` of samples.

    Student, "The probable error of a mean", Biometrika 6, 1908: mean ± t(1 - level / 2; n - 1) s / √n.
    """
    n, mean = len(values), float(np.mean(values))
    if n < 2:
        return Interval(mean, math.nan, math.nan)
    half_width = float(stats.t.ppf(1 - level / 2, n - 1) * np.std(values, ddof=1) / np.sqrt(n))
    return Interval(mean, mean - half_width, mean + half_width)


def compare(variants: Mapping[str, Predictions]) -> list[Comparison]:
    """Compares each variant with the first, the base.

    A variant is better or worse if its difference to the base would be as large as it is in fewer than 5% of samples of
    writers, were there none. Holm's correction keeps that for all comparisons together: if no variant differs, at most
    5% of experiments contain a false verdict.
    """
    (base, *others) = variants
    comparisons = [_alone(name, predictions) for name, predictions in variants.items()]
    differences = [_difference(variants[base], variants[other]) for other in others]
    corrected = intervals.holm(np.array([difference.p for difference in differences]))
    for place, (difference, p) in enumerate(zip(differences, corrected.tolist(), strict=True), 1):
        verdict = "no difference shown"
        if p <= LEVEL:
            verdict = "better" if difference.interval.mean > 0 else "worse"
        fixed, broken = _changes(variants[base], variants[others[place - 1]])
        comparisons[place] = comparisons[place]._replace(
            difference=difference.interval, p=p, fixed=fixed, broken=broken, verdict=verdict
        )
    return comparisons


def _alone(name: str, predictions: Predictions) -> Comparison:
    by_seed = {
        int(seed): float(predictions.correct[predictions.seed == seed].mean()) for seed in np.unique(predictions.seed)
    }
    counts = _tallies(predictions)[0]
    mean, low, high = student(list(by_seed.values()))
    these_writers = Interval(mean, max(low, 0.0), min(high, 1.0)) if len(by_seed) > 1 else Interval(mean, low, high)
    return Comparison(name, by_seed, these_writers, intervals.proportion(counts))


def _difference(base: Predictions, other: Predictions) -> intervals.Difference:
    of_base, of_other = _tallies(base, other)
    return intervals.difference(of_base, of_other)


def _tallies(*several: Predictions) -> list[Tally]:
    """The counts of each, with the same trainings and the same writers in the same order."""
    joined = Predictions(*map(np.concatenate, zip(*several, strict=True)))
    trainings = np.unique(np.stack([joined.seed, joined.fold]), axis=1, return_inverse=True)[1].ravel()
    writers = np.unique(joined.writer, return_inverse=True)[1]
    shape = int(trainings.max()) + 1, int(writers.max()) + 1
    ends = np.cumsum([len(each.correct) for each in several])[:-1]
    parts = zip(*(np.split(column, ends) for column in (joined.correct, trainings, writers)), strict=True)
    return [intervals.tally(correct, training, writer, shape) for correct, training, writer in parts]


def _changes(base: Predictions, other: Predictions) -> tuple[int | None, int | None]:
    """How many predictions `other` has right where the base has them wrong, and the reverse.

    Q. McNemar, "Note on the sampling error of the difference between correlated proportions or percentages",
    Psychometrika 12, 1947.
    """
    one, two = (dict(zip(zip(*each[:3], strict=True), each.correct.tolist(), strict=True)) for each in (base, other))
    shared = one.keys() & two.keys()
    if not shared:
        return None, None
    return sum(two[key] and not one[key] for key in shared), sum(one[key] and not two[key] for key in shared)
