"""Trains every variant of an experiment with several seeds and reports which differences are significant.

    python -m gradejax.ablate --experiment=experiments/dropout.py --seeds=8 --workdir=runs/dropout [--store=URI]

gradejax/ablate/experiment.py describes what an experiment file contains. Keys of its base config can be set with
--experiment.KEY=VALUE.

The folder receives results.csv (one line per training), results.md and results.png; trainings/ holds the epochs of each
training. To continue after an interruption, give the same command again with the same --workdir.
"""

import logging
import math
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from absl import flags
from ml_collections import config_flags

from gradejax import cli, population, recipe, runs, stores
from gradejax.ablate import launch, power, report, results
from gradejax.ablate.experiment import load
from gradejax.ablate.trainings import Group, Training, describe, groups_of, trainings_of
from gradejax.errors import UserError
from gradejax.prepare import fill_if_first
from gradejax.progress import progress

log = logging.getLogger("gradejax.ablate")

_FLAGS = flags.FlagValues()
config_flags.DEFINE_config_file("experiment", None, "A Python file: experiments/dropout.py.", flag_values=_FLAGS)
cli.define_store(_FLAGS)
cli.define_workdir(_FLAGS, "Folder for the results; a new one below runs/ by default.")
flags.DEFINE_integer("seeds", 8, "Trainings per variant: seeds 0, 1, …", 1, 1000, flag_values=_FLAGS)
flags.DEFINE_bool(
    "dry-run",
    False,
    "Only list what would run, how long it takes, and how small a difference it can show.",
    flag_values=_FLAGS,
)
flags.DEFINE_enum("launcher", "local", ["local", "ray"], "Where the groups are trained.", flag_values=_FLAGS)

MAX_PARALLEL_MEMBERS = 64
"""Largest group on a GPU, where its members advance in parallel."""


def main(arguments: list[str]) -> None:
    """Runs the experiment that the flags ask for."""
    if arguments:
        raise UserError(
            f"unexpected argument {arguments[0]!r}: set keys of the base config with --experiment.KEY=VALUE"
        )
    if _FLAGS.experiment is None:
        raise UserError("which experiment? --experiment=experiments/dropout.py")
    path = Path(config_flags.get_config_filename(_FLAGS["experiment"]))
    if not path.is_file():
        raise UserError(f"no experiment {path}: gradejax's own are in experiments/")
    experiment = load(path, _FLAGS.experiment)
    with closing(stores.open_store(stores.store_uri(_FLAGS.store, _FLAGS.experiment.data.store))) as store:
        fill_if_first(store, stores.Query(tags=recipe.tags(_FLAGS.experiment)))
        trainings = trainings_of(experiment, _FLAGS.seeds, store)
    workdir = cli.workdir(_FLAGS)
    if _FLAGS["dry-run"].value:
        remaining = _remaining(workdir, trainings, results.read_rows(workdir)) if workdir else trainings
        _print_estimate(_grouped(remaining), len(trainings) - len(remaining))
        print(_power(trainings, len(experiment.variants) * len(experiment.measures) - 1))
        return
    workdir = workdir or runs.new_workdir(f"ablate-{experiment.name}")
    with runs.held(workdir):
        rows = _train(workdir, trainings)
        print(report.write(workdir, experiment, trainings, rows))
    print(f"written to {workdir}/results.md, results.png and results.csv")


def _remaining(workdir: Path, trainings: Sequence[Training], rows: Sequence[results.Row]) -> list[Training]:
    done = {(row.variant, row.digest) for row in rows}
    return [one for one in trainings if (one.variant, one.digest) not in done or not results.is_stored(workdir, one)]


def _grouped(trainings: Sequence[Training]) -> list[Group]:
    together = max(_FLAGS.seeds, _FLAGS.experiment.data.folds)
    return groups_of(trainings, MAX_PARALLEL_MEMBERS if population.members_run_in_parallel() else together)


def _train(workdir: Path, trainings: Sequence[Training]) -> list[results.Row]:
    """Runs the trainings that `workdir` lacks and stores each group's results as soon as it ends; returns all rows."""
    rows = results.read_rows(workdir)
    remaining = _remaining(workdir, trainings, rows)
    again = {(one.variant, one.digest) for one in remaining}
    rows = [row for row in rows if (row.variant, row.digest) not in again]
    try:
        (workdir / "trainings").mkdir(exist_ok=True)
        results.write_rows(workdir, rows)
    except OSError as error:
        raise UserError(f"cannot write to the workdir {workdir}: {error.strerror or error}") from None
    if len(remaining) < len(trainings):
        log.info("%d of %d trainings are already done", len(trainings) - len(remaining), len(trainings))
    groups = _grouped(remaining)
    train = {"local": launch.train_locally, "ray": launch.train_with_ray}[_FLAGS.launcher]
    with progress("training", sum(one.member.config.train.epochs for one in remaining)) as update:
        for number, (group, trained, seconds) in enumerate(train(groups, update), 1):
            for training, result in zip(group, trained, strict=True):
                rows.append(results.store(workdir, training, result, seconds / len(group)))
            results.write_rows(workdir, rows)
            log.info("group %d of %d: %s, in %.0f s", number, len(groups), describe(group), seconds)
    return rows


def _print_estimate(groups: Sequence[Group], done: int) -> None:
    print(f"{sum(map(len, groups))} trainings to do in {len(groups)} groups, {done} already done")
    total = 0.0
    for number, (group, compilation, training) in enumerate(launch.estimates(groups), 1):
        epochs = group[0].member.config.train.epochs
        print(f"group {number}: {describe(group)}; {epochs} epochs, about {_duration(training)}")
        total += compilation + training
    print(f"about {_duration(total)} in total" + (", with --launcher=local" if _FLAGS.launcher != "local" else ""))


def _power(trainings: Sequence[Training], comparisons: int) -> str:
    """What difference the experiment can show, judged by the drawings that its first variant holds out."""
    of_variant = [one.member for one in trainings if one.variant == trainings[0].variant]
    held_out = np.unique(np.concatenate([one.split.validation for one in of_variant]))
    writers = len(np.unique(of_variant[0].dataset.writers[held_out]))
    least = power.detectable_difference(writers, len(of_variant), comparisons)
    if not math.isfinite(least):
        return "no difference can be shown with one writer held out, or one training a variant: raise --seeds"
    return (
        f"{power.POWER:.0%} of such experiments show a difference of {100 * least:.2f} points on unseen writers "
        f"({len(of_variant)} trainings a variant, {writers} writers held out, comparisons: {comparisons})"
    )


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


if __name__ == "__main__":
    cli.run(main, _FLAGS)
