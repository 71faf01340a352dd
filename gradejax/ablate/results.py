"""An experiment's results: a line a training in results.csv, a table in results.md, a picture in results.png."""

import csv
import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
from matplotlib import rc_context

from gradejax import runs
from gradejax.ablate import population, statistics
from gradejax.ablate.experiment import Experiment, Training
from gradejax.errors import UserError


class Row(NamedTuple):
    """A line of results.csv. Best is the epoch of the highest validation accuracy, the first of several; figures of a
    test side are NaN where the split has none; `seconds` is its share of its group's."""

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


def keep(workdir: Path, training: Training, history: list[population.Record], seconds: float) -> Row:
    """Writes a training's epochs to its folder; returns its line for results.csv."""
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
    """The lines of results.csv; none where there is none. Raises UserError where it is another file."""
    path = workdir / "results.csv"
    if not path.is_file():
        return []
    types = Row.__annotations__
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [Row(**{name: types[name](text) for name, text in line.items()}) for line in csv.DictReader(file)]
    except (csv.Error, KeyError, TypeError, ValueError, OSError):
        raise UserError(f"{path} is not one that this command wrote: move it away, or use another --workdir") from None


def write_rows(workdir: Path, rows: Sequence[Row]) -> None:
    """Writes results.csv as a whole or not at all."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Row._fields)
    writer.writerows(rows)
    runs.write_text(workdir / "results.csv", text.getvalue())


def report(workdir: Path, experiment: Experiment, trainings: Sequence[Training], rows: Sequence[Row]) -> str:
    """Writes results.md and results.png; returns the table."""
    rows_of = {(row.variant, row.seed, row.digest): row for row in rows}
    own = [rows_of[one.variant, one.seed, one.digest] for one in trainings]
    several = len(experiment.variants) > 1
    figures = {
        ", ".join(([variant] if several else []) + ([name] if len(experiment.measures) > 1 or not several else [])): {
            row.seed: getattr(row, measure) for row in own if row.variant == variant
        }
        for variant in experiment.variants
        for name, measure in experiment.measures.items()
    }
    found = statistics.comparisons(figures)
    table = statistics.markdown(found)
    first = trainings[0].member
    count = f"{len(first.dataset):,} drawings by {len(first.dataset.writer_names):,} writers"
    measure = next(iter(experiment.measures)) if len(experiment.measures) == 1 else "accuracy"
    device = f"{jax.devices()[0].device_kind} x {jax.device_count()}"
    runs.write_text(
        workdir / "results.md",
        f"# {experiment.name}\n\n{experiment.question}\n\n## Results\n\n"
        f"{measure[0].upper()}{measure[1:]}, {len(own)} trainings on {count} (digest {first.dataset.digest[:12]}); "
        f"{sum(row.seconds for row in own) / 60:.0f} minutes in all, reported on {device}.\n\n{table}\n"
        "A difference is the mean over seeds of the difference within a seed. It is called better or worse where its "
        f"interval leaves out 0; the level of 5% is shared among the {max(len(found) - 1, 1)} comparisons "
        "(Bonferroni). No difference shown does not mean none: it means none larger than its interval.\n\n"
        "![The results](results.png)\n",
    )
    with rc_context(statistics.STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # as for an emoji in a variant's name
        if experiment.picture == "curves":
            histories = {
                variant: [
                    [record["val_accuracy"] for record in runs.read_history(workdir / "trainings" / one.folder)]
                    for one in trainings
                    if one.variant == variant
                ]
                for variant in experiment.variants
            }
            figure = statistics.curves(histories, experiment.name, "validation accuracy")
        elif experiment.picture == "line":
            sizes = [
                round(sum(row.n_train for row in own if row.variant == variant) / len(figures[variant]))
                for variant in experiment.variants
            ]
            figure = statistics.line(found, sizes, experiment.name, measure)
        else:
            figure = statistics.dots(found, experiment.name, measure)
        figure.savefig(workdir / "results.png")
    return table
