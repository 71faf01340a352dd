"""Plots of a run, to be read from the back of a room."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from jaxtyping import Float, Int, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator, PercentFormatter

from gradejax import intervals, metrics
from gradejax.evaluation import Evaluation
from gradejax.scales import LETTERS, Scale

# From Okabe and Ito's palette, which is safe for colour-blind readers.
_TRAINING, _VALIDATION = "#0072B2", "#D55E00"
_ERROR = "#B00020"
_WHY_ABOVE = (
    "Training loss lies above validation loss because dropout, label smoothing and distortion are on only in training."
)
_STYLE: dict[Any, Any] = {
    "font.size": 11,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}


def shown(label: str) -> str:
    """A grade as the pages show it, with a real minus: `A−`."""
    return label.replace("-", "−")


def _figure(width: float, height: float, about: str = "") -> Figure:
    # Not through pyplot, which keeps global state and is not safe in threads.
    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    if about:
        figure.suptitle(about, x=0.01, ha="left", fontsize=10)
    return figure


def write_plots(
    folder: Path,
    about: str,
    history: Sequence[Mapping[str, Any]],
    evaluation: Evaluation,
    max_mistakes: int,
    folds: int,
    scale: Scale = LETTERS,
) -> None:
    """Draws `curves.png`, `confusion.png`, `reliability.png` and `mistakes.png`.

    Args:
        folder: is created if missing.
        about: names the run, its data and the split, above each plot.
        history: the lines of `metrics.jsonl`.
        evaluation: of the run's model.
        max_mistakes: how many mistakes to draw at most.
        folds: whose networks read the validation drawings; 0: the run's own.
        scale: of the drawings.
    """
    ink, labels, confidences, *_ = evaluation.predictions
    folder.mkdir(exist_ok=True)
    with matplotlib.rc_context(_STYLE):
        curves(about, history, folds).savefig(folder / "curves.png")
        confusion(about, metrics.confusion(confidences, labels), scale).savefig(folder / "confusion.png")
        before = metrics.reliability(evaluation.uncalibrated, labels)
        after = metrics.reliability(confidences, labels)
        reliability(about, before, after).savefig(folder / "reliability.png")
        mistakes(about, ink, labels, confidences, max_mistakes, scale).savefig(folder / "mistakes.png")


def curves(about: str, history: Sequence[Mapping[str, Any]], folds: int) -> Figure:
    """Training and validation loss and accuracy by epoch."""
    validation = f"validation ({folds} folds)" if folds else "validation"
    figure = _figure(10, 4.6, about)
    epochs = [row["epoch"] for row in history]
    loss, accuracy = figure.subplots(1, 2)
    for axes, name, title in ((loss, "loss", "Loss"), (accuracy, "accuracy", "Accuracy")):
        for prefix, legend, style in (
            ("", "training (augmented)", {"color": _TRAINING, "linestyle": "--"}),
            ("val_", validation, {"color": _VALIDATION}),
        ):
            values = [row[prefix + name] for row in history]
            axes.plot(epochs, values, label=legend, linewidth=2, marker="o" if len(epochs) == 1 else None, **style)
        axes.set(title=title, xlabel="epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    _set_log_scale(loss)
    accuracy.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g}%"))
    last = history[-1]
    accuracy.set_title(f"Accuracy, at the end {last['val_accuracy']:.2%}")
    handles, names = loss.get_legend_handles_labels()
    why = _WHY_ABOVE if last["loss"] > last["val_loss"] else None
    figure.legend(handles, names, loc="outside lower left", ncols=2, title=why, title_fontsize=9, alignment="left")
    return figure


def _set_log_scale(axes: Axes) -> None:
    """A logarithmic scale with a few plain numbers: 0.1, 0.2, 0.5, 1."""
    low, high = axes.get_ylim()
    low = max(low, min(line.get_ydata().min() for line in axes.lines) * 0.9, 1e-6)  # pyright: ignore
    axes.set_yscale("log")
    axes.set_ylim(low, high)
    ticks = [digit * 10.0**power for power in range(-6, 7) for digit in (1, 2, 5)]
    ticks = [tick for tick in ticks if low <= tick <= high]
    if len(ticks) > 6:
        ticks = [tick for tick in ticks if f"{tick:e}".startswith("1")]
    axes.yaxis.set_major_locator(FixedLocator(ticks) if len(ticks) > 1 else MaxNLocator(4))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter("{x:g}")


def confusion(about: str, counts: Int[np.ndarray, "grades grades"], scale: Scale = LETTERS) -> Figure:
    """The confusion matrix: rows are labels, columns predictions; colours show fractions of the row."""
    side = max(7.4, 0.4 * len(scale.labels))
    figure = _figure(side, side - 0.2, about)
    axes = figure.subplots()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.argwhere(counts):
        wrong = row != column
        colour = "white" if shares[row, column] > 0.5 else _ERROR if wrong else "black"
        weight = "bold" if wrong else "normal"
        axes.text(
            column, row, str(counts[row, column]), ha="center", va="center", color=colour, weight=weight, fontsize=11
        )
    right, total = np.trace(counts), counts.sum()
    labels = [shown(label) for label in scale.labels]
    axes.set(
        xticks=range(len(labels)), xticklabels=labels, yticks=range(len(labels)), yticklabels=labels,
        xlabel="read as", ylabel="label",
        title=f"{right:,} of {total:,} read correctly ({right / max(total, 1):.2%})",
    )  # fmt: skip
    axes.grid(False)
    for place in scale.groups:
        axes.axhline(place - 0.5, color="black", alpha=0.2, linewidth=0.8)
        axes.axvline(place - 0.5, color="black", alpha=0.2, linewidth=0.8)
    return figure


def reliability(about: str, before: metrics.Reliability, after: metrics.Reliability) -> Figure:
    """A reliability diagram before and after temperature scaling, with a histogram of the calibrated confidences.

    Vertical lines are 95% intervals: in a bin with few drawings, the accuracy may be anything.
    """
    figure = _figure(6, 7, about)
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
    filled = after.counts > 0
    counts, place = after.counts[filled].astype(float), after.confidence[filled]
    low, high = intervals.binomial(np.round(after.accuracy[filled] * counts), counts)
    upper.vlines(place, low, high, color=_TRAINING, linewidth=1.5, alpha=0.6, label="95% interval")
    upper.set(title="Reliability", ylabel="accuracy", ylim=(-0.03, 1.03))
    upper.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    lower.bar(after.edges[:-1], after.counts, np.diff(after.edges), align="edge", color=_TRAINING, alpha=0.6)
    lower.set(xlabel="confidence", ylabel="drawings", yscale="log", xlim=(0, 1.01))
    lower.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    lower.yaxis.set_major_formatter(FuncFormatter(lambda count, _: f"{count:,.0f}" if count >= 1 else ""))
    lower.yaxis.set_minor_locator(NullLocator())
    figure.legend(*upper.get_legend_handles_labels(), loc="outside lower left", ncols=2)
    return figure


def mistakes(
    about: str,
    ink: UInt8[np.ndarray, "n size size"],
    labels: Int[np.ndarray, " n"],
    confidences: Float[np.ndarray, "n grades"],
    limit: int,
    scale: Scale = LETTERS,
) -> Figure:
    """Up to `limit` wrongly predicted drawings, most confident first, with label, prediction and confidence."""
    predicted, confidence = confidences.argmax(axis=1), confidences.max(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")][:limit]
    if not worst.size:
        figure = _figure(6, 1.6, about)
        figure.text(0.5, 0.5, f"No mistakes in {len(labels):,} drawings", ha="center", va="center", fontsize=14)
        return figure
    grades = [shown(label) for label in scale.labels]
    titles = [
        f"{grades[labels[index]]} read as {grades[predicted[index]]}\n{confidence[index]:.0%} confidence"
        for index in worst
    ]
    return sheet(ink[worst], titles, f"{len(wrong):,} mistakes in {len(labels):,} drawings\n{about}")


def sheet(ink: UInt8[np.ndarray, "n size size"], titles: Sequence[str], heading: str) -> Figure:
    """Drawings in rows of six, a title above each."""
    columns = max(min(6, len(titles)), 1)
    rows = max(-(-len(titles) // columns), 1)
    width, height = max(1.9 * columns, 7.5), 2.2 * rows + 0.7
    figure = _figure(width, height)
    figure.set_layout_engine("none")
    # All in one frame, in inches: a frame for each drawing takes three times as long.
    axes = figure.add_axes((0, 0, 1, 1))
    axes.axis("off")
    axes.text(0.1, 0.1, heading, size=13, weight="bold", va="top")
    for number, (one, title) in enumerate(zip(ink, titles, strict=False)):
        row, column = divmod(number, columns)
        middle, top = 1.9 * column + 0.95, 2.2 * row + 1.05
        axes.imshow(255 - one, cmap="gray", vmin=0, vmax=255, extent=(middle - 0.85, middle + 0.85, top + 1.7, top))
        axes.text(middle, top - 0.06, title, size=10, ha="center", va="bottom")
    axes.set(xlim=(0, width), ylim=(height, 0))
    return figure


def contact_sheet(
    ink: UInt8[np.ndarray, "n size size"], labels: Int[np.ndarray, " n"], columns: int, scale: Scale = LETTERS
) -> Figure:
    """The first `columns` drawings of every grade, one row per grade."""
    figure = _figure(0.62 * (columns + 0.6), 0.62 * len(scale.labels))
    grid = figure.subplots(len(scale.labels), columns, squeeze=False)
    for grade, row in enumerate(grid):
        row[0].text(
            -0.25, 0.5, shown(scale.labels[grade]), transform=row[0].transAxes, ha="right", va="center", fontsize=12
        )
        for axes, index in zip(row, np.flatnonzero(labels == grade)[:columns], strict=False):
            axes.imshow(255 - ink[index], cmap="gray", vmin=0, vmax=255)
    for axes in grid.flat:
        axes.axis("off")
    return figure
