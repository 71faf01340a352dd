"""Trains a recogniser and says how good it is.

    python -m gradejax.main --config=configs/cnn.py [--store=URI] [--workdir=DIR] [--config.train.epochs=10]

Every key of the config can be set on the command line; gradejax/recipe.py lists them. `--config=cnn` names a recipe
that comes with gradejax. Without --workdir a new folder is made below runs/. With the --workdir of a run that was cut
off, and the same config, training goes on where it stopped.
"""

import logging
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import jax
from absl import flags
from ml_collections import ConfigDict, config_flags
from rich.console import Console

from gradejax import (
    batches,
    cli,
    crossvalidation,
    devices,
    evaluation,
    held_out,
    models,
    plots,
    prepare,
    recipe,
    report,
    run_erasure,
    runs,
    shipped,
    stores,
    train,
)
from gradejax.errors import UserError
from gradejax.prepare import Prepared
from gradejax.progress import progress

log = logging.getLogger("gradejax.main")

_FLAGS = flags.FlagValues()
recipe.define_config(_FLAGS)
cli.define_store(_FLAGS)
cli.define_workdir(_FLAGS, "Folder of the run; a new one below runs/ by default.")


def main(arguments: list[str]) -> None:
    """Trains and evaluates as the flags say."""
    began = time.perf_counter()
    if arguments:
        raise UserError(f"what is {arguments[0]!r}? Keys of the config are set with --config.KEY=VALUE")
    config = _config()
    devices.start()
    if config.data.folds and jax.process_count() > 1:
        raise UserError("data.folds is for one process: leave it at 0, or train on one machine")
    if not devices.is_first():
        _follow(config)
        return
    summary = run(config, _FLAGS.store, cli.workdir(_FLAGS), began)
    print(_result_line(summary))


def _config() -> ConfigDict:
    if _FLAGS.config is None:
        raise UserError(f"which recipe? `{runs.TRAIN_COMMAND}`")
    file = recipe.find(config_flags.get_config_filename(_FLAGS["config"]))
    if not file.is_file():
        raise UserError(f"no config {file}: name a file, or one of gradejax's own recipes: {', '.join(recipe.SHIPPED)}")
    recipe.check(_FLAGS.config)
    return _FLAGS.config


def run(config: ConfigDict, store_flag: str | None, workdir: Path | None, began: float) -> dict[str, Any]:
    """Trains once, from the store to the report.

    Args:
        config: the recipe.
        store_flag: the value of --store.
        workdir: the run's folder; None for a new one.
        began: `time.perf_counter()` at the start, for `wall_seconds`.

    Returns:
        What it writes to `summary.json`, and `workdir`.

    Raises:
        UserError: for whatever the user can put right.
    """
    uri, prepared = _prepared(config, store_flag)
    settings = recipe.as_json(config) | {"data": recipe.as_json(config.data) | {"store": uri}}
    workdir = workdir or runs.new_workdir(config.model.name)
    with runs.held(workdir):
        runs.begin(workdir, settings)
        device = f"{jax.devices()[0].device_kind} x {jax.device_count()}, {os.cpu_count()} CPU cores"
        _show_start(config, prepared, device, workdir)
        if config.train.start_from not in ("", shipped.NAME):
            _warn_of_known(Path(config.train.start_from), prepared)
        out_of_sample = _cross_validated(config, settings, prepared, workdir) if prepared.folds else None
        with _training_progress(config, len(prepared.split.train)) as announce:
            variables = train.fit(config, prepared, workdir, announce, out_of_sample)
        result = evaluation.evaluate(config, prepared, variables, out_of_sample)
        _show_scores(config, prepared, result)
        history = runs.read_history(workdir)
        summary = evaluation.summarise(config, prepared, result, history)
        summary["held_out"] = held_out.write(workdir, prepared, result)
        summary |= {"wall_seconds": time.perf_counter() - began, "device": device}
        # Before the plots: a run must not be lost for want of a picture.
        runs.write_json(workdir / "summary.json", summary)
        about = _plot_title(config, uri, workdir)
        plots.write_plots(workdir / "plots", about, history, result, config.evaluate.mistakes, len(prepared.folds))
        run_erasure.finish(workdir)
    return {**summary, "workdir": str(workdir)}


def _plot_title(config: ConfigDict, uri: str, workdir: Path) -> str:
    """Names the run, its data and the split: `cnn-1: class.db, tags 7b, writer split`."""
    tags = f", tags {config.data.tags}" if config.data.tags else ""
    return f"{workdir.resolve().name}: {uri.rstrip('/').rpartition('/')[2]}{tags}, {config.data.split} split"


def _prepared(config: ConfigDict, store_flag: str | None) -> tuple[str, Prepared]:
    """The store's address without its credentials, and what the training starts from."""
    if not devices.is_first():
        devices.wait()  # until the first process has filled the store
    with closing(stores.open_store(stores.store_uri(store_flag, config.data.store))) as store:
        if devices.is_first():
            prepare.fill_if_first(store, stores.Query(tags=recipe.tags(config)))
            devices.wait()
        return store.uri, prepare.prepare(config, store)


def _cross_validated(
    config: ConfigDict, settings: Mapping[str, Any], prepared: Prepared, workdir: Path
) -> crossvalidation.OutOfSample:
    """Trains the folds' networks, or takes what they made of the drawings from the run's folder."""
    path, dataset, folds = workdir / "out_of_sample.json", prepared.dataset, prepared.folds
    if kept := crossvalidation.load(path, settings, dataset, folds):
        log.info("the %d folds have been trained already", len(folds))
        return kept
    with progress(f"training {len(folds)} folds", config.train.epochs, log) as update:
        result = crossvalidation.cross_validate(config, dataset, folds, partial(update, 1))
    crossvalidation.save(path, result, settings, dataset)
    return result


def _follow(config: ConfigDict) -> None:
    """Trains along with the first of a run's processes, which alone writes the run's folder."""
    _, prepared = _prepared(config, _FLAGS.store)
    with tempfile.TemporaryDirectory() as workdir:
        train.fit(config, prepared, Path(workdir), lambda *_: None)


def _show_start(config: ConfigDict, prepared: Prepared, device: str, workdir: Path) -> None:
    Console().print(models.layer_table(prepared.network, config.data.size))
    how = f"{config.data.split} split" + (f", {len(prepared.folds)} folds" if prepared.folds else "")
    log.info(
        "training on %s drawings, validating on %s (%s), on %s; run folder %s",
        f"{len(prepared.split.train):,}", f"{len(prepared.split.validation):,}", how, device, workdir,
    )  # fmt: skip


def _warn_of_known(source: Path, prepared: Prepared) -> None:
    """Warns if the run that training starts from was trained on drawings that are validated on here."""
    trained_on, ink = held_out.trained_on(source), prepared.dataset.ink[prepared.split.validation]
    known = 0 if trained_on is None else held_out.seen(trained_on, ink).sum()
    if known:
        log.warning(
            "%s was trained on %d of the %d validation drawings, which flatter this run: score it on others with "
            "gradejax.evaluate", source, known, len(ink),
        )  # fmt: skip


def _show_scores(config: ConfigDict, prepared: Prepared, result: evaluation.Evaluation) -> None:
    console, by_writer = Console(), config.data.split == "writer"
    notes = [report.interval_note(result.predictions.n_writers(), by_writer)]
    if prepared.folds:
        notes.append(report.readers(len(prepared.folds), by_writer))
    notes += report.rejection_notes(result.rejection())
    console.print(report.score_table("Accuracy on validation", result.predictions, notes))
    console.print(
        f"rejects {result.others_rejected:.2%} of {evaluation.N_OTHERS} synthetic drawings of other letters, digits "
        "and marks"
    )


def _result_line(summary: Mapping[str, Any]) -> str:
    by_writer = summary["split"] == "writer"
    parts = [
        f"validation accuracy {summary['val_accuracy']:.2%} on {summary['n_val']:,} drawings ({summary['split']} split)"
    ]
    if summary["val_interval"]:
        low, high = summary["val_interval"]
        parts.append(f"{low:.2%} to {high:.2%} for {report.population(summary['val_writers'], by_writer)}")
    if summary["folds"]:
        parts.append(report.readers(summary["folds"], by_writer))
    return f"{', '.join(parts)}, {summary['train_seconds']:.1f} s of training; see {summary['workdir']}"


@contextmanager
def _training_progress(config: ConfigDict, n_train: int) -> Iterator[train.Announce]:
    """A progress bar on a terminal, a line in the log after each epoch elsewhere; yields what `train.fit` calls."""
    epochs = config.train.epochs
    if not sys.stderr.isatty():
        yield lambda epoch, _: epoch and log.info("%s", _epoch_line(epoch, epochs))
        return
    with progress("compiling", epochs * batches.steps_per_epoch(n_train, config.train.batch_size)) as update:

        def announce(epoch: train.Epoch | None, steps_done: int) -> None:
            update(completed=steps_done, description=_short_epoch_line(epoch, epochs) if epoch else None)

        yield announce


def _epoch_line(epoch: train.Epoch, epochs: int) -> str:
    return (
        f"epoch {epoch.epoch}/{epochs}  loss {epoch.loss:.4f}  accuracy {epoch.accuracy:.2%}  "
        f"validation {epoch.val_loss:.4f} {epoch.val_accuracy:.2%}  {epoch.images_per_second:,.0f} images/s"
    )


def _short_epoch_line(epoch: train.Epoch, epochs: int) -> str:
    """As `_epoch_line`, but short enough to leave room for the bar in 80 columns."""
    return (
        f"epoch {epoch.epoch}/{epochs} loss {epoch.loss:.3f} acc {epoch.accuracy:.1%} "
        f"val {epoch.val_accuracy:.1%} {epoch.images_per_second:,.0f} images/s"
    )


if __name__ == "__main__":
    cli.run(main, _FLAGS)
