"""Confident learning: which labels are probably wrong, and how many, from confidences out of sample.

C. Northcutt, L. Jiang and I. Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels", JAIR 70, 2021.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

Confidences = Float[np.ndarray, "n grades"]
Labels = Int[np.ndarray, " n"]


class Doubts(NamedTuple):
    """What confident learning says about labels.

    Attributes:
        order: rows, the most suspect label first.
        scores: the confidence in each row's own label.
        guesses: the likeliest grade of each row.
        n_wrong: the estimated number of wrong labels.
    """

    order: Int[np.ndarray, " n"]
    scores: Float[np.ndarray, " n"]
    guesses: Int[np.ndarray, " n"]
    n_wrong: float


def doubts(confidences: Confidences, labels: Labels) -> Doubts:
    """Ranks labels by how likely they are to be wrong.

    Drawings that the confident joint puts outside its diagonal come first; within both parts, the lowest confidence in
    the own label does ("self-confidence").

    Args:
        confidences: of networks that were not trained on the drawing; rows sum to one.
        labels: as they are, right or wrong.
    """
    scores = confidences[np.arange(len(labels)), labels]
    classes = confident_classes(confidences, labels)
    is_suspect = (classes >= 0) & (classes != labels)
    order = np.lexsort((scores, ~is_suspect))
    return Doubts(order, scores, confidences.argmax(axis=1), n_wrong(classes, labels, confidences.shape[1]))


def confident_classes(confidences: Confidences, labels: Labels) -> Int[np.ndarray, " n"]:
    """The class that each drawing confidently belongs to, or -1 (equations 1 and 2 of the paper).

    A drawing belongs to the likeliest of the classes whose threshold its confidence reaches. A class's threshold is the
    mean confidence in it of the drawings with its label, so that a network that is too sure or unsure of a class, as
    label smoothing makes it, does no harm.
    """
    thresholds = np.full(confidences.shape[1], np.inf)
    for label in np.unique(labels):
        thresholds[label] = confidences[labels == label, label].mean()
    reached = np.where(confidences >= thresholds, confidences, -1.0)
    return np.where(reached.max(axis=1) >= 0, reached.argmax(axis=1), -1)


def n_wrong(classes: Int[np.ndarray, " n"], labels: Labels, n_classes: int) -> float:
    """Estimates the number of wrong labels from the confident joint, calibrated to the labels' counts (equation 3)."""
    joint = np.zeros((n_classes, n_classes))
    counted = classes >= 0
    np.add.at(joint, (labels[counted], classes[counted]), 1)
    totals = joint.sum(axis=1)
    shares = np.divide(joint, totals[:, None], out=np.zeros_like(joint), where=totals[:, None] > 0)
    right = shares.diagonal() + (totals == 0)  # of a label that nothing confidently has, nothing is known
    return float((np.bincount(labels, minlength=n_classes) * (1 - right)).sum())
