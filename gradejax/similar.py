"""Drawings that are nearly the same ink: one drawing saved twice, or copied."""

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

_SIMILAR = 0.99
"""Of two different drawings among 2,198 by 55 writers, the cosine is above it for 5 pairs by different people; of a
drawing and itself moved by a pixel, or blurred slightly, it nearly always is."""
_BLOCK = 2048  # rows: 16 MB for the products of two blocks


class Pair(NamedTuple):
    """Two drawings with nearly the same ink.

    Attributes:
        first: a row.
        second: a later row.
        similarity: the cosine of their inks, 1 for the same.
    """

    first: int
    second: int
    similarity: float


def near_duplicates(
    ink: UInt8[np.ndarray, "n size size"], after_block: Callable[[int], None] = lambda _: None
) -> list[Pair]:
    """Pairs of drawings whose inks, centred and blurred, hardly differ; the most similar first.

    Blank drawings have no ink to compare.

    Args:
        ink: the drawings. The time grows with the square of their number, the memory in proportion to it.
        after_block: is called with a number of drawings that have been compared with all later ones.
    """
    rows = np.flatnonzero(ink.any(axis=(1, 2)))
    looks = _looks(ink, rows)
    pairs: list[Pair] = []
    for start in range(0, len(rows), _BLOCK):
        for other in range(start, len(rows), _BLOCK):
            cosines = looks[start : start + _BLOCK] @ looks[other : other + _BLOCK].T
            for a, b in np.argwhere(cosines >= _SIMILAR):
                if start + a < other + b:
                    pairs.append(Pair(int(rows[start + a]), int(rows[other + b]), min(float(cosines[a, b]), 1.0)))
        after_block(len(rows[start : start + _BLOCK]))
    return sorted(pairs, key=lambda pair: -pair.similarity)


def _looks(ink: UInt8[np.ndarray, "n size size"], rows: np.ndarray) -> Float32[np.ndarray, "m pixels"]:
    """The ink of `rows`, moved to the centre, at half the size, as vectors of length one."""
    size = ink.shape[1]
    looks = np.empty((len(rows), (size // 2) ** 2), np.float32)
    for look, row in zip(looks, rows, strict=True):
        moments = cv2.moments(ink[row])
        x, y = moments["m10"] / moments["m00"], moments["m01"] / moments["m00"]
        move = np.array([[1, 0, (size - 1) / 2 - x], [0, 1, (size - 1) / 2 - y]])
        centred = cv2.warpAffine(ink[row].astype(np.float32), move, (size, size))
        look[:] = cv2.resize(centred, (size // 2, size // 2), interpolation=cv2.INTER_AREA).ravel()
    return looks / np.maximum(np.linalg.norm(looks, axis=1, keepdims=True), 1e-9)
