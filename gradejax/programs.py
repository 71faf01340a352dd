"""The programs of a training on a CPU, which are compiled while its drawings are being decoded."""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, UInt8
from ml_collections import ConfigDict

from gradejax.batches import Batch
from gradejax.dataset import Dataset
from gradejax.forward import LogitsFunction, logits_function, logits_in_batches, merged, variables_of
from gradejax.network import Network
from gradejax.splits import Split
from gradejax.step import StepsFunction, hyperparameters, initial_state, steps_function

_LARGE = 2**26
"""Bytes of ink in a batch."""


class Programs(NamedTuple):
    """What a training runs.

    Attributes:
        train_steps: takes training steps; see `step.steps_function`.
        logits_of: see `forward.logits_function`.
    """

    train_steps: StepsFunction
    logits_of: LogitsFunction


def of(config: ConfigDict, network: Network, ink: UInt8[Array, "n size size"] | None = None) -> Programs:
    """The programs of a recipe, to be compiled when they are first used.

    Args:
        config: the recipe.
        network: gives the structure. It is left in evaluation mode.
        ink: as in `step.steps_function`.
    """
    settings = config.train
    train_steps = steps_function(
        network, ink, optimizer_name=settings.optimizer, reestimate_statistics=settings.reestimate_statistics
    )
    return Programs(train_steps, logits_function(network))


def are_known_before_the_drawings(config: ConfigDict) -> bool:
    """Whether the programs of a recipe depend on the recipe alone, so that compiling them can begin with it."""
    if jax.default_backend() != "cpu" or jax.device_count() > 1 or config.train.reestimate_statistics:
        return False
    # A thread that finds too little memory for its batch ends the process, where the loop says so in one line.
    return config.train.batch_size * config.data.size**2 <= _LARGE


def compile_steps(config: ConfigDict, network: Network, programs: Programs) -> None:
    """Compiles `train_steps`: takes a step from parameters of zero, on blank ink, which is then forgotten.

    Args:
        config: the recipe.
        network: gives the structure.
        programs: of that structure.
    """
    batch_size, size = config.train.batch_size, config.data.size
    hparams = hyperparameters(network, config, batch_size)
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), variables_of(network))
    state = initial_state(merged(network, zeros), hparams, config.train.optimizer)
    blank = Batch(np.zeros((1, batch_size, size, size), np.uint8), np.zeros((1, batch_size), np.int32))
    programs.train_steps(hparams, state, blank)


def compile_logits(config: ConfigDict, network: Network, programs: Programs, dataset: Dataset, split: Split) -> None:
    """Compiles `logits_of` for as many drawings as are validated together."""
    batch_size = config.evaluate.batch_size
    rows = split.validation[:batch_size]
    logits_in_batches(programs.logits_of, variables_of(network), dataset.ink, rows, batch_size)
