"""Augmentation: affine maps are Keras's, so that its published recipes carry over; elastic fields; pen width."""

import cv2
import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from gradejax import augment_device
from gradejax.augment import (
    DistortionRanges,
    affine_maps,
    change_pen_width,
    distort,
    draw,
    elastic_warp,
    random_affines,
    warp,
)


def pictures(n: int, size: int) -> np.ndarray:
    """Smoothed noise with strong edges: a harder test of interpolation than handwriting."""
    noise = np.random.default_rng(n * size).random((n, size, size)) > 0.5
    return np.stack([ndimage.gaussian_filter(255.0 * one, 0.6) for one in noise]).astype(np.uint8)


def keras_map(rotation: float, shift: tuple[float, float], shear: float, zoom: tuple[float, float], size: int):
    """`apply_affine_transform` of Keras's ImageDataGenerator, written out: 3 x 3, rows before columns."""
    t, s = np.deg2rad(rotation), np.deg2rad(shear)
    turn = np.array([[np.cos(t), -np.sin(t), 0], [np.sin(t), np.cos(t), 0], [0, 0, 1]])
    move = np.array([[1, 0, shift[0]], [0, 1, shift[1]], [0, 0, 1]])
    lean = np.array([[1, -np.sin(s), 0], [0, np.cos(s), 0], [0, 0, 1]])
    scale = np.diag([zoom[0], zoom[1], 1])
    centre = size / 2 - 0.5
    offset = np.array([[1, 0, centre], [0, 1, centre], [0, 0, 1]])
    reset = np.array([[1, 0, -centre], [0, 1, -centre], [0, 0, 1]])
    swap = np.eye(3)[[1, 0, 2]]  # Keras's last step: from (x, y) to (row, column)
    return swap @ offset @ turn @ move @ lean @ scale @ reset @ swap


@settings(deadline=None, max_examples=100)
@given(
    rotation=st.floats(-180, 180),
    shift=st.tuples(st.floats(-9, 9), st.floats(-9, 9)),
    shear=st.floats(-40, 40),
    zoom=st.tuples(st.floats(0.5, 1.5), st.floats(0.5, 1.5)),
    size=st.sampled_from([16, 28, 41]),
)
def test_warp_matches_scipy_and_maps_match_keras(rotation, shift, shear, zoom, size):
    ink = pictures(3, size)
    maps = affine_maps(
        rotation=np.full(3, rotation), shift=np.tile(shift, (3, 1)), shear=np.full(3, shear),
        zoom=np.tile(zoom, (3, 1)), size=size,
    )  # fmt: skip
    expected_map = keras_map(rotation, shift, shear, zoom, size)
    np.testing.assert_allclose(maps[0], expected_map[:2], atol=1e-9)
    for old, new in zip(ink, warp(ink, maps), strict=True):
        expected = ndimage.affine_transform(
            old / 255, expected_map[:2, :2], expected_map[:2, 2], order=1, mode="nearest"
        )
        assert abs(new / 255 - expected).max() <= 2e-3


def distorted_by(seed: int, ink: np.ndarray, ranges: DistortionRanges) -> np.ndarray:
    return distort(ink, draw(np.random.default_rng(seed), len(ink), ink.shape[1], ranges))


def test_zero_ranges_change_nothing():
    ink = pictures(5, 28)
    np.testing.assert_array_equal(distorted_by(0, ink, DistortionRanges()), ink)
    still = np.zeros((5, 2, 49), np.float32)
    out = elastic_warp(ink, random_affines(np.random.default_rng(0), 5, 28, DistortionRanges()), still)
    assert abs(out.astype(int) - ink).max() <= 1
    np.testing.assert_array_equal(change_pen_width(ink, np.zeros(5)), ink)


@pytest.mark.parametrize(("name", "extent"), [("rotation", 20.0), ("shift", 0.2), ("shear", 15.0), ("zoom", 0.3)])
def test_each_distortion_fills_its_range_and_stays_in_it(name, extent):
    maps = random_affines(np.random.default_rng(1), 4000, 28, DistortionRanges(**{name: extent}))
    linear = maps[:, :, :2]
    centre = np.full(2, 13.5)
    parameter = {
        "rotation": np.rad2deg(np.arctan2(linear[:, 0, 1], linear[:, 0, 0])),
        "shift": (linear @ centre + maps[:, :, 2] - centre) / 28,
        "shear": np.rad2deg(np.arcsin(-linear[:, 1, 0])),
        "zoom": linear[:, [0, 1], [0, 1]] - 1,
    }[name]
    assert abs(parameter).max() <= extent + 1e-6
    np.testing.assert_allclose(
        np.quantile(parameter, [0.05, 0.25, 0.5, 0.75, 0.95]) / extent, [-0.9, -0.5, 0, 0.5, 0.9], atol=0.1
    )


def test_the_two_axes_shift_and_zoom_independently():
    maps = random_affines(np.random.default_rng(2), 4000, 28, DistortionRanges(zoom=0.3))
    assert abs(np.corrcoef(maps[:, 0, 0], maps[:, 1, 1])[0, 1]) < 0.1
    maps = random_affines(np.random.default_rng(2), 4000, 28, DistortionRanges(shift=0.3))
    assert abs(np.corrcoef(maps[:, 0, 2], maps[:, 1, 2])[0, 1]) < 0.1


def line_drawings(n: int, size: int = 28) -> np.ndarray:
    """Pictures of a few thick lines, well inside the border."""
    rng = np.random.default_rng(n)
    ink = np.zeros((n, 4 * size, 4 * size), np.uint8)
    for picture in ink:
        cv2.polylines(picture, [rng.integers(size, 3 * size, (4, 1, 2), np.int32)], False, 255, size // 3)
    return np.stack([cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA) for picture in ink])


any_ranges = st.builds(
    DistortionRanges, rotation=st.floats(0, 20), shift=st.floats(0, 0.1), shear=st.floats(0, 20),
    zoom=st.floats(0, 0.3), elastic=st.floats(0, 0.2), pen_width=st.floats(0, 2),
)  # fmt: skip


@settings(deadline=None)
@given(ranges=any_ranges, seed=st.integers(0, 2**32 - 1), n=st.sampled_from([1, 2, 127, 129]))
def test_distortion_is_reproducible_and_leaves_its_input_alone(ranges, seed, n):
    ink = line_drawings(n)
    before = ink.copy()
    once, again = (distorted_by(seed, ink, ranges) for _ in range(2))
    assert once.dtype == np.uint8 and once.shape == ink.shape
    np.testing.assert_array_equal(once, again)
    np.testing.assert_array_equal(ink, before)


@settings(deadline=None)
@given(ranges=any_ranges, seed=st.integers(0, 2**32 - 1), size=st.sampled_from([8, 28, 31]))
def test_pictures_of_a_batch_do_not_mix(ranges, seed, size):
    """Blank pictures between solid ones stay blank, and the solid ones solid."""
    ink = np.zeros((5, size, size), np.uint8)
    ink[::2] = 255
    np.testing.assert_array_equal(distorted_by(seed, ink, ranges), ink)


@settings(deadline=None)
@given(
    rotation=st.floats(-20, 20), shift=st.tuples(st.floats(-3, 3), st.floats(-3, 3)), shear=st.floats(-20, 20),
    zoom=st.tuples(st.floats(0.7, 1.3), st.floats(0.7, 1.3)), size=st.sampled_from([16, 28, 41]),
)  # fmt: skip
def test_an_elastic_warp_without_moves_is_affine(rotation, shift, shear, zoom, size):
    ink = pictures(3, size)
    maps = affine_maps(
        rotation=np.full(3, rotation), shift=np.tile(shift, (3, 1)), shear=np.full(3, shear),
        zoom=np.tile(zoom, (3, 1)), size=size,
    )  # fmt: skip
    out = elastic_warp(ink, maps, np.zeros((3, 2, 49), np.float32))
    # Places are float32, and OpenCV rounds them to 1/32 pixel.
    assert abs(out.astype(float) - warp(ink, maps)).max() <= 255 / 32 + 1


@pytest.mark.parametrize("elastic", [0.05, 0.15])
def test_no_pixel_moves_further_than_the_control_points(elastic):
    """Each pixel holds its own column, so that after the warp it says where it came from."""
    ink = np.broadcast_to(np.arange(28, dtype=np.uint8) * 9, (2000, 28, 28)).copy()
    distorted = distorted_by(4, ink, DistortionRanges(elastic=elastic))
    moved = (distorted / 9 - np.arange(28))[:, :, 9:19]
    assert abs(moved).max() <= elastic * 28 + 0.1
    assert moved.std() / 28 == pytest.approx(0.28 * elastic, rel=0.1)
    assert abs(moved.mean()) < 0.05
    # Smooth: neighbours move almost alike, pixels half a picture apart independently.
    assert np.corrcoef(moved[:, 10, 5], moved[:, 11, 5])[0, 1] > 0.95
    assert abs(np.corrcoef(moved[:, 5, 5], moved[:, 22, 5])[0, 1]) < 0.1


def test_elastic_distortion_preserves_the_amount_of_ink():
    ink = line_drawings(200)
    distorted = distorted_by(5, ink, DistortionRanges(elastic=0.12))
    before, after = ink.sum(axis=(1, 2), dtype=float), distorted.sum(axis=(1, 2), dtype=float)
    assert after.sum() == pytest.approx(before.sum(), rel=0.03)
    assert (abs(after / before - 1) < 0.5).all()
    assert (abs(distorted.astype(int) - ink).mean(axis=(1, 2)) > 1).all()


@pytest.mark.parametrize("pixels", [-1.5, -0.5, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("across", [False, True])
def test_lines_become_wider_by_the_given_pixels(pixels, across):
    """Width is measured as the ink of a line divided by its length."""
    ink = np.zeros((1, 28, 28), np.uint8)
    ink[0, :, 10:14] = 255
    ink[0, :, 14] = 100
    ink = ink.swapaxes(1, 2) if across else ink
    changed = change_pen_width(ink, np.array([pixels]))
    assert (changed.sum() - float(ink.sum())) / 255 / 28 == pytest.approx(pixels, abs=0.02)
    assert (changed >= ink).all() if pixels > 0 else (changed <= ink).all()


def test_pen_widths_fill_their_range():
    ink = np.zeros((4000, 28, 28), np.uint8)
    ink[:, :, 8:20] = 255
    distorted = distorted_by(6, ink, DistortionRanges(pen_width=1.5))
    wider = distorted[:, 14].sum(axis=1, dtype=float) / 255 - 12
    assert abs(wider).max() <= 1.51
    np.testing.assert_allclose(
        np.quantile(wider, [0.05, 0.25, 0.5, 0.75, 0.95]), [-1.35, -0.75, 0, 0.75, 1.35], atol=0.1
    )


on_the_device = jax.jit(augment_device.distort)


@settings(deadline=None, max_examples=15)
@given(ranges=any_ranges, seed=st.integers(0, 2**32 - 1))
def test_the_device_distorts_as_the_host_does(ranges, seed):
    ink = line_drawings(40)
    distortions = draw(np.random.default_rng(seed), 40, 28, ranges)
    on_device = np.asarray(on_the_device(ink, distortions))
    difference = abs(on_device.astype(int) - distort(ink, distortions))
    # OpenCV rounds places to 1/32 pixel in the elastic warp, and edges of lines are 255 high.
    assert difference.max() <= (1 if distortions.moves is None and distortions.pen_width is None else 2 * 255 / 32 + 2)
    assert difference.mean() < 0.6
