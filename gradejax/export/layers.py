"""A recogniser's network as the plain layers that `static/forward.js` computes."""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from flax import nnx
from jaxtyping import Float

from gradejax import ops
from gradejax.errors import UserError
from gradejax.forward import merged
from gradejax.network import Dropout, add_channel, flatten
from gradejax.recogniser import Recogniser

_TOGETHER = 4
"""Units that forward.js computes at a time; others, with weights of zero, make a layer's number a multiple of it."""
_LARGEST = 2**15 - 1


@dataclass
class Layer:
    """A convolution, and what follows it up to the next one: ReLU, then `scale` and `offset`, then 2 x 2 max-pooling.

    A dense layer is a convolution whose kernel is as large as its picture. Batch norm with running statistics is one
    scale and one offset for each unit.

    Attributes:
        kernel: of a valid convolution of stride 1.
        bias: of each unit.
        scale: of each unit.
        offset: of each unit.
        relu: whether there is one.
        pool: whether there is max-pooling.
    """

    kernel: Float[np.ndarray, "rows columns depth units"]
    bias: Float[np.ndarray, " units"]
    scale: Float[np.ndarray, " units"]
    offset: Float[np.ndarray, " units"]
    relu: bool = False
    pool: bool = False


def layers_of(recogniser: Recogniser) -> list[Layer]:
    """The layers of a recogniser's network, each with a multiple of four units.

    Raises:
        UserError: for a layer of another kind than those of `gradejax.models`.
    """
    layers = list(_read(recogniser))
    depth = 1
    for layer in layers:
        *_, own_depth, units = layer.kernel.shape
        more = -units % _TOGETHER
        layer.kernel = np.pad(layer.kernel, [(0, 0), (0, 0), (0, depth - own_depth), (0, more)])
        layer.bias, layer.scale, layer.offset = (
            np.pad(each, (0, more)) for each in (layer.bias, layer.scale, layer.offset)
        )
        depth = units + more
    return layers


def _read(recogniser: Recogniser) -> Iterator[Layer]:
    shape = recogniser.size, recogniser.size, 1  # of the picture that the next layer sees
    layer = None
    for module in merged(recogniser.network, recogniser.variables).layers:
        if isinstance(module, nnx.Conv | nnx.Linear):
            if layer:
                yield layer
            layer = _weighted(module, shape)
            rows, columns, _, units = layer.kernel.shape
            shape = shape[0] - rows + 1, shape[1] - columns + 1, units
        elif isinstance(module, nnx.BatchNorm):
            assert layer
            layer.scale = _array(module.scale) / np.sqrt(_array(module.var) + module.epsilon)
            layer.offset = _array(module.bias) - _array(module.mean) * layer.scale
        elif module is nnx.relu:
            assert layer
            layer.relu = True
        elif module is ops.max_pool:
            assert layer
            layer.pool = True
            shape = shape[0] // 2, shape[1] // 2, shape[2]
        elif not isinstance(module, Dropout) and module not in (add_channel, flatten):
            # These do nothing here: dropout only trains, and a Layer knows its shape.
            raise UserError(
                f"a page cannot compute a layer called {getattr(module, '__name__', type(module).__name__)}"
            )
    assert layer
    yield layer


def _weighted(module: nnx.Conv | nnx.Linear, picture: tuple[int, int, int]) -> Layer:
    kernel = _array(module.kernel)
    units = kernel.shape[-1]
    if isinstance(module, nnx.Linear):
        kernel = kernel.reshape(*picture, units)
    bias = np.zeros(units) if module.bias is None else _array(module.bias)
    return Layer(kernel, bias, scale=np.ones(units), offset=np.zeros(units))


def _array(variable: Any) -> Float[np.ndarray, "..."]:
    return np.asarray(variable[...], np.float64)


def multiplications(layers: list[Layer], size: int) -> int:
    """How many multiplications a picture of `size` x `size` takes."""
    height = width = size
    total = 0
    for layer in layers:
        side = 2 if layer.pool else 1
        rows, columns, _, _ = layer.kernel.shape
        height, width = (height - rows + 1) // side, (width - columns + 1) // side
        total += height * width * side * side * layer.kernel.size
    return total


def packed(layers: list[Layer]) -> dict[str, Any]:
    """The layers as JSON for `network` in forward.js.

    A weight is a whole number of 16 bits, times a size that its unit's weights share. It takes as much room as half
    precision, is closer to what it was, and neither overflows nor vanishes.
    """
    weights, vectors = [], []
    for layer in layers:
        units = np.moveaxis(layer.kernel, -1, 0).reshape(layer.kernel.shape[-1], -1)
        largest = np.abs(units).max(axis=1)
        size = np.where(largest > 0, largest, 1) / _LARGEST
        weights.append(np.rint(units / size[:, None]).astype("<i2").ravel())
        vectors += [size, layer.bias, layer.scale, layer.offset]
    shapes = [dict(zip(("rows", "columns", "depth", "units"), layer.kernel.shape, strict=True)) for layer in layers]
    return {
        "layers": [
            {**shape, "relu": layer.relu, "pool": layer.pool} for shape, layer in zip(shapes, layers, strict=True)
        ],
        "weights": base64.b64encode(np.concatenate(weights).tobytes()).decode(),
        "vectors": base64.b64encode(np.concatenate(vectors).astype("<f4").tobytes()).decode(),
    }
