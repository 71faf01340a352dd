"""Plots of a run, and the table of its scores."""

from collections.abc import Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter, PercentFormatter
from rich import box
from rich.markup import escape
from rich.table import Table

from gradejax import intervals, metrics
from gradejax.evaluation import Evaluation, Predictions
from gradejax.grades import GRADES, LETTERS, SIGNS

# From Okabe and Ito's palette, which is safe for colour-blind readers.
_TRAINING, _VALIDATION = "#0072B2", "#D55E00"
_ERROR = "#B00020"
_INTERVAL, _NEW = "95% interval", "not trained on"
_STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}


def _figure(width: float, height: float) -> Figure:
    # Not through pyplot, which keeps global state and is not safe in threads.
    return Figure(figsize=(width, height), dpi=110, layout="constrained")


def write_plots(
    folder: Path, history: Sequence[Mapping[str, Any]], evaluation: Evaluation, max_mistakes: int, folds: int
) -> None:
    """Draws `curves.png`, `confusion.png`, `reliability.png` and `mistakes.png`.

    Args:
        folder: is created if missing.
        history: the lines of `metrics.jsonl`.
        evaluation: of the run's model.
        max_mistakes: how many mistakes to draw at most.
        folds: whose networks read the validation drawings; 0: the run's own.
    """
    ink, labels, confidences, *_ = evaluation.predictions
    folder.mkdir(exist_ok=True)
    with matplotlib.rc_context(_STYLE):
        curves(history, folds).savefig(folder / "curves.png")
        confusion(metrics.confusion(confidences, labels)).savefig(folder / "confusion.png")
        before = metrics.reliability(evaluation.uncalibrated, labels)
        after = metrics.reliability(confidences, labels)
        reliability(before, after).savefig(folder / "reliability.png")
        mistakes(ink, labels, confidences, max_mistakes).savefig(folder / "mistakes.png")


def curves(history: Sequence[Mapping[str, Any]], folds: int) -> Figure:
    """Training and validation loss and accuracy by epoch."""
    validation = f"validation ({folds} folds)" if folds else "validation"
    figure = _figure(9, 3.6)
    epochs = [row["epoch"] for row in history]
    for axes, name, title in zip(figure.subplots(1, 2), ("loss", "accuracy"), ("Loss", "Accuracy"), strict=True):
        for prefix, colour, legend in (("", _TRAINING, "training (augmented)"), ("val_", _VALIDATION, validation)):
            values = [row[prefix + name] for row in history]
            axes.plot(epochs, values, color=colour, label=legend, marker="o" if len(epochs) == 1 else None)
        axes.set(title=title, xlabel="epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend()
        if name == "loss":
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter("{x:g}")
            low, high = axes.get_ylim()
            axes.yaxis.set_minor_formatter("{x:g}" if high < 10 * low else NullFormatter())
        else:
            axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))
            last = history[-1]["val_accuracy"]
            axes.annotate(
                f"{last:.2%}", (epochs[-1], last), (-4, -14), textcoords="offset points", ha="right", color=_VALIDATION
            )
    return figure


def confusion(counts: Int[np.ndarray, "grades grades"]) -> Figure:
    """The confusion matrix: rows are labels, columns predictions; colours show fractions of the row."""
    figure = _figure(7, 6.6)
    axes = figure.subplots()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.argwhere(counts):
        wrong = row != column
        colour = "white" if shares[row, column] > 0.5 else _ERROR if wrong else "black"
        weight = "bold" if wrong else "normal"
        axes.text(
            column, row, str(counts[row, column]), ha="center", va="center", color=colour, weight=weight, fontsize=9
        )
    axes.set(
        xticks=range(len(GRADES)), xticklabels=GRADES, yticks=range(len(GRADES)), yticklabels=GRADES,
        xlabel="prediction", ylabel="label",
        title=f"{np.trace(counts):,} of {counts.sum():,} correct ({np.trace(counts) / max(counts.sum(), 1):.2%})",
    )  # fmt: skip
    axes.grid(False)
    for place in np.arange(2.5, len(GRADES) - 1, 3):
        axes.axhline(place, color="black", alpha=0.2, linewidth=0.8)
        axes.axvline(place, color="black", alpha=0.2, linewidth=0.8)
    return figure


def reliability(before: metrics.Reliability, after: metrics.Reliability) -> Figure:
    """A reliability diagram before and after temperature scaling, with a histogram of the calibrated confidences."""
    figure = _figure(5, 5.4)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    upper.plot([0, 1], [0, 1], color="grey", linestyle=":", label="perfectly calibrated")
    for bins, name, colours in (
        (before, "uncalibrated", {"facecolors": "none", "edgecolors": _VALIDATION}),
        (after, "calibrated", {"color": _TRAINING}),
    ):
        filled = bins.counts > 0
        # The area of a dot shows how many predictions its bin has, so that sparse bins do not draw the eye.
        area = 20 + 300 * bins.counts[filled] / bins.counts.sum()
        label = f"{name}, ECE {bins.ece:.3f}"
        upper.scatter(bins.confidence[filled], bins.accuracy[filled], area, alpha=0.8, label=label, **colours)
    upper.set(title="Reliability", ylabel="accuracy", ylim=(-0.03, 1.03))
    upper.legend(loc="best")
    lower.bar(after.edges[:-1], after.counts, np.diff(after.edges), align="edge", color=_TRAINING, alpha=0.6)
    lower.set(xlabel="confidence", ylabel="drawings", yscale="log", xlim=(0, 1))
    return figure


def mistakes(
    ink: UInt8[np.ndarray, "n size size"],
    labels: Int[np.ndarray, " n"],
    confidences: Float[np.ndarray, "n grades"],
    limit: int,
) -> Figure:
    """Up to `limit` wrongly predicted drawings, most confident first, with label, prediction and confidence."""
    predicted, confidence = confidences.argmax(axis=1), confidences.max(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")][:limit]
    if not worst.size:
        figure = _figure(5, 1.2)
        figure.text(0.5, 0.5, f"No mistakes in {len(labels):,} drawings", ha="center", va="center", fontsize=14)
        return figure
    titles = [
        f"{GRADES[labels[index]]} read as {GRADES[predicted[index]]}\n{confidence[index]:.0%} confidence"
        for index in worst
    ]
    return sheet(ink[worst], titles, f"{len(wrong):,} mistakes in {len(labels):,} drawings")


def sheet(ink: UInt8[np.ndarray, "n size size"], titles: Sequence[str], heading: str) -> Figure:
    """Drawings in rows of six, a title above each."""
    columns = max(min(6, len(titles)), 1)
    rows = max(-(-len(titles) // columns), 1)
    figure = _figure(max(1.9 * columns, 4.5), 2.2 * rows + 0.5)
    figure.suptitle(heading, x=0.01, ha="left", weight="bold")
    for axes in figure.subplots(rows, columns, squeeze=False).flat:
        axes.axis("off")
    for axes, one, title in zip(figure.axes, ink, titles, strict=False):
        axes.imshow(255 - one, cmap="gray", vmin=0, vmax=255)
        axes.set_title(title, loc="center", fontsize=10, weight="normal")
    return figure


def contact_sheet(ink: UInt8[np.ndarray, "n size size"], labels: Int[np.ndarray, " n"], columns: int) -> Figure:
    """The first `columns` drawings of every grade, one row per grade."""
    figure = _figure(0.62 * (columns + 0.6), 0.62 * len(GRADES))
    grid = figure.subplots(len(GRADES), columns, squeeze=False)
    for grade, row in enumerate(grid):
        row[0].text(-0.25, 0.5, GRADES[grade], transform=row[0].transAxes, ha="right", va="center", fontsize=12)
        for axes, index in zip(row, np.flatnonzero(labels == grade)[:columns], strict=False):
            axes.imshow(255 - ink[index], cmap="gray", vmin=0, vmax=255)
    for axes in grid.flat:
        axes.axis("off")
    return figure


def population(writers: int, unseen: bool) -> str:
    """Whom the interval of an accuracy is about, who are like those that it comes from.

    Args:
        writers: how many drew the drawings.
        unseen: whether the model was trained on nothing of theirs.
    """
    return f"unseen writers like these {writers}" if unseen else f"writers trained on, like these {writers}"


def interval_note(writers: int, unseen: bool) -> str:
    """What the intervals in `score_table` are about; the arguments are those of `population`."""
    if writers < 2:
        return "no interval: all drawings are by one writer"
    return f"{_INTERVAL}: {population(writers, unseen)}"


def rejection_notes(rejection: Mapping[str, Any]) -> list[str]:
    """What to print of `evaluation.rejection`; empty where there are no drawings of no grade."""
    if not rejection["others"]:
        return []
    at_99, at_95 = rejection["let_in_at_99"], rejection["let_in_at_95"]
    return [
        f"drawings of no grade: {rejection['others']:,}, rejected {rejection['others_refused']:.2%}, "
        f"AUROC {rejection['auroc']:.4f}",
        f"a threshold that keeps 99% of grades lets in {at_99:.2%} of them; 95%: {at_95:.2%}",
    ]


def readers(folds: int, unseen: bool) -> str:
    """Who read the validation drawings, with `data.folds`; `unseen` as in `population`."""
    return f"each drawing read by a network that has not seen {'its writer' if unseen else 'it'} ({folds} folds)"


def score_table(
    title: str, predictions: Predictions, notes: Sequence[str], new: Bool[np.ndarray, " n"] | None = None
) -> Table:
    """A printable table: accuracy overall, by letter and by sign; the most confused pair; ECE; fraction rejected.

    Args:
        title: of the table.
        predictions: what it is about.
        notes: lines to print below it.
        new: the drawings that the model was not trained on, to be shown in a row of their own; None for no such row.
    """
    labels, confidences, are_grades = predictions.labels, predictions.confidences, predictions.are_grades
    letter, sign = labels // len(SIGNS), labels % len(SIGNS)
    table = Table("drawings", title=title, title_justify="left", caption_justify="left")
    for name in ("n", "accuracy", _INTERVAL):
        table.add_column(name, justify="right")

    def add(name: str, rows: Bool[np.ndarray, " n"]) -> None:
        if rows.any():
            interval = predictions.at(rows).interval()
            table.add_row(name, f"{rows.sum():,}", f"{interval.mean:.2%}", str(interval))

    add("all", np.ones(len(labels), bool))
    if new is not None:
        add(_NEW, new)
    table.add_section()
    for index, name in enumerate(LETTERS):
        add(name, letter == index)
    table.add_section()
    for index, name in enumerate(SIGNS):
        add(f"with {name}" if name else "without a sign", sign == index)
    counts = metrics.confusion(confidences, labels)
    pairs = np.triu(counts + counts.T, 1)
    confused = "no mistakes"
    if pairs.any():
        one, other = np.unravel_index(pairs.argmax(), pairs.shape)
        confused = f"most confused: {GRADES[one]} and {GRADES[other]}, {pairs.max()} times"
    ece, rejected = metrics.reliability(confidences, labels).ece, np.mean(~are_grades)
    table.caption = "\n".join([confused, f"ECE {ece:.4f}, rejected {rejected:.2%}", *notes])
    return table


def stores_table(scores: Sequence[Mapping[str, Any]]) -> Table:
    """A printable table with a row for each store.

    Args:
        scores: of each store, as `gradejax.evaluate` prints them.
    """
    # Addresses are long, and the beginning that all have in common says nothing.
    parts = [row["store"].split("/") for row in scores]
    shared = sum(
        1 for _ in takewhile(lambda same: len(set(same)) == 1, zip(*(part[:-1] for part in parts), strict=False))
    )
    # Dense, to leave room for the rest of them in 80 columns.
    table = Table(
        title="Accuracy", title_justify="left", caption_justify="left", box=box.SIMPLE, padding=0, show_edge=False
    )
    table.add_column("store", overflow="fold")
    for name in ("n", "writers", "accuracy", _INTERVAL, "ECE", "rejected", "trained on"):
        table.add_column(name, justify="right", no_wrap=True)
    for row, name in zip(scores, parts, strict=True):
        trained_on = "unknown" if row["trained_on"] is None else f"{row['trained_on']:,}"
        table.add_row(escape("/".join(name[shared:])), *_cells(row), trained_on)
        if row["new"]:
            table.add_row(_NEW, *_cells(row["new"]), "0")
    table.caption = f"{_INTERVAL}: other writers like those of the store"
    return table


def _cells(scores: Mapping[str, Any]) -> tuple[str, ...]:
    low, high = scores["interval"] or (np.nan, np.nan)
    interval = str(intervals.Interval(scores["accuracy"], low, high))
    n, writers = (f"{scores[name]:,}" for name in ("n", "writers"))
    return n, writers, f"{scores['accuracy']:.2%}", interval, f"{scores['ece']:.4f}", f"{scores['refused']:.2%}"
