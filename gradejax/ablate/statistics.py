"""What several trainings of several variants allow to conclude: intervals, verdicts, a table and a picture."""

import math
import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter, ScalarFormatter
from scipy import stats

LEVEL = 0.05
"""Of all verdicts of an experiment together."""

Values = Mapping[int, float]
"""A figure of a variant, seed by seed."""


class Interval(NamedTuple):
    """A mean and how far to either side its confidence interval goes; infinitely far where there is one value."""

    mean: float
    half_width: float

    def __str__(self) -> str:
        if math.isinf(self.half_width):
            return "–"
        return f"{100 * (self.mean - self.half_width):.2f} to {100 * (self.mean + self.half_width):.2f}"


class Comparison(NamedTuple):
    """A line of the table.

    Attributes:
        values: seed by seed.
        mean: with the 95% interval.
        deviation: the sample's standard deviation; NaN for one value.
        difference: to the base, paired by seed, with the interval of the corrected level; None for the base itself.
        verdict: `better`, `worse` or `no difference shown`; `base` for the base.
    """

    name: str
    values: Values
    mean: Interval
    deviation: float
    difference: Interval | None
    verdict: str


def interval(values: Sequence[float] | Float[np.ndarray, " n"], level: float) -> Interval:
    """The mean and its Student's t interval, which misses the true mean in a share `level` of samples.

    Student, "The probable error of a mean", Biometrika 6, 1908: mean ± t(1 - level / 2; n - 1) s / √n.
    """
    n = len(values)
    if n < 2:
        return Interval(float(np.mean(values)), math.inf)
    return Interval(
        float(np.mean(values)), float(stats.t.ppf(1 - level / 2, n - 1) * np.std(values, ddof=1) / np.sqrt(n))
    )


def corrected_level(variants: int) -> float:
    """The level of each verdict, so that all together err in 5% of experiments in which nothing differs.

    Bonferroni's: O. J. Dunn, "Multiple comparisons among means", JASA 56, 1961: the level over the comparisons.
    """
    return LEVEL / max(variants - 1, 1)


def comparisons(figures: Mapping[str, Values]) -> list[Comparison]:
    """Each variant beside the first, the base.

    Differences are taken seed by seed: what the seeds have in common (split, order, initial parameters) cancels out.
    Seeds that one of the two lacks are left out of a difference. A verdict is given where the interval of the
    difference, at `corrected_level`, leaves out 0.
    """
    level = corrected_level(len(figures))
    (base, base_values), *_ = figures.items()
    found = []
    for name, values in figures.items():
        numbers = list(values.values())
        deviation = float(np.std(numbers, ddof=1)) if len(numbers) > 1 else math.nan
        difference, verdict = None, "base"
        if name != base:
            shared = [values[seed] - base_values[seed] for seed in values if seed in base_values]
            difference = interval(shared, level)
            verdict = "no difference shown"
            if abs(difference.mean) > difference.half_width:
                verdict = "better" if difference.mean > 0 else "worse"
        found.append(Comparison(name, values, interval(numbers, LEVEL), deviation, difference, verdict))
    return found


def markdown(found: Sequence[Comparison]) -> str:
    """The table, in percent and percentage points."""
    confidence = f"{100 * (1 - corrected_level(len(found))):.4g}%"
    lines = [
        "| variant | seeds | mean % | standard deviation | 95% interval "
        f"| difference to the base | its {confidence} interval | verdict |",
        "|---|--:|--:|--:|--:|--:|--:|---|",
    ]
    for one in found:
        deviation = "–" if math.isnan(one.deviation) else f"{100 * one.deviation:.2f}"
        difference = "" if one.difference is None else f"{100 * one.difference.mean:+.2f}"
        name = re.sub(r"([\\`*_\[\]<>|~$])", r"\\\1", one.name)
        lines.append(
            f"| {name} | {len(one.values)} | {100 * one.mean.mean:.2f} | {deviation} | {one.mean} "
            f"| {difference} | {one.difference or ''} | {one.verdict} |"
        )
    return "\n".join(lines) + "\n"


_COLOURS = {"base": "#444444", "better": "#1B7837", "worse": "#B2182B", "no difference shown": "#3B6FB6"}
STYLE = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "text.parse_math": False,  # names are what people typed
    "savefig.dpi": 130,
    "savefig.facecolor": "white",
}


def dots(found: Sequence[Comparison], title: str, measure: str) -> Figure:
    """A row a variant: a dot a seed, the mean with its 95% interval, coloured by verdict; the base's mean behind."""
    figure = Figure(figsize=(8, 1.3 + 0.5 * len(found)), layout="constrained")
    axes = figure.subplots()
    axes.axvline(found[0].mean.mean, color=_COLOURS["base"], linewidth=1, linestyle=(0, (4, 3)), zorder=0)
    for row, one in enumerate(found):
        colour = _COLOURS[one.verdict]
        # Seeds with the same value lie beside each other, not upon each other.
        spread = np.linspace(-0.16, 0.16, len(one.values)) if len(one.values) > 1 else np.zeros(1)
        axes.scatter(list(one.values.values()), row + spread, 16, color=colour, alpha=0.4, linewidth=0)
        reach = one.mean.half_width if math.isfinite(one.mean.half_width) else None
        axes.errorbar(
            one.mean.mean, row, xerr=reach, color=colour, marker="D", markersize=6, linewidth=2, capsize=4, zorder=3
        )
        axes.annotate(
            one.verdict, (1.02, row), xycoords=("axes fraction", "data"), va="center", color=colour, fontsize=9
        )
    axes.set(
        yticks=range(len(found)),
        yticklabels=[textwrap.fill(one.name, 30) for one in found],
        ylim=(len(found) - 0.5, -0.5),
    )
    axes.set(title=title, xlabel=f"{measure}; diamond: mean with its 95% interval, dots: seeds, dashed: the base")
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", alpha=0.25)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))
    return figure


def line(found: Sequence[Comparison], sizes: Sequence[float], title: str, measure: str) -> Figure:
    """The means over the numbers of drawings trained on, both axes as suits them: a learning curve."""
    figure = Figure(figsize=(8, 4.4), layout="constrained")
    axes = figure.subplots()
    order = np.argsort(sizes)
    x, means = np.asarray(sizes)[order], np.array([found[i].mean.mean for i in order])
    reach = np.array([found[i].mean.half_width for i in order])
    colour = _COLOURS["no difference shown"]
    if np.isfinite(reach).all():
        axes.fill_between(x, means - reach, np.minimum(means + reach, 1), color=colour, alpha=0.18, linewidth=0)
    axes.plot(x, means, color=colour, marker="D", markersize=5, linewidth=2)
    for i in order:
        axes.scatter([sizes[i]] * len(found[i].values), list(found[i].values.values()), 14, color=colour, alpha=0.4)
        axes.annotate(
            f"{found[i].mean.mean:.1%}",
            (sizes[i], found[i].mean.mean),
            (7, -13),
            textcoords="offset points",
            fontsize=9,
        )
    axes.set(title=title, xscale="log", xticks=x, xlabel="drawings trained on; band: 95% interval, dots: seeds")
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.minorticks_off()
    _percent(axes, measure)
    return figure


def curves(histories: Mapping[str, Sequence[Sequence[float]]], title: str, measure: str) -> Figure:
    """A panel a variant, a line a seed: the measure epoch by epoch."""
    columns = min(len(histories), 3)
    rows = -(-len(histories) // columns)
    figure = Figure(figsize=(1 + 3.4 * columns, 0.6 + 2.8 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for axes in grid.flat:
        axes.set_visible(False)
    for axes, (name, lines) in zip(grid.flat, histories.items(), strict=False):
        axes.set_visible(True)
        for number, values in enumerate(lines):
            # The first seed stands for how one training goes, the others for how much that may vary.
            colour, width = ("#B2182B", 1.6) if number == 0 else ("#3B6FB6", 0.8)
            alpha, order = (1, 3) if number == 0 else (0.45, 2)
            axes.plot(range(1, len(values) + 1), values, color=colour, linewidth=width, alpha=alpha, zorder=order)
        axes.set_title(textwrap.fill(name, 40), fontsize=10)
        axes.set(ylim=(-0.02, 1.02))
        axes.tick_params(labelbottom=True)
        _percent(axes, measure if axes in grid[:, 0] else "")
    for axes in grid[-1]:
        axes.set_xlabel("epoch")
    figure.suptitle(f"{title} (a line a seed, the first in red)", x=0.01, ha="left", weight="bold")
    return figure


def _percent(axes: Axes, measure: str) -> None:
    axes.set_ylabel(measure)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))
    axes.grid(alpha=0.25)
