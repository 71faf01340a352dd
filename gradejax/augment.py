"""Random affine distortion of a batch of ink, with the semantics of Keras's `ImageDataGenerator`.

A recipe published for `ImageDataGenerator(rotation_range, width_shift_range = height_shift_range, shear_range,
zoom_range)` carries over number by number; so does its surprise: **shear is in degrees**. Pixels from outside the
picture repeat the border (`fill_mode="nearest"`), between pixels it is bilinear (`interpolation_order=1`).
"""

from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, UInt8


class AffineRanges(NamedTuple):
    """How far each distortion may go; each drawing gets its own uniform draw from minus to plus.

    Attributes:
        rotation: degrees.
        shift: fraction of the picture's side, down and across independently.
        shear: degrees.
        zoom: fraction; the two axes are scaled independently by a factor from 1 - zoom to 1 + zoom.
    """

    rotation: float = 0.0
    shift: float = 0.0
    shear: float = 0.0
    zoom: float = 0.0


def random_affines(rng: np.random.Generator, n: int, size: int, ranges: AffineRanges) -> Float[np.ndarray, "n 2 3"]:
    """Draws `n` affine maps for pictures of `size` x `size`, in the form `warp` takes."""
    unit = rng.uniform(-1.0, 1.0, (6, n))
    return affine_maps(
        rotation=ranges.rotation * unit[0],
        shift=(ranges.shift * size * unit[1:3]).T,
        shear=ranges.shear * unit[3],
        zoom=1.0 + (ranges.zoom * unit[4:6]).T,
        size=size,
    )


def affine_maps(
    rotation: Float[np.ndarray, " n"],
    shift: Float[np.ndarray, "n 2"],
    shear: Float[np.ndarray, " n"],
    zoom: Float[np.ndarray, "n 2"],
    size: int,
) -> Float[np.ndarray, "n 2 3"]:
    """The maps from a place (row, column, 1) in the new picture to the place in the old one that it shows.

    They are rotation @ shift @ shear @ zoom about the picture's centre: `apply_affine_transform` in Keras's
    `keras/src/legacy/preprocessing/image.py`.

    Args:
        rotation, shear: degrees.
        shift: pixels (down, across).
        zoom: scale of the rows and of the columns; above 1 the drawing shrinks.
    """
    theta, phi = np.deg2rad(rotation), np.deg2rad(shear)
    turn = np.stack([np.cos(theta), -np.sin(theta), np.sin(theta), np.cos(theta)], axis=-1).reshape(-1, 2, 2)
    lean = np.stack([np.ones_like(phi), -np.sin(phi), np.zeros_like(phi), np.cos(phi)], axis=-1).reshape(-1, 2, 2)
    linear = turn @ lean * zoom[:, None, :]
    centre = np.full(2, size / 2 - 0.5)
    offset = centre - linear @ centre + np.einsum("nij,nj->ni", turn, shift)
    return np.concatenate([linear, offset[..., None]], axis=-1)


def warp(ink: UInt8[np.ndarray, "n size size"], maps: Float[np.ndarray, "n 2 3"]) -> UInt8[np.ndarray, "n size size"]:
    """Each picture seen through its map: `scipy.ndimage.affine_transform(order=1, mode="nearest")`, to rounding."""
    # OpenCV counts (x, y) where a map counts (row, column): both its rows and its columns change places.
    maps = maps[:, ::-1][:, :, [1, 0, 2]]
    size = ink.shape[1:]
    warped = np.empty_like(ink)
    for picture, map_, out in zip(ink, maps, warped, strict=True):
        cv2.warpAffine(
            picture, map_, size, out, cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
        )
    return warped
