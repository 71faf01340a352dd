"""Runs an experiment: prepares its trainings, trains what is missing, and reports."""

import logging
import math
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from gradejax import population, runs, stores
from gradejax.ablate import launch, power, report, results
from gradejax.ablate.experiment import Experiment, load
from gradejax.ablate.trainings import Group, Training, describe, groups_of, trainings_of
from gradejax.errors import UserError
from gradejax.prepare import ready
from gradejax.progress import progress

log = logging.getLogger("gradejax.ablate")

MAX_PARALLEL_MEMBERS = 64
"""Largest group on a GPU, where its members advance in parallel."""


class Options(NamedTuple):
    """An experiment, and how to run it.

    Attributes:
        file: of the experiment.
        config: its base config, with the changes made on the command line.
        store: address of the drawings; None for the experiment's own, or the default.
        seeds: trainings per variant.
        workdir: folder for the results; None for a new one.
        launcher: where the groups are trained: `local` or `ray`.
    """

    file: Path
    config: ConfigDict
    store: str | None
    seeds: int
    workdir: Path | None
    launcher: str


def run(options: Options) -> None:
    """Trains what `options.workdir` lacks, and prints and writes the report.

    Raises:
        UserError: for whatever the user can put right.
    """
    experiment = load(options.file, options.config)
    trainings = _trainings(experiment, options)
    workdir = options.workdir or runs.new_workdir(f"ablate-{experiment.name}")
    with runs.held(workdir):
        rows = _train(workdir, trainings, options)
        print(report.write(workdir, experiment, trainings, rows))
    print(f"written to {workdir}/results.md, results.png and results.csv")


def estimate(options: Options) -> None:
    """Prints what `run` would train, how long it would take, and how small a difference it could show.

    Raises:
        UserError: for whatever the user can put right.
    """
    experiment = load(options.file, options.config)
    trainings = _trainings(experiment, options)
    workdir = options.workdir
    remaining = _remaining(workdir, trainings, results.read_rows(workdir)) if workdir else trainings
    groups = _grouped(remaining, options)
    _print_estimate(groups, len(trainings) - len(remaining), options.launcher)
    print(_power(trainings, len(experiment.variants) * len(experiment.measures) - 1))


def _trainings(experiment: Experiment, options: Options) -> list[Training]:
    with closing(stores.open_store(stores.store_uri(options.store, options.config.data.store))) as store:
        ready(store, options.config)
        return trainings_of(experiment, options.seeds, store)


def _remaining(workdir: Path, trainings: Sequence[Training], rows: Sequence[results.Row]) -> list[Training]:
    done = {(row.variant, row.digest) for row in rows}
    return [one for one in trainings if (one.variant, one.digest) not in done or not results.is_stored(workdir, one)]


def _grouped(trainings: Sequence[Training], options: Options) -> list[Group]:
    together = max(options.seeds, options.config.data.folds)
    return groups_of(trainings, MAX_PARALLEL_MEMBERS if population.members_run_in_parallel() else together)


def _train(workdir: Path, trainings: Sequence[Training], options: Options) -> list[results.Row]:
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
    groups = _grouped(remaining, options)
    train = {"local": launch.train_locally, "ray": launch.train_with_ray}[options.launcher]
    with progress("training", sum(one.member.config.train.epochs for one in remaining)) as update:
        for number, (group, trained, seconds) in enumerate(train(groups, update), 1):
            for training, result in zip(group, trained, strict=True):
                rows.append(results.store(workdir, training, result, seconds / len(group)))
            results.write_rows(workdir, rows)
            log.info("group %d of %d: %s, in %.0f s", number, len(groups), describe(group), seconds)
    return rows


def _print_estimate(groups: Sequence[Group], done: int, launcher: str) -> None:
    print(f"{sum(map(len, groups))} trainings to do in {len(groups)} groups, {done} already done")
    total = 0.0
    for number, (group, compilation, training) in enumerate(launch.estimates(groups), 1):
        epochs = group[0].member.config.train.epochs
        print(f"group {number}: {describe(group)}; {epochs} epochs, about {_duration(training)}")
        total += compilation + training
    print(f"about {_duration(total)} in total" + (", with --launcher=local" if launcher != "local" else ""))


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
