"""Random distortion of a batch of ink: affine, elastic, and of the pen's width.

The affine part has the semantics of Keras's `ImageDataGenerator`. A recipe published for
`ImageDataGenerator(rotation_range, width_shift_range = height_shift_range, shear_range, zoom_range)` carries over
number by number; so does its surprise: **shear is in degrees**. Pixels from outside the picture repeat the border
(`fill_mode="nearest"`), between pixels it is bilinear (`interpolation_order=1`).

The elastic part is what P. Simard, D. Steinkraus and J. Platt, "Best practices for convolutional neural networks
applied to visual document analysis" (ICDAR 2003) found to matter most for handwriting: a smooth random field moves each
place on its own. Here the field is a cubic B-spline over a coarse grid of control points (D. Rueckert et al.,
"Nonrigid registration using free-form deformations", IEEE TMI 18, 1999), whose kernel is as wide as their Gaussian.
"""

import functools
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, UInt8

_CELLS = 4  # of the elastic field's grid, along each side
_WARPED_TOGETHER = 128  # as many pictures as have their maps in a processor's cache


class DistortionRanges(NamedTuple):
    """How far each distortion may go; each drawing gets its own uniform draw from minus to plus.

    Attributes:
        rotation: degrees.
        shift: fraction of the picture's side, down and across independently.
        shear: degrees.
        zoom: fraction; the two axes are scaled independently by a factor from 1 - zoom to 1 + zoom.
        elastic: fraction of the picture's side that a control point of the elastic field moves by, down and across
            independently; four of them span the side, and no place moves further than they do. A place's
            displacement has a standard deviation of about 0.28 of it.
        pen_width: pixels by which a line becomes wider or thinner, at most 2.
    """

    rotation: float = 0.0
    shift: float = 0.0
    shear: float = 0.0
    zoom: float = 0.0
    elastic: float = 0.0
    pen_width: float = 0.0


class Distortions(NamedTuple):
    """What is done to each of `n` pictures; made by `draw`.

    Attributes:
        maps: as `affine_maps` makes them.
        moves: of the elastic field's control points, pixels (down, across); None where none moves.
        pen_width: pixels by which lines become wider; None where none does.
    """

    maps: Float[np.ndarray, "n 2 3"]
    moves: Float[np.ndarray, "n 2 points"] | None
    pen_width: Float[np.ndarray, " n"] | None


def draw(rng: np.random.Generator, n: int, size: int, ranges: DistortionRanges) -> Distortions:
    """Draws distortions for `n` pictures of `size` x `size`, as far as `ranges` goes."""
    maps = random_affines(rng, n, size, ranges)
    moves = pen_width = None
    if ranges.elastic:
        moves = np.empty((n, 2, (_CELLS + 3) ** 2), np.float32)
        for start in range(0, n, _WARPED_TOGETHER):  # all at once as float64 would leave the cache
            some = moves[start : start + _WARPED_TOGETHER].swapaxes(0, 1)
            np.multiply(ranges.elastic * size, rng.uniform(-1.0, 1.0, some.shape).astype(np.float32), out=some)
    if ranges.pen_width:
        pen_width = ranges.pen_width * rng.uniform(-1.0, 1.0, n)
    return Distortions(maps, moves, pen_width)


def distort(ink: UInt8[np.ndarray, "n size size"], drawn: Distortions) -> UInt8[np.ndarray, "n size size"]:
    """Each picture distorted in its own way. `gradejax.augment_device` does the same on a GPU."""
    if drawn.moves is None:
        distorted = warp(ink, drawn.maps)
    else:
        distorted = elastic_warp(ink, drawn.maps, drawn.moves)
    return distorted if drawn.pen_width is None else change_pen_width(distorted, drawn.pen_width)


def random_affines(rng: np.random.Generator, n: int, size: int, ranges: DistortionRanges) -> Float[np.ndarray, "n 2 3"]:
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

    They are rotation @ shift @ shear @ zoom about the picture's centre, of places (x, y): `apply_affine_transform` in
    Keras's `keras/src/legacy/preprocessing/image.py`, which in the end has its rows and columns change places.

    Args:
        rotation, shear: degrees; an upright stroke that is sheared leans.
        shift: pixels (across, down).
        zoom: scale of the columns and of the rows; above 1 the drawing shrinks.
    """
    theta, phi = np.deg2rad(rotation), np.deg2rad(shear)
    turn = np.stack([np.cos(theta), -np.sin(theta), np.sin(theta), np.cos(theta)], axis=-1).reshape(-1, 2, 2)
    lean = np.stack([np.ones_like(phi), -np.sin(phi), np.zeros_like(phi), np.cos(phi)], axis=-1).reshape(-1, 2, 2)
    linear = turn @ lean * zoom[:, None, :]
    centre = np.full(2, size / 2 - 0.5)
    offset = centre - linear @ centre + np.einsum("nij,nj->ni", turn, shift)
    return np.concatenate([linear[:, ::-1, ::-1], offset[:, ::-1, None]], axis=-1)


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


def elastic_warp(
    ink: UInt8[np.ndarray, "n size size"], maps: Float[np.ndarray, "n 2 3"], moves: Float[np.ndarray, "n 2 points"]
) -> UInt8[np.ndarray, "n size size"]:
    """Each picture seen through its map, after the control points of the elastic field have moved.

    A cubic B-spline whose control points lie on a plane is that plane. So the affine map and the elastic field are one
    spline: its control points are where the map puts those of a regular grid, moved.
    """
    size = ink.shape[1]
    grid, weights = spline(size)
    warped = np.empty_like(ink)
    for start in range(0, len(ink), _WARPED_TOGETHER):
        some = slice(start, start + _WARPED_TOGETHER)
        n = len(ink[some])
        rows_and_columns = []
        for axis, first in ((0, np.arange(n) * size), (1, np.zeros(n))):
            place = (np.float32(maps[some, axis] @ grid) + moves[some, axis]) @ weights
            # The pictures lie one below the other for OpenCV, and none may see its neighbours.
            np.clip(place, 0, size - 1, out=place)
            place += first[:, None].astype(np.float32)
            rows_and_columns.append(place.reshape(n * size, size))
        rows, columns = rows_and_columns
        tall, out = ink[some].reshape(n * size, size), warped[some].reshape(n * size, size)
        cv2.remap(tall, columns, rows, cv2.INTER_LINEAR, out, cv2.BORDER_REPLICATE)
    return warped


@functools.cache
def spline(size: int) -> tuple[Float[np.ndarray, "3 points"], Float[np.ndarray, "points pixels"]]:
    """The regular grid of control points (row, column, 1), and how much each counts in each pixel."""
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
    """Each picture with its lines so many pixels wider, or thinner where negative; from -2 to 2.

    Half of that comes on at either edge: the ink is mixed with its dilation or erosion by a cross of 3 x 3 pixels,
    which move edges by a whole pixel.
    """
    changed = np.empty_like(ink)
    for some, extreme in ((pixels >= 0, np.maximum), (pixels < 0, np.minimum)):
        thin = ink[some]
        wide = thin.copy()
        for here, there in ((np.s_[:, 1:], np.s_[:, :-1]), (np.s_[:, :, 1:], np.s_[:, :, :-1])):
            extreme(wide[here], thin[there], out=wide[here])
            extreme(wide[there], thin[here], out=wide[there])
        share = np.rint(128 * np.abs(pixels[some])).astype(np.uint16)[:, None, None]
        changed[some] = (thin * (256 - share) + wide * share + 128) >> 8
    return changed
