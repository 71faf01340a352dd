"""The distortion is Keras's, so that recipes published for it carry over."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from gradejax.augment import AffineRanges, affine_maps, random_affines, warp


def pictures(n: int, size: int) -> np.ndarray:
    """Smoothed noise with strong edges: harder on an interpolation than handwriting."""
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
    return offset @ turn @ move @ lean @ scale @ reset


@settings(deadline=None, max_examples=100)
@given(
    rotation=st.floats(-180, 180),
    shift=st.tuples(st.floats(-9, 9), st.floats(-9, 9)),
    shear=st.floats(-40, 40),
    zoom=st.tuples(st.floats(0.5, 1.5), st.floats(0.5, 1.5)),
    size=st.sampled_from([16, 28, 41]),
)
def test_the_warp_is_scipys_and_the_map_is_keras(rotation, shift, shear, zoom, size):
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


def test_no_range_changes_nothing():
    ink = pictures(5, 28)
    maps = random_affines(np.random.default_rng(0), 5, 28, AffineRanges())
    np.testing.assert_array_equal(warp(ink, maps), ink)


@pytest.mark.parametrize(("name", "extent"), [("rotation", 20.0), ("shift", 0.2), ("shear", 15.0), ("zoom", 0.3)])
def test_each_range_is_used_up_and_kept(name, extent):
    """What a map does to its picture, read back from the map, fills the range evenly and never leaves it."""
    maps = random_affines(np.random.default_rng(1), 4000, 28, AffineRanges(**{name: extent}))
    linear = maps[:, :, :2]
    centre = np.full(2, 13.5)
    found = {
        "rotation": np.rad2deg(np.arctan2(linear[:, 1, 0], linear[:, 0, 0])),
        "shift": (linear @ centre + maps[:, :, 2] - centre) / 28,
        "shear": np.rad2deg(np.arcsin(-linear[:, 0, 1])),
        "zoom": linear[:, [0, 1], [0, 1]] - 1,
    }[name]
    assert abs(found).max() <= extent + 1e-6
    np.testing.assert_allclose(
        np.quantile(found, [0.05, 0.25, 0.5, 0.75, 0.95]) / extent, [-0.9, -0.5, 0, 0.5, 0.9], atol=0.1
    )


def test_the_two_axes_move_and_zoom_independently():
    maps = random_affines(np.random.default_rng(2), 4000, 28, AffineRanges(zoom=0.3))
    assert abs(np.corrcoef(maps[:, 0, 0], maps[:, 1, 1])[0, 1]) < 0.1
    maps = random_affines(np.random.default_rng(2), 4000, 28, AffineRanges(shift=0.3))
    assert abs(np.corrcoef(maps[:, 0, 2], maps[:, 1, 2])[0, 1]) < 0.1
