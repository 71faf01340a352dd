"""Convolution and pooling written so that XLA is fast on a CPU too.

On a CPU, XLA runs `lax.conv_general_dilated` about ten times slower inside a loop than outside one
(jax-ml/jax#12868), and the gradient of `reduce_window` is a scatter. As slices, one matrix product and
element-wise maxima both stay where XLA's CPU code is good. On a GPU the library's own are the fast ones.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float


def conv(
    ink: Float[Array, "batch height width in"],
    kernel: Float[Array, "rows columns in out"],
    window_strides: tuple[int, int],
    padding: str,
    **native,
) -> Float[Array, "batch height-rows+1 width-columns+1 out"]:
    """A drop-in for `lax.conv_general_dilated` in `nnx.Conv`; as a product on a CPU where it can be."""
    plain = padding == "VALID" and tuple(window_strides) == (1, 1) and native.get("feature_group_count", 1) == 1
    if plain and jax.default_backend() == "cpu":
        return conv_as_product(ink, kernel)
    return lax.conv_general_dilated(ink, kernel, window_strides, padding, **native)


def conv_as_product(
    x: Float[Array, "batch height width in"], kernel: Float[Array, "rows columns in out"]
) -> Float[Array, "batch height-rows+1 width-columns+1 out"]:
    """A valid convolution of stride 1 as shifted slices side by side times the kernel as one matrix."""
    rows, columns, channels_in, channels_out = kernel.shape
    height, width = x.shape[1] - rows + 1, x.shape[2] - columns + 1
    slices = [x[:, i : i + height, j : j + width] for i in range(rows) for j in range(columns)]
    return jnp.concatenate(slices, axis=-1) @ kernel.reshape(rows * columns * channels_in, channels_out)


def max_pool(
    x: Float[Array, "batch height width channels"],
) -> Float[Array, "batch height//2 width//2 channels"]:
    """The largest of each 2 x 2 pixels; an odd last row or column is left out."""
    height, width = x.shape[1] // 2 * 2, x.shape[2] // 2 * 2
    x = x[:, :height, :width]
    rows = jnp.maximum(x[:, 0::2], x[:, 1::2])
    return jnp.maximum(rows[:, :, 0::2], rows[:, :, 1::2])
