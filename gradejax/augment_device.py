"""The distortions of `gradejax.augment` as JAX operations, for drawings that stay on a GPU.

They are still drawn at random on the host. The results equal the host's up to the rounding of a pixel.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

from gradejax.augment import Distortions, spline

Ink = UInt8[Array, "n size size"]


def distort(ink: Ink, distortions: Distortions) -> Ink:
    """`augment.distort` as JAX operations."""
    size = ink.shape[1]
    maps = jnp.asarray(distortions.maps)
    if distortions.moves is None:
        places = affine_places(maps, size)
    else:
        grid, weights = spline(size)
        # By default a GPU rounds a product's operands to ten bits: places would be off by a thirtieth of a pixel.
        control = jnp.matmul(maps, grid, precision="highest") + distortions.moves
        places = jnp.matmul(control, weights, precision="highest").reshape(-1, 2, size, size)
    distorted = _sample(ink, places[:, 0], places[:, 1])
    if distortions.pen_width is None:
        return distorted
    return _change_pen_width(distorted, jnp.asarray(distortions.pen_width))


def affine_places(maps: Float[Array, "n 2 3"], size: int) -> Float[Array, "n 2 {size} {size}"]:
    """For each pixel of the new pictures, the row and the column in the old ones that it shows."""
    pixels = jnp.stack([*jnp.mgrid[:size, :size], jnp.ones((size, size))])
    return jnp.einsum("naj,jrc->narc", maps, pixels, precision="highest")


def _sample(ink: Ink, rows: Float[Array, "n size size"], columns: Float[Array, "n size size"]) -> Ink:
    """Bilinear interpolation at each place; outside the picture its border repeats."""
    last = ink.shape[1] - 1
    rows, columns = jnp.clip(rows, 0, last), jnp.clip(columns, 0, last)
    row, column = jnp.floor(rows).astype(jnp.int32), jnp.floor(columns).astype(jnp.int32)
    down, across = rows - row, columns - column
    picture = jnp.arange(len(ink))[:, None, None]

    def pixel(below: int, right: int) -> Array:
        return ink[picture, jnp.minimum(row + below, last), jnp.minimum(column + right, last)].astype(jnp.float32)

    above = pixel(0, 0) * (1 - across) + pixel(0, 1) * across
    under = pixel(1, 0) * (1 - across) + pixel(1, 1) * across
    return jnp.rint(above * (1 - down) + under * down).astype(jnp.uint8)


def _change_pen_width(ink: Ink, pixels: Float[Array, " n"]) -> Ink:
    """`augment.change_pen_width`, in the same integer arithmetic."""
    framed = jnp.pad(ink, ((0, 0), (1, 1), (1, 1)), mode="edge")
    neighbours = [ink, framed[:, 2:, 1:-1], framed[:, :-2, 1:-1], framed[:, 1:-1, 2:], framed[:, 1:-1, :-2]]
    moved = jnp.where((pixels >= 0)[:, None, None], jnp.stack(neighbours).max(0), jnp.stack(neighbours).min(0))
    share = jnp.rint(128 * jnp.abs(pixels)).astype(jnp.int32)[:, None, None]
    return ((ink.astype(jnp.int32) * (256 - share) + moved.astype(jnp.int32) * share + 128) >> 8).astype(jnp.uint8)
