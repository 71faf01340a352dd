"""What a network's confidence is worth: a temperature, and how confident it must be for a drawing to be a grade."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from gradejax.errors import UserError

KEPT = 0.99
"""Share of the validation drawings that are taken for grades."""
_BOUNDS = {"temperature": (1e-3, 1e3), "threshold": (0, 1)}
_FOLDS = 10
_LEAST_EXTENT = 0.2
"""Of the canvas's side. The smallest grade of 2,198 real ones is 0.46 long, a dot of the pages' pen 0.07."""

Logits = Float[np.ndarray, "n grades"]
Labels = Int[np.ndarray, " n"]
Confidences = Float[np.ndarray, "n grades"]


class Calibration(NamedTuple):
    """How a network's logits are read; as it stands here, as they come.

    Attributes:
        temperature: logits are divided by it before the softmax.
        threshold: a drawing whose greatest confidence is below it is no grade.
    """

    temperature: float = 1.0
    threshold: float = 0.0

    def confidences(self, logits: Logits) -> Confidences:
        """The confidence in each grade; a row sums to one."""
        scaled = np.asarray(logits, np.float64) / self.temperature
        shares = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        return shares / shares.sum(axis=1, keepdims=True)

    def are_grades(self, confidences: Confidences, ink: UInt8[np.ndarray, "n size size"]) -> Bool[np.ndarray, " n"]:
        """Whether each drawing is a grade at all. Blank paper and dots never are, whatever the network says."""
        drawn = ink >= 32
        extent = np.maximum(drawn.any(axis=1).sum(axis=1), drawn.any(axis=2).sum(axis=1)) / ink.shape[1]
        return (confidences.max(axis=1) >= self.threshold) & (extent >= _LEAST_EXTENT)


def read(kept: object) -> Calibration:
    """A calibration as a checkpoint keeps it. Raises UserError where it is none."""
    if not isinstance(kept, dict) or not kept.keys() <= _BOUNDS.keys():
        raise UserError(f"a calibration is of {' and '.join(_BOUNDS)}")
    for name, value in kept.items():
        low, high = _BOUNDS[name]
        if type(value) not in (int, float) or not low <= value <= high:
            raise UserError(f"the calibration's {name} must lie between {low:g} and {high:g}")
    return Calibration(**kept)


def fit(logits: Logits, labels: Labels) -> Calibration:
    """Temperature scaling, then the threshold that keeps `KEPT` of these drawings.

    C. Guo et al., "On Calibration of Modern Neural Networks", ICML 2017; D. Hendrycks and K. Gimpel, "A Baseline for
    Detecting Misclassified and Out-of-Distribution Examples", ICLR 2017, for the greatest confidence as the score.
    """
    calibration = Calibration(_temperature(np.asarray(logits, np.float64), labels))
    scores = np.sort(calibration.confidences(logits).max(axis=1))
    lowest = scores[int((1 - KEPT) * len(scores))]
    # A little less, for the same drawing in another batch gives another last digit.
    return calibration._replace(threshold=float(lowest - 1e-5))


def cross_fit(
    logits: Logits, labels: Labels, writers: Int[np.ndarray, " n"], ink: UInt8[np.ndarray, "n size size"]
) -> tuple[Confidences, Bool[np.ndarray, " n"]]:
    """Confidences, and which drawings are grades, each by a calibration fitted on the other writers' drawings.

    So the same drawings can say how good a calibration is on writers that it was not fitted on. Writers are dealt into
    ten groups at the most; where all drawings are of one writer, the drawings are.
    """
    hands = np.unique(writers, return_inverse=True)[1]
    folds = (hands if hands.max() else np.arange(len(labels))) % _FOLDS
    confidences, accepted = np.empty(np.shape(logits)), np.empty(len(labels), bool)
    for fold in np.unique(folds):
        inside = folds == fold
        others = inside if inside.all() else ~inside
        found = fit(logits[others], labels[others])
        confidences[inside] = found.confidences(logits[inside])
        accepted[inside] = found.are_grades(confidences[inside], ink[inside])
    return confidences, accepted


def _temperature(logits: Logits, labels: Labels) -> float:
    """The temperature of least cross-entropy, between 1/64 and 64.

    Where all guesses are right the cross-entropy falls for ever as the temperature does. So the targets are smoothed as
    if there were one more drawing, of no grade: J. Platt, "Probabilistic Outputs for Support Vector Machines", 1999,
    section 2.2.
    """
    targets = np.full(logits.shape, 1 / (len(labels) + 1) / logits.shape[1])
    targets[np.arange(len(labels)), labels] += len(labels) / (len(labels) + 1)
    low, high = -np.log(64), np.log(64)
    for _ in range(40):
        middle = (low + high) / 2
        excess = Calibration(np.exp(middle)).confidences(logits) - targets
        # The cross-entropy's slope in 1/temperature, which rises all the way: it is convex.
        if (excess * logits).sum() > 0:
            low = middle
        else:
            high = middle
    return float(np.exp((low + high) / 2))
