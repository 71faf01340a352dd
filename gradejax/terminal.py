"""A training on the terminal: what it prints, and which of a run's processes prints it."""

import logging
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import jax
from ml_collections import ConfigDict
from rich.console import Console

from gradejax import batches, devices, evaluation, loop, mixture, report, stores, training
from gradejax.errors import UserError
from gradejax.prepare import Prepared
from gradejax.progress import progress

log = logging.getLogger("gradejax.main")


def train(config: ConfigDict, store: str | None, workdir: Path | None, began: float) -> None:
    """Trains and evaluates, and prints how good the recogniser is.

    Args:
        config: the recipe.
        store: the value of --store.
        workdir: the run's folder; None for a new one.
        began: `time.perf_counter()` at the start of the command.

    Raises:
        UserError: for whatever the user can put right.
    """
    devices.start()
    if config.data.folds and jax.process_count() > 1:
        raise UserError("data.folds is for one process: leave it at 0, or train on one machine")
    uri, prepared = _prepared(config, store, workdir)
    if not devices.is_first():
        _follow(config, prepared)
        return
    finished = training.run(config, uri, prepared, workdir, began, _Terminal())
    print(_result_line(finished))


def _prepared(config: ConfigDict, store: str | None, workdir: Path | None) -> tuple[str, Prepared]:
    """The store's address without its credentials, and what the training starts from."""
    if not devices.is_first():
        devices.wait()  # until the first process has filled the store
    with closing(stores.open_store(stores.store_uri(store, config.data.store))) as opened:
        return opened.uri, training.prepared(config, opened, workdir)


def _follow(config: ConfigDict, prepared: Prepared) -> None:
    """Trains along with the first of a run's processes, which alone writes the run's folder."""
    with tempfile.TemporaryDirectory() as workdir:
        loop.fit(config, prepared, Path(workdir), lambda *_: None)


class _Terminal(training.Audience):
    """Shows the layers and the scores on standard output, and how far the training is on standard error."""

    def begins(self, config: ConfigDict, prepared: Prepared) -> None:
        Console().print(report.layer_table(prepared.network, config.data.size))

    @contextmanager
    def follows(self, config: ConfigDict, n_train: int) -> Iterator[loop.Announce]:
        """A progress bar on a terminal, a line in the log after each epoch elsewhere."""
        epochs = config.train.epochs
        if not sys.stderr.isatty():
            yield lambda epoch, _: epoch and log.info("%s", _epoch_line(epoch, epochs))
            return
        with progress("compiling", epochs * batches.steps_per_epoch(n_train, config.train.batch_size)) as update:

            def announce(epoch: loop.Epoch | None, steps_done: int) -> None:
                update(completed=steps_done, description=_short_epoch_line(epoch, epochs) if epoch else None)

            yield announce

    def reads(self, config: ConfigDict, prepared: Prepared, result: evaluation.Evaluation) -> None:
        console, by_writer = Console(), config.data.split == "writer"
        notes = [report.interval_note(result.predictions.n_writers(), by_writer)]
        if prepared.folds:
            notes.append(report.readers(len(prepared.folds), by_writer))
        notes += report.rejection_notes(result.rejection())
        scale = prepared.dataset.scale
        console.print(report.score_table("Accuracy on validation", result.predictions, notes, scale=scale))
        console.print(
            f"rejects {result.others_rejected:.2%} of {mixture.N_OTHERS} synthetic drawings of other letters, "
            "digits and marks"
        )


def _result_line(finished: training.Finished) -> str:
    summary, by_writer = finished.summary, finished.summary["split"] == "writer"
    parts = [
        f"validation accuracy {summary['val_accuracy']:.2%} on {summary['n_val']:,} drawings ({summary['split']} split)"
    ]
    if summary["val_interval"]:
        low, high = summary["val_interval"]
        parts.append(f"{low:.2%} to {high:.2%} for {report.population(summary['val_writers'], by_writer)}")
    if summary["folds"]:
        parts.append(report.readers(summary["folds"], by_writer))
    return f"{', '.join(parts)}, {summary['train_seconds']:.1f} s of training; see {finished.workdir}"


def _epoch_line(epoch: loop.Epoch, epochs: int) -> str:
    return (
        f"epoch {epoch.epoch}/{epochs}  loss {epoch.loss:.4f}  accuracy {epoch.accuracy:.2%}  "
        f"validation {epoch.val_loss:.4f} {epoch.val_accuracy:.2%}  {epoch.images_per_second:,.0f} images/s"
    )


def _short_epoch_line(epoch: loop.Epoch, epochs: int) -> str:
    """As `_epoch_line`, but short enough to leave room for the bar in 80 columns."""
    return (
        f"epoch {epoch.epoch}/{epochs} loss {epoch.loss:.3f} acc {epoch.accuracy:.1%} "
        f"val {epoch.val_accuracy:.1%} {epoch.images_per_second:,.0f} images/s"
    )
