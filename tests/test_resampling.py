"""Ink brought to the size of a network: by area, by point, and cropped."""

import cv2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gradejax.calibration import Calibration
from gradejax.resampling import resample

CANVAS = 280


def triangle(scale: float, across: float, down: float) -> np.ndarray:
    """A triangle, `scale` times 90 x 120 pixels large; `across` and `down`, 0 to 1, say where on the canvas."""
    corners = np.array([(0, 0), (90, 40), (25, 120)]) * scale
    corners += (CANVAS - corners.max(axis=0) - 2) * (across, down) + 1
    ink = np.zeros((CANVAS, CANVAS), np.uint8)
    cv2.fillPoly(ink, [np.rint(corners * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    return ink


def test_point_sampling_misses_ink_that_area_sampling_keeps():
    """A line one pixel wide between the sampled points."""
    ink = np.zeros((100, 100), np.uint8)
    ink[:, 2] = 255
    assert resample(ink, 10).max() > 0
    assert resample(ink, 10, "point").max() == 0


@settings(deadline=None)
@given(st.floats(1, 2.3), st.floats(0, 1), st.floats(0, 1))
def test_cropped_ink_is_the_same_wherever_and_however_large_it_was(scale, across, down):
    wanted = resample(triangle(1.5, 0.5, 0.5), 28, "crop").astype(int)
    cropped = resample(triangle(scale, across, down), 28, "crop").astype(int)
    assert abs(cropped - wanted).mean() < 4  # moving it by one pixel of the 28 makes 13
    for axis in (0, 1):
        first, last = np.flatnonzero(cropped.max(axis=axis) > 32)[[0, -1]]
        assert abs(first + last - 27) <= 1


def test_cropping_leaves_a_dot_small_and_blank_paper_blank():
    ink = np.zeros((CANVAS, CANVAS), np.uint8)
    assert resample(ink, 28, "crop").max() == 0
    cv2.circle(ink, (40, 200), 10, 255, -1)
    assert not Calibration().are_grades(np.zeros((1, 15)), resample(ink, 28, "crop")[None])[0]
