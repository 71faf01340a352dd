"""Many trainings in one program.

Trainings whose configs differ only in `TRACED_KEYS` run the same instructions on arrays of the same shapes. Such a
group is compiled once, and each member gets the batches, dropout and initial parameters that it would have on its own.
On a GPU the members advance in parallel (`jax.vmap`). On a CPU they take turns inside the program, because a matrix
product with another batch axis costs more there than the separate products (`python -m benchmarks.ablate`).
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
from jaxtyping import Array, Float, Int, Int32, UInt8
from ml_collections import ConfigDict

from gradejax import forward, metrics, ops, prepare, recipe
from gradejax.augment import DistortionRanges
from gradejax.batches import MAX_STEPS, Batch, epoch_batches, steps_per_epoch
from gradejax.dataset import Dataset
from gradejax.splits import Split
from gradejax.step import Hyperparameters, TrainState, hyperparameters, initial_state, step_function
from gradejax.threads import prefetch

TRACED_KEYS = (
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
"""Config keys that may differ within a group: they only change the numbers and drawings that the program receives."""


class Member(NamedTuple):
    """One training of a group. Members may share a dataset."""

    config: ConfigDict
    dataset: Dataset
    split: Split


Record = dict[str, float]
"""One epoch of a member: `epoch`, `loss`, `accuracy`, `val_loss`, `val_accuracy`, `val_ece`, and `test_accuracy` if its
split has test drawings."""


def program_key(config: ConfigDict) -> str:
    """Equal for two configs whose trainings share a program."""
    shared = {
        f"{group}.{key}": value
        for group, keys in recipe.as_json(config).items()
        for key, value in (keys.items() if isinstance(keys, dict) else [("", keys)])
        if f"{group}.{key}".rstrip(".") not in TRACED_KEYS
    }
    # Without a moving average the state has another structure.
    return repr(sorted(shared.items())) + (" averaged" if config.train.ema_decay else "")


class Program(NamedTuple):
    """Compiled functions that several groups can use.

    Attributes:
        key: see `program_key`.
        train: from hyperparameters, states and batches of several steps, all stacked by member, and the number of steps
            that each member takes, to the new states and each step's mean loss and accuracy (zeros for steps not
            taken). The old states' memory is reused.
        confidences: from variables and ink, stacked by member, to the softmax of the logits.
    """

    key: str
    train: Callable[
        [Hyperparameters, TrainState, Batch, Int32[Array | np.ndarray, " members"]],
        tuple[TrainState, Float[Array, "members steps 2"]],
    ]
    confidences: Callable[[forward.Variables, UInt8[Array, "members n size size"]], Float[Array, "members n grades"]]


def build_program(config: ConfigDict, over_members: Callable[..., Any] | None = None) -> Program:
    """Builds the program for a config; it is compiled when first used.

    Args:
        config: of any member.
        over_members: maps a function over the members: `jax.vmap` or `sequential_vmap`. By default the faster one on
            this machine.
    """
    over_members = over_members or (jax.vmap if members_run_in_parallel() else sequential_vmap)
    network = prepare.network(config)
    step = step_function(network)
    logits_of = forward.logits_function(network)

    def train(
        hparams: Hyperparameters, state: TrainState, batches: Batch, count: Int32[Array, ""]
    ) -> tuple[TrainState, Float[Array, "steps 2"]]:
        def step_if_counted(
            state: TrainState, numbered: tuple[Int[Array, ""], Batch]
        ) -> tuple[TrainState, Float[Array, "2"]]:
            index, batch = numbered
            return jax.lax.cond(index < count, partial(step, hparams), lambda *_: (state, jnp.zeros(2)), state, batch)

        return jax.lax.scan(step_if_counted, state, (jnp.arange(batches.labels.shape[0]), batches))

    def confidences(variables: forward.Variables, ink: UInt8[Array, "n size size"]) -> Float[Array, "n grades"]:
        return jax.nn.softmax(logits_of(variables, ink))

    return Program(
        program_key(config),
        jax.jit(over_members(train), donate_argnums=1, compiler_options=ops.compiler_options()),
        jax.jit(over_members(confidences)),
    )


def epochs(members: Sequence[Member], program: Program) -> Iterator[list[Record]]:
    """Trains members that share a program.

    A member gets the metrics that `train.fit` would give it alone, up to rounding in sums of another order. A member
    whose loss is no longer finite does not affect the others.

    Yields:
        After each epoch, a record for each member.
    """
    settings = members[0].config.train
    networks = [prepare.network(member.config) for member in members]
    hparams_of = [
        hyperparameters(network, member.config, len(member.split.train))
        for network, member in zip(networks, members, strict=True)
    ]
    hparams = _stack(hparams_of)
    state = _stack([initial_state(*each) for each in zip(networks, hparams_of, strict=True)])
    # Validation and test drawings together, repeated up to the length of the longest.
    rows_of = [np.concatenate([member.split.validation, member.split.test]) for member in members]
    longest = max(map(len, rows_of))
    ink = jnp.stack([m.dataset.ink[np.resize(rows, longest)] for m, rows in zip(members, rows_of, strict=True)])

    def supply() -> Iterator[tuple[Batch, Int32[np.ndarray, " members"]] | None]:
        for epoch in range(1, settings.epochs + 1):
            yield from stacked_batches(members, epoch)
            yield None  # the end of the epoch

    with closing(prefetch(supply)) as supplied:
        for epoch in range(1, settings.epochs + 1):
            step_metrics, steps_taken = [], np.zeros(len(members), np.int32)
            while (item := next(supplied)) is not None:
                batches, counts = item
                state, loss_and_accuracy = program.train(hparams, state, batches, counts)
                step_metrics.append(loss_and_accuracy)
                steps_taken += counts
            sums = np.concatenate([np.asarray(each) for each in step_metrics], axis=1).sum(axis=1)
            confidences = np.asarray(program.confidences(state.evaluated(), ink))
            yield [
                {"epoch": epoch, "loss": float(loss), "accuracy": float(accuracy), **_scores(member, of_member)}
                for member, of_member, (loss, accuracy) in zip(
                    members, confidences, sums / steps_taken[:, None], strict=True
                )
            ]


def train_group(members: Sequence[Member]) -> tuple[list[list[Record]], float]:
    """Trains members that share a program, in one call, as a Ray task must.

    Returns:
        For each member its epochs, and the seconds that the group took.
    """
    began = time.perf_counter()
    by_epoch = list(epochs(members, build_program(members[0].config)))
    return [list(history) for history in zip(*by_epoch, strict=True)], time.perf_counter() - began


def members_run_in_parallel() -> bool:
    """Whether the members of a group advance in parallel on this machine, rather than in turn."""
    return jax.default_backend() != "cpu"


def sequential_vmap(function: Callable[..., Any]) -> Callable[..., Any]:
    """Like `jax.vmap`, but computes one element after another."""
    return lambda *trees: jax.lax.map(lambda element: function(*element), trees)


def stacked_batches(members: Sequence[Member], epoch: int) -> Iterator[tuple[Batch, Int32[np.ndarray, " members"]]]:
    """The batches of one epoch for all members.

    Yields:
        Batches of several steps, stacked by member and padded to the same number of steps, and how many of these steps
        each member has.
    """
    batch_size = members[0].config.train.batch_size
    size = members[0].config.data.size
    steps_of = [steps_per_epoch(len(member.split.train), batch_size) for member in members]
    # `epoch_batches` divides an epoch evenly. One length for all, so that only one is compiled.
    longest = max(-(-steps // -(-steps // MAX_STEPS)) for steps in steps_of)
    batches_of = (
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
    for batches in zip_longest(*batches_of):
        ink = np.zeros((len(members), longest, batch_size, size, size), np.uint8)
        labels = np.zeros((len(members), longest, batch_size), np.int32)
        counts = np.zeros(len(members), np.int32)
        for member, batch in enumerate(batches):
            if batch is not None:
                counts[member] = len(batch.labels)
                ink[member, : counts[member]], labels[member, : counts[member]] = batch
        yield Batch(ink, labels), counts


def _scores(member: Member, confidences: Float[np.ndarray, "n grades"]) -> Record:
    """Scores on the member's validation and test drawings, which `confidences` begins with."""
    labels, validation, test = member.dataset.labels, member.split.validation, member.split.test
    scores = metrics.scores(confidences[: len(validation)], labels[validation])
    record: Record = {"val_loss": scores.loss, "val_accuracy": scores.accuracy, "val_ece": scores.ece}
    if len(test):
        on_test = confidences[len(validation) : len(validation) + len(test)]
        record["test_accuracy"] = metrics.scores(on_test, labels[test]).accuracy
    return record


def _stack(trees: Sequence[Any]) -> Any:
    """One tree of the same structure, with the leaves stacked along a new first axis."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)
