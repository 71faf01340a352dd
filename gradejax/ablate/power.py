"""How small a difference an experiment can show, told before it is run."""

import math

from scipy import stats

from gradejax.intervals import LEVEL

POWER = 0.8
"""The fraction of experiments that show a difference of the size that `detectable_difference` returns."""
_DISAGREEMENT = 0.02
"""The fraction of drawings that one of two trainings reads rightly and the other does not."""
_CLUSTERING = 1.5
"""How many times the variance is what it would be if drawings by one writer were independent."""
_LASTING = 0.3
"""The fraction of that variance which more seeds do not reduce, because the recipes differ on these drawings."""


def detectable_difference(drawings: int, predictions: int, writers: int, comparisons: int) -> float:
    """The difference in accuracy that four in five such experiments show.

    It takes the most cautious step of Holm's correction, and the variance that `experiments/` had on 2,198 drawings by
    55 writers, with recipes that differ little: `python -m benchmarks.coverage` measures it.

    Args:
        drawings: how many different ones are held out.
        predictions: how many there are of these drawings, with all seeds together.
        writers: of these drawings.
        comparisons: with the base.

    Returns:
        A fraction; infinite for a single writer.
    """
    if writers < 2:
        return math.inf
    variance = _CLUSTERING * _DISAGREEMENT * (_LASTING / drawings + (1 - _LASTING) / predictions)
    freedom = writers - 1
    level = LEVEL / max(comparisons, 1)
    return float((stats.t.ppf(1 - level / 2, freedom) + stats.t.ppf(POWER, freedom)) * math.sqrt(variance))
