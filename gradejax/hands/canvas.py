"""The canvas that drawings are made on, and the ink that a pen leaves on it."""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from jaxtyping import UInt8

CANVAS = 280
"""Side of the canvas, pixels."""
PEN = 20
"""Width of the pen's round tip, pixels."""

Strokes = list[list[dict[str, float]]]
"""A drawing's strokes as its document holds them: per stroke a list of `{x, y, t, pressure}`, t in milliseconds."""


def ink_strokes(
    strokes: Sequence[Sequence[Mapping[str, float]]], size: int = CANVAS, width: float = PEN
) -> UInt8[np.ndarray, "{size} {size}"]:
    """Draws strokes with a round pen, antialiased, as a browser's canvas does.

    Args:
        strokes: the pen's path; only x and y are used, in pixels of the picture.
        size: side of the picture, pixels.
        width: width of the pen, pixels.

    Returns:
        The ink: 0 is bare ground, 255 solid stroke.
    """
    oversampling = 4  # drawn larger, then averaged: OpenCV's own antialiased lines are too wide
    # The first point is repeated, for OpenCV draws a dot as a line from a point to itself.
    lines = [np.array([(p["x"], p["y"]) for p in (stroke[0], *stroke)]) for stroke in strokes if stroke]
    # In OpenCV integers are the centres of pixels, on a canvas their edges. `shift=4` counts in sixteenths of a pixel.
    lines = [np.rint((line * oversampling - 0.5) * 16).astype(np.int32) for line in lines]
    ink = np.zeros((size * oversampling, size * oversampling), np.uint8)
    cv2.polylines(ink, lines, isClosed=False, color=255, thickness=round(width * oversampling), shift=4)
    for scale in (2, 1):  # OpenCV halves twice in a fifth of the time it takes to quarter once
        ink = cv2.resize(ink, (size * scale, size * scale), interpolation=cv2.INTER_AREA)
    return ink
