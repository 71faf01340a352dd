"""The architectures: an MLP and a CNN, built from the options of a recipe."""

import functools
import inspect
import math
import reprlib
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from numbers import Integral, Real
from typing import Any

import jax
from flax import nnx
from jaxtyping import Array

from gradejax import ops
from gradejax.errors import UserError
from gradejax.network import N_GRADES, Dropout, Layer, Network, add_channel, flatten

MAX_PARAMETERS = 50_000_000
"""The CNN of configs/cnn.py has 226,063."""
_MAX_LAYERS = 64
_MAX_OUTPUTS = 2**24
"""Numbers that a convolution may output per drawing: 64 channels at 512 x 512 pixels."""


def mlp(
    size: int,
    rngs: nnx.Rngs,
    n_grades: int = N_GRADES,
    *,
    hidden: Sequence[int] = (256, 128),
    dropout: Sequence[float] = (0.5, 0.3),
    no_grade: bool = False,
    test_time_augmentation: bool = False,
    ink_divisor: float = 255.0,
) -> Network:
    """An MLP with ReLU and dropout after each hidden layer.

    For fifteen grades size² - 256 - 128 - 15: 235,791 parameters at size 28. With `no_grade` one more output, the last,
    is for drawings that show no grade. See `Network` for `test_time_augmentation`.
    """
    outputs = n_grades + no_grade
    if len(hidden) != len(dropout):
        raise UserError(f"model.hidden has {len(hidden)} layers and model.dropout {len(dropout)} rates: each needs one")
    _check_size(len(hidden), sum(a * b for a, b in pairwise([size * size, *hidden, outputs])))
    layers: list[Layer] = [flatten]
    width = size * size
    for units, rate in zip(hidden, dropout, strict=True):
        layers += [nnx.Linear(width, units, rngs=rngs), nnx.relu, Dropout(rate)]
        width = units
    layers.append(nnx.Linear(width, outputs, rngs=rngs))
    return Network(layers, ink_divisor, test_time_augmentation=test_time_augmentation, n_grades=n_grades)


def cnn(
    size: int,
    rngs: nnx.Rngs,
    n_grades: int = N_GRADES,
    *,
    channels: Sequence[int] = (32, 64),
    pools: Sequence[int] = (),
    hidden: int = 128,
    dropout: float = 0.3,
    no_grade: bool = False,
    test_time_augmentation: bool = False,
    batch_norm: bool = True,
    batch_norm_epsilon: float = 1e-3,
    batch_norm_momentum: float = 0.99,
    first_bias: bool = True,
    ink_divisor: float = 255.0,
) -> Network:
    """A CNN: 3x3 convolution, ReLU, batch norm and 2x2 max-pool for each of `channels`, then a hidden layer.

    For fifteen grades 226,063 parameters at size 28, batch norm's statistics included. Its default epsilon and momentum
    are those of Keras, whose published results this architecture is compared with. Without `first_bias` the
    first convolution has no bias. If `pools` is given, only the convolutions with these numbers, counted from 1, are
    followed by a max-pool. With `no_grade` one more output, the last, is for drawings that show no grade. See `Network`
    for `test_time_augmentation`.
    """
    pooled = set(pools) or set(range(1, len(channels) + 1))
    if max(pooled, default=0) > len(channels):
        raise UserError(f"model.pools names convolution {max(pooled)}: model.channels has {len(channels)}")
    kernels = 9 * sum(a * b for a, b in pairwise([1, *channels]))
    _check_size(len(channels), kernels)
    layers: list[Layer] = [add_channel]
    blocks = []
    depth = 1
    for number, width in enumerate(channels, 1):
        _check_size(len(channels), kernels, (size - 2) ** 2 * width)
        if batch_norm and number in pooled:
            blocks.append(len(layers))
        convolution = nnx.Conv(
            depth, width, (3, 3), padding="VALID", use_bias=first_bias or depth > 1, conv_general_dilated=ops.conv,
            rngs=rngs,
        )  # fmt: skip
        layers += [convolution, nnx.relu]
        if batch_norm:
            layers.append(nnx.BatchNorm(width, momentum=batch_norm_momentum, epsilon=batch_norm_epsilon, rngs=rngs))
        depth, size = width, size - 2
        if number in pooled:
            layers.append(ops.max_pool)
            size //= 2
    if size < 1:
        raise UserError("data.size is too small for the convolutions: raise it or shorten model.channels")
    _check_size(len(channels), kernels + size * size * depth * hidden)
    layers += [
        flatten,
        nnx.Linear(size * size * depth, hidden, rngs=rngs),
        nnx.relu,
        Dropout(dropout),
        nnx.Linear(hidden, n_grades + no_grade, rngs=rngs),
    ]
    return Network(layers, ink_divisor, blocks, test_time_augmentation=test_time_augmentation, n_grades=n_grades)


def _check_size(layers: int, parameters: int, outputs: int = 0) -> None:
    """Raises UserError for a network that would take minutes to build or exhaust memory."""
    if layers > _MAX_LAYERS:
        raise UserError(f"the model has {layers:,} layers: at most {_MAX_LAYERS} are allowed")
    if parameters > MAX_PARAMETERS:
        raise UserError(f"the model has more than {MAX_PARAMETERS:,} parameters: make its layers smaller")
    if outputs > _MAX_OUTPUTS:
        raise UserError("the model's convolutions are too large: lower data.size or model.channels")


MODELS: dict[str, Callable[..., Network]] = {"mlp": mlp, "cnn": cnn}

# Options are checked here, because some versions of JAX silently build a layer without units.
_UNITS = Integral, lambda value: value >= 1, "a whole number, 1 or more"
_POSITIVE = Real, lambda value: 1e-12 <= value <= 1e12, "a number between 1e-12 and 1e12"
_OPTIONS: dict[str, tuple[type, Callable[[Any], bool], str]] = {
    "hidden": _UNITS,
    "channels": _UNITS,
    "pools": _UNITS,
    "dropout": (Real, lambda value: 0 <= value < 1, "0 or more and less than 1"),
    "no_grade": (bool, lambda _: True, "True or False"),
    "test_time_augmentation": (bool, lambda _: True, "True or False"),
    "batch_norm": (bool, lambda _: True, "True or False"),
    "batch_norm_epsilon": _POSITIVE,
    "batch_norm_momentum": (Real, lambda value: 0 <= value < 1, "0 or more and less than 1"),
    "first_bias": (bool, lambda _: True, "True or False"),
    "ink_divisor": _POSITIVE,
}
_LISTS = {"mlp": ("hidden", "dropout"), "cnn": ("channels", "pools")}


def _check(name: str, value: Any, kind: type, allowed: Callable[[Any], bool], requirement: str) -> None:
    if isinstance(value, bool) != (kind is bool) or not isinstance(value, kind) or not allowed(value):
        raise UserError(f"{name} is {reprlib.repr(value)}: it must be {requirement}")


def build(name: object, size: int, seed: int, n_grades: int = N_GRADES, **options: Any) -> Network:
    """Builds a freshly initialised network in training mode.

    Args:
        name: a key of `MODELS`.
        size: side of the ink, pixels.
        seed: of the initialisation.
        n_grades: as in `Network`.
        options: keyword arguments of the function in `MODELS`.

    Raises:
        UserError: if there is no such model or option, or a value is not allowed.
    """
    _check_options(name, size, options)
    hashable = {option: tuple(value) if isinstance(value, list) else value for option, value in options.items()}
    return _initialiser(name, size, n_grades, tuple(hashable.items()))(jax.random.key(seed))


def structure(name: object, size: int, n_grades: int = N_GRADES, **options: Any) -> Network:
    """What `build` returns, with shapes in the place of its variables: nothing is allocated or compiled.

    Raises:
        UserError: as `build` does.
    """
    _check_options(name, size, options)
    return nnx.eval_shape(lambda: _fresh(name, size, nnx.Rngs(0), n_grades, options))


def _check_options(name: object, size: int, options: Mapping[str, Any]) -> None:
    if not isinstance(name, str) or name not in MODELS:
        raise UserError(f"no model is called {name!r}: model.name is one of {', '.join(MODELS)}")
    _check("data.size", size, *_UNITS)
    for option, value in options.items():
        if option in _OPTIONS:
            is_list = option in _LISTS[name]
            if is_list and not isinstance(value, (list, tuple)):
                raise UserError(f"model.{option} is {reprlib.repr(value)}: model {name!r} takes a list: (64, 32)")
            for item in value if is_list else [value]:
                _check(f"model.{option}", item, *_OPTIONS[option])
        elif option not in inspect.signature(MODELS[name]).parameters:
            raise UserError(f"model {name!r} has no option {option!r}")


def _fresh(name: Any, size: int, rngs: nnx.Rngs, n_grades: int, options: Mapping[str, Any]) -> Network:
    try:
        return MODELS[name](size, rngs, n_grades, **options)
    except (TypeError, ValueError) as error:
        raise UserError(f"model {name!r} cannot be built: {error}") from None


@functools.lru_cache(maxsize=32)
def _initialiser(
    name: str, size: int, n_grades: int, options: tuple[tuple[str, Any], ...]
) -> Callable[[Array], Network]:
    """The function from a random key to a new network: one program, where each operation would be one of its own."""

    @functools.partial(jax.jit, compiler_options=ops.compiler_options())
    def split(key: Array) -> tuple[nnx.GraphDef, nnx.State]:
        return nnx.split(_fresh(name, size, nnx.Rngs(key), n_grades, dict(options)))

    return lambda key: nnx.merge(*split(key))


def parameters(module: Any) -> int:
    """The number of parameters of a module, counted as Keras does: batch norm's running statistics included."""
    if not isinstance(module, nnx.Module):
        return 0
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(nnx.state(module, (nnx.Param, nnx.BatchStat))))
