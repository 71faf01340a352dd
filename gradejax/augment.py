"""Random distortion of a batch of ink: affine, elastic, and in pen width.

The affine part has the semantics of Keras's `ImageDataGenerator`. The numbers of a recipe published for
`ImageDataGenerator(rotation_range, width_shift_range = height_shift_range, shear_range, zoom_range)` carry over
unchanged; so does its surprise: **shear is in degrees**. Pixels outside the picture repeat its border
(`fill_mode="nearest"`); interpolation is bilinear (`interpolation_order=1`).

The elastic part displaces each pixel by a smooth random field, which matters most for handwriting according to
P. Simard, D. Steinkraus and J. Platt, "Best practices for convolutional neural networks applied to visual document
analysis", ICDAR 2003. Here the field is a cubic B-spline over a coarse grid of control points (D. Rueckert et al.,
"Nonrigid registration using free-form deformations", IEEE TMI 18, 1999), whose kernel is as wide as their Gaussian.
"""

import functools
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, UInt8

_CELLS = 4  # cells of the elastic field's grid along each side
_CHUNK = 128  # pictures warped together: their maps fit in a processor's cache


class DistortionRanges(NamedTuple):
    """The range of each distortion: every drawing gets its own uniform draw between minus and plus the value.

    Attributes:
        rotation: degrees.
        shift: fraction of the picture's side, down and across independently.
        shear: degrees.
        zoom: the two axes are scaled independently by factors from 1 - zoom to 1 + zoom.
        elastic: fraction of the picture's side by which control points of the elastic field move, down and across
            independently. The grid has four cells per side. No pixel moves further than the control points do; the
            standard deviation of a pixel's displacement is about 0.28 of this range.
        pen_width: pixels by which lines become wider or thinner, at most 2.
    """

    rotation: float = 0.0
    shift: float = 0.0
    shear: float = 0.0
    zoom: float = 0.0
    elastic: float = 0.0
    pen_width: float = 0.0


class Distortions(NamedTuple):
    """One distortion for each of `n` pictures, from `draw`. Inside a jitted step the arrays are traced ones.

    Attributes:
        maps: affine maps, as `affine_maps` returns them.
        moves: displacements of the elastic field's control points, pixels (down, across); None if there are none.
        pen_width: pixels by which lines become wider; None if they stay as they are.
    """

    maps: Float[np.ndarray, "n 2 3"]
    moves: Float[np.ndarray, "n 2 points"] | None
    pen_width: Float[np.ndarray, " n"] | None


def draw(rng: np.random.Generator, n: int, size: int, ranges: DistortionRanges) -> Distortions:
    """Draws distortions for `n` pictures of `size` x `size` at random within `ranges`."""
    maps = random_affines(rng, n, size, ranges)
    moves = pen_width = None
    if ranges.elastic:
        moves = np.empty((n, 2, (_CELLS + 3) ** 2), np.float32)
        for start in range(0, n, _CHUNK):  # all at once as float64 would leave the cache
            chunk = moves[start : start + _CHUNK].swapaxes(0, 1)
            np.multiply(ranges.elastic * size, rng.uniform(-1.0, 1.0, chunk.shape).astype(np.float32), out=chunk)
    if ranges.pen_width:
        pen_width = ranges.pen_width * rng.uniform(-1.0, 1.0, n)
    return Distortions(maps, moves, pen_width)


def distort(ink: UInt8[np.ndarray, "n size size"], distortions: Distortions) -> UInt8[np.ndarray, "n size size"]:
    """Distorts each picture in its own way. `gradejax.augment_device.distort` does the same on a GPU."""
    if distortions.moves is None:
        distorted = warp(ink, distortions.maps)
    else:
        distorted = elastic_warp(ink, distortions.maps, distortions.moves)
    return distorted if distortions.pen_width is None else change_pen_width(distorted, distortions.pen_width)


def random_affines(rng: np.random.Generator, n: int, size: int, ranges: DistortionRanges) -> Float[np.ndarray, "n 2 3"]:
    """Draws `n` affine maps for pictures of `size` x `size` at random within `ranges`."""
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
    """Affine maps from a place (row, column, 1) in the new picture to the place in the old one that it shows.

    The map is rotation @ shift @ shear @ zoom of (x, y) about the picture's centre, with rows and columns then swapped:
    `apply_affine_transform` in Keras's `keras/src/legacy/preprocessing/image.py`.

    Args:
        rotation: degrees.
        shift: pixels (across, down).
        shear: degrees; makes upright strokes lean.
        zoom: scale of the columns and of the rows; above 1 the drawing shrinks.
        size: side of the pictures, pixels.
    """
    theta, phi = np.deg2rad(rotation), np.deg2rad(shear)
    turn = np.stack([np.cos(theta), -np.sin(theta), np.sin(theta), np.cos(theta)], axis=-1).reshape(-1, 2, 2)
    lean = np.stack([np.ones_like(phi), -np.sin(phi), np.zeros_like(phi), np.cos(phi)], axis=-1).reshape(-1, 2, 2)
    linear = turn @ lean * zoom[:, None, :]
    centre = np.full(2, size / 2 - 0.5)
    offset = centre - linear @ centre + np.einsum("nij,nj->ni", turn, shift)
    return np.concatenate([linear[:, ::-1, ::-1], offset[:, ::-1, None]], axis=-1)


def warp(ink: UInt8[np.ndarray, "n size size"], maps: Float[np.ndarray, "n 2 3"]) -> UInt8[np.ndarray, "n size size"]:
    """Warps each picture by its affine map: `scipy.ndimage.affine_transform(order=1, mode="nearest")`, to rounding."""
    # OpenCV has (x, y) where a map has (row, column): swap both its rows and its columns.
    maps = maps[:, ::-1][:, :, [1, 0, 2]]
    size = ink.shape[1:]
    warped = np.empty_like(ink)
    for picture, map_, out in zip(ink, maps, warped, strict=True):
        cv2.warpAffine(
            picture, map_, size, out, cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
        )
    return warped


def elastic_warp(
    ink: UInt8[np.ndarray, "n size size"], maps: Float[np.ndarray, "n 2 3"], moves: Float[np.ndarray, "n 2 points"]
) -> UInt8[np.ndarray, "n size size"]:
    """Warps each picture by its affine map and its elastic field.

    A cubic B-spline whose control points lie on a plane is that plane. So the affine map and the elastic field make one
    spline, whose control points are those of a regular grid, mapped and then moved.
    """
    size = ink.shape[1]
    grid, weights = spline(size)
    warped = np.empty_like(ink)
    for start in range(0, len(ink), _CHUNK):
        chunk = slice(start, start + _CHUNK)
        n = len(ink[chunk])
        rows_and_columns = []
        for axis, first in ((0, np.arange(n) * size), (1, np.zeros(n))):
            place = (np.float32(maps[chunk, axis] @ grid) + moves[chunk, axis]) @ weights
            # OpenCV gets the pictures stacked as one tall one: clip, or they would see their neighbours.
            np.clip(place, 0, size - 1, out=place)
            place += first[:, None].astype(np.float32)
            rows_and_columns.append(place.reshape(n * size, size))
        rows, columns = rows_and_columns
        tall, out = ink[chunk].reshape(n * size, size), warped[chunk].reshape(n * size, size)
        cv2.remap(tall, columns, rows, cv2.INTER_LINEAR, out, cv2.BORDER_REPLICATE)
    return warped


@functools.cache
def spline(size: int) -> tuple[Float[np.ndarray, "3 points"], Float[np.ndarray, "points pixels"]]:
    """The elastic field's regular grid of control points (row, column, 1), and their weights in each pixel."""
    knots = np.arange(-1, _CELLS + 2) * (size - 1) / _CELLS
    distance = np.abs(knots[:, None] - np.arange(size)) * _CELLS / (size - 1)
    inner, outer = 2 / 3 - distance**2 + distance**3 / 2, np.maximum(2 - distance, 0) ** 3 / 6
    weights = np.where(distance < 1, inner, outer)
    rows, columns = np.meshgrid(knots, knots, indexing="ij")
    grid = np.stack([rows.ravel(), columns.ravel(), np.ones(rows.size)])
    return grid, np.kron(weights, weights).astype(np.float32)


def change_pen_width(
    ink: UInt8[np.ndarray, "n size size"], pixels: Float[np.ndarray, " n"]
) -> UInt8[np.ndarray, "n size size"]:
    """Makes the lines of each picture wider, or thinner if `pixels` is negative; -2 to 2.

    Each edge of a line moves by half of that: the ink is blended with its dilation or erosion by a 3 x 3 cross, which
    moves edges by a whole pixel.
    """
    changed = np.empty_like(ink)
    for rows, extreme in ((pixels >= 0, np.maximum), (pixels < 0, np.minimum)):
        before = ink[rows]
        after = before.copy()
        for here, there in ((np.s_[:, 1:], np.s_[:, :-1]), (np.s_[:, :, 1:], np.s_[:, :, :-1])):
            extreme(after[here], before[there], out=after[here])
            extreme(after[there], before[here], out=after[there])
        share = np.rint(128 * np.abs(pixels[rows])).astype(np.uint16)[:, None, None]
        changed[rows] = (before * (256 - share) + after * share + 128) >> 8
    return changed
