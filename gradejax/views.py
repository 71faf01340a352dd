"""Test-time augmentation: a network guesses from several views of a drawing, and its logits are averaged.

K. Simonyan and A. Zisserman, "Very deep convolutional networks for large-scale image recognition", ICLR 2015, section
3.2, averages over crops and flips; here the views are turned, slanted and stretched a little.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from gradejax import augment_device
from gradejax.augment import Distortions, affine_maps

_ROTATION = np.array([0.0, 6.0, -6.0])  # degrees
_SHEAR = np.array([0.0, -9.0, 9.0])  # degrees
_ZOOM = np.array([[1.0, 1.0], [1.08, 0.95], [0.95, 1.08]])  # of the columns and of the rows
VIEWS = len(_ROTATION)
"""Each drawing as it is, and two views of it that lean and stretch in opposite ways."""


def maps(size: int) -> Float[np.ndarray, "views 2 3"]:
    """The views' affine maps, as `augment.affine_maps` returns them, for pictures of `size` x `size`."""
    return affine_maps(_ROTATION, np.zeros((VIEWS, 2)), _SHEAR, _ZOOM, size)


def views(ink: UInt8[Array, "n size size"]) -> UInt8[Array, "every size size"]:
    """All drawings in the first view, then all in the second, and so on: `VIEWS` times as many."""
    n, size = ink.shape[:2]
    every = np.repeat(maps(size).astype(np.float32), n, axis=0)
    return augment_device.distort(jnp.tile(ink, (VIEWS, 1, 1)), Distortions(every, None, None))


def mean_over_views(logits: Float[Array, "every outputs"]) -> Float[Array, "n outputs"]:
    """The mean logits of each drawing, from those of `views`."""
    return logits.reshape(VIEWS, -1, logits.shape[1]).mean(axis=0)
