"""A network from ink to logits, in `flax.nnx`, and the layers that Flax has not."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, UInt8

from gradejax import ops
from gradejax.scales import LETTERS

N_GRADES = len(LETTERS.labels)

Layer = Callable[[Array], Array]


class Network(nnx.Module):
    """A sequential network; ink is first divided by `ink_divisor`.

    Args:
        layers: nnx modules and plain functions of an array.
        ink_divisor: 255 scales ink to 0 to 1.
        blocks: the indices in `layers` where a convolution, ReLU, batch norm and 2x2 max-pool stand in a row; they are
            applied together, by `ops.conv_block`, which is faster and computes the same.
        test_time_augmentation: whether `forward.logits_function` averages the logits over several views of a drawing.
        n_grades: how many of the logits, from the first, are those of grades.
    """

    # A block is an index, not a module around its layers: checkpoints name parameters by their place in `layers`.
    def __init__(
        self,
        layers: Sequence[Layer],
        ink_divisor: float,
        blocks: Sequence[int] = (),
        *,
        test_time_augmentation: bool = False,
        n_grades: int = N_GRADES,
    ):
        self.layers = nnx.List(layers)
        self.ink_divisor = ink_divisor
        self.blocks = tuple(blocks)
        self.test_time_augmentation = test_time_augmentation
        self.n_grades = n_grades

    def dropout_rates(self) -> tuple[float, ...]:
        """The rates of the dropout layers, in order."""
        return tuple(layer.rate for layer in self.layers if isinstance(layer, Dropout))

    def __call__(
        self,
        ink: UInt8[Array, "batch size size"],
        rngs: nnx.Rngs | None = None,
        rates: Sequence[float | Array] | None = None,
    ) -> Float[Array, "batch grades"]:
        """Computes the logits of the grades, and of no grade if there is an output for that.

        Args:
            ink: 0 is bare ground, 255 solid stroke.
            rngs: with a stream `dropout`; needed in training mode only.
            rates: dropout rates to use instead of `dropout_rates()`.
        """
        x = ink.astype(jnp.float32) / self.ink_divisor
        remaining_rates = iter(self.dropout_rates() if rates is None else rates)
        layers: list[Any] = list(self.layers)
        index = 0
        while index < len(layers):
            layer = layers[index]
            if index in self.blocks:
                convolution, _relu, norm, _max_pool = layers[index : index + 4]
                x = ops.conv_block(x, convolution, norm)
                index += 4
            else:
                x = layer(x, rngs, next(remaining_rates)) if isinstance(layer, Dropout) else layer(x)
                index += 1
        return x


class Dropout(nnx.Module):
    """Dropout (Srivastava et al., 2014) whose rate may be traced, unlike that of `nnx.Dropout`."""

    def __init__(self, rate: int | float):
        self.rate = rate
        self.deterministic = False

    def __call__(self, x: Array, rngs: nnx.Rngs | None = None, rate: float | Array | None = None) -> Array:
        if self.deterministic:
            return x
        if rngs is None:
            raise ValueError("dropout in training mode needs rngs")
        rate = self.rate if rate is None else rate
        kept = jax.random.bernoulli(rngs.dropout(), 1 - rate, x.shape)
        return jnp.where(kept, x / (1 - rate), 0)


def flatten(x: Float[Array, "batch *shape"]) -> Float[Array, "batch features"]:
    """Flattens all axes but the first."""
    return x.reshape(x.shape[0], -1)


def add_channel(x: Float[Array, "batch size size"]) -> Float[Array, "batch size size 1"]:
    """Adds an axis for the one channel of ink."""
    return x[..., None]
