"""Measures of predictions: accuracy, cross-entropy, reliability, confusion."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

Probabilities = Float[np.ndarray, "n grades"]
Labels = Int[np.ndarray, " n"]


class Scores(NamedTuple):
    """What a run is judged by.

    Attributes:
        accuracy: fraction of correct predictions.
        loss: mean cross-entropy, nats.
        ece: expected calibration error, see `Reliability`.
    """

    accuracy: float
    loss: float
    ece: float


class Reliability(NamedTuple):
    """Predictions in bins of equal width by confidence: the numbers of a reliability diagram.

    Attributes:
        edges: of the bins.
        counts: predictions per bin.
        confidence: mean confidence per bin; NaN in an empty bin.
        accuracy: of each bin; NaN in an empty bin.
        ece: the expected calibration error, the mean over predictions of |accuracy - confidence| of their bin.
            C. Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, equation 3.
    """

    edges: Float[np.ndarray, " bins+1"]
    counts: Int[np.ndarray, " bins"]
    confidence: Float[np.ndarray, " bins"]
    accuracy: Float[np.ndarray, " bins"]
    ece: float


class Rejection(NamedTuple):
    """How well a score tells grades from what is none, whatever the threshold.

    D. Hendrycks and K. Gimpel, "A Baseline for Detecting Misclassified and Out-of-Distribution Examples in Neural
    Networks", ICLR 2017.

    Attributes:
        auroc: how probable it is that a grade scores higher than a drawing of no grade.
        let_in_at_95: the share of drawings of no grade that pass the threshold which keeps 95% of the grades.
        let_in_at_99: likewise, 99%.
    """

    auroc: float
    let_in_at_95: float
    let_in_at_99: float


def rejection(grades: Float[np.ndarray, " n"], others: Float[np.ndarray, " others"]) -> Rejection:
    """Compares the scores of grades with those of drawings of no grade; a higher score is more like a grade."""
    ascending = np.sort(grades)
    below = np.searchsorted(ascending, others, "left") + np.searchsorted(ascending, others, "right")
    let_in = (float((others >= ascending[int((1 - kept) * len(grades))]).mean()) for kept in (0.95, 0.99))
    return Rejection(float(1 - below.mean() / (2 * len(grades))), *let_in)


def scores(probabilities: Probabilities, labels: Labels) -> Scores:
    """Scores predictions. NaN probabilities, from a network that has diverged, count as wrong."""
    of_label = probabilities[np.arange(len(labels)), labels]
    return Scores(
        accuracy=float(_correct(probabilities, labels).mean()),
        loss=float(-np.log(np.maximum(of_label, 1e-12)).mean()),
        ece=reliability(probabilities, labels).ece,
    )


def reliability(probabilities: Probabilities, labels: Labels, bins: int = 15) -> Reliability:
    """Bins predictions by confidence. NaN counts as the lowest confidence and makes the error NaN."""
    confidence = probabilities.max(axis=1).astype(np.float64)
    bin_index = np.clip(np.ceil(np.nan_to_num(confidence) * bins).astype(int) - 1, 0, bins - 1)
    counts = np.bincount(bin_index, minlength=bins)
    with np.errstate(invalid="ignore"):
        mean_confidence = np.bincount(bin_index, confidence, bins) / counts
        accuracy = np.bincount(bin_index, _correct(probabilities, labels), bins) / counts
    ece = float(np.sum(counts * abs(accuracy - mean_confidence), where=counts > 0) / max(len(labels), 1))
    return Reliability(np.linspace(0, 1, bins + 1), counts, mean_confidence, accuracy, ece)


def confusion(probabilities: Probabilities, labels: Labels) -> Int[np.ndarray, "grades grades"]:
    """Counts of drawings by label (row) and predicted grade (column)."""
    classes = probabilities.shape[1]
    pairs = labels * classes + probabilities.argmax(axis=1)
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def _correct(probabilities: Probabilities, labels: Labels) -> Bool[np.ndarray, " n"]:
    # argmax returns the first NaN.
    return (probabilities.argmax(axis=1) == labels) & ~np.isnan(probabilities).any(axis=1)
