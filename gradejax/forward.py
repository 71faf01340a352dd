"""From a network's variables and ink to logits: all that predicting needs of training's results."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int, UInt8

from gradejax.network import Network
from gradejax.views import mean_over_views, views


class Variables(NamedTuple):
    """What a network holds besides its structure.

    Attributes:
        parameters: trained by gradients.
        statistics: all the rest, such as batch norm's running means.
    """

    parameters: nnx.State
    statistics: nnx.State


LogitsFunction = Callable[[Variables, UInt8[Array | np.ndarray, "batch size size"]], Float[Array, "batch grades"]]


def variables_of(network: Network) -> Variables:
    """The network's own variables, shared with it."""
    _, parameters, statistics = nnx.split(network, nnx.Param, ...)
    return Variables(parameters, statistics)


def merged(network: Network, variables: Variables) -> Network:
    """A network with these variables in evaluation mode; `network` gives the structure, and is left in that mode."""
    network.eval()
    graph, _, _ = nnx.split(network, nnx.Param, ...)
    return nnx.merge(graph, *variables)


def logits_function(network: Network) -> LogitsFunction:
    """The jitted function from variables and ink to logits, without dropout and with batch norm's running statistics.

    With the network's `test_time_augmentation` the logits are the mean over `views.views`.

    Args:
        network: gives the structure; its own variables are not used. It is left in evaluation mode.
    """
    network.eval()
    graph, _, _ = nnx.split(network, nnx.Param, ...)

    @jax.jit
    def logits_of(
        variables: Variables, ink: UInt8[Array | np.ndarray, "batch size size"]
    ) -> Float[Array, "batch outputs"]:
        ink, trained = jnp.asarray(ink), nnx.merge(graph, *variables)
        return mean_over_views(trained(views(ink))) if network.test_time_augmentation else trained(ink)

    return logits_of


def logits_in_batches(
    logits_of: LogitsFunction,
    variables: Variables,
    ink: UInt8[np.ndarray, "n size size"],
    rows: Int[np.ndarray, " rows"],
    batch_size: int,
) -> Float[np.ndarray, "rows grades"]:
    """The logits of the drawings `rows` of `ink`, computed `batch_size` at a time.

    Every batch has the same size, so that only one shape is compiled.
    """
    logits = []
    for start in range(0, len(rows), batch_size):
        wanted = rows[start : start + batch_size]
        batch = ink[np.resize(wanted, min(batch_size, len(rows)))]
        logits.append(logits_of(variables, batch)[: len(wanted)])
    return np.concatenate([np.asarray(part) for part in logits])
