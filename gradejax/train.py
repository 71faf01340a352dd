"""The jitted optax loop: a chunk of steps is one `lax.scan`."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float, Int32, UInt8
from ml_collections import ConfigDict
from tensorboardX import SummaryWriter

from gradejax import checkpoints, metrics, runs
from gradejax.augment import AffineRanges
from gradejax.batches import Chunk, epoch_chunks, prefetch, steps_per_epoch
from gradejax.dataset import Dataset, Split
from gradejax.errors import UserError
from gradejax.models import Network


class Variables(NamedTuple):
    """What a network is apart from its structure: `nnx.State`s of the trained and of the running numbers."""

    parameters: nnx.State
    statistics: nnx.State


class TrainState(NamedTuple):
    """All that changes from step to step.

    Attributes:
        step: how many steps were taken.
        variables: being trained.
        optimizer: optax's state.
        average: the exponential moving average of `variables`; None where `train.ema_decay` is 0.
    """

    step: Int32[Array, ""]
    variables: Variables
    optimizer: optax.OptState
    average: Variables | None

    def evaluated(self) -> Variables:
        """The variables to predict with."""
        return self.variables if self.average is None else self.average


class Epoch(NamedTuple):
    """One line of `metrics.jsonl`. Training figures are means over the epoch's distorted drawings, as it went on;
    `seconds` is the training alone, `elapsed` all since the run began, evaluation and resumption included."""

    epoch: int
    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float
    val_ece: float
    learning_rate: float
    images_per_second: float
    seconds: float
    elapsed: float


class Optimizer(NamedTuple):
    """AdamW and its schedule: the learning rate after so many steps."""

    transformation: optax.GradientTransformation
    schedule: optax.Schedule


def optimizer(learning_rate: float, warmup_steps: int, steps: int, weight_decay: float) -> Optimizer:
    """AdamW (Loshchilov and Hutter, 2019) with linear warm-up and a cosine down to 0; decay on kernels only."""
    schedule = optax.warmup_cosine_decay_schedule(0.0, learning_rate, min(warmup_steps, steps - 1), steps)

    def kernels(parameters: nnx.State) -> nnx.State:
        return jax.tree.map(lambda leaf: leaf.ndim > 1, parameters)

    return Optimizer(optax.adamw(schedule, weight_decay=weight_decay, mask=kernels), schedule)


def steps_function(
    network: Network, transformation: optax.GradientTransformation, seed: int, label_smoothing: float, ema_decay: float
) -> Callable[[TrainState, Chunk], tuple[TrainState, Float[Array, "steps 2"]]]:
    """The jitted function that takes as many steps as a chunk has batches.

    It returns the new state and, for each step, the batch's mean loss and accuracy. The old state's memory is reused.
    """
    network.train()
    graph, _, _ = nnx.split(network, nnx.Param, ...)

    def loss_of(
        parameters: nnx.State, statistics: nnx.State, ink: UInt8[Array, "batch size size"], labels: Array, key: Array
    ) -> tuple[Array, tuple[nnx.State, Array]]:
        model = nnx.merge(graph, parameters, statistics, copy=True)
        logits = model(ink, nnx.Rngs(dropout=key))
        targets = optax.smooth_labels(jax.nn.one_hot(labels, logits.shape[-1]), label_smoothing)
        loss = optax.softmax_cross_entropy(logits, targets).mean()
        accuracy = (logits.argmax(axis=-1) == labels).mean()
        return loss, (nnx.state(model, nnx.Not(nnx.Param)), jnp.stack([loss, accuracy]))

    def step(state: TrainState, batch: Chunk) -> tuple[TrainState, Float[Array, "2"]]:
        parameters, statistics = state.variables
        key = jax.random.fold_in(jax.random.key(seed), state.step)
        gradients, (statistics, seen) = jax.grad(loss_of, has_aux=True)(
            parameters, statistics, batch.ink, batch.labels, key
        )
        updates, optimizer_state = transformation.update(gradients, state.optimizer, parameters)
        variables = Variables(optax.apply_updates(parameters, updates), statistics)
        average = state.average
        if average is not None:
            # Early on the average follows fast, or it would hold on to the initial values.
            decay = jnp.minimum(ema_decay, (1 + state.step) / (10 + state.step))
            average = optax.incremental_update(variables, average, 1 - decay)
        return TrainState(state.step + 1, variables, optimizer_state, average), seen

    @partial(jax.jit, donate_argnums=0)
    def steps(state: TrainState, chunk: Chunk) -> tuple[TrainState, Float[Array, "steps 2"]]:
        return jax.lax.scan(step, state, chunk)

    return steps


def logits_function(
    network: Network,
) -> Callable[[Variables, UInt8[Array, "batch size size"]], Float[Array, "batch 15"]]:
    """The jitted function from variables and ink to logits, without dropout and with running statistics."""
    network.eval()
    graph, _, _ = nnx.split(network, nnx.Param, ...)
    return jax.jit(lambda variables, ink: nnx.merge(graph, *variables)(ink))


def probabilities(
    logits_of: Callable[[Variables, Array], Array],
    variables: Variables,
    ink: UInt8[np.ndarray, "n size size"],
    rows: np.ndarray,
    batch_size: int,
) -> Float[np.ndarray, "rows 15"]:
    """The confidences in each grade for the drawings `rows`, computed `batch_size` at a time."""
    found = []
    for start in range(0, len(rows), batch_size):
        some = rows[start : start + batch_size]
        # Always whole batches, so that one shape is compiled.
        batch = ink[np.resize(some, min(batch_size, len(rows)))]
        found.append(jax.nn.softmax(logits_of(variables, batch))[: len(some)])
    return np.concatenate([np.asarray(part) for part in found])


def fit(
    network: Network,
    config: ConfigDict,
    dataset: Dataset,
    split: Split,
    workdir: Path,
    about: dict[str, Any],
    announce: Callable[[Epoch | None, int], None],
) -> Variables:
    """Trains `network`, writing checkpoints, `metrics.jsonl` and TensorBoard events to `workdir`.

    A run that was cut off there goes on from its last whole checkpoint and ends with the same parameters, bit for bit,
    as one that never was: order, distortion and dropout depend on the seed, the epoch and the step alone.

    Arguments:
        about: plain facts kept in each checkpoint; `data_digest` among them must be that of the run so far.
        announce: called with (None, steps so far) while an epoch goes on and (its record, steps so far) at its end.

    Returns:
        The variables to predict with, of the last epoch.

    Raises:
        UserError: when the loss is no longer finite, or the data are not those the run began with.
    """
    settings = config.train
    steps_each = steps_per_epoch(len(split.train), settings.batch_size)
    transformation, schedule = optimizer(
        settings.learning_rate,
        round(settings.warmup_epochs * steps_each),
        settings.epochs * steps_each,
        settings.weight_decay,
    )
    train_steps = steps_function(network, transformation, config.seed, settings.label_smoothing, settings.ema_decay)
    logits_of = logits_function(network)
    state = _initial_state(network, transformation, settings.ema_decay > 0)

    done, history = 0, []
    if found := checkpoints.restore(workdir, "training"):
        if found.about["data_digest"] != about["data_digest"]:
            raise UserError(f"the drawings have changed since the run in {workdir} began: use another --workdir")
        state = jax.tree.map(jnp.array, checkpoints.unflat(state, found.arrays))
        done, history = found.epoch, runs.read_history(workdir)[: found.epoch]
    runs.write_history(workdir, history)
    elapsed_before = history[-1]["elapsed"] if history else 0.0
    began = time.perf_counter()

    def chunks() -> Iterator[Chunk]:
        for epoch in range(done + 1, settings.epochs + 1):
            yield from epoch_chunks(
                dataset.ink,
                dataset.labels,
                split.train,
                batch_size=settings.batch_size,
                augment=AffineRanges(**config.augment),
                seed=config.seed,
                epoch=epoch,
            )

    with (
        checkpoints.open_manager(workdir, done) as manager,
        SummaryWriter(str(workdir), purge_step=done + 1) as board,
        closing(prefetch(chunks)) as supply,
    ):
        for epoch in range(done + 1, settings.epochs + 1):
            epoch_began = time.perf_counter()
            seen, steps_done = [], 0
            while steps_done < steps_each:
                chunk = next(supply)
                state, figures = train_steps(state, chunk)
                seen.append(figures)
                steps_done += len(chunk.labels)
                announce(None, (epoch - 1) * steps_each + steps_done)
            loss, accuracy = np.concatenate([np.asarray(figures) for figures in seen]).mean(axis=0).tolist()
            seconds = time.perf_counter() - epoch_began
            if not np.isfinite(loss):
                raise UserError(
                    f"the loss is {loss} in epoch {epoch}: lower train.learning_rate (now {settings.learning_rate:g}); "
                    "the last good checkpoint is kept"
                )
            guesses = probabilities(
                logits_of, state.evaluated(), dataset.ink, split.validation, config.evaluate.batch_size
            )
            scores = metrics.scores(guesses, dataset.labels[split.validation])
            record = Epoch(
                epoch=epoch,
                loss=loss,
                accuracy=accuracy,
                val_loss=scores.loss,
                val_accuracy=scores.accuracy,
                val_ece=scores.ece,
                learning_rate=float(schedule(epoch * steps_each - 1)),
                images_per_second=steps_each * settings.batch_size / seconds,
                seconds=seconds,
                elapsed=elapsed_before + time.perf_counter() - began,
            )
            runs.append_history(workdir, record._asdict())
            for name, value in record._asdict().items():
                board.add_scalar(name, value, epoch)
            if epoch % settings.checkpoint_every == 0 or epoch == settings.epochs:
                checkpoints.save(manager, epoch, state.evaluated(), state, about)
            announce(record, epoch * steps_each)
    return state.evaluated()


def initial_variables(network: Network) -> Variables:
    """The network's own variables, copied."""
    _, parameters, statistics = nnx.split(network, nnx.Param, ...)
    return jax.tree.map(jnp.copy, Variables(parameters, statistics))


def _initial_state(network: Network, transformation: optax.GradientTransformation, averaged: bool) -> TrainState:
    variables = initial_variables(network)
    # A step reuses the state's memory, so the average must not share any with the variables.
    average = initial_variables(network) if averaged else None
    return TrainState(jnp.int32(0), variables, transformation.init(variables.parameters), average)
