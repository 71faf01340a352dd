"""An experiment's report: results.md with a table, and results.png."""

import math
import re
from collections.abc import Sequence
from pathlib import Path

import jax
from matplotlib.figure import Figure

from gradejax import runs
from gradejax.ablate import figures
from gradejax.ablate.experiment import Experiment
from gradejax.ablate.results import Row
from gradejax.ablate.statistics import Comparison, Values, compare, corrected_level
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
    comparisons = compare(_measured(experiment, rows))
    table = markdown_table(comparisons)
    measure = next(iter(experiment.measures)) if len(experiment.measures) == 1 else "accuracy"
    runs.write_text(workdir / "results.md", _page(experiment, trainings, rows, measure, table, len(comparisons)))
    with figures.style():
        _figure(workdir, experiment, trainings, rows, comparisons, measure).savefig(workdir / "results.png")
    return table


def _measured(experiment: Experiment, rows: Sequence[Row]) -> dict[str, Values]:
    """A line of the table for each variant and measure, named after whichever there are several of."""
    variants, measures = experiment.variants, experiment.measures
    lines = {}
    for variant in variants:
        for name, measure in measures.items():
            parts = [variant] if len(variants) > 1 else []
            parts += [name] if len(measures) > 1 or len(variants) == 1 else []
            lines[", ".join(parts)] = {row.seed: getattr(row, measure) for row in rows if row.variant == variant}
    return lines


def _page(
    experiment: Experiment, trainings: Sequence[Training], rows: Sequence[Row], measure: str, table: str, lines: int
) -> str:
    dataset = trainings[0].member.dataset
    minutes = sum(row.seconds for row in rows) / 60
    return (
        f"# {experiment.name}\n\n{experiment.question}\n\n## Results\n\n"
        f"{measure[0].upper()}{measure[1:]} of {len(rows)} trainings on {len(dataset):,} drawings by "
        f"{len(dataset.writer_names):,} writers (digest {dataset.digest[:12]}). They took {minutes:.0f} minutes; this "
        f"report was written on {jax.devices()[0].device_kind} x {jax.device_count()}.\n\n{table}\n"
        "Differences are paired by seed, then averaged. A variant is better or worse if the interval of its difference "
        f"excludes 0; the 5% level is divided by the number of comparisons, {max(lines - 1, 1)} (Bonferroni). “No "
        "difference shown” does not mean that there is none: any value inside the interval is possible.\n\n"
        "![The results](results.png)\n"
    )


def markdown_table(comparisons: Sequence[Comparison]) -> str:
    """The comparisons as a Markdown table, in percent and percentage points."""
    confidence = f"{100 * (1 - corrected_level(len(comparisons))):.4g}%"
    lines = [
        "| variant | seeds | mean % | standard deviation | 95% interval "
        f"| difference to the base | its {confidence} interval | verdict |",
        "|---|--:|--:|--:|--:|--:|--:|---|",
    ]
    for one in comparisons:
        deviation = "–" if math.isnan(one.deviation) else f"{100 * one.deviation:.2f}"
        difference = "" if one.difference is None else f"{100 * one.difference.mean:+.2f}"
        name = re.sub(r"([\\`*_\[\]<>|~$])", r"\\\1", one.name)
        lines.append(
            f"| {name} | {len(one.values)} | {100 * one.mean.mean:.2f} | {deviation} | {one.mean} "
            f"| {difference} | {one.difference or ''} | {one.verdict} |"
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
