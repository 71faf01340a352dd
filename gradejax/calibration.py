"""Calibration of a network's confidence: a temperature, and a threshold below which a drawing is rejected."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from gradejax.errors import UserError
from gradejax.scales import LETTERS

KEPT = 0.99
"""Fraction of the validation drawings that a network without an output for no grade accepts."""
LET_IN = 0.04
"""Fraction of synthetic drawings of no grade that a network with an output for them accepts."""
_BOUNDS = {"temperature": (1e-3, 1e3), "threshold": (0, 1)}
_FOLDS = 10
_DRAWN = 32
"""Of 255: fainter ink is none."""
_MIN_EXTENT = 0.2
"""Fraction of the canvas's side. The smallest of 2,198 real grades is 0.46 long, a dot of the pages' pen 0.07."""

Logits = Float[np.ndarray, "n outputs"]
Labels = Int[np.ndarray, " n"]
Confidences = Float[np.ndarray, "n grades"]


class Calibration(NamedTuple):
    """How to read a network's logits; by default, as they are.

    Attributes:
        temperature: logits are divided by it before the softmax.
        threshold: a drawing whose score is below it is rejected.
        n_grades: how many of the logits, from the first, are those of grades.
    """

    temperature: float = 1.0
    threshold: float = 0.0
    n_grades: int = len(LETTERS.labels)

    def as_json(self) -> dict[str, float]:
        """What `read` takes."""
        return {"temperature": self.temperature, "threshold": self.threshold}

    def confidences(self, logits: Logits) -> Confidences:
        """The confidence in each grade, given that the drawing shows one; rows sum to one."""
        return self._softmax(logits[:, : self.n_grades])

    def scores(self, logits: Logits) -> Float[np.ndarray, " n"]:
        """How much each drawing looks like a grade, 0 to 1: the probability of the likeliest one.

        An output for no grade, if there is one, counts among the possibilities.
        """
        return self._softmax(logits)[:, : self.n_grades].max(axis=1)

    def are_grades(self, logits: Logits, ink: UInt8[np.ndarray, "n size size"]) -> Bool[np.ndarray, " n"]:
        """Whether each drawing is accepted as a grade. Blank paper and dots never are, whatever the network says."""
        return (self.scores(logits) >= self.threshold) & ~np.array([is_too_small(one) for one in ink], bool)

    def _softmax(self, logits: Logits) -> Float[np.ndarray, "n outputs"]:
        scaled = np.asarray(logits, np.float64) / self.temperature
        exponentials = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        return exponentials / exponentials.sum(axis=1, keepdims=True)


def is_too_small(ink: UInt8[np.ndarray, "height width"]) -> bool:
    """Whether a picture shows nothing, or hardly more than a dot: too little for a grade."""
    extent = max(int((ink.max(axis=axis) >= _DRAWN).sum()) for axis in (0, 1))
    return extent < _MIN_EXTENT * max(ink.shape)


def read(value: object, n_grades: int = len(LETTERS.labels)) -> Calibration:
    """Reads a calibration from a checkpoint's JSON, for a network of so many grades.

    Raises:
        UserError: if it is not one.
    """
    if not isinstance(value, dict) or not value.keys() <= _BOUNDS.keys():
        raise UserError(f"the calibration must consist of {' and '.join(_BOUNDS)}")
    for name, number in value.items():
        low, high = _BOUNDS[name]
        if type(number) not in (int, float) or not low <= number <= high:
            raise UserError(f"the calibration's {name} must lie between {low:g} and {high:g}")
    return Calibration(**value, n_grades=n_grades)


def fit(
    logits: Logits,
    labels: Labels,
    strangers: Float[np.ndarray, "strangers outputs"] | None = None,
    n_grades: int = len(LETTERS.labels),
) -> Calibration:
    """Fits the temperature, then the threshold.

    Temperature scaling: C. Guo et al., "On Calibration of Modern Neural Networks", ICML 2017. The highest probability
    as the score to reject by: D. Hendrycks and K. Gimpel, "A Baseline for Detecting Misclassified and
    Out-of-Distribution Examples in Neural Networks", ICLR 2017.

    A threshold that keeps most of one collection's grades rejects up to a tenth of another's, whose hands are not so
    neat. One that is fitted to synthetic drawings of no grade carries over (experiments/README.md).

    Args:
        logits: of drawings of grades that the network has not seen.
        labels: class indices.
        strangers: the logits of drawings of no grade that it has not seen. The threshold accepts `LET_IN` of them;
            without them, `KEPT` of the grades.
        n_grades: as in `Calibration`.
    """
    calibration = Calibration(_temperature(np.asarray(logits[:, :n_grades], np.float64), labels), n_grades=n_grades)
    scores = np.sort(calibration.scores(logits if strangers is None else strangers))
    threshold = scores[int((1 - (KEPT if strangers is None else LET_IN)) * len(scores))]
    # Slightly lower, because in another batch the same drawing's last digit may differ.
    return calibration._replace(threshold=max(float(threshold - 1e-5), 0.0))


def cross_fit(
    logits: Logits,
    labels: Labels,
    writers: Int[np.ndarray, " n"],
    ink: UInt8[np.ndarray, "n size size"],
    strangers: Float[np.ndarray, "strangers outputs"] | None = None,
    n_grades: int = len(LETTERS.labels),
) -> tuple[Confidences, Float[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
    """Calibrates each drawing on other writers' drawings only.

    The same drawings thus tell how well calibration works for writers it was not fitted on. Writers are dealt into at
    most ten folds; if there is only one writer, the drawings are dealt instead.

    Args:
        logits: of the network.
        labels: class indices.
        writers: an index per writer.
        ink: the drawings.
        strangers: as in `fit`.
        n_grades: as in `Calibration`.

    Returns:
        The confidences, the scores, and whether each drawing is accepted as a grade.
    """
    positions = np.unique(writers, return_inverse=True)[1]
    folds = (positions if positions.max() else np.arange(len(labels))) % _FOLDS
    confidences = np.empty((len(labels), min(logits.shape[1], n_grades)))
    scores, accepted = np.empty(len(labels)), np.empty(len(labels), bool)
    for fold in np.unique(folds):
        inside = folds == fold
        others = inside if inside.all() else ~inside
        calibration = fit(logits[others], labels[others], strangers, n_grades)
        confidences[inside] = calibration.confidences(logits[inside])
        scores[inside] = calibration.scores(logits[inside])
        accepted[inside] = calibration.are_grades(logits[inside], ink[inside])
    return confidences, scores, accepted


def _temperature(logits: Logits, labels: Labels) -> float:
    """The temperature that minimises cross-entropy, between 1/64 and 64, by bisection.

    If all predictions are correct, lowering the temperature always lowers the cross-entropy. So the targets are
    smoothed as if there were one more drawing, equally likely to be any grade: J. Platt, "Probabilistic Outputs for
    Support Vector Machines", 1999, section 2.2.
    """
    targets = np.full(logits.shape, 1 / (len(labels) + 1) / logits.shape[1])
    targets[np.arange(len(labels)), labels] += len(labels) / (len(labels) + 1)
    low, high = -np.log(64), np.log(64)
    for _ in range(40):
        middle = (low + high) / 2
        excess = Calibration(np.exp(middle), n_grades=logits.shape[1]).confidences(logits) - targets
        # The slope of the cross-entropy in 1/temperature, in which it is convex.
        if (excess * logits).sum() > 0:
            low = middle
        else:
            high = middle
    return float(np.exp((low + high) / 2))
