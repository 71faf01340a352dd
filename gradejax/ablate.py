"""Trains every variant of an experiment with every seed, and says what can be concluded.

    python -m gradejax.ablate --experiment=experiments/dropout.py --seeds=8 --workdir=runs/dropout [--store=URI]

An experiment is a Python file: a docstring with the question, `get_config()` with the base config, and `get_variants()`,
a mapping from a name to overrides, `{"model.dropout": 0.5}`; the first variant is the base the others are compared with.
It may say more: MEASURES, a mapping from a name to one of `val_accuracy`, `best_val_accuracy`, `test_accuracy` and
`best_epoch_test_accuracy` (the first alone unless it does), and PICTURE, one of `dots`, `curves` and `line`.

The folder gets results.csv (a line a training), results.md and results.png, and below trainings/ each one's epochs.
What was interrupted goes on where it stopped when the same command is given again with its --workdir. Keys of the base
config can be set with --experiment.KEY=VALUE.
"""

import copy
import csv
import hashlib
import importlib.util
import io
import json
import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby, islice
from pathlib import Path
from typing import Any, NamedTuple

import jax
from absl import flags
from matplotlib import rc_context
from ml_collections import ConfigDict, config_flags
from rich.console import Console
from rich.progress import Progress

from gradejax import command, compare, population, runs, stores
from gradejax import config as configs
from gradejax import dataset as datasets
from gradejax.dataset import Dataset
from gradejax.errors import UserError
from gradejax.main import fill_if_first

log = logging.getLogger("gradejax.ablate")

_FLAGS = flags.FlagValues()
config_flags.DEFINE_config_file("experiment", None, "A Python file: experiments/dropout.py.", flag_values=_FLAGS)
flags.DEFINE_integer("seeds", 8, "Trainings of each variant: seeds 0, 1, …", 1, 1000, flag_values=_FLAGS)
flags.DEFINE_string("store", None, "Address of the drawings; sqlite:///data/grades.db by default.", flag_values=_FLAGS)
flags.DEFINE_string("workdir", None, "Folder of the results; a new one below runs/ by default.", flag_values=_FLAGS)
flags.DEFINE_bool("dry-run", False, "Only list what would run and how long it takes.", flag_values=_FLAGS)
flags.DEFINE_enum("launcher", "local", ["local", "ray"], "Where the groups are trained.", flag_values=_FLAGS)

PICTURES = ("dots", "curves", "line")
TOGETHER = 64
"""Members of a group at the most, where they advance together."""


class Experiment(NamedTuple):
    """What a file in `experiments/` says; see the top of this module."""

    name: str
    question: str
    variants: dict[str, ConfigDict]
    measures: dict[str, str]
    picture: str


class Training(NamedTuple):
    """One of an experiment's trainings; `digest` is that of all its outcome depends on, drawings included."""

    variant: str
    seed: int
    member: population.Member
    digest: str

    @property
    def folder(self) -> str:
        """Where its epochs are kept, below trainings/."""
        return self.digest[:16]


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


MEASURES = ("val_accuracy", "best_val_accuracy", "test_accuracy", "best_epoch_test_accuracy")
Group = Sequence[Training]
Finished = Iterator[tuple[Group, list[list[population.Record]], float]]


def main(arguments: list[str]) -> None:
    """Trains and compares, as the flags say."""
    if arguments:
        raise UserError(f"what is {arguments[0]!r}? Keys of the base config are set with --experiment.KEY=VALUE")
    if _FLAGS.experiment is None:
        raise UserError("which experiment? --experiment=experiments/dropout.py")
    path = Path(_FLAGS["experiment"].config_filename)
    if not path.is_file():
        raise UserError(f"no experiment {path}: those there are, are in experiments/")
    experiment = load(path, _FLAGS.experiment)
    workdir = Path(_FLAGS.workdir) if _FLAGS.workdir else runs.new_workdir(f"ablate-{experiment.name}")
    store = stores.open_store(stores.store_uri(_FLAGS.store, _FLAGS.experiment.data.store))
    fill_if_first(store, stores.Query(tags=configs.tags(_FLAGS.experiment)))
    trainings = plan(experiment, _FLAGS.seeds, store)
    rows = read_rows(workdir)
    done = {(row.variant, row.seed, row.digest) for row in rows}
    left = [one for one in trainings if (one.variant, one.seed, one.digest) not in done]
    found = groups(left, TOGETHER if population.together() else _FLAGS.seeds)
    if _FLAGS["dry-run"].value:
        estimate(found, len(trainings) - len(left))
        return
    try:
        (workdir / "trainings").mkdir(parents=True, exist_ok=True)
        write_rows(workdir, rows)
    except OSError as error:
        raise UserError(f"cannot write to the workdir {workdir}: {error.strerror or error}") from None
    if len(left) < len(trainings):
        log.info("%d of %d trainings are done already", len(trainings) - len(left), len(trainings))
    launch = {"local": train_locally, "ray": train_with_ray}[_FLAGS.launcher]
    with _progress(sum(len(group) * group[0].member.config.train.epochs for group in found)) as advance:
        for number, (group, histories, seconds) in enumerate(launch(found, advance), 1):
            rows += [keep(workdir, *each, seconds / len(group)) for each in zip(group, histories, strict=True)]
            write_rows(workdir, rows)
            log.info("group %d of %d: %s, in %.0f s", number, len(found), _names(group), seconds)
    print(report(workdir, experiment, trainings, rows))
    print(f"written to {workdir}/results.md, results.png and results.csv")


def load(path: Path, base: ConfigDict) -> Experiment:
    """The experiment in a file, with its base config as the command line has changed it. Raises UserError."""
    configs.check(base)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, "get_variants"):
        raise UserError(f"{path} has no get_variants(): a mapping from a name to overrides, the base's first")
    variants = {str(name): varied(base, str(name), overrides) for name, overrides in module.get_variants().items()}
    measures = getattr(module, "MEASURES", {"validation accuracy": "val_accuracy"})
    picture = getattr(module, "PICTURE", "dots")
    if not variants:
        raise UserError(f"{path}: get_variants() is empty")
    if unknown := set(measures.values()) - set(MEASURES):
        raise UserError(f"{path}: no measure is called {unknown.pop()!r}: there are {', '.join(MEASURES)}")
    if not base.data.test_fraction and any("test" in measure for measure in measures.values()):
        raise UserError(f"{path} measures on a test side and has none: set data.test_fraction in get_config()")
    if picture not in PICTURES:
        raise UserError(f"{path}: no PICTURE is called {picture!r}: there are {', '.join(PICTURES)}")
    return Experiment(path.stem, (module.__doc__ or "").strip(), variants, dict(measures), picture)


def varied(base: ConfigDict, variant: str, overrides: Mapping[str, Any]) -> ConfigDict:
    """A copy of `base` with `overrides`: keys with a dot; `model` alone with a mapping replaces the whole group."""
    config = copy.deepcopy(base)
    for name, value in overrides.items():
        group, _, key = name.partition(".")
        if name == "model":
            config.model = ConfigDict(value)
        elif group == "model" and key:
            # A model's own options need not be in a recipe; models.build knows which there are.
            with config.unlocked():
                config.model[key] = value
        elif not key or group not in config or key not in config[group]:
            raise UserError(
                f"variant {variant!r} sets {name!r}, which no config has: gradejax/config.py lists the keys"
            )
        else:
            try:
                config[group][key] = value
            except TypeError:
                raise UserError(f"variant {variant!r}: {name} cannot be {value!r}") from None
    configs.check(config)
    population.build(config)
    return config


def plan(experiment: Experiment, seeds: int, store: stores.Store) -> list[Training]:
    """Every variant with every seed. Each drawing is loaded once for each way that it is resampled."""
    loaded: dict[str, Dataset] = {}
    trainings = []
    for variant, base in experiment.variants.items():
        about = repr((base.data.tags, base.data.size, base.data.resampling))
        if about not in loaded:
            loaded[about] = datasets.load_as(base, store)
        for seed in range(seeds):
            config = copy.deepcopy(base)
            config.seed = seed
            member = population.Member(config, loaded[about], datasets.split_as(config, loaded[about]))
            trainings.append(Training(variant, seed, member, _digest(member)))
    return trainings


def _digest(member: population.Member) -> str:
    settings = configs.as_json(member.config)
    del (
        settings["evaluate"],
        settings["data"]["store"],
        settings["data"]["cache"],
        settings["train"]["checkpoint_every"],
    )
    return hashlib.sha256(json.dumps([settings, member.dataset.digest], sort_keys=True).encode()).hexdigest()


def groups(trainings: Sequence[Training], most: int) -> list[Group]:
    """Trainings that share a program, at most so many together; the groups of one program follow each other."""
    found = []
    key = lambda one: population.program(one.member.config)  # noqa: E731
    for _, those in groupby(sorted(trainings, key=key), key):
        while some := list(islice(those, most)):
            found.append(some)
    return found


def train_locally(found: Sequence[Group], advance: Callable[[int], None]) -> Finished:
    """Trains one group after the other here; what is compiled for one serves the next of its program."""
    program, compiled = None, None
    for group in found:
        began = time.perf_counter()
        members = [one.member for one in group]
        if population.program(members[0].config) != program:
            program, compiled = population.program(members[0].config), population.functions(members[0].config)
        epochs = []
        for records in population.epochs(members, compiled):
            epochs.append(records)
            advance(len(group))
        yield group, [list(history) for history in zip(*epochs, strict=True)], time.perf_counter() - began


def train_with_ray(found: Sequence[Group], advance: Callable[[int], None]) -> Finished:
    """Trains the groups as tasks on a Ray cluster: RAY_ADDRESS's, or one on this machine. What a lost worker had is
    trained again on another."""
    try:
        import ray
    except ImportError:
        raise UserError("--launcher=ray needs Ray: pip install 'gradejax[ray]'") from None
    ray.init(log_to_driver=False, logging_level=logging.WARNING)
    try:
        gpus = 1 if ray.cluster_resources().get("GPU") else 0
        task = ray.remote(num_gpus=gpus, max_retries=3)(population.train_group)
        waiting = {task.remote([one.member for one in group]): group for group in found}
        while waiting:
            (finished,), _ = ray.wait(list(waiting))
            group = waiting.pop(finished)
            try:
                histories, seconds = ray.get(finished)
            except ray.exceptions.WorkerCrashedError:
                raise UserError(f"the workers of {_names(group)} died again and again: see ray's logs") from None
            advance(len(group) * len(histories[0]))
            yield group, histories, seconds
    finally:
        ray.shutdown()


def estimate(found: Sequence[Group], done: int) -> None:
    """Prints the groups and for how long each will run, from two epochs of one of each program."""
    total, program = 0.0, None
    print(f"{sum(map(len, found))} trainings to do in {len(found)} groups, {done} done already")
    for number, group in enumerate(found, 1):
        members = [one.member for one in group]
        # Members that take their turns take as long as one as many times.
        turns = 1 if population.together() else len(members)
        if population.program(members[0].config) != program:
            program = population.program(members[0].config)
            first, second = _two_epochs(members if population.together() else members[:1])
            total += first - second
        seconds = second * turns * members[0].config.train.epochs
        total += seconds
        print(f"group {number}: {_names(group)}; {members[0].config.train.epochs} epochs, about {_duration(seconds)}")
    print(f"in all about {_duration(total)}" + (", with --launcher=local" if _FLAGS.launcher != "local" else ""))


def _two_epochs(members: Sequence[population.Member]) -> tuple[float, float]:
    shortened = []
    for member in members:
        config = copy.deepcopy(member.config)
        config.train.epochs = 2
        shortened.append(member._replace(config=config))
    times = [time.perf_counter()]
    for _ in population.epochs(shortened, population.functions(shortened[0].config)):
        times.append(time.perf_counter())
    return times[1] - times[0], times[2] - times[1]


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
    if not path.exists():
        return []
    types = Row.__annotations__
    try:
        with path.open(newline="") as file:
            return [Row(**{name: types[name](text) for name, text in line.items()}) for line in csv.DictReader(file)]
    except (KeyError, TypeError, ValueError, OSError):
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
    found = compare.comparisons(figures)
    table = compare.markdown(found)
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
    with rc_context(compare.STYLE):
        if experiment.picture == "curves":
            histories = {
                variant: [
                    [record["val_accuracy"] for record in runs.read_history(workdir / "trainings" / one.folder)]
                    for one in trainings
                    if one.variant == variant
                ]
                for variant in experiment.variants
            }
            figure = compare.curves(histories, experiment.name, "validation accuracy")
        elif experiment.picture == "line":
            sizes = [
                sum(row.n_train for row in own if row.variant == variant) / _FLAGS.seeds
                for variant in experiment.variants
            ]
            figure = compare.line(found, sizes, experiment.name, measure)
        else:
            figure = compare.dots(found, experiment.name, measure)
        figure.savefig(workdir / "results.png")
    return table


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal; gives what is called with so many epochs of one member when they are done."""
    with Progress(disable=not sys.stderr.isatty(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("training", total=total)
        yield lambda epochs: bar.advance(task, epochs)


def _names(group: Group) -> str:
    """The variants in a group with their seeds: `base (seeds 0 to 7)`."""
    names = []
    for variant, those in groupby(group, lambda one: one.variant):
        seeds = [one.seed for one in those]
        names.append(f"{variant} (seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))})")
    return "; ".join(names)


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


if __name__ == "__main__":
    command.run(main, _FLAGS)
