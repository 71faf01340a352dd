"""How often a 95% interval contains the truth, and how often identical recipes are told apart.

    python -m gradejax.ablate --experiment=benchmarks/coverage.py --seeds=24 --workdir=runs/coverage [--store=URI]
    python -m benchmarks.coverage --workdir=runs/coverage

The first command trains two recipes with 24 seeds (10 minutes on two cores). The second takes the writers of these
trainings and their seeds as the whole population, whose accuracy is therefore known. It draws experiments from it:
as many writers as there are, with replacement, and a few seeds. What each method says about an experiment is compared
with the population. --workdir may be any experiment with folds and at least 16 seeds.

`seeds` is the method that gradejax used at first: a t interval over seeds, of which each holds out a fifth of the
writers; Bonferroni's correction. `resampled` corrects that for the overlap of the splits (Nadeau and Bengio, "Inference
for the generalization error", Machine Learning 52, 2003). `percentile` is the bootstrap over writers, `writers` what
gradejax uses now (gradejax/intervals.py); these two take the predictions of all folds.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from absl import flags
from ml_collections import ConfigDict
from rich.console import Console
from rich.table import Table

from configs import cnn, mlp
from gradejax import cli, intervals
from gradejax.ablate import report, results
from gradejax.ablate.statistics import student
from gradejax.errors import UserError
from gradejax.intervals import LEVEL, Interval, Tally
from gradejax.progress import progress
from gradejax.recipe import as_json

SEEDS, VARIANTS, HELD_OUT = 4, 5, 0.2
"""Of a simulated experiment: seeds, identical variants, the fraction of writers that `seeds` holds out."""
_BOOTSTRAPS = 500

_FLAGS = flags.FlagValues()
cli.define_workdir(_FLAGS, "Folder of an experiment with folds and many seeds.")
flags.DEFINE_integer("simulations", 2000, "Experiments to draw.", 1, flag_values=_FLAGS)


def get_config() -> ConfigDict:
    """The CNN with a quarter of its channels and hidden units and half its epochs, so that many seeds fit."""
    config = cnn.get_config()
    config.model.channels, config.model.hidden = (8, 16), 32
    config.train.epochs = 20
    config.data.folds = 3
    return config


def get_variants() -> dict[str, dict]:
    """That CNN, and an MLP."""
    recipe = as_json(mlp.get_config())
    recipe["train"]["epochs"] = 40
    return {
        "small CNN": {},
        "MLP": {"model": recipe["model"], **{f"train.{key}": value for key, value in recipe["train"].items()}},
    }


class Population(NamedTuple):
    """A recipe's predictions, counted by seed, fold and writer.

    Attributes:
        right: `(seeds, folds, writers)`.
        total: likewise; 0 where a fold does not hold the writer out.
    """

    right: np.ndarray
    total: np.ndarray

    def accuracy(self) -> float:
        """Of all writers with all seeds."""
        return float(self.right.sum() / self.total.sum())


class Sample(NamedTuple):
    """One simulated experiment's data on a recipe: seeds and writers of a population, and who is held out by seed."""

    right: np.ndarray
    total: np.ndarray
    held_out: np.ndarray

    def tally(self) -> Tally:
        """All predictions."""
        writers = self.right.shape[-1]
        return Tally(self.right.reshape(-1, writers), self.total.reshape(-1, writers))

    def by_split(self) -> list[float]:
        """Each seed's accuracy on the writers that it holds out."""
        return [float(right[:, rows].sum() / total[:, rows].sum()) for right, total, rows in zip(*self, strict=True)]


def resampled(values: list[float], level: float = LEVEL) -> Interval:
    """Student's interval with Nadeau and Bengio's corrected variance, (1 / J + n_test / n_train) s²."""
    factor = np.sqrt(1 + len(values) * HELD_OUT / (1 - HELD_OUT))
    mean, low, _ = student(values, level)
    return Interval(mean, mean - factor * (mean - low), mean + factor * (mean - low))


def percentile(rng: np.random.Generator, base: Tally, other: Tally | None = None, level: float = LEVEL) -> Interval:
    """The percentile bootstrap over writers, of an accuracy or of a difference (Efron, 1979)."""
    writers = base.total.shape[1]
    rows = rng.integers(writers, size=(_BOOTSTRAPS, writers))

    def accuracies(counts: Tally) -> np.ndarray:
        right, total = counts.right.sum(axis=0), counts.total.sum(axis=0)
        return right[rows].sum(axis=1) / total[rows].sum(axis=1)

    values = accuracies(base) if other is None else accuracies(other) - accuracies(base)
    mean = base.accuracy if other is None else other.accuracy - base.accuracy
    return Interval(mean, *map(float, np.quantile(values, [level / 2, 1 - level / 2])))


def draw(rng: np.random.Generator, populations: list[Population], seeds: int) -> Iterator[Sample]:
    """The same writers for every recipe, and seeds of its own where recipes are the same population."""
    n_writers = populations[0].total.shape[-1]
    writers = rng.integers(n_writers, size=n_writers)
    n_held_out = max(round(HELD_OUT * n_writers), 1)
    held_out = np.stack([rng.permutation(n_writers)[:n_held_out] for _ in range(seeds)])
    order = rng.permutation(len(populations[0].right))
    for number, population in enumerate(populations):
        chosen = order[number * seeds : (number + 1) * seeds]
        yield Sample(population.right[chosen][..., writers], population.total[chosen][..., writers], held_out)


METHODS = ("seeds", "resampled", "percentile", "writers")


def accuracy_intervals(rng: np.random.Generator, sample: Sample) -> list[Interval]:
    """Of an accuracy, in the order of `METHODS`."""
    values, counts = sample.by_split(), sample.tally()
    return [student(values), resampled(values), percentile(rng, counts), intervals.proportion(counts)]


def difference_intervals(
    rng: np.random.Generator, base: Sample, other: Sample, level: float = LEVEL
) -> list[tuple[Interval, float]]:
    """Of a difference, in the order of `METHODS`, each with its p where the method has one."""
    values = [b - a for a, b in zip(base.by_split(), other.by_split(), strict=True)]
    now = intervals.difference(base.tally(), other.tally(), level)
    return [
        (student(values, level), np.nan),
        (resampled(values, level), np.nan),
        (percentile(rng, base.tally(), other.tally(), level), np.nan),
        (now.interval, now.p),
    ]


def coverage(
    rng: np.random.Generator, truth: float, draw_intervals: Callable[[], list[Interval]], simulations: int
) -> list[tuple[float, float]]:
    """For each of `METHODS` how often its interval contains the truth, and how wide it is on average."""
    all_intervals = np.array([draw_intervals() for _ in range(simulations)])
    low, high = all_intervals[..., 1], all_intervals[..., 2]
    inside = (low <= truth + 1e-12) & (truth - 1e-12 <= high)
    return list(zip(inside.mean(axis=0).tolist(), (high - low).mean(axis=0).tolist(), strict=True))


def false_verdicts(rng: np.random.Generator, population: Population, simulations: int) -> list[float]:
    """For each of `METHODS`, in which fraction of experiments on identical variants one is called better or worse."""
    corrected = LEVEL / (VARIANTS - 1)
    found = np.zeros(len(METHODS))
    for _ in range(simulations):
        base, *others = draw(rng, [population] * VARIANTS, SEEDS)
        outcomes = [difference_intervals(rng, base, other, corrected) for other in others]
        for method in range(len(METHODS) - 1):
            found[method] += any(each[method][0].low > 0 or each[method][0].high < 0 for each in outcomes)
        found[-1] += (intervals.holm(np.array([each[-1][1] for each in outcomes])) <= LEVEL).any()
    return (found / simulations).tolist()


def populations_of(workdir: Path) -> dict[str, Population]:
    """The recipes of an experiment. Raises UserError where it has no folds, or too few seeds."""
    populations = {}
    predictions = report.predictions_of(workdir, {"accuracy": "val_accuracy"}, results.read_rows(workdir))
    for name, each in predictions.items():
        seeds, seed = np.unique(each.seed, return_inverse=True)
        _, writer = np.unique(each.writer, return_inverse=True)
        right, total = np.zeros((2, len(seeds), each.fold.max() + 1, writer.max() + 1))
        np.add.at(right, (seed, each.fold, writer), each.correct)
        np.add.at(total, (seed, each.fold, writer), 1)
        if len(seeds) < SEEDS * VARIANTS or not each.fold.all():
            wanted = f"folds and {SEEDS * VARIANTS} seeds"
            raise UserError(f"{workdir} is no experiment with {wanted}: see python -m benchmarks.coverage --help")
        populations[name] = Population(right, total)
    return populations


def main(arguments: list[str]) -> None:
    """Prints how often intervals cover, and how often verdicts are false."""
    if arguments or not _FLAGS.workdir:
        raise UserError("which experiment? python -m benchmarks.coverage --workdir=DIR")
    populations, simulations = populations_of(Path(_FLAGS.workdir)), _FLAGS.simulations
    rng = np.random.default_rng(0)
    base = next(iter(populations.values()))
    writers = base.total.shape[-1]
    title = f"{simulations:,} experiments with {writers} writers and {SEEDS} seeds"
    table = Table("", title=title, title_justify="left")
    for method in METHODS:
        table.add_column(method, justify="right")

    def add(name: str, truth: float, one: Callable[[], list[Interval]]) -> None:
        cells = [f"{inside:.1%} ({100 * width:.2f})" for inside, width in coverage(rng, truth, one, simulations)]
        table.add_row(name, *cells)

    def differences(base: Sample, other: Sample) -> list[Interval]:
        return [interval for interval, _ in difference_intervals(rng, base, other)]

    with progress("simulating experiments", None):
        for name, population in populations.items():
            add(
                f"coverage, accuracy of {name} ({population.accuracy():.2%})", population.accuracy(),
                lambda population=population: accuracy_intervals(rng, next(draw(rng, [population], SEEDS))),
            )  # fmt: skip
        for name, population in populations.items():
            pair = [base, base] if population is base else [base, population]
            truth = population.accuracy() - base.accuracy()
            label = f"{name} and itself" if population is base else f"{name} and the base"
            add(
                f"coverage, difference of {label}", truth,
                lambda pair=pair: differences(*draw(rng, pair, SEEDS)),
            )  # fmt: skip
        for name, population in populations.items():
            found = false_verdicts(rng, population, simulations)
            table.add_row(f"false verdicts, {VARIANTS} times {name}", *[f"{share:.1%}" for share in found])
    Console().print(table)
    print("In brackets: the mean width of the interval, in percentage points.")


if __name__ == "__main__":
    cli.run(main, _FLAGS)
