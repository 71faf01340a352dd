"""Trains every variant of an experiment with every seed, and says what can be concluded.

    python -m gradejax.ablate --experiment=experiments/dropout.py --seeds=8 --workdir=runs/dropout [--store=URI]

What an experiment's file holds is said in gradejax/ablate/experiment.py.

The folder gets results.csv (a line a training), results.md and results.png, and below trainings/ each one's epochs.
What was interrupted goes on where it stopped when the same command is given again with its --workdir. Keys of the base
config can be set with --experiment.KEY=VALUE.
"""

import copy
import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from absl import flags
from ml_collections import config_flags
from rich.console import Console
from rich.progress import Progress

from gradejax import cli, recipe, runs, stores
from gradejax.ablate import experiment, population, results
from gradejax.ablate.experiment import Group, Training, names
from gradejax.errors import UserError
from gradejax.prepare import fill_if_first

log = logging.getLogger("gradejax.ablate")

_FLAGS = flags.FlagValues()
config_flags.DEFINE_config_file("experiment", None, "A Python file: experiments/dropout.py.", flag_values=_FLAGS)
flags.DEFINE_integer("seeds", 8, "Trainings of each variant: seeds 0, 1, …", 1, 1000, flag_values=_FLAGS)
flags.DEFINE_string("store", None, "Address of the drawings; sqlite:///data/grades.db by default.", flag_values=_FLAGS)
flags.DEFINE_string("workdir", None, "Folder of the results; a new one below runs/ by default.", flag_values=_FLAGS)
flags.DEFINE_bool("dry-run", False, "Only list what would run and how long it takes.", flag_values=_FLAGS)
flags.DEFINE_enum("launcher", "local", ["local", "ray"], "Where the groups are trained.", flag_values=_FLAGS)

TOGETHER = 64
"""Members of a group at the most, where they advance together."""


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
    asked = experiment.load(path, _FLAGS.experiment)
    with closing(stores.open_store(stores.store_uri(_FLAGS.store, _FLAGS.experiment.data.store))) as store:
        fill_if_first(store, stores.Query(tags=recipe.tags(_FLAGS.experiment)))
        trainings = experiment.plan(asked, _FLAGS.seeds, store)
    if _FLAGS["dry-run"].value:
        rows = results.read_rows(Path(_FLAGS.workdir)) if _FLAGS.workdir else []
        estimate(*_left(trainings, rows))
        return
    workdir = Path(_FLAGS.workdir) if _FLAGS.workdir else runs.new_workdir(f"ablate-{asked.name}")
    with runs.held(workdir):
        print(_trained(workdir, asked, trainings))
    print(f"written to {workdir}/results.md, results.png and results.csv")


def _left(trainings: Sequence[Training], rows: Sequence[results.Row]) -> tuple[list[Group], int]:
    """The groups that are still to be trained, and how many trainings are done."""
    done = {(row.variant, row.seed, row.digest) for row in rows}
    left = [one for one in trainings if (one.variant, one.seed, one.digest) not in done]
    groups = experiment.groups(left, TOGETHER if population.together() else _FLAGS.seeds)
    return groups, len(trainings) - len(left)


def _trained(workdir: Path, asked: experiment.Experiment, trainings: Sequence[Training]) -> str:
    """Trains what `workdir` does not have yet, and writes the results there; returns the table."""
    rows = results.read_rows(workdir)
    found, done = _left(trainings, rows)
    try:
        (workdir / "trainings").mkdir(exist_ok=True)
        results.write_rows(workdir, rows)
    except OSError as error:
        raise UserError(f"cannot write to the workdir {workdir}: {error.strerror or error}") from None
    if done:
        log.info("%d of %d trainings are done already", done, len(trainings))
    launch = {"local": train_locally, "ray": train_with_ray}[_FLAGS.launcher]
    with _progress(sum(len(group) * group[0].member.config.train.epochs for group in found)) as advance:
        for number, (group, histories, seconds) in enumerate(launch(found, advance), 1):
            rows += [results.keep(workdir, *each, seconds / len(group)) for each in zip(group, histories, strict=True)]
            results.write_rows(workdir, rows)
            log.info("group %d of %d: %s, in %.0f s", number, len(found), names(group), seconds)
    return results.report(workdir, asked, trainings, rows)


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
                raise UserError(f"the workers of {names(group)} died again and again: see ray's logs") from None
            advance(len(group) * len(histories[0]))
            yield group, histories, seconds
    finally:
        ray.shutdown()


def estimate(found: Sequence[Group], done: int) -> None:
    """Prints the groups and for how long each will run, from three epochs of each program."""
    total, program = 0.0, None
    print(f"{sum(map(len, found))} trainings to do in {len(found)} groups, {done} done already")
    for number, group in enumerate(found, 1):
        members = [one.member for one in group]
        # Members that take their turns take as long as one as many times.
        turns = 1 if population.together() else len(members)
        if population.program(members[0].config) != program:
            program = population.program(members[0].config)
            first, later = _first_epochs(members if population.together() else members[:1])
            total += max(first - later, 0)
        seconds = later * turns * members[0].config.train.epochs
        total += seconds
        print(f"group {number}: {names(group)}; {members[0].config.train.epochs} epochs, about {_duration(seconds)}")
    print(f"in all about {_duration(total)}" + (", with --launcher=local" if _FLAGS.launcher != "local" else ""))


def _first_epochs(members: Sequence[population.Member]) -> tuple[float, float]:
    """The seconds of the first epoch, in which the program is compiled, and of a later one."""
    shortened = []
    for member in members:
        config = copy.deepcopy(member.config)
        config.train.epochs = 3
        shortened.append(member._replace(config=config))
    times = [time.perf_counter()]
    for _ in population.epochs(shortened, population.functions(shortened[0].config)):
        times.append(time.perf_counter())
    return times[1] - times[0], min(times[2] - times[1], times[3] - times[2])


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal; gives what is called with so many epochs of one member when they are done."""
    with Progress(disable=not sys.stderr.isatty(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("training", total=total)
        yield lambda epochs: bar.advance(task, epochs)


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


if __name__ == "__main__":
    cli.run(main, _FLAGS)
