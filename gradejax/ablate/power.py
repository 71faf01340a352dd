"""How small a difference an experiment can show, told before it is run."""

import math

from scipy import special

from gradejax.intervals import LEVEL

POWER = 0.8
"""The fraction of experiments that show a difference of the size that `detectable_difference` returns."""
_OF_WRITERS, _OF_TRAININGS = 1.5e-4, 1e-5
"""The variance of a difference with one writer, and what it has in common for all writers of one training."""


def detectable_difference(writers: int, trainings: int, comparisons: int) -> float:
    """The difference in accuracy that four in five such experiments show.

    It takes the most cautious step of Holm's correction, and variances as in `experiments/dropout.py`, whose recipes
    differ little, on 2,198 drawings by 55 writers.

    Args:
        writers: held out.
        trainings: of each recipe: seeds times folds.
        comparisons: with the base.

    Returns:
        A fraction; infinite for a single writer or training.
    """
    if writers < 2 or trainings < 2:
        return math.inf
    of_writers, of_trainings = _OF_WRITERS / writers, _OF_TRAININGS / trainings
    variance = of_writers + of_trainings
    freedom = variance**2 / (of_writers**2 / (writers - 1) + of_trainings**2 / (trainings - 1))
    level = LEVEL / max(comparisons, 1)
    return float((special.stdtrit(freedom, 1 - level / 2) + special.stdtrit(freedom, POWER)) * math.sqrt(variance))
