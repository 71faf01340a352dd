"""Trains a recogniser and says how good it is.

    python -m gradejax.main --config=configs/cnn.py [--store=URI] [--workdir=DIR] [--config.train.epochs=10]

Every key of the config can be set on the command line; gradejax/config.py lists them. Without --workdir a new folder
is made below runs/. With the --workdir of a run that was cut off, given the same config, it goes on where that stopped.
"""

import logging
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import flags
from ml_collections import ConfigDict, config_flags
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from gradejax import (
    calibration,
    command,
    devices,
    metrics,
    models,
    predict,
    report,
    runs,
    stores,
    synthetic,
    train,
)
from gradejax import config as configs
from gradejax import dataset as datasets
from gradejax.errors import UserError
from gradejax.grades import GRADES
from gradejax.ink import resample

log = logging.getLogger("gradejax.main")

Parts = tuple[datasets.Dataset, datasets.Split, models.Network, dict[str, Any]]

_FLAGS = flags.FlagValues()
config_flags.DEFINE_config_file("config", None, "The recipe, a Python file: configs/cnn.py.", flag_values=_FLAGS)
flags.DEFINE_string("store", None, "Address of the drawings; sqlite:///data/grades.db by default.", flag_values=_FLAGS)
flags.DEFINE_string("workdir", None, "Folder of the run; a new one below runs/ by default.", flag_values=_FLAGS)

_FIRST_DRAWINGS, _FIRST_WRITERS = 2250, 30
_OTHERS, _OTHERS_SEED = 500, 10**10  # by hands that no training has seen


def main(arguments: list[str]) -> None:
    """Trains and evaluates, as the flags say."""
    began = time.perf_counter()
    if arguments:
        raise UserError(f"what is {arguments[0]!r}? Keys of the config are set with --config.KEY=VALUE")
    recipe = _recipe()
    devices.start()
    if not devices.is_first():
        _follow(recipe)
        return
    summary = run(recipe, _FLAGS.store, Path(_FLAGS.workdir) if _FLAGS.workdir else None, began)
    print(
        f"validation accuracy {summary['val_accuracy']:.2%} on {summary['n_val']:,} drawings "
        f"({summary['split']} split), {summary['train_seconds']:.1f} s of training; see {summary['workdir']}"
    )


def _recipe() -> ConfigDict:
    if _FLAGS.config is None:
        raise UserError(f"which recipe? `{runs.TRAIN_COMMAND}`")
    file = Path(_FLAGS["config"].config_filename)
    if not file.is_file():
        raise UserError(f"no config {file}: the recipes are in configs/")
    configs.check(_FLAGS.config)
    return _FLAGS.config


def run(config: ConfigDict, store_flag: str | None, workdir: Path | None, began: float) -> dict[str, Any]:
    """One training from store to report; returns what it writes to `summary.json`, and `workdir`.

    Arguments:
        began: `time.perf_counter()` at the start, for `wall_seconds`.

    Raises:
        UserError: for whatever the user can put right.
    """
    with closing(stores.open_store(stores.store_uri(store_flag, config.data.store))) as store:
        fill_if_first(store, stores.Query(tags=configs.tags(config)))
        devices.wait()
        parts = _parts(config, store)
    as_json = configs.as_json(config)
    # What is written down is the address in force, without its credentials.
    as_json["data"]["store"] = store.uri
    workdir = workdir or runs.new_workdir(config.model.name)
    with runs.held(workdir):
        runs.begin(workdir, as_json)
        return {**_recorded(config, workdir, parts, began), "workdir": str(workdir)}


def _recorded(config: ConfigDict, workdir: Path, parts: Parts, began: float) -> dict[str, Any]:
    """Trains and evaluates; returns what it writes to `summary.json`."""
    data, split, network, about = parts
    console = Console()
    console.print(models.layer_table(network, config.data.size))
    device = f"{jax.devices()[0].device_kind} x {jax.device_count()}, {os.cpu_count()} CPU cores"
    log.info(
        "training on %s drawings, validating on %s (%s split), on %s; run folder %s",
        f"{len(split.train):,}", f"{len(split.validation):,}", config.data.split, device, workdir,
    )  # fmt: skip
    steps = train.steps_per_epoch(len(split.train), config.train.batch_size)
    with _progress(config.train.epochs, steps) as announce:
        variables = train.fit(network, config, data, split, workdir, about, announce)

    def logits_of(rows: np.ndarray) -> np.ndarray:
        return train.logits_in_batches(forward, variables, data.ink, rows, config.evaluate.batch_size)

    forward = train.logits_function(network)
    logits = logits_of(split.validation)
    ink, labels = data.ink[split.validation], data.labels[split.validation]
    guesses, are_grades = calibration.cross_fit(logits, labels, data.writers[split.validation], ink)
    uncalibrated = calibration.Calibration().confidences(logits)
    others_refused = _others_refused(predict.load(workdir))
    history = runs.read_history(workdir)
    console.print(report.score_table("Accuracy on validation", guesses, labels, are_grades))
    console.print(f"of {_OTHERS} made-up drawings of other letters, digits and marks {others_refused:.2%} are refused")
    scores = metrics.scores(guesses, labels)
    best = max(history, key=lambda row: row["val_accuracy"])
    summary = {
        "val_accuracy": scores.accuracy,
        "best_val_accuracy": best["val_accuracy"],
        "best_epoch": best["epoch"],
        "val_loss": scores.loss,
        "ece": scores.ece,
        "ece_uncalibrated": metrics.scores(uncalibrated, labels).ece,
        "val_refused": float(1 - are_grades.mean()),
        "others_refused": others_refused,
        "epochs": len(history),
        "n_train": len(split.train),
        "n_val": len(split.validation),
        "split": config.data.split,
        "parameters": models.parameters(network),
        "images_per_second": sorted(row["images_per_second"] for row in history)[len(history) // 2],
        "train_seconds": history[-1]["elapsed"],
        "wall_seconds": time.perf_counter() - began,
        "device": device,
        "data_fingerprint": data.digest,
        "refused": data.refused,
        "versions": _versions(),
    }
    if len(split.test):
        summary["n_test"] = len(split.test)
        summary["test_accuracy"] = float(np.mean(logits_of(split.test).argmax(axis=1) == data.labels[split.test]))
    # Before the pictures: a run is not to be lost for want of one.
    runs.write_json(workdir / "summary.json", summary)
    report.write_plots(workdir / "plots", history, ink, labels, guesses, uncalibrated, config.evaluate.mistakes)
    return summary


def _follow(config: ConfigDict) -> None:
    """Does another process's part of a training; what it would write down, the first process writes."""
    devices.wait()
    with closing(stores.open_store(stores.store_uri(_FLAGS.store, config.data.store))) as store:
        data, split, network, about = _parts(config, store)
    with tempfile.TemporaryDirectory() as workdir:
        train.fit(network, config, data, split, Path(workdir), about, lambda *_: None)


def _parts(config: ConfigDict, store: stores.Store) -> Parts:
    """The drawings, split, the network that has seen none, and what its checkpoints say of it."""
    data = datasets.load_as(config, store)
    data, split = datasets.mix_as(config, data, datasets.split_as(config, data))
    model_options = configs.as_json(config.model)
    network = models.build(size=config.data.size, seed=config.seed, **model_options)
    about = {
        "labels": GRADES,
        "size": config.data.size,
        "resampling": config.data.resampling,
        "model": model_options,
        "data_digest": data.digest,
    }
    return data, split, network, about


def fill_if_first(store: stores.Store, query: stores.Query) -> None:
    """Fills the default store, and no other, with synthetic drawings where it is empty."""
    if store.uri != stores.DEFAULT_URI or query.tags or store.count() or store.count(stores.Query(deleted=True)):
        return
    log.info(
        "%s is empty: filling it with %s synthetic drawings by %d made-up writers, tagged 'synthetic'",
        store.uri, f"{_FIRST_DRAWINGS:,}", _FIRST_WRITERS,
    )  # fmt: skip
    # All in one transaction: who is interrupted here must not go on with a part.
    store.add(synthetic.write_drawings(_FIRST_DRAWINGS, writers=_FIRST_WRITERS))


def _others_refused(recogniser: predict.Recogniser) -> float:
    """The share of made-up drawings, always the same, of other letters, digits and marks that it sees no grade in."""
    made = synthetic.written_others(_OTHERS, seed=_OTHERS_SEED, writers=_FIRST_WRITERS)
    drawn = (synthetic.ink_strokes(other.strokes) for other in made)
    ink = np.stack([resample(each, recogniser.size, recogniser.resampling) for each in drawn])
    return float(1 - recogniser.calibration.are_grades(recogniser.confidences(ink), ink).mean())


@contextmanager
def _progress(epochs: int, steps: int) -> Iterator[Any]:
    """A progress bar on a terminal, a log line an epoch elsewhere; gives what `train.fit` announces to."""
    if not sys.stderr.isatty():
        yield lambda record, _: record and log.info("%s", _epoch_line(record, epochs))
        return
    columns = (TextColumn("{task.description}"), BarColumn(None), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("compiling", total=epochs * steps)

        def announce(record: train.Epoch | None, done: int) -> None:
            if record:
                bar.update(
                    task,
                    # Short enough to leave a bar beside it in 80 columns.
                    description=f"epoch {record.epoch}/{epochs} loss {record.loss:.3f} acc {record.accuracy:.1%} "
                    f"val {record.val_accuracy:.1%} {record.images_per_second:,.0f} images/s",
                )
            bar.update(task, completed=done)

        yield announce


def _epoch_line(record: train.Epoch, epochs: int) -> str:
    return (
        f"epoch {record.epoch}/{epochs}  loss {record.loss:.4f}  accuracy {record.accuracy:.2%}  "
        f"validation {record.val_loss:.4f} {record.val_accuracy:.2%}  {record.images_per_second:,.0f} images/s"
    )


def _versions() -> dict[str, str]:
    names = ("gradejax", "jax", "flax", "optax", "orbax-checkpoint", "numpy", "opencv-python-headless")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


if __name__ == "__main__":
    command.run(main, _FLAGS)
