"""What an experiment stores of its trainings: results.csv, and below trainings/ the epochs and the guesses of each."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, Shaped

from gradejax import runs
from gradejax.ablate.trainings import Training, folder_name
from gradejax.errors import UserError
from gradejax.population import Result


class Row(NamedTuple):
    """A line of results.csv: one training.

    Attributes:
        variant: name.
        seed: of the training.
        digest: of everything the training's outcome depends on.
        val_accuracy: after the last epoch; likewise `test_accuracy`, `loss`, `val_loss` and `val_ece`.
        best_val_accuracy: the highest of any epoch.
        best_epoch: the first epoch that reaches it.
        test_accuracy: NaN if the split has no test drawings.
        best_epoch_test_accuracy: after `best_epoch`; NaN likewise.
        loss: mean training loss.
        val_loss: mean cross-entropy in nats.
        val_ece: expected calibration error.
        epochs: trained.
        n_train, n_val, n_test: drawings.
        seconds: its share of the group's time.
        fold: 1, 2, …; 0 without `data.folds`.
    """

    variant: str
    seed: int
    digest: str
    val_accuracy: float
    best_val_accuracy: float
    best_epoch: int
    test_accuracy: float
    best_epoch_test_accuracy: float
    loss: float
    val_loss: float
    val_ece: float
    epochs: int
    n_train: int
    n_val: int
    n_test: int
    seconds: float
    fold: int = 0


class Guesses(NamedTuple):
    """What a training's networks make of the drawings that were held out: the lines of its `guesses.csv`.

    Attributes:
        drawing: the row in the experiment's drawings, `(n,)`.
        part: `validation` or `test`, `(n,)`.
        writer: the writer's number in the order of the drawings, `(n,)`.
        label: a grade, `(n,)`.
        guess: after the last epoch, `(n,)`.
        best_epoch_guess: after the epoch with the best validation accuracy, `(n,)`.
    """

    drawing: Int[np.ndarray, " n"]
    part: Shaped[np.ndarray, " n"]
    writer: Int[np.ndarray, " n"]
    label: Shaped[np.ndarray, " n"]
    guess: Shaped[np.ndarray, " n"]
    best_epoch_guess: Shaped[np.ndarray, " n"]


def store(workdir: Path, training: Training, result: Result, seconds: float) -> Row:
    """Writes the epochs and the guesses of a training to its folder; returns its row for results.csv."""
    folder = workdir / "trainings" / training.folder
    folder.mkdir(exist_ok=True)
    history = result.history
    runs.write_history(folder, history)
    runs.write_text(folder / "guesses.csv", _csv(Guesses._fields, zip(*_guesses(training, result), strict=True)))
    last, best = history[-1], max(history, key=lambda record: record["val_accuracy"])
    split = training.member.split
    return Row(
        variant=training.variant,
        seed=training.seed,
        digest=training.digest,
        val_accuracy=last["val_accuracy"],
        best_val_accuracy=best["val_accuracy"],
        best_epoch=int(best["epoch"]),
        test_accuracy=last.get("test_accuracy", float("nan")),
        best_epoch_test_accuracy=best.get("test_accuracy", float("nan")),
        loss=last["loss"],
        val_loss=last["val_loss"],
        val_ece=last["val_ece"],
        epochs=len(history),
        n_train=len(split.train),
        n_val=len(split.validation),
        n_test=len(split.test),
        seconds=round(seconds, 3),
        fold=training.fold,
    )


def is_stored(workdir: Path, training: Training) -> bool:
    """Whether a training's guesses are there; an earlier gradejax did not keep them."""
    return (workdir / "trainings" / training.folder / "guesses.csv").is_file()


def read_guesses(workdir: Path, row: Row) -> Guesses:
    """The guesses of a training. Raises UserError if they cannot be read, or are damaged."""
    path = workdir / "trainings" / folder_name(row.digest) / "guesses.csv"
    try:
        header, *lines = csv.reader(io.StringIO(path.read_text(encoding="utf-8")))
        columns = dict(zip(header, zip(*lines, strict=True), strict=True))
        numbers = {name: np.array(columns[name], np.int64) for name in ("drawing", "writer")}
        return Guesses(**numbers, **{n: np.array(columns[n]) for n in Guesses._fields if n not in numbers})
    except (csv.Error, KeyError, TypeError, ValueError, OSError):
        raise UserError(f"{path} is damaged or missing: use another --workdir") from None


def _guesses(training: Training, result: Result) -> Guesses:
    data, split = training.member.dataset, training.member.split
    rows = np.concatenate([split.validation, split.test])
    grades = np.array([*data.scale.labels, ""])  # the last for -1
    return Guesses(
        drawing=rows,
        part=np.repeat(["validation", "test"], [len(split.validation), len(split.test)]),
        writer=data.writers[rows],
        label=grades[data.labels[rows]],
        guess=grades[result.guesses[: len(rows)]],
        best_epoch_guess=grades[result.best_epoch_guesses[: len(rows)]],
    )


def read_rows(workdir: Path) -> list[Row]:
    """The rows of results.csv; empty if there is no such file. Raises UserError if this command did not write it."""
    path = workdir / "results.csv"
    if not path.is_file():
        return []
    types = Row.__annotations__
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [Row(**{name: types[name](text) for name, text in line.items()}) for line in csv.DictReader(file)]
    except (csv.Error, KeyError, TypeError, ValueError, OSError):
        raise UserError(f"{path} was not written by this command: move it away, or use another --workdir") from None


def write_rows(workdir: Path, rows: Sequence[Row]) -> None:
    """Writes results.csv atomically."""
    runs.write_text(workdir / "results.csv", _csv(Row._fields, rows))


def _csv(header: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()
