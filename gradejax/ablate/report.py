"""An experiment's report: results.md with a table, and results.png."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import jax
import numpy as np
from matplotlib.figure import Figure

from gradejax import runs
from gradejax.ablate import figures, results
from gradejax.ablate.experiment import Experiment
from gradejax.ablate.results import Row
from gradejax.ablate.statistics import Comparison, Predictions, compare
from gradejax.ablate.trainings import Training


def write(workdir: Path, experiment: Experiment, trainings: Sequence[Training], rows: Sequence[Row]) -> str:
    """Writes results.md and results.png.

    Args:
        workdir: the experiment's folder, which has the epochs of each training.
        experiment: the experiment.
        trainings: all of its trainings.
        rows: their results; rows of other trainings are ignored.

    Returns:
        The table, as Markdown.
    """
    row_of = {(row.variant, row.digest): row for row in rows}
    rows = [row_of[one.variant, one.digest] for one in trainings]
    comparisons = compare(predictions_of(workdir, experiment.measures, rows))
    table = markdown_table(comparisons)
    measure = next(iter(experiment.measures)) if len(experiment.measures) == 1 else "accuracy"
    runs.write_text(workdir / "results.md", _page(experiment, trainings, rows, measure, table))
    with figures.style():
        _figure(workdir, experiment, trainings, rows, comparisons, measure).savefig(workdir / "results.png")
    return table


_MEASURED = {
    "val_accuracy": ("validation", "guess"),
    "best_val_accuracy": ("validation", "best_epoch_guess"),
    "test_accuracy": ("test", "guess"),
    "best_epoch_test_accuracy": ("test", "best_epoch_guess"),
}
"""For each measure, the drawings and the guesses that it is about."""


def predictions_of(workdir: Path, measures: Mapping[str, str], rows: Sequence[Row]) -> dict[str, Predictions]:
    """What a line of the table is about, for each variant and measure; named after whichever there are several of."""
    variants = dict.fromkeys(row.variant for row in rows)
    guesses = {row: results.read_guesses(workdir, row) for row in rows}
    lines = {}
    for variant in variants:
        for name, measure in measures.items():
            parts = [variant] if len(variants) > 1 else []
            parts += [name] if len(measures) > 1 or len(variants) == 1 else []
            trainings = [row for row in rows if row.variant == variant]
            by_training = [_predictions(row, guesses[row], *_MEASURED[measure]) for row in trainings]
            lines[", ".join(parts)] = Predictions(*map(np.concatenate, zip(*by_training, strict=True)))
    return lines


def _predictions(row: Row, guesses: results.Guesses, part: str, column: str) -> Predictions:
    """One training's."""
    inside = guesses.part == part
    drawing = guesses.drawing[inside]
    correct = getattr(guesses, column)[inside] == guesses.label[inside]
    return Predictions(
        np.full_like(drawing, row.seed), np.full_like(drawing, row.fold), drawing, guesses.writer[inside], correct
    )


def _page(experiment: Experiment, trainings: Sequence[Training], rows: Sequence[Row], measure: str, table: str) -> str:
    dataset, folds = trainings[0].member.dataset, max(row.fold for row in rows)
    how = f"With each seed {folds} folds hold every writer out once. " if folds else ""
    minutes = sum(row.seconds for row in rows) / 60
    return (
        f"# {experiment.name}\n\n{experiment.question}\n\n## Results\n\n"
        f"{measure[0].upper()}{measure[1:]} of {len(rows)} trainings on {len(dataset):,} drawings by "
        f"{len(dataset.writer_names):,} writers (digest {dataset.digest[:12]}). They took {minutes:.0f} minutes; this "
        f"report was written on {jax.devices()[0].device_kind} x {jax.device_count()}. {how}\n\n{table}\n"
        "“On these writers” is what other seeds would give on the same drawings. “On unseen writers” is what other "
        "writers of the same kind would: a writer counts as one observation. Verdicts are about unseen writers. *p* is "
        "corrected for the number of comparisons (Holm): if no variant differs, at most one experiment in twenty has a "
        "false verdict. “No difference shown” does not mean that there is none: any value inside the interval is "
        "possible. “Fixed” and “broken” count predictions that the base has wrong and the variant right, and the "
        "reverse.\n\n"
        "![The results](results.png)\n"
    )


def markdown_table(comparisons: Sequence[Comparison]) -> str:
    """The comparisons as a Markdown table, in percent and percentage points."""
    lines = [
        "| variant | seeds | accuracy % | 95% interval on these writers | on unseen writers "
        "| difference to the base | its 95% interval on unseen writers | fixed, broken | *p* | verdict |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|---|",
    ]
    for one in comparisons:
        difference = "" if one.difference is None else f"{100 * one.difference.mean:+.2f}"
        changes = "" if one.fixed is None else f"{one.fixed:,}, {one.broken:,}"
        p = "" if one.p is None else "< 0.001" if one.p < 0.001 else f"{one.p:.3f}"
        name = re.sub(r"([\\`*_\[\]<>|~$])", r"\\\1", one.name)
        lines.append(
            f"| {name} | {len(one.by_seed)} | {100 * one.unseen_writers.mean:.2f} | {one.these_writers} "
            f"| {one.unseen_writers} | {difference} | {one.difference or ''} | {changes} | {p} | {one.verdict} |"
        )
    return "\n".join(lines) + "\n"


def _figure(
    workdir: Path,
    experiment: Experiment,
    trainings: Sequence[Training],
    rows: Sequence[Row],
    comparisons: Sequence[Comparison],
    measure: str,
) -> Figure:
    """The picture that the experiment asks for."""
    if experiment.picture == "curves":
        histories = {
            variant: [
                [record["val_accuracy"] for record in runs.read_history(workdir / "trainings" / one.folder)]
                for one in trainings
                if one.variant == variant
            ]
            for variant in experiment.variants
        }
        return figures.curves(histories, experiment.name, "validation accuracy")
    if experiment.picture == "line":
        sizes = []
        for variant in experiment.variants:
            n_train = [row.n_train for row in rows if row.variant == variant]
            sizes.append(round(sum(n_train) / len(n_train)))
        return figures.line(comparisons, sizes, experiment.name, measure)
    return figures.dots(comparisons, experiment.name, measure)
