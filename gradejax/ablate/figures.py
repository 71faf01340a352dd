"""Pictures of an experiment's results. Draw and save them inside `with style():`."""

import math
import textwrap
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter, ScalarFormatter

from gradejax.ablate.statistics import Comparison

_RED, _BLUE = "#B2182B", "#3B6FB6"
_COLOURS = {"base": "#444444", "better": "#1B7837", "worse": _RED, "no difference shown": _BLUE}


@contextmanager
def style() -> Iterator[None]:
    """Sets fonts and spines, and lets a variant's name contain any characters."""
    settings = {
        "font.size": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "text.parse_math": False,
        "savefig.dpi": 130,
        "savefig.facecolor": "white",
    }
    with rc_context(settings), warnings.catch_warnings():  # pyright: ignore[reportArgumentType]
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        yield


def dots(comparisons: Sequence[Comparison], title: str, measure: str) -> Figure:
    """A row per variant, coloured by verdict: a dot per seed, and the accuracy with its interval for unseen writers."""
    figure = Figure(figsize=(8, 1.3 + 0.5 * len(comparisons)), layout="constrained")
    axes = figure.subplots()
    axes.axvline(
        comparisons[0].unseen_writers.mean, color=_COLOURS["base"], linewidth=1, linestyle=(0, (4, 3)), zorder=0
    )
    for row, one in enumerate(comparisons):
        colour = _COLOURS[one.verdict]
        # Spread vertically, so that seeds with the same value do not hide each other.
        seeds = list(one.by_seed.values())
        spread = np.linspace(-0.16, 0.16, len(seeds)) if len(seeds) > 1 else np.zeros(1)
        axes.scatter(seeds, row + spread, 16, color=colour, alpha=0.4, linewidth=0)
        mean, low, high = one.unseen_writers
        error = None if math.isnan(low) else [[mean - low], [high - mean]]
        axes.errorbar(mean, row, xerr=error, color=colour, marker="D", markersize=6, linewidth=2, capsize=4, zorder=3)
        axes.annotate(
            one.verdict, (1.02, row), xycoords=("axes fraction", "data"), va="center", color=colour, fontsize=9
        )
    axes.set(
        yticks=range(len(comparisons)),
        yticklabels=[textwrap.fill(one.name, 30) for one in comparisons],
        ylim=(len(comparisons) - 0.5, -0.5),
    )
    legend = "diamond: mean, with its 95% interval for unseen writers; dots: seeds; dashed: the base"
    axes.set(title=title, xlabel=f"{measure}\n{legend}")
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", alpha=0.25)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))
    return figure


def line(comparisons: Sequence[Comparison], sizes: Sequence[int], title: str, measure: str) -> Figure:
    """A learning curve: the accuracy of each variant over its number of training drawings, `sizes`."""
    figure = Figure(figsize=(8, 4.4), layout="constrained")
    axes = figure.subplots()
    order = np.argsort(sizes)
    x = np.asarray(sizes)[order]
    means, lows, highs = np.array([comparisons[i].unseen_writers for i in order]).T
    axes.fill_between(x, lows, highs, color=_BLUE, alpha=0.18, linewidth=0)
    axes.plot(x, means, color=_BLUE, marker="D", markersize=5, linewidth=2)
    for size, one in zip(sizes, comparisons, strict=True):
        axes.scatter([size] * len(one.by_seed), list(one.by_seed.values()), 14, color=_BLUE, alpha=0.4)
        mean = one.unseen_writers.mean
        axes.annotate(f"{mean:.1%}", (size, mean), (7, -13), textcoords="offset points", fontsize=9)
    axes.set(
        title=title,
        xscale="log",
        xticks=x,
        xlabel="training drawings; band: 95% interval for unseen writers; dots: seeds",
    )
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.minorticks_off()
    _percent(axes, measure)
    return figure


def curves(histories: Mapping[str, Sequence[Sequence[float]]], title: str, measure: str) -> Figure:
    """A panel per variant, a line per training: the measure epoch by epoch."""
    columns = min(len(histories), 3)
    rows = -(-len(histories) // columns)
    figure = Figure(figsize=(1 + 3.4 * columns, 0.6 + 2.8 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for axes in grid.flat:
        axes.set_visible(False)
    for axes, (name, lines) in zip(grid.flat, histories.items(), strict=False):
        axes.set_visible(True)
        for number, values in enumerate(lines):
            # One in front shows how a training goes; the others show how much that varies.
            colour, width, alpha, order = (_RED, 1.6, 1, 3) if number == 0 else (_BLUE, 0.8, 0.45, 2)
            axes.plot(range(1, len(values) + 1), values, color=colour, linewidth=width, alpha=alpha, zorder=order)
        axes.set_title(textwrap.fill(name, 40), fontsize=10)
        axes.set(ylim=(-0.02, 1.02))
        axes.tick_params(labelbottom=True)
        _percent(axes, measure if axes in grid[:, 0] else "")
    for axes in grid[-1]:
        axes.set_xlabel("epoch")
    figure.suptitle(f"{title} (one line per training, the first in red)", x=0.01, ha="left", weight="bold")
    return figure


def _percent(axes: Axes, measure: str) -> None:
    axes.set_ylabel(measure)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))
    axes.grid(alpha=0.25)
