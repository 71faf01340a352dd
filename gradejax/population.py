"""Many trainings in one program.

Trainings whose configs differ only in `TRACED_KEYS` run the same instructions on arrays of the same shapes. Such a
group is compiled once, and each member gets the batches, dropout and initial parameters that it would have on its own.
On a GPU the members advance in parallel (`jax.vmap`). On a CPU they take turns inside the program, because a matrix
product with another batch axis costs more there than the separate products (`python -m benchmarks.ablate`).
"""

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
from gradejax.calibration import Calibration
from gradejax.dataset import Dataset
from gradejax.scales import LETTERS, Scale
from gradejax.splits import Split
from gradejax.step import Hyperparameters, TrainState, hyperparameters, initial_state, reestimation, step_function
from gradejax.threads import prefetch

TRACED_KEYS = (
    "seed",
    "data.tags",
    "data.split",
    "data.folds",
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
    "train.start_from",
    "train.learning_rate",
    "train.learning_rate_end",
    "train.adam_epsilon",
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


class Epoch(NamedTuple):
    """What an epoch brings for one member.

    Attributes:
        record: its metrics.
        logits: of the validation drawings, the test drawings and the others held out, in this order.
    """

    record: Record
    logits: Float[np.ndarray, "held_out grades"]


class Result(NamedTuple):
    """What a member's training comes to.

    Attributes:
        history: its epochs.
        guesses: class indices for the drawings of `Epoch.logits`, after the last epoch; -1 where a network that has
            diverged gives none.
        best_epoch_guesses: likewise after the first epoch with the best validation accuracy.
    """

    history: list[Record]
    guesses: Int[np.ndarray, " held_out"]
    best_epoch_guesses: Int[np.ndarray, " held_out"]


class Program(NamedTuple):
    """Compiled functions that several groups can use.

    Attributes:
        key: see `program_key`.
        train: from hyperparameters, states and batches of several steps, all stacked by member, and the number of steps
            that each member takes, to the new states and each step's mean loss and accuracy (zeros for steps not
            taken). The old states' memory is reused.
        logits: from variables and ink to logits, all stacked by member.
    """

    key: str
    train: Callable[
        [Hyperparameters, TrainState, Batch, Int32[Array | np.ndarray, " members"]],
        tuple[TrainState, Float[Array, "members steps 2"]],
    ]
    logits: Callable[[forward.Variables, UInt8[Array, "members n size size"]], Float[Array, "members n grades"]]


def build_program(config: ConfigDict, over_members: Callable | None = None, scale: Scale = LETTERS) -> Program:
    """Builds the program for a config; it is compiled when first used.

    Args:
        config: of any member.
        over_members: `jax.vmap` or `sequential_vmap`; by default the faster one on this machine.
        scale: of the drawings.
    """
    over_members = over_members or (jax.vmap if members_run_in_parallel() else sequential_vmap)
    network = prepare.network(config, scale)
    step = step_function(network, config.train.optimizer)
    reestimate = reestimation(network) if config.train.reestimate_statistics else None
    logits_of = forward.logits_function(network)

    def train(
        hparams: Hyperparameters, state: TrainState, batches: Batch, count: Int32[Array, ""]
    ) -> tuple[TrainState, Float[Array, "steps 2"]]:
        def step_if_counted(
            state: TrainState, numbered: tuple[Int[Array, ""], Batch]
        ) -> tuple[TrainState, Float[Array, "2"]]:
            index, batch = numbered
            return jax.lax.cond(index < count, partial(step, hparams), lambda *_: (state, jnp.zeros(2)), state, batch)

        state, metrics = jax.lax.scan(step_if_counted, state, (jnp.arange(batches.labels.shape[0]), batches))
        return reestimate(state, batches, count) if reestimate else state, metrics

    return Program(
        program_key(config),
        jax.jit(over_members(train), donate_argnums=1, compiler_options=ops.compiler_options()),
        jax.jit(over_members(logits_of)),
    )


def epochs(members: Sequence[Member], program: Program) -> Iterator[list[Epoch]]:
    """Trains members that share a program.

    A member gets the metrics that `loop.fit` would give it alone, up to rounding in sums of another order. A member
    whose loss is no longer finite does not affect the others.

    Yields:
        After each epoch, what it brings for each member.
    """
    settings = members[0].config.train
    networks = [prepare.network(member.config, member.dataset.scale) for member in members]
    hparams_of = [
        hyperparameters(network, member.config, len(member.split.train))
        for network, member in zip(networks, members, strict=True)
    ]
    hparams = _stack(hparams_of)
    state = _stack([initial_state(*each, settings.optimizer) for each in zip(networks, hparams_of, strict=True)])
    # All drawings held out together, repeated up to the length of the longest.
    splits = (member.split for member in members)
    rows_of = [np.concatenate([split.validation, split.test, split.others]) for split in splits]
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
            logits = np.asarray(program.logits(state.evaluated(), ink))
            yield [
                _epoch(member, epoch, means.tolist(), of_member[: len(rows)])
                for member, means, of_member, rows in zip(
                    members, sums / steps_taken[:, None], logits, rows_of, strict=True
                )
            ]


def train(members: Sequence[Member], program: Program, after_epoch: Callable[[], None] = lambda: None) -> list[Result]:
    """Trains members that share a program from the first epoch to the last; `after_epoch` is called after each."""
    histories: list[list[Record]] = [[] for _ in members]
    best: list[Epoch] = []
    last: list[Epoch] = []
    n_grades = len(members[0].dataset.scale.labels)
    for last in epochs(members, program):
        best = [
            max(earlier, now, key=lambda each: each.record["val_accuracy"])
            for earlier, now in zip(best or last, last, strict=True)
        ]
        for history, epoch in zip(histories, last, strict=True):
            history.append(epoch.record)
        after_epoch()
    return [
        Result(history, _guesses(epoch.logits, n_grades), _guesses(best_epoch.logits, n_grades))
        for history, epoch, best_epoch in zip(histories, last, best, strict=True)
    ]


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


def _epoch(member: Member, epoch: int, means: Sequence[float], logits: Float[np.ndarray, "held_out grades"]) -> Epoch:
    """An epoch from its mean loss and accuracy in training, and from the logits of the drawings held out."""
    (loss, accuracy), data = means, member.dataset
    confidences = Calibration(n_grades=len(data.scale.labels)).confidences(logits)
    labels, validation, test = data.labels, member.split.validation, member.split.test
    scores = metrics.scores(confidences[: len(validation)], labels[validation])
    record: Record = {"epoch": epoch, "loss": loss, "accuracy": accuracy}
    record |= {"val_loss": scores.loss, "val_accuracy": scores.accuracy, "val_ece": scores.ece}
    if len(test):
        of_test = confidences[len(validation) : len(validation) + len(test)]
        record["test_accuracy"] = metrics.scores(of_test, labels[test]).accuracy
    return Epoch(record, logits)


def _guesses(logits: Float[np.ndarray, "n outputs"], n_grades: int) -> Int[np.ndarray, " n"]:
    """Class indices; -1, which is never right, where a network that has diverged gives no numbers."""
    return np.where(np.isfinite(logits).all(axis=1), logits[:, :n_grades].argmax(axis=1), -1)


def _stack(trees: Sequence[Any]) -> Any:
    """One tree of the same structure, with the leaves stacked along a new first axis."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)
