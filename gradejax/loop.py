"""The training loop: resume, train, validate, record, save."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from ml_collections import ConfigDict
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog  # pyright: ignore[reportAttributeAccessIssue]
from tensorboardX.summary import scalar

from gradejax import calibration, checkpoints, devices, metrics, programs, runs
from gradejax.augment import DistortionRanges
from gradejax.batches import Batch, BatchPlan, epoch_batches, epoch_plans, steps_per_epoch, whole_epoch
from gradejax.crossvalidation import OutOfSample
from gradejax.dataset import Dataset
from gradejax.errors import UserError
from gradejax.forward import LogitsFunction, Variables, logits_in_batches
from gradejax.prepare import Prepared
from gradejax.splits import Split
from gradejax.step import TrainState, hyperparameters, initial_state, learning_rate
from gradejax.threads import prefetch


class Epoch(NamedTuple):
    """One line of `metrics.jsonl`. Training metrics average the epoch's augmented batches; validation metrics are
    uncalibrated. `seconds` covers training only, `elapsed` everything since the run began."""

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


Announce = Callable[[Epoch | None, int], None]
"""Called during an epoch with None and the number of steps done, and at its end with its result and that number."""


def fit(
    config: ConfigDict,
    prepared: Prepared,
    workdir: Path,
    announce: Announce,
    out_of_sample: OutOfSample | None = None,
) -> Variables:
    """Trains a network, writing checkpoints, `metrics.jsonl` and TensorBoard events to `workdir`.

    All devices of all processes share each batch: gradients and batch norm's statistics are the whole batch's.

    A run that was cut off resumes from its last whole checkpoint. It ends with the same parameters, bit for bit, as one
    that was not: order, distortion and dropout depend only on the seed, the epoch and the step.

    Args:
        config: the recipe.
        prepared: the drawings, their split and the network. The facts in `about` go into each checkpoint, together with
            its `calibration`; `data_digest` must be that of the run so far.
        workdir: the run's folder.
        announce: see `Announce`.
        out_of_sample: what the networks of `prepared.folds` make of the validation drawings. It is recorded as the
            validation of each epoch, and calibrated on, because this network is trained on these drawings.

    Returns:
        The variables to predict with, after the last epoch.

    Raises:
        UserError: when the loss is no longer finite, or the drawings have changed since the run began.
    """
    data, split, network, about = prepared[:4]
    settings = config.train
    devices.check(settings.batch_size, about["data_digest"])
    n_steps = steps_per_epoch(len(split.train), settings.batch_size)
    hparams = hyperparameters(network, config, len(split.train))
    # A GPU has room for all drawings, and distorts them faster than the host can.
    on_device = jax.default_backend() != "cpu"
    ink = devices.everywhere(jnp.asarray(data.ink)) if on_device else None
    train_steps, logits_of = prepared.programs or programs.of(config, network, ink)
    learning_rate_at = jax.jit(learning_rate)
    state, done, elapsed = resume(workdir, initial_state(network, hparams, settings.optimizer), about["data_digest"])
    epochs = range(done + 1, settings.epochs + 1)
    began = time.perf_counter()

    with (
        checkpoints.open_manager(workdir, done) as manager,
        closing(open_events(workdir, done)) as events,
        closing(prefetch(partial(batches_of, config, data, split, epochs, planned=on_device))) as supply,
    ):
        for epoch in epochs:
            epoch_began = time.perf_counter()
            step_metrics, steps_done = [], 0
            while steps_done < n_steps:
                batches = next(supply)
                state, loss_and_accuracy = train_steps(hparams, state, devices.dealt(batches))
                step_metrics.append(loss_and_accuracy)
                steps_done += len(batches.labels)
                announce(None, (epoch - 1) * n_steps + steps_done)
            loss, accuracy = np.concatenate(jax.device_get(step_metrics)).mean(axis=0).tolist()
            seconds = time.perf_counter() - epoch_began

            if out_of_sample:
                logits, scores = out_of_sample.logits_of(split.validation), out_of_sample.epochs[epoch - 1]
            else:
                logits, scores = validate(logits_of, state.evaluated(), data, split, config.evaluate.batch_size)
            if not np.isfinite(loss) or not np.isfinite(logits).all():
                raise UserError(_diverged(loss, epoch, settings.learning_rate, manager.latest_step()))
            result = Epoch(
                epoch=epoch,
                loss=loss,
                accuracy=accuracy,
                val_loss=scores.loss,
                val_accuracy=scores.accuracy,
                val_ece=scores.ece,
                learning_rate=float(learning_rate_at(hparams, epoch * n_steps - 1)),
                images_per_second=n_steps * settings.batch_size / seconds,
                seconds=seconds,
                elapsed=elapsed + time.perf_counter() - began,
            )
            record(workdir, events, result)
            if devices.is_first() and (epoch % settings.checkpoint_every == 0 or epoch == settings.epochs):
                strangers = logits_of_strangers(config, prepared, logits_of, state.evaluated())
                fitted = calibration.fit(logits, data.labels[split.validation], strangers, network.n_grades)
                checkpoints.save(manager, epoch, state.evaluated(), state, about | {"calibration": fitted.as_json()})
            announce(result, epoch * n_steps)
    return jax.device_get(state.evaluated())


def logits_of_strangers(
    config: ConfigDict, prepared: Prepared, logits_of: LogitsFunction, variables: Variables
) -> Float[np.ndarray, "n outputs"] | None:
    """The logits of `Prepared.strangers`, which `calibration.fit` needs; None where there are none."""
    ink = prepared.strangers
    if ink is None:
        return None
    return logits_in_batches(logits_of, variables, ink, np.arange(len(ink)), config.evaluate.batch_size)


def resume(workdir: Path, state: TrainState, data_digest: str) -> tuple[TrainState, int, float]:
    """Takes a run up from its last whole checkpoint.

    Args:
        workdir: the run's folder. Epochs later than the checkpoint are dropped from its `metrics.jsonl`.
        state: the initial state, returned if there is no checkpoint.
        data_digest: of the drawings to train on.

    Returns:
        The state, on all devices; the number of epochs done; and the seconds they took.

    Raises:
        UserError: when the run began with other drawings.
    """
    done, history = 0, []
    if kept := checkpoints.restore(workdir, "training"):
        if kept.about["data_digest"] != data_digest:
            raise UserError(f"the drawings have changed since the run in {workdir} began: use another --workdir")
        state = jax.tree.map(jnp.array, checkpoints.unflat(state, kept.arrays))
        done, history = kept.epoch, runs.read_history(workdir)[: kept.epoch]
    runs.write_history(workdir, history)
    state, done = devices.everywhere((state, done))
    return state, int(done), history[-1]["elapsed"] if history else 0.0


def batches_of(
    config: ConfigDict, data: Dataset, split: Split, epochs: Iterable[int], *, planned: bool
) -> Iterator[Batch] | Iterator[BatchPlan]:
    """The batches of some epochs, several steps in a row at a time; if `planned`, a plan for each whole epoch."""
    ranges = DistortionRanges(**config.augment)
    for epoch in epochs:
        options = {"batch_size": config.train.batch_size, "augment": ranges, "seed": config.seed, "epoch": epoch}
        if planned:
            yield whole_epoch(epoch_plans(config.data.size, data.labels, split.train, **options))
        else:
            yield from epoch_batches(data.ink, data.labels, split.train, **options)


def validate(
    logits_of: LogitsFunction, variables: Variables, data: Dataset, split: Split, batch_size: int
) -> tuple[Float[np.ndarray, "n_validation grades"], metrics.Scores]:
    """The logits of the validation drawings, and their scores before calibration."""
    logits = logits_in_batches(logits_of, variables, data.ink, split.validation, batch_size)
    reading = calibration.Calibration(n_grades=len(data.scale.labels))
    return logits, metrics.scores(reading.confidences(logits), data.labels[split.validation])


def open_events(workdir: Path, done: int) -> EventsWriter:
    """The writer of a run's TensorBoard events; what an earlier attempt wrote after epoch `done` no longer counts."""
    events = EventsWriter(str(workdir.absolute() / "events"))
    start = SessionLog(status=SessionLog.START)
    events.write_event(Event(step=done + 1, wall_time=time.time(), session_log=start))
    return events


def record(workdir: Path, events: EventsWriter, epoch: Epoch) -> None:
    """Adds an epoch to `metrics.jsonl` and to the TensorBoard events."""
    runs.append_history(workdir, epoch._asdict())
    for name, value in epoch._asdict().items():
        events.write_event(Event(step=epoch.epoch, wall_time=time.time(), summary=scalar(name, value)))
    events.flush()


def _diverged(loss: float, epoch: int, learning_rate: float, kept: int | None) -> str:
    loss = loss if not np.isfinite(loss) else np.nan
    advice = f" in another --workdir; the last good checkpoint is kept, of epoch {kept}" if kept else ""
    return f"the loss is {loss} in epoch {epoch}: lower train.learning_rate (now {learning_rate:g}){advice}"
