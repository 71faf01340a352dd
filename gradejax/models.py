"""The MLP and the CNN: stacks of layers from ink to logits, in `flax.nnx`."""

import math
import reprlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from numbers import Integral, Real
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, UInt8
from rich.table import Table

from gradejax import ops
from gradejax.errors import UserError
from gradejax.grades import GRADES

MAX_PARAMETERS = 50_000_000
"""The CNN of configs/cnn.py has 226,063."""
_MAX_LAYERS = 64
_MAX_OUTPUTS = 2**24
"""Numbers that a convolution makes of one drawing: 64 channels at 512 x 512 pixels."""

Layer = Callable[[Array], Array]


class Network(nnx.Module):
    """Layers applied one after another to ink divided by a number.

    Arguments:
        layers: nnx modules and plain functions of an array.
        ink_divisor: 255 brings ink to 0 to 1.
    """

    def __init__(self, layers: Sequence[Layer], ink_divisor: float):
        self.layers = nnx.List(layers)
        self.ink_divisor = ink_divisor

    def dropout_rates(self) -> tuple[float, ...]:
        """Those of the dropout layers, in their order."""
        return tuple(layer.rate for layer in self.layers if isinstance(layer, Dropout))

    def __call__(
        self,
        ink: UInt8[Array, "batch size size"],
        rngs: nnx.Rngs | None = None,
        rates: Sequence[float | Array] | None = None,
    ) -> Float[Array, "batch grades"]:
        """The logits of the fifteen grades.

        Arguments:
            ink: 0 is bare ground, 255 solid stroke.
            rngs: the `dropout` stream; needed in training mode only.
            rates: used in the place of `dropout_rates()`.
        """
        x = ink.astype(jnp.float32) / self.ink_divisor
        ahead = iter(self.dropout_rates() if rates is None else rates)
        for layer in _fused(self.layers):
            x = layer(x, rngs, next(ahead)) if isinstance(layer, Dropout) else layer(x)
        return x


class Dropout(nnx.Module):
    """Dropout (Srivastava et al., 2014). Its rate may be traced, which that of `nnx.Dropout` may not."""

    def __init__(self, rate: float):
        self.rate = rate
        self.deterministic = False

    def __call__(self, x: Array, rngs: nnx.Rngs | None = None, rate: float | Array | None = None) -> Array:
        if self.deterministic:
            return x
        rate = self.rate if rate is None else rate
        kept = jax.random.bernoulli(rngs.dropout(), 1 - rate, x.shape)
        return jnp.where(kept, x / (1 - rate), 0)


def _fused(layers: Sequence[Layer]) -> Iterator[Layer]:
    """The layers, each convolution with the ReLU, batch norm and pooling behind it as one `ops.conv_block`."""
    left = list(layers)
    while left:
        first, relu, norm, pool = (*left[:4], None, None, None)[:4]
        if (
            isinstance(first, nnx.Conv)
            and relu is nnx.relu
            and isinstance(norm, nnx.BatchNorm)
            and pool is ops.max_pool
        ):
            yield partial(ops.conv_block, convolution=first, norm=norm)
            del left[:4]
        else:
            yield left.pop(0)


def mlp(
    size: int,
    rngs: nnx.Rngs,
    *,
    hidden: Sequence[int] = (256, 128),
    dropout: Sequence[float] = (0.5, 0.3),
    ink_divisor: float = 255,
) -> Network:
    """size² - 256 - 128 - 15, ReLU, dropout behind each hidden layer: 235,791 parameters at size 28."""
    if len(hidden) != len(dropout):
        raise UserError(f"model.hidden has {len(hidden)} layers and model.dropout {len(dropout)} rates: each needs one")
    _check_size(len(hidden), sum(a * b for a, b in pairwise([size * size, *hidden, len(GRADES)])))
    layers: list[Layer] = [flatten]
    width = size * size
    for units, rate in zip(hidden, dropout, strict=True):
        layers += [nnx.Linear(width, units, rngs=rngs), nnx.relu, Dropout(rate)]
        width = units
    return Network([*layers, nnx.Linear(width, len(GRADES), rngs=rngs)], ink_divisor)


def cnn(
    size: int,
    rngs: nnx.Rngs,
    *,
    channels: Sequence[int] = (32, 64),
    hidden: int = 128,
    dropout: float = 0.3,
    batch_norm: bool = True,
    batch_norm_epsilon: float = 1e-3,
    ink_divisor: float = 255,
) -> Network:
    """3x3 convolution, ReLU, batch norm and 2x2 max-pool for each of `channels`, then a hidden layer.

    226,063 parameters at size 28, batch norm's statistics included.
    """
    kernels = 9 * sum(a * b for a, b in pairwise([1, *channels]))
    _check_size(len(channels), kernels)
    layers: list[Layer] = [add_channel]
    depth = 1
    for width in channels:
        _check_size(len(channels), kernels, (size - 2) ** 2 * width)
        layers += [
            nnx.Conv(depth, width, (3, 3), padding="VALID", conv_general_dilated=ops.conv, rngs=rngs),
            nnx.relu,
            # Momentum and epsilon as in Keras, whose published results these architectures are compared with.
            *([nnx.BatchNorm(width, momentum=0.99, epsilon=batch_norm_epsilon, rngs=rngs)] if batch_norm else []),
            ops.max_pool,
        ]
        depth, size = width, (size - 2) // 2
    if size < 1:
        raise UserError("data.size is too small for the convolutions: raise it or shorten model.channels")
    _check_size(len(channels), kernels + size * size * depth * hidden)
    layers += [
        flatten,
        nnx.Linear(size * size * depth, hidden, rngs=rngs),
        nnx.relu,
        Dropout(dropout),
        nnx.Linear(hidden, len(GRADES), rngs=rngs),
    ]
    return Network(layers, ink_divisor)


def _check_size(layers: int, parameters: int, outputs: int = 0) -> None:
    """Raises UserError for what takes minutes to build, or more memory than there is."""
    if layers > _MAX_LAYERS:
        raise UserError(f"the model has {layers:,} layers: it may have {_MAX_LAYERS}")
    if parameters > MAX_PARAMETERS:
        raise UserError(f"the model has more than {MAX_PARAMETERS:,} parameters: make its layers smaller")
    if outputs > _MAX_OUTPUTS:
        raise UserError("the model's convolutions are too large: lower data.size or model.channels")


MODELS: dict[str, Callable[..., Network]] = {"mlp": mlp, "cnn": cnn}

# What an option may be is looked at here: some versions of JAX build a layer of no units without a word, others do not.
_UNITS = Integral, lambda value: value >= 1, "a whole number, 1 or more"
_POSITIVE = Real, lambda value: 1e-12 <= value <= 1e12, "a number between 1e-12 and 1e12"
_OPTIONS: dict[str, tuple[type, Callable[[Any], bool], str]] = {
    "hidden": _UNITS,
    "channels": _UNITS,
    "dropout": (Real, lambda value: 0 <= value < 1, "0 or more and less than 1"),
    "batch_norm": (bool, lambda _: True, "True or False"),
    "batch_norm_epsilon": _POSITIVE,
    "ink_divisor": _POSITIVE,
}
_LISTS = {"mlp": ("hidden", "dropout"), "cnn": ("channels",)}


def _check(name: str, value: Any, kind: type, allowed: Callable[[Any], bool], words: str) -> None:
    if isinstance(value, bool) != (kind is bool) or not isinstance(value, kind) or not allowed(value):
        raise UserError(f"{name} is {reprlib.repr(value)}: it must be {words}")


def build(name: str, size: int, seed: int, **options: Any) -> Network:
    """The model `name` for ink of `size` x `size`, freshly initialised from `seed`, in training mode.

    Raises:
        UserError: for a name or an option that no model has, or that makes none.
    """
    if not isinstance(name, str) or name not in MODELS:
        raise UserError(f"no model is called {name!r}: model.name is one of {', '.join(MODELS)}")
    _check("data.size", size, *_UNITS)
    for option, value in options.items():
        if option in _OPTIONS:
            several = option in _LISTS[name]
            if several and not isinstance(value, (list, tuple)):
                raise UserError(f"model.{option} is {reprlib.repr(value)}: model {name!r} takes a list: (64, 32)")
            for each in value if several else [value]:
                _check(f"model.{option}", each, *_OPTIONS[option])
    try:
        return MODELS[name](size, nnx.Rngs(seed), **options)
    except (TypeError, ValueError) as error:
        raise UserError(f"model {name!r} cannot be built: {error}") from None


def flatten(x: Float[Array, "batch *shape"]) -> Float[Array, "batch features"]:
    return x.reshape(x.shape[0], -1)


def add_channel(x: Float[Array, "batch size size"]) -> Float[Array, "batch size size 1"]:
    return x[..., None]


def parameters(module: Any) -> int:
    """How many numbers a module holds, as Keras counts them: batch norm's running statistics included."""
    if not isinstance(module, nnx.Module):
        return 0
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(nnx.state(module, (nnx.Param, nnx.BatchStat))))


def layer_table(model: Network, size: int) -> Table:
    """The layers with their outputs' shapes and their parameters, to be printed."""
    table = Table("layer", "output", title="Model", title_justify="left")
    table.add_column("parameters", justify="right")
    for name, shape, count in _walk(model, size):
        table.add_row(name, " x ".join(map(str, shape)), f"{count:,}" if count else "")
    table.add_section()
    table.add_row("total", "", f"{parameters(model):,}")
    return table


def _walk(model: Network, size: int) -> Iterator[tuple[str, tuple[int, ...], int]]:
    model = nnx.clone(model)
    model.eval()
    out = jax.ShapeDtypeStruct((1, size, size), jnp.float32)
    for layer in model.layers:
        out = jax.eval_shape(layer, out)
        yield getattr(layer, "__name__", type(layer).__name__), out.shape[1:], parameters(layer)
