"""Drawings that look as if somebody else drew them: a writer's pen, sizes, places and slants, as statistics."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

from gradejax.progress import track

_DIRECTIONS = 8
_FEWEST = 5  # drawings by a writer, to know the hand
_FINE = 4  # times as many pixels, to measure a line's width
_SHRINKAGE = 0.01  # of the covariance towards a sphere
_MOST_DISTANCES = 2**22  # at a time, between drawings and writers: 32 MB
_DOUBTFUL = 8.0
"""A drawing is listed if the odds are more than e⁸, about 3,000, to one that another writer drew it."""


class Stranger(NamedTuple):
    """A drawing that does not look like its writer's others.

    Attributes:
        row: the drawing.
        writer: the index of the writer whose hand it looks like.
        doubt: minus the natural logarithm of the probability that it is by the writer it is said to be by.
    """

    row: int
    writer: int
    doubt: float


def strangers(
    ink: UInt8[np.ndarray, "n size size"],
    labels: Int[np.ndarray, " n"],
    writers: Int[np.ndarray, " n"],
    after_drawing: Callable[[float], None] = lambda _: None,
) -> list[Stranger]:
    """Drawings that look far more like another writer's, the least like their own writer's first.

    Linear discriminant analysis: writers differ in the mean of a drawing's statistics, relative to those of its grade,
    and share a covariance. A drawing is left out of its own writer's mean.

    Args:
        ink: the drawings.
        labels: class indices.
        writers: an index per writer. Those with fewer than five drawings are left out.
        after_drawing: is called with 1 for each drawing that has been measured.
    """
    rows = np.flatnonzero(np.bincount(writers)[writers] >= _FEWEST)
    names, of_row = np.unique(writers[rows], return_inverse=True)
    if len(names) < 2:
        return []
    x = _statistics(track((ink[row] for row in rows), after_drawing))
    for label in np.unique(labels[rows]):
        x[labels[rows] == label] -= x[labels[rows] == label].mean(axis=0)
    x /= np.maximum(x.std(axis=0), 1e-9)

    counts = np.bincount(of_row)
    means = np.zeros((len(names), x.shape[1]))
    np.add.at(means, of_row, x)
    means /= counts[:, None]
    within = x - means[of_row]
    covariance = within.T @ within / max(len(rows) - len(names), 1)
    covariance += np.eye(len(covariance)) * max(_SHRINKAGE * np.trace(covariance) / len(covariance), 1e-9)
    whitening = np.linalg.cholesky(np.linalg.inv(covariance))
    x, means = x @ whitening, means @ whitening
    listed: list[Stranger] = []
    block = max(1, _MOST_DISTANCES // len(names))
    for start in range(0, len(rows), block):
        part = slice(start, start + block)
        doubts, nearest = _doubts(x[part], means, counts, of_row[part])
        listed += [
            Stranger(int(rows[start + index]), int(names[nearest[index]]), float(doubts[index]))
            for index in np.flatnonzero(doubts > _DOUBTFUL)
        ]
    return sorted(listed, key=lambda one: -one.doubt)


def _doubts(
    x: Float[np.ndarray, "n statistics"],
    means: Float[np.ndarray, "writers statistics"],
    counts: Int[np.ndarray, " writers"],
    own: Int[np.ndarray, " n"],
) -> tuple[Float[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """The doubt about each drawing's `own` writer, and the writer whose mean is nearest to it."""
    distances = (x**2).sum(axis=1)[:, None] + (means**2).sum(axis=1) - 2 * x @ means.T
    # A mean of n drawings is itself uncertain by 1/n. Without the drawing, its own writer's is farther away.
    n, place = counts[own], (np.arange(len(own)), own)
    left_out = distances[place] * (n / (n - 1)) ** 2 / (1 + 1 / (n - 1))
    distances /= 1 + 1 / counts
    distances[place] = left_out
    return np.logaddexp.reduce((left_out[:, None] - distances) / 2, axis=1), distances.argmin(axis=1)


def _statistics(ink: Iterable[UInt8[np.ndarray, "size size"]]) -> Float[np.ndarray, "n statistics"]:
    """Extent, place, spread and slant of the ink, the pen's width and strength, and the directions of its edges."""
    rows = []
    for one in ink:
        ys, xs = np.nonzero(one > 32)
        if not len(ys):
            ys = xs = np.array([one.shape[0] // 2])
        moments = cv2.moments(one)
        total = max(moments["m00"], 1.0)
        fine = cv2.resize(one, None, fx=_FINE, fy=_FINE, interpolation=cv2.INTER_LINEAR)
        depths = cv2.distanceTransform((fine > 127).astype(np.uint8), cv2.DIST_L2, 3)
        across, down = cv2.Sobel(one, cv2.CV_32F, 1, 0), cv2.Sobel(one, cv2.CV_32F, 0, 1)
        strengths = np.hypot(across, down)
        angles = np.arctan2(down, across) % np.pi
        directions = np.histogram(angles, _DIRECTIONS, (0, np.pi), weights=strengths)[0] / max(strengths.sum(), 1.0)
        rows.append(
            [
                np.ptp(ys), np.ptp(xs), ys.mean(), xs.mean(), ys.min(), xs.min(),
                moments["mu20"] / total, moments["mu02"] / total, moments["mu11"] / total,
                total / 255, one.max() / 255, (one > 200).sum() / len(ys),
                np.percentile(depths[depths > 0], 90) if depths.any() else 0.0,
                *directions,
            ]
        )  # fmt: skip
    return np.array(rows, np.float64)
