"""How good a set of predictions is: accuracy, cross-entropy, calibration, confusion."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

Probabilities = Float[np.ndarray, "n grades"]
Labels = Int[np.ndarray, " n"]


class Scores(NamedTuple):
    """Attributes: accuracy: share of right guesses; loss: mean cross-entropy in nats; ece: see `calibration`."""

    accuracy: float
    loss: float
    ece: float


class Reliability(NamedTuple):
    """Predictions sorted into equal bins of confidence. A bin without any has NaN for its means.

    Attributes:
        edges: of the bins, `(bins + 1,)`.
        counts, confidence, accuracy: of each bin: how many, and their means, `(bins,)`.
        ece: the expected calibration error: the mean over predictions of |accuracy - confidence| of their bin.
            C. Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, equation 3.
    """

    edges: Float[np.ndarray, " bins+1"]
    counts: Int[np.ndarray, " bins"]
    confidence: Float[np.ndarray, " bins"]
    accuracy: Float[np.ndarray, " bins"]
    ece: float


def scores(probabilities: Probabilities, labels: Labels) -> Scores:
    """The three figures a run is judged by. Of a lost network, whose probabilities are NaN, none is right."""
    right = probabilities[np.arange(len(labels)), labels]
    return Scores(
        accuracy=float(_correct(probabilities, labels).mean()),
        loss=float(-np.log(np.maximum(right, 1e-12)).mean()),
        ece=reliability(probabilities, labels).ece,
    )


def reliability(probabilities: Probabilities, labels: Labels, bins: int = 15) -> Reliability:
    """Whether confidence means what it says. NaN counts as the lowest confidence, and makes the error NaN."""
    confidence = probabilities.max(axis=1).astype(np.float64)
    place = np.clip(np.ceil(np.nan_to_num(confidence) * bins).astype(int) - 1, 0, bins - 1)
    counts = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        mean_confidence = np.bincount(place, confidence, bins) / counts
        accuracy = np.bincount(place, _correct(probabilities, labels), bins) / counts
    ece = float(np.sum(counts * abs(accuracy - mean_confidence), where=counts > 0) / max(len(labels), 1))
    return Reliability(np.linspace(0, 1, bins + 1), counts, mean_confidence, accuracy, ece)


def confusion(probabilities: Probabilities, labels: Labels) -> Int[np.ndarray, "grades grades"]:
    """How many drawings of each label (row) were taken for each grade (column)."""
    classes = probabilities.shape[1]
    pairs = labels * classes + probabilities.argmax(axis=1)
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def _correct(probabilities: Probabilities, labels: Labels) -> Bool[np.ndarray, " n"]:
    # The greatest of NaNs would be the first of them.
    return (probabilities.argmax(axis=1) == labels) & ~np.isnan(probabilities).any(axis=1)
