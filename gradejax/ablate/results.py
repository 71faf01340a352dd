"""What an experiment stores of its trainings: results.csv, and the epochs of each training below trainings/."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from gradejax import runs
from gradejax.ablate.population import Record
from gradejax.ablate.trainings import Training
from gradejax.errors import UserError


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


def store(workdir: Path, training: Training, history: list[Record], seconds: float) -> Row:
    """Writes the epochs of a training to its folder; returns its row for results.csv."""
    folder = workdir / "trainings" / training.folder
    folder.mkdir(exist_ok=True)
    runs.write_history(folder, history)
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
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Row._fields)
    writer.writerows(rows)
    runs.write_text(workdir / "results.csv", text.getvalue())
