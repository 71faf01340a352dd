"""Convolution, ReLU, batch norm and pooling written so that XLA is fast on a CPU too.

On a CPU, XLA runs `lax.conv_general_dilated` about ten times slower inside a loop than outside one
(jax-ml/jax#12868), and the gradient of `reduce_window` is a scatter. As slices, matrix products and element-wise
maxima all stay where XLA's CPU code is good. On a GPU the library's own are the fast ones.

`conv_block` goes further: pictures lie as `height width batch channels` (HWBC), so that slices are runs of whole rows,
and a convolution gives the four corners of each 2 x 2 pixels as arrays of their own, so that pooling moves nothing.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Array, Float

Corners = list[Float[Array, "height width batch channels"]]
"""The pixels (0, 0), (0, 1), (1, 0) and (1, 1) of each 2 x 2; of an odd height or width the latter are one fewer."""

_CHAINS = 2
"""Parts of a batch that go through a block side by side: cores are busy with one while operations of another wait.
Several devices have parts of their own."""


def compiler_options() -> dict[str, str] | None:
    """What `jax.jit` has to be given for a training step to be fast: on a CPU, that barriers stay.

    XLA's CPU compiler takes `lax.optimization_barrier`s away before it fuses operations, and then computes what lies
    before one again for each use behind it.
    """
    return {"xla_disable_hlo_passes": "cse_barrier_expander"} if jax.default_backend() == "cpu" else None


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


def conv_block(
    x: Float[Array, "batch height width in"], convolution: nnx.Conv, norm: nnx.BatchNorm
) -> Float[Array, "batch (height-2)//2 (width-2)//2 out"]:
    """`max_pool(norm(relu(convolution(x))))` of a valid 3 x 3 convolution; in training, `norm`'s statistics follow.

    Normalisation keeps the order of two numbers, or turns it round where its scale is below 0, so that pooling can
    come first: three quarters of the pixels are then never normalised.
    """
    if norm.use_running_average or jax.default_backend() != "cpu":
        return max_pool(norm(nnx.relu(convolution(x))))
    kernel, bias = convolution.kernel[...], convolution.bias[...]
    corners_of = _corners_directly if x.shape[-1] == 1 else _corners_by_winograd
    chains = min(_CHAINS, x.shape[0]) if jax.device_count() == 1 else 1
    parts = jnp.array_split(x.transpose(1, 2, 0, 3), chains, axis=2)
    corners = [corners_of(part, kernel, bias) for part in parts]
    pooled, mean, variance = _relu_norm_pool(corners, norm.scale[...], norm.bias[...], norm.epsilon)
    for running, now in ((norm.mean, mean), (norm.var, variance)):
        running[...] = norm.momentum * running[...] + (1 - norm.momentum) * lax.stop_gradient(now)
    return jnp.concatenate(lax.optimization_barrier(pooled), axis=2).transpose(2, 0, 1, 3)


def _corners_directly(x: Float[Array, "h w b 1"], kernel: Float[Array, "3 3 1 o"], bias: Float[Array, " o"]) -> Corners:
    """The convolution of one channel: each 2 x 2 pixels see a window of 4 x 4, and a plane of ones carries the bias."""
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
    """Winograd's F(2, 3) across the width: two columns from four products instead of six.

    A. Lavin and S. Gray, "Fast Algorithms for Convolutional Neural Networks", 2015, section 4.1. Along the height too,
    the additions cost what the products save.
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
    """The even and the odd columns; their gradients are laid between each other, not each between zeros and added."""
    return x[:, 0::2], x[:, 1::2]


def _columns_backward(_: None, gradients: tuple[Array, Array]) -> tuple[Array]:
    both = jnp.stack(gradients, axis=2)
    return (both.reshape(both.shape[0], -1, *both.shape[3:]),)


_columns.defvjp(lambda x: (_columns(x), None), _columns_backward)


@jax.custom_vjp
def _product_of_rows(x: Float[Array, "h w b i"], matrix: Float[Array, "3*i o"]) -> Float[Array, "h-2 w b o"]:
    """Each row beside the two below it, times a matrix; its gradients are as products that XLA has fast code for."""
    return _three_rows(x) @ matrix


def _three_rows(x: Float[Array, "h w b i"]) -> Float[Array, "h-2 w b 3*i"]:
    return jnp.concatenate([x[i : x.shape[0] - 2 + i] for i in range(3)], axis=-1)


def _product_of_rows_forward(x: Array, matrix: Array) -> tuple[Array, tuple[Array, Array]]:
    rows = _three_rows(x)
    return rows @ matrix, (rows, matrix)


def _product_of_rows_backward(kept: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    rows, matrix = kept
    # Laid out anew: a product over the first axis of both takes twice as long.
    turned = lax.optimization_barrier(gradient.reshape(-1, gradient.shape[-1]).T)
    of_matrix = lax.optimization_barrier(turned @ rows.reshape(-1, rows.shape[-1])).T
    parts = jnp.split(lax.optimization_barrier(gradient @ matrix.T), 3, axis=-1)
    of_x = sum(jnp.pad(part, ((i, 2 - i), (0, 0), (0, 0), (0, 0))) for i, part in enumerate(parts))
    return lax.optimization_barrier(of_x), of_matrix


_product_of_rows.defvjp(_product_of_rows_forward, _product_of_rows_backward)


@partial(jax.custom_vjp, nondiff_argnames=("epsilon",))
def _relu_norm_pool(
    parts: list[Corners], scale: Float[Array, " c"], bias: Float[Array, " c"], epsilon: float
) -> tuple[list[Float[Array, "h//2 w//2 b c"]], Float[Array, " c"], Float[Array, " c"]]:
    """What is pooled, part by part, and the whole batch's mean and variance, which no gradient comes through."""
    return _relu_norm_pool_forward(parts, scale, bias, epsilon)[0]


def _relu_norm_pool_forward(parts: list[Corners], scale: Array, bias: Array, epsilon: float) -> tuple:
    # Behind a barrier, or each sum would compute them anew.
    parts = lax.optimization_barrier([[nnx.relu(corner) for corner in corners] for corners in parts])
    relus = [relu for part in parts for relu in part]
    n = _pixels(relus)
    mean = sum(_sums(relu) for relu in relus) / n
    variance = jnp.maximum(sum(_sums(relu * relu) for relu in relus) / n - mean * mean, 0)
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
    return (pooled, mean, variance), (parts, tops, places, scale, mean, inverse)


def _relu_norm_pool_backward(epsilon: float, kept: tuple, gradients: tuple) -> tuple[list[Corners], Array, Array]:
    """Of equal corners the first gets all. Batch norm's part is linear in the pixel: offset + slope * relu."""
    parts, tops, places, scale, mean, inverse = kept
    of_pooled = lax.optimization_barrier(gradients[0])
    of_bias = sum(map(_sums, of_pooled))
    of_scale = sum(_sums(gradient * top) for gradient, top in zip(of_pooled, tops, strict=True)) * inverse
    n = _pixels([relu for part in parts for relu in part])
    slope = scale * inverse**2 * of_scale / n
    offset = scale * inverse * of_bias / n - mean * slope
    of_parts = []
    for part, place, gradient in zip(parts, places, of_pooled, strict=True):
        height, width = place.shape[:2]
        of_corners = []
        for corner, relu in enumerate(part):
            odd = (0, relu.shape[0] - height), (0, relu.shape[1] - width), (0, 0), (0, 0)
            spread = jnp.pad(jnp.where(place == corner, gradient * (scale * inverse), 0), odd)
            of_corners.append(jnp.where(relu > 0, spread - (offset + slope * relu), 0))
        of_parts.append(of_corners)
    return lax.optimization_barrier(of_parts), of_scale, of_bias


_relu_norm_pool.defvjp(_relu_norm_pool_forward, _relu_norm_pool_backward)


def _pixels(corners: Corners) -> int:
    return sum(math.prod(corner.shape[:3]) for corner in corners)


def _sums(x: Float[Array, "h w b c"]) -> Float[Array, " c"]:
    """The sum over all but the channels. Rows of 64 numbers add more than twice as fast as rows of 32."""
    batch, channels = x.shape[2:]
    together = math.gcd(batch, max(64 // channels, 1))
    rows = lax.optimization_barrier(x.reshape(*x.shape[:2], batch // together, together * channels).sum((0, 1, 2)))
    return rows.reshape(together, channels).sum(0)
