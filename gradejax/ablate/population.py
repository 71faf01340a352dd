"""Many trainings in one program.

Trainings whose configs differ in `NUMBERS` alone run the same instructions on arrays of the same shapes. Such a group
is compiled once, and each member gets the batches, the dropout and the initial parameters that it would have had alone.
On a GPU the members advance together (`jax.vmap`). On a CPU they take their turns inside the program: there a product
with one more batch axis costs more than the products one after another (`python -m benchmarks.ablate`).
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from itertools import zip_longest
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int32, UInt8
from ml_collections import ConfigDict

from gradejax import forward, metrics, ops, prepare, recipe
from gradejax.augment import DistortionRanges
from gradejax.batches import MAX_STEPS, Batch, epoch_batches, steps_per_epoch
from gradejax.dataset import Dataset
from gradejax.splits import Split
from gradejax.step import (
    Hyperparameters,
    TrainState,
    hyperparameters,
    initial_state,
    step_function,
)
from gradejax.threads import prefetch

NUMBERS = (
    "seed",
    "data.tags",
    "data.split",
    "data.validation_fraction",
    "data.test_fraction",
    "data.resampling",
    "data.synthetic",
    "data.others",
    "augment.rotation",
    "augment.shift",
    "augment.shear",
    "augment.zoom",
    "augment.elastic",
    "augment.pen_width",
    "model.dropout",
    "train.learning_rate",
    "train.learning_rate_end",
    "train.warmup_epochs",
    "train.weight_decay",
    "train.label_smoothing",
    "train.ema_decay",
)
"""Keys that a program does not depend on: numbers it is given, and what only decides which drawings it is given."""


class Member(NamedTuple):
    """One training: its config and its drawings. Members may share a dataset."""

    config: ConfigDict
    dataset: Dataset
    split: Split


Record = dict[str, float]
"""An epoch of a member: `epoch`, `loss`, `accuracy`, `val_loss`, `val_accuracy`, `val_ece`, and `test_accuracy` where
its split has a test side."""


def program(config: ConfigDict) -> str:
    """What must agree for two trainings to share a program."""
    shared = {
        f"{group}.{key}": value
        for group, keys in recipe.as_json(config).items()
        for key, value in (keys.items() if isinstance(keys, dict) else [("", keys)])
        if f"{group}.{key}".rstrip(".") not in NUMBERS
    }
    # Without an average the state has another structure.
    return repr(sorted(shared.items())) + (" averaged" if config.train.ema_decay else "")


class Functions(NamedTuple):
    """What is compiled for a `program`, and a number of members: made once by `functions`, used for several groups.

    Attributes:
        steps: `steps_function` for members, each of which takes as many steps of its chunk as a count says.
        confidences: from the members' variables and ink, `(members, n, size, size)`, to `(members, n, 15)`.
    """

    steps: Callable[
        [Hyperparameters, TrainState, Batch, Int32[Array, " members"]],
        tuple[TrainState, Float[Array, "members steps 2"]],
    ]
    confidences: Callable[[forward.Variables, UInt8[Array, "members n size size"]], Float[Array, "members n 15"]]


def functions(config: ConfigDict, over_members: Callable | None = None) -> Functions:
    """Those of the `program` of a config.

    Arguments:
        over_members: `jax.vmap` or `in_turn`; what is faster here, by default.
    """
    over_members = over_members or (jax.vmap if together() else in_turn)
    network = prepare.network(config)
    step = step_function(network)
    logits_of = forward.logits_function(network)

    def steps(
        numbers: Hyperparameters, state: TrainState, chunk: Batch, count: Array
    ) -> tuple[TrainState, Float[Array, "steps 2"]]:
        def one(state: TrainState, numbered: tuple[Array, Batch]) -> tuple[TrainState, Array]:
            index, batch = numbered
            return jax.lax.cond(index < count, partial(step, numbers), lambda *_: (state, jnp.zeros(2)), state, batch)

        return jax.lax.scan(one, state, (jnp.arange(chunk.labels.shape[0]), chunk))

    def confidences(variables: forward.Variables, ink: Array) -> Array:
        return jax.nn.softmax(logits_of(variables, ink))

    options = ops.compiler_options()
    return Functions(
        jax.jit(over_members(steps), donate_argnums=1, compiler_options=options), jax.jit(over_members(confidences))
    )


def epochs(members: Sequence[Member], compiled: Functions) -> Iterator[list[Record]]:
    """Trains members of one `program`, and gives after each epoch a record for each.

    A member's numbers are those of `train.fit` alone, but for the rounding that another order of additions brings. A
    loss that is no longer finite stays so, and the others go on.
    """
    settings = members[0].config.train
    networks = [prepare.network(member.config) for member in members]
    alone = [
        hyperparameters(network, member.config, len(member.split.train))
        for network, member in zip(networks, members, strict=True)
    ]
    numbers = _stack(alone)
    state = _stack([initial_state(*each) for each in zip(networks, alone, strict=True)])
    # Validation and test are looked at together, filled up to the longest.
    looked_at = [np.concatenate([member.split.validation, member.split.test]) for member in members]
    longest = max(map(len, looked_at))
    ink = jnp.stack([m.dataset.ink[np.resize(rows, longest)] for m, rows in zip(members, looked_at, strict=True)])

    def supply() -> Iterator[tuple[Batch, np.ndarray] | None]:
        for epoch in range(1, settings.epochs + 1):
            yield from chunks(members, epoch)
            yield None

    with closing(prefetch(supply)) as supplied:
        for epoch in range(1, settings.epochs + 1):
            seen, counts = [], 0
            while (item := next(supplied)) is not None:
                chunk, count = item
                state, figures = compiled.steps(numbers, state, chunk, count)
                seen.append(figures)
                counts += count
            # The steps that a member did not take have left zeros.
            means = np.concatenate([np.asarray(figures) for figures in seen], axis=1).sum(axis=1) / counts[:, None]
            probabilities = np.asarray(compiled.confidences(state.evaluated(), ink))
            yield [
                {"epoch": epoch, "loss": float(loss), "accuracy": float(accuracy), **_scores(member, guesses)}
                for member, guesses, (loss, accuracy) in zip(members, probabilities, means, strict=True)
            ]


def train_group(members: Sequence[Member]) -> tuple[list[list[Record]], float]:
    """The records of all epochs, member by member, and how many seconds it took: all of a group in one call."""
    began = time.perf_counter()
    found = list(epochs(members, functions(members[0].config)))
    return [list(history) for history in zip(*found, strict=True)], time.perf_counter() - began


def together() -> bool:
    """Whether members advance together on this machine, and not in turn."""
    return jax.default_backend() != "cpu"


def in_turn(function: Callable[..., Any]) -> Callable[..., Any]:
    """What `jax.vmap` does, one after another."""
    return lambda *trees: jax.lax.map(lambda each: function(*each), trees)


def chunks(members: Sequence[Member], epoch: int) -> Iterator[tuple[Batch, Int32[np.ndarray, " members"]]]:
    """The members' chunks side by side, each filled up to the longest of the epoch, and how many steps each has."""
    batch_size = members[0].config.train.batch_size
    steps = [steps_per_epoch(len(member.split.train), batch_size) for member in members]
    # As even as epoch_batches makes them: always the same length, so that one is compiled.
    longest = max(-(-n // -(-n // MAX_STEPS)) for n in steps)
    parts = (
        epoch_batches(
            member.dataset.ink,
            member.dataset.labels,
            member.split.train,
            batch_size=batch_size,
            augment=DistortionRanges(**member.config.augment),
            seed=member.config.seed,
            epoch=epoch,
        )
        for member in members
    )
    size = members[0].config.data.size
    for some in zip_longest(*parts):
        ink = np.zeros((len(members), longest, batch_size, size, size), np.uint8)
        labels = np.zeros((len(members), longest, batch_size), np.int32)
        counts = np.zeros(len(members), np.int32)
        for member, part in enumerate(some):
            if part is not None:
                counts[member] = len(part.labels)
                ink[member, : counts[member]], labels[member, : counts[member]] = part
        yield Batch(ink, labels), counts


def _scores(member: Member, guesses: Float[np.ndarray, "n 15"]) -> Record:
    n, labels = len(member.split.validation), member.dataset.labels
    scores = metrics.scores(guesses[:n], labels[member.split.validation])
    found = {"val_loss": scores.loss, "val_accuracy": scores.accuracy, "val_ece": scores.ece}
    if tested := len(member.split.test):
        found["test_accuracy"] = metrics.scores(guesses[n : n + tested], labels[member.split.test]).accuracy
    return found


def _stack(trees: Sequence[Any]) -> Any:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)
