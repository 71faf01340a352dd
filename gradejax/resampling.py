"""Ink of any size to the small square that a network takes."""

import cv2
import numpy as np
from jaxtyping import UInt8

METHODS = ("area", "crop", "point")
"""See `resample`."""
_CROP_MARGIN = 1.25
_SMALLEST_CROP = 0.5


def resample(
    ink: UInt8[np.ndarray, "height width"], size: int, method: str = "area"
) -> UInt8[np.ndarray, "{size} {size}"]:
    """Resamples ink to `size` x `size` pixels; an oblong picture is centred on a square first.

    Args:
        ink: of any size.
        size: pixels.
        method: `area`: a new pixel is the mean of those it covers. `point`: it is interpolated between the four
            nearest to its centre, and those in between are ignored. `crop`: by area, after the picture is cropped to a
            square around the ink, so that drawings are of one size, in the middle.
    """
    ink = _cropped(ink) if method == "crop" else _centred(ink, max(ink.shape))
    # OpenCV's bilinear interpolation does not smooth first.
    interpolation = {"area": cv2.INTER_AREA, "crop": cv2.INTER_AREA, "point": cv2.INTER_LINEAR}[method]
    return cv2.resize(ink, (size, size), interpolation=interpolation)


def _cropped(ink: UInt8[np.ndarray, "height width"]) -> UInt8[np.ndarray, "side side"]:
    """The square around the ink, with a margin; not so small that a dot would become a letter."""
    left, top, width, height = cv2.boundingRect((ink >= 32).view(np.uint8))
    if not width:
        return _centred(ink, max(ink.shape))
    drawn = ink[top : top + height, left : left + width]
    return _centred(drawn, round(max(_CROP_MARGIN * max(drawn.shape), _SMALLEST_CROP * max(ink.shape))))


def _centred(ink: UInt8[np.ndarray, "height width"], side: int) -> UInt8[np.ndarray, "{side} {side}"]:
    """The ink in the middle of an otherwise bare square of `side` pixels, which is large enough for it."""
    height, width = ink.shape
    if height == width == side:
        return ink
    top, left = (side - height) // 2, (side - width) // 2
    square = np.zeros((side, side), np.uint8)
    square[top : top + height, left : left + width] = ink
    return square
