"""Convolution, ReLU, batch norm and pooling, written so that XLA is fast on a CPU too.

On a CPU, XLA runs `lax.conv_general_dilated` about ten times slower inside a loop than outside one (jax-ml/jax#12868),
and the gradient of `reduce_window` is a scatter. XLA is good at slices, matrix products and element-wise maxima.

On a CPU `conv_block` goes further: pictures are laid out as `height width batch channels` (HWBC), so that slices are
contiguous rows, and a convolution returns the four corners of each 2 x 2 pixels as separate arrays, so that pooling
moves no data.
"""

import functools
import math
import operator
from collections.abc import Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Array, Float

Corners = list[Float[Array, "_height _width _batch _channels"]]
"""The pixels (0, 0), (0, 1), (1, 0) and (1, 1) of each 2 x 2. If the height is odd, the lower corners have one row
fewer; if the width is odd, the right ones one column fewer."""

_PARTS = 2
"""Parts of a batch that go through a block side by side: one keeps the cores busy while operations of the other wait.
Several devices each have a part already."""


def compiler_options() -> dict[str, str | int] | None:
    """Options of `jax.jit` that make a training step fast, and soon ready; None but on a CPU.

    By default XLA's CPU compiler removes each `lax.optimization_barrier` before it fuses operations, and then
    recomputes the barrier's operands for every use of them. LLVM's first level of optimisation takes a fifth less time
    than its third, and a step is no slower for it. Vectors of 512 bits, where there are any, make a step 7% faster.
    """
    if jax.default_backend() != "cpu":
        return None
    return {
        "xla_disable_hlo_passes": "cse_barrier_expander",
        "xla_backend_optimization_level": 1,
        "xla_cpu_prefer_vector_width": 512,
    }


def conv(
    ink: Float[Array, "batch height width in"],
    kernel: Float[Array, "rows columns in out"],
    window_strides: tuple[int, int],
    padding: str,
    **native,
) -> Float[Array, "batch _height _width out"]:
    """A drop-in for `lax.conv_general_dilated` in `nnx.Conv`; a matrix product if possible.

    On an H200, too, a step of configs/cnn.py then takes 0.22 ms, not 0.25, and a step of 64 members at once 2.3 ms, not
    5: a convolution with a kernel for each member is slow in cuDNN.
    """
    if padding == "VALID" and tuple(window_strides) == (1, 1) and native.get("feature_group_count", 1) == 1:
        return conv_as_product(ink, kernel)
    return lax.conv_general_dilated(ink, kernel, window_strides, padding, **native)


def conv_as_product(
    x: Float[Array, "batch height width in"], kernel: Float[Array, "rows columns in out"]
) -> Float[Array, "batch height-rows+1 width-columns+1 out"]:
    """A valid convolution of stride 1 as one matrix product: shifted slices side by side times the kernel."""
    rows, columns, channels_in, channels_out = kernel.shape
    height, width = x.shape[1] - rows + 1, x.shape[2] - columns + 1
    slices = [x[:, i : i + height, j : j + width] for i in range(rows) for j in range(columns)]
    return jnp.concatenate(slices, axis=-1) @ kernel.reshape(rows * columns * channels_in, channels_out)


def max_pool(
    x: Float[Array, "batch height width channels"],
) -> Float[Array, "batch height//2 width//2 channels"]:
    """2 x 2 max-pooling; an odd last row or column is dropped."""
    height, width = x.shape[1] // 2 * 2, x.shape[2] // 2 * 2
    x = x[:, :height, :width]
    rows = jnp.maximum(x[:, 0::2], x[:, 1::2])
    return jnp.maximum(rows[:, :, 0::2], rows[:, :, 1::2])


def conv_block(
    x: Float[Array, "batch height width in"], convolution: nnx.Conv, norm: nnx.BatchNorm
) -> Float[Array, "batch (height-2)//2 (width-2)//2 out"]:
    """`max_pool(norm(relu(convolution(x))))`, faster on a CPU.

    Normalisation keeps the order of two numbers, or reverses it if its scale is negative. So pooling can come first,
    and three quarters of the pixels are never normalised.

    Args:
        x: in NHWC layout.
        convolution: valid, 3 x 3.
        norm: in training mode its running statistics are updated.
    """
    if norm.use_running_average or jax.default_backend() != "cpu":
        return max_pool(norm(nnx.relu(convolution(x))))
    assert norm.scale is not None and norm.bias is not None
    kernel = convolution.kernel[...]
    bias = jnp.zeros(kernel.shape[-1]) if convolution.bias is None else convolution.bias[...]
    corners_of = _corners_directly if x.shape[-1] == 1 else _corners_by_winograd
    n_parts = min(_PARTS, x.shape[0]) if jax.device_count() == 1 else 1
    parts = jnp.array_split(x.transpose(1, 2, 0, 3), n_parts, axis=2)
    corners = [corners_of(part, kernel, bias) for part in parts]
    pooled, mean, variance = _relu_norm_pool(corners, norm.scale[...], norm.bias[...], norm.epsilon)
    for running, current in ((norm.mean, mean), (norm.var, variance)):
        running[...] = norm.momentum * running[...] + (1 - norm.momentum) * lax.stop_gradient(current)
    return jnp.concatenate(lax.optimization_barrier(pooled), axis=2).transpose(2, 0, 1, 3)


def _corners_directly(x: Float[Array, "h w b 1"], kernel: Float[Array, "3 3 1 o"], bias: Float[Array, " o"]) -> Corners:
    """The convolution of one channel: 2 x 2 output pixels depend on a 4 x 4 window; a plane of ones adds the bias."""
    height, width = x.shape[0] - 2, x.shape[1] - 2
    tall, wide = -(-height // 2), -(-width // 2)
    x = jnp.pad(x[..., 0], ((0, 2 * tall + 2 - x.shape[0]), (0, 2 * wide + 2 - x.shape[1]), (0, 0)))
    windows = [x[i : i + 2 * tall : 2, j : j + 2 * wide : 2].reshape(1, -1) for i in range(4) for j in range(4)]
    windows = jnp.concatenate([*windows, jnp.ones_like(windows[0])])
    corners = []
    for i in (0, 1):
        for j in (0, 1):
            placed = jnp.pad(kernel[:, :, 0], ((i, 1 - i), (j, 1 - j), (0, 0))).reshape(16, -1)
            corner = lax.dot_general(windows, jnp.concatenate([placed, bias[None]]), (((0,), (0,)), ((), ())))
            corner = corner.reshape(tall, wide, x.shape[2], -1)
            corners.append(corner[: (height - i + 1) // 2, : (width - j + 1) // 2])
    return corners


def _corners_by_winograd(
    x: Float[Array, "h w b i"], kernel: Float[Array, "3 3 i o"], bias: Float[Array, " o"]
) -> Corners:
    """Winograd's F(2, 3) along the width: two columns from four products instead of six.

    A. Lavin and S. Gray, "Fast Algorithms for Convolutional Neural Networks", 2015, section 4.1. Doing the same along
    the height would cost as much in additions as it saves in products.
    """
    channels_in, channels_out = kernel.shape[2:]
    width = x.shape[1] - 2
    wide = -(-width // 2)
    even, odd = _columns(jnp.pad(x, ((0, 0), (0, 2 * wide + 2 - x.shape[1]), (0, 0), (0, 0))))
    d0, d1, d2, d3 = even[:, :-1], odd[:, :-1], even[:, 1:], odd[:, 1:]
    k0, k1, k2 = (kernel[:, j].reshape(3 * channels_in, channels_out) for j in range(3))

    m0 = _product_of_rows(d0 - d2, k0)
    m1 = _product_of_rows(d1 + d2, (k0 + k1 + k2) / 2)
    m2 = _product_of_rows(d2 - d1, (k0 - k1 + k2) / 2)
    m3 = _product_of_rows(d1 - d3, k2)
    left, right = m0 + m1 + m2 + bias, (m1 - m2 - m3 + bias)[:, : width // 2]
    return [left[0::2], right[0::2], left[1::2], right[1::2]]


@jax.custom_vjp
def _columns(x: Float[Array, "h w b c"]) -> tuple[Float[Array, "h w//2 b c"], Float[Array, "h w//2 b c"]]:
    """The even and the odd columns; backward, their gradients are interleaved, not each padded with zeros and added."""
    return x[:, 0::2], x[:, 1::2]


def _columns_backward(_: None, gradients: tuple[Array, Array]) -> tuple[Array]:
    both = jnp.stack(gradients, axis=2)
    return (both.reshape(both.shape[0], -1, *both.shape[3:]),)


_columns.defvjp(lambda x: (_columns(x), None), _columns_backward)


@jax.custom_vjp
def _product_of_rows(x: Float[Array, "h w b i"], matrix: Float[Array, "3*i o"]) -> Float[Array, "h-2 w b o"]:
    """Each row beside the two below it, times a matrix; the gradients are products for which XLA has fast code."""
    return _three_rows(x) @ matrix


def _three_rows(x: Float[Array, "h w b i"]) -> Float[Array, "h-2 w b 3*i"]:
    return jnp.concatenate([x[i : x.shape[0] - 2 + i] for i in range(3)], axis=-1)


def _product_of_rows_forward(x: Array, matrix: Array) -> tuple[Array, tuple[Array, Array]]:
    rows = _three_rows(x)
    return rows @ matrix, (rows, matrix)


def _product_of_rows_backward(residuals: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    rows, matrix = residuals
    # Transposed in memory first: a product over the first axis of both takes twice as long.
    transposed = lax.optimization_barrier(gradient.reshape(-1, gradient.shape[-1]).T)
    matrix_gradient = lax.optimization_barrier(transposed @ rows.reshape(-1, rows.shape[-1])).T
    parts = jnp.split(lax.optimization_barrier(gradient @ matrix.T), 3, axis=-1)
    x_gradient = _total(jnp.pad(part, ((i, 2 - i), (0, 0), (0, 0), (0, 0))) for i, part in enumerate(parts))
    return lax.optimization_barrier(x_gradient), matrix_gradient


_product_of_rows.defvjp(_product_of_rows_forward, _product_of_rows_backward)


_Pooled = tuple[list[Float[Array, "_height _width _batch c"]], Float[Array, " c"], Float[Array, " c"]]


@functools.partial(jax.custom_vjp, nondiff_argnames=("epsilon",))
def _relu_norm_pool(
    parts: list[Corners], scale: Float[Array, " c"], bias: Float[Array, " c"], epsilon: float
) -> _Pooled:
    """ReLU, batch norm and 2 x 2 max-pooling.

    Returns:
        The output of each part, and the mean and variance of the whole batch, which carry no gradient.
    """
    return _relu_norm_pool_forward(parts, scale, bias, epsilon)[0]


class _Residuals(NamedTuple):
    """What the gradient of `_relu_norm_pool` needs.

    Attributes:
        parts: after ReLU.
        tops: the largest corners minus the batch's mean, part by part.
        places: which corner each of them is, 0 to 3.
        scale: of batch norm.
        mean: of the batch.
        inverse: 1 / the batch's standard deviation.
    """

    parts: list[Corners]
    tops: list[Array]
    places: list[Array]
    scale: Array
    mean: Array
    inverse: Array


def _relu_norm_pool_forward(
    parts: list[Corners], scale: Array, bias: Array, epsilon: float
) -> tuple[_Pooled, _Residuals]:
    # Without the barrier, each sum would recompute them.
    parts = lax.optimization_barrier([[nnx.relu(corner) for corner in corners] for corners in parts])
    relus = [relu for part in parts for relu in part]
    n = _pixels(relus)
    mean = _total(_sums(relu) for relu in relus) / n
    variance = jnp.maximum(_total(_sums(relu * relu) for relu in relus) / n - mean * mean, 0)
    inverse = lax.rsqrt(variance + epsilon)
    sign = jnp.where(scale < 0, -1.0, 1.0)
    tops, places = [], []
    for part in parts:
        height, width = part[3].shape[:2]
        a, b, c, d = (relu[:height, :width] * sign for relu in part)
        top = jnp.maximum(jnp.maximum(a, b), jnp.maximum(c, d))
        places.append(jnp.where(a == top, 0.0, jnp.where(b == top, 1.0, jnp.where(c == top, 2.0, 3.0))))
        tops.append(top * sign - mean)
    tops, places = lax.optimization_barrier((tops, places))
    pooled = [top * (inverse * scale) + bias for top in tops]
    return (pooled, mean, variance), _Residuals(parts, tops, places, scale, mean, inverse)


def _relu_norm_pool_backward(
    epsilon: float, residuals: _Residuals, gradients: _Pooled
) -> tuple[list[Corners], Array, Array]:
    """A tie's gradient goes to its first corner. Batch norm's share is linear in the pixel: offset + slope * relu."""
    parts, tops, places, scale, mean, inverse = residuals
    pooled_gradients: list[Array] = lax.optimization_barrier(gradients[0])
    bias_gradient = _total(map(_sums, pooled_gradients))
    products = [gradient * top for gradient, top in zip(pooled_gradients, tops, strict=True)]
    scale_gradient = _total(map(_sums, products)) * inverse
    n = _pixels([relu for part in parts for relu in part])
    slope = scale * inverse**2 * scale_gradient / n
    offset = scale * inverse * bias_gradient / n - mean * slope
    part_gradients = []
    for part, place, gradient in zip(parts, places, pooled_gradients, strict=True):
        height, width = place.shape[:2]
        corner_gradients = []
        for corner, relu in enumerate(part):
            odd = (0, relu.shape[0] - height), (0, relu.shape[1] - width), (0, 0), (0, 0)
            spread = jnp.pad(jnp.where(place == corner, gradient * (scale * inverse), 0), odd)
            corner_gradients.append(jnp.where(relu > 0, spread - (offset + slope * relu), 0))
        part_gradients.append(corner_gradients)
    return lax.optimization_barrier(part_gradients), scale_gradient, bias_gradient


_relu_norm_pool.defvjp(_relu_norm_pool_forward, _relu_norm_pool_backward)


def _pixels(corners: Corners) -> int:
    return sum(math.prod(corner.shape[:3]) for corner in corners)


def _total(arrays: Iterable[Array]) -> Array:
    return functools.reduce(operator.add, arrays)


def _sums(x: Float[Array, "h w b c"]) -> Float[Array, " c"]:
    """Sums over all axes but the channels. Rows of 64 numbers add more than twice as fast as rows of 32."""
    batch, channels = x.shape[2:]
    together = math.gcd(batch, max(64 // channels, 1))
    rows = lax.optimization_barrier(x.reshape(*x.shape[:2], batch // together, together * channels).sum((0, 1, 2)))
    return rows.reshape(together, channels).sum(0)
