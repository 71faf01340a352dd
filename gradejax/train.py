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
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.summary import scalar

from gradejax import augment_device, calibration, checkpoints, devices, metrics, ops, runs
from gradejax.augment import DistortionRanges
from gradejax.batches import Chunk, Plan, epoch_chunks, epoch_plans, prefetch, steps_per_epoch, whole_epoch
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
    """One line of `metrics.jsonl`. Training figures are means over the epoch's distorted drawings, as it went on, those
    of validation are before calibration; `seconds` is the training alone, `elapsed` all since the run began, evaluation
    and resumption included."""

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


class Hyperparameters(NamedTuple):
    """The numbers of a recipe that a step needs. They are traced: trainings that differ in them share a program.

    Attributes:
        seed: of dropout.
        learning_rate: at its peak.
        learning_rate_end: fraction of the peak that is left after the last step.
        warmup_steps, steps: until the peak; in all.
        dropout: a rate for each dropout layer.
    """

    seed: int
    learning_rate: float
    learning_rate_end: float
    warmup_steps: int
    steps: int
    weight_decay: float
    label_smoothing: float
    ema_decay: float
    dropout: tuple[float, ...]


def hyperparameters(network: Network, config: ConfigDict, n_train: int) -> Hyperparameters:
    """Those of a config for a training on `n_train` drawings."""
    settings = config.train
    steps_each = steps_per_epoch(n_train, settings.batch_size)
    steps = settings.epochs * steps_each
    return Hyperparameters(
        seed=config.seed,
        learning_rate=settings.learning_rate,
        learning_rate_end=settings.learning_rate_end,
        warmup_steps=min(round(settings.warmup_epochs * steps_each), steps - 1),
        steps=steps,
        weight_decay=settings.weight_decay,
        label_smoothing=settings.label_smoothing,
        ema_decay=settings.ema_decay,
        dropout=tuple(map(float, network.dropout_rates())),
    )


def learning_rate(numbers: Hyperparameters, step: Int32[Array, ""]) -> Float[Array, ""]:
    """Linear warm-up to the peak, then a cosine down to its end (Loshchilov and Hutter, SGDR, 2017, equation 5)."""
    # optax's own schedule wants its numbers of steps before it is traced.
    along = (step - numbers.warmup_steps) / (numbers.steps - numbers.warmup_steps)
    cosine = 0.5 * (1 + jnp.cos(jnp.pi * jnp.clip(along, 0, 1)))
    falling = numbers.learning_rate_end + (1 - numbers.learning_rate_end) * cosine
    return numbers.learning_rate * jnp.where(along < 0, step / jnp.maximum(numbers.warmup_steps, 1), falling)


def optimizer(numbers: Hyperparameters) -> optax.GradientTransformation:
    """AdamW (Loshchilov and Hutter, 2019) with `learning_rate`; decay on kernels only."""

    def kernels(parameters: nnx.State) -> nnx.State:
        return jax.tree.map(lambda leaf: leaf.ndim > 1, parameters)

    return optax.adamw(partial(learning_rate, numbers), weight_decay=numbers.weight_decay, mask=kernels)


Step = Callable[[Hyperparameters, TrainState, Chunk], tuple[TrainState, Float[Array, "2"]]]


def step_function(network: Network) -> Step:
    """One step, to be traced: from the state and a batch to the new state and the batch's mean loss and accuracy.

    A drawing with the label -1 is no grade and counts for no accuracy: each grade should be as likely as the others
    ("outlier exposure", Hendrycks, Mazeika and Dietterich, 2019).
    """
    network.train()
    graph, _, _ = nnx.split(network, nnx.Param, ...)

    def loss_of(
        parameters: nnx.State, statistics: nnx.State, batch: Chunk, numbers: Hyperparameters, key: Array
    ) -> tuple[Array, tuple[nnx.State, Array]]:
        model = nnx.merge(graph, parameters, statistics, copy=True)
        logits = model(batch.ink, nnx.Rngs(dropout=key), numbers.dropout)
        graded, classes = batch.labels >= 0, logits.shape[-1]
        targets = optax.smooth_labels(jax.nn.one_hot(batch.labels, classes), numbers.label_smoothing)
        loss = optax.softmax_cross_entropy(logits, jnp.where(graded[:, None], targets, 1 / classes)).mean()
        accuracy = (logits.argmax(axis=-1) == batch.labels).sum() / jnp.maximum(graded.sum(), 1)
        return loss, (nnx.state(model, nnx.Not(nnx.Param)), jnp.stack([loss, accuracy]))

    def step(numbers: Hyperparameters, state: TrainState, batch: Chunk) -> tuple[TrainState, Float[Array, "2"]]:
        parameters, statistics = state.variables
        key = jax.random.fold_in(jax.random.key(numbers.seed), state.step)
        gradients, (statistics, seen) = jax.grad(loss_of, has_aux=True)(parameters, statistics, batch, numbers, key)
        updates, optimizer_state = optimizer(numbers).update(gradients, state.optimizer, parameters)
        variables = Variables(optax.apply_updates(parameters, updates), statistics)
        average = state.average
        if average is not None:
            # Early on the average follows fast, or it would hold on to the initial values.
            decay = jnp.minimum(numbers.ema_decay, (1 + state.step) / (10 + state.step))
            average = optax.incremental_update(variables, average, 1 - decay)
        return TrainState(state.step + 1, variables, optimizer_state, average), seen

    return step


def steps_function(
    network: Network, ink: UInt8[Array, "n size size"] | None = None
) -> Callable[[Hyperparameters, TrainState, Chunk | Plan], tuple[TrainState, Float[Array, "steps 2"]]]:
    """The jitted function that takes as many steps as a chunk has batches.

    It returns the new state and, for each step, the batch's mean loss and accuracy. The old state's memory is reused.

    Arguments:
        ink: of all drawings, on the device. With it the function takes a plan, and distorts the drawings there.
    """
    step = step_function(network)

    @partial(jax.jit, donate_argnums=1, compiler_options=ops.compiler_options())
    def steps(
        numbers: Hyperparameters, state: TrainState, ink: Array | None, chunk: Chunk | Plan
    ) -> tuple[TrainState, Float[Array, "steps 2"]]:
        def one(state: TrainState, batch: Chunk | Plan) -> tuple[TrainState, Float[Array, "2"]]:
            if ink is not None:
                batch = Chunk(augment_device.distort(ink[batch.rows], batch.distortions), batch.labels)
            return step(numbers, state, batch)

        return jax.lax.scan(one, state, chunk)

    return lambda numbers, state, chunk: steps(numbers, state, ink, chunk)


def logits_function(
    network: Network,
) -> Callable[[Variables, UInt8[Array, "batch size size"]], Float[Array, "batch 15"]]:
    """The jitted function from variables and ink to logits, without dropout and with running statistics."""
    network.eval()
    graph, _, _ = nnx.split(network, nnx.Param, ...)
    return jax.jit(lambda variables, ink: nnx.merge(graph, *variables)(ink))


def logits_in_batches(
    logits_of: Callable[[Variables, Array], Array],
    variables: Variables,
    ink: UInt8[np.ndarray, "n size size"],
    rows: np.ndarray,
    batch_size: int,
) -> Float[np.ndarray, "rows 15"]:
    """The logits of the drawings `rows`, computed `batch_size` at a time."""
    found = []
    for start in range(0, len(rows), batch_size):
        some = rows[start : start + batch_size]
        # Always whole batches, so that one shape is compiled.
        batch = ink[np.resize(some, min(batch_size, len(rows)))]
        found.append(logits_of(variables, batch)[: len(some)])
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

    Each batch is shared by all devices of all processes: gradients and batch norm's statistics are the whole batch's.

    A run that was cut off there goes on from its last whole checkpoint and ends with the same parameters, bit for bit,
    as one that never was: order, distortion and dropout depend on the seed, the epoch and the step alone.

    Arguments:
        about: plain facts kept in each checkpoint, to which its `calibration` is added; `data_digest` among them must
            be that of the run so far.
        announce: called with (None, steps so far) while an epoch goes on and (its record, steps so far) at its end.

    Returns:
        The variables to predict with, of the last epoch.

    Raises:
        UserError: when the loss is no longer finite, or the data are not those the run began with.
    """
    settings = config.train
    devices.check(settings.batch_size, about["data_digest"])
    steps_each = steps_per_epoch(len(split.train), settings.batch_size)
    numbers = hyperparameters(network, config, len(split.train))
    # A GPU has room for all drawings, and distorts them faster than the host can.
    on_device = jax.default_backend() != "cpu"
    train_steps = steps_function(network, devices.everywhere(jnp.asarray(dataset.ink)) if on_device else None)
    logits_of = logits_function(network)
    state = initial_state(network, numbers)

    done, history = 0, []
    if found := checkpoints.restore(workdir, "training"):
        if found.about["data_digest"] != about["data_digest"]:
            raise UserError(f"the drawings have changed since the run in {workdir} began: use another --workdir")
        state = jax.tree.map(jnp.array, checkpoints.unflat(state, found.arrays))
        done, history = found.epoch, runs.read_history(workdir)[: found.epoch]
    state, done = devices.everywhere((state, done))
    done = int(done)
    runs.write_history(workdir, history)
    elapsed_before = history[-1]["elapsed"] if history else 0.0
    began = time.perf_counter()

    def chunks() -> Iterator[Chunk | Plan]:
        how = {"batch_size": settings.batch_size, "augment": DistortionRanges(**config.augment), "seed": config.seed}
        for epoch in range(done + 1, settings.epochs + 1):
            if on_device:
                plans = epoch_plans(config.data.size, dataset.labels, split.train, **how, epoch=epoch)
                yield whole_epoch(plans)
            else:
                yield from epoch_chunks(dataset.ink, dataset.labels, split.train, **how, epoch=epoch)

    with (
        checkpoints.open_manager(workdir, done) as manager,
        closing(EventsWriter(str(workdir.absolute() / "events"))) as board,
        closing(prefetch(chunks)) as supply,
    ):
        # What an earlier try has written of these epochs does not count.
        board.write_event(Event(step=done + 1, wall_time=time.time(), session_log=SessionLog(status=SessionLog.START)))
        for epoch in range(done + 1, settings.epochs + 1):
            epoch_began = time.perf_counter()
            seen, steps_done = [], 0
            while steps_done < steps_each:
                chunk = next(supply)
                state, figures = train_steps(numbers, state, devices.dealt(chunk))
                seen.append(figures)
                steps_done += len(chunk.labels)
                announce(None, (epoch - 1) * steps_each + steps_done)
            loss, accuracy = np.concatenate([np.asarray(figures) for figures in seen]).mean(axis=0).tolist()
            seconds = time.perf_counter() - epoch_began
            logits = logits_in_batches(
                logits_of, state.evaluated(), dataset.ink, split.validation, config.evaluate.batch_size
            )
            if not np.isfinite(loss) or not np.isfinite(logits).all():
                kept = manager.latest_step()
                raise UserError(
                    f"the loss is {loss if not np.isfinite(loss) else np.nan} in epoch {epoch}: lower "
                    f"train.learning_rate (now {settings.learning_rate:g})"
                    + (f" in another --workdir; the last good checkpoint is kept, of epoch {kept}" if kept else "")
                )
            labels = dataset.labels[split.validation]
            scores = metrics.scores(calibration.Calibration().confidences(logits), labels)
            record = Epoch(
                epoch=epoch,
                loss=loss,
                accuracy=accuracy,
                val_loss=scores.loss,
                val_accuracy=scores.accuracy,
                val_ece=scores.ece,
                learning_rate=float(learning_rate(numbers, jnp.int32(epoch * steps_each - 1))),
                images_per_second=steps_each * settings.batch_size / seconds,
                seconds=seconds,
                elapsed=elapsed_before + time.perf_counter() - began,
            )
            runs.append_history(workdir, record._asdict())
            for name, value in record._asdict().items():
                board.write_event(Event(step=epoch, wall_time=time.time(), summary=scalar(name, value)))
            board.flush()
            if devices.is_first() and (epoch % settings.checkpoint_every == 0 or epoch == settings.epochs):
                fitted = {"calibration": calibration.fit(logits, labels)._asdict()}
                checkpoints.save(manager, epoch, state.evaluated(), state, about | fitted)
            announce(record, epoch * steps_each)
    return jax.device_get(state.evaluated())


def initial_variables(network: Network) -> Variables:
    """The network's own variables, copied."""
    _, parameters, statistics = nnx.split(network, nnx.Param, ...)
    return jax.tree.map(jnp.copy, Variables(parameters, statistics))


def initial_state(network: Network, numbers: Hyperparameters) -> TrainState:
    """The state before the first step."""
    variables = initial_variables(network)
    # A step reuses the state's memory, so the average must not share any with the variables.
    average = initial_variables(network) if numbers.ema_decay > 0 else None
    return TrainState(jnp.int32(0), variables, optimizer(numbers).init(variables.parameters), average)
