"""Trains groups on this machine or on a Ray cluster, and estimates how long they take."""

import copy
import logging
import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

from gradejax import population
from gradejax.ablate.trainings import Group, describe
from gradejax.errors import UserError
from gradejax.progress import Update


class Trained(NamedTuple):
    """A group that has been trained.

    Attributes:
        group: its trainings.
        results: for each training.
        seconds: for the whole group.
    """

    group: Group
    results: list[population.Result]
    seconds: float


def train_locally(groups: Sequence[Group], update: Update) -> Iterator[Trained]:
    """Trains one group after another on this machine.

    Args:
        groups: those that share a program should follow each other, because only the last program is kept compiled.
        update: advanced by one for each epoch of each training.

    Yields:
        Each group when it is trained.
    """
    program: population.Program | None = None
    for group in groups:
        began = time.perf_counter()
        members = [training.member for training in group]
        if program is None or program.key != population.program_key(members[0].config):
            program = population.build_program(members[0].config, scale=members[0].dataset.scale)
        trained = population.train(members, program, partial(update, len(group)))
        yield Trained(group, trained, time.perf_counter() - began)


def train_with_ray(groups: Sequence[Group], update: Update) -> Iterator[Trained]:
    """Trains the groups as tasks on a Ray cluster: the one at RAY_ADDRESS, otherwise a new one on this machine.

    A group whose worker is lost is trained again on another.

    Args:
        groups: in any order.
        update: as for `train_locally`, but advanced only when a group is done.

    Yields:
        Each group when it is trained, in order of completion.

    Raises:
        UserError: when Ray is not installed, or a group's workers keep dying.
    """
    try:
        import ray
        import ray.exceptions
    except ImportError:
        raise UserError("--launcher=ray needs Ray: pip install 'gradejax[ray]'") from None
    ray.init(log_to_driver=False, logging_level=logging.WARNING)
    try:
        gpus = 1 if ray.cluster_resources().get("GPU") else 0
        task = ray.remote(num_gpus=gpus, max_retries=3)(train_group)
        waiting = {task.remote([training.member for training in group]): group for group in groups}
        while waiting:
            (finished,), _ = ray.wait(list(waiting))
            group = waiting.pop(finished)
            try:
                trained, seconds = ray.get(finished)
            except ray.exceptions.WorkerCrashedError:
                raise UserError(f"the workers of {describe(group)} keep dying: see Ray's logs") from None
            update(len(group) * len(trained[0].history))
            yield Trained(group, trained, seconds)
    finally:
        ray.shutdown()


def train_group(members: Sequence[population.Member]) -> tuple[list[population.Result], float]:
    """Trains members that share a program, in one call, as a Ray task must; also returns the seconds it took."""
    began = time.perf_counter()
    return population.train(
        members, population.build_program(members[0].config, scale=members[0].dataset.scale)
    ), time.perf_counter() - began


class Estimate(NamedTuple):
    """Seconds that a group will take. `compilation` is 0 if the previous group has the same program."""

    group: Group
    compilation: float
    training: float


def estimates(groups: Sequence[Group]) -> Iterator[Estimate]:
    """How long each group takes on this machine, measured on three epochs of each program."""
    key, epoch_seconds = None, 0.0
    for group in groups:
        members = [training.member for training in group]
        config = members[0].config
        parallel = population.members_run_in_parallel()
        compilation = 0.0
        if population.program_key(config) != key:
            key = population.program_key(config)
            first, epoch_seconds = _first_epochs(members if parallel else members[:1])
            compilation = max(first - epoch_seconds, 0)
        yield Estimate(group, compilation, epoch_seconds * (1 if parallel else len(members)) * config.train.epochs)


def _first_epochs(members: Sequence[population.Member]) -> tuple[float, float]:
    """Seconds of the first epoch, compilation included, and of a later one."""
    shortened = []
    for member in members:
        config = copy.deepcopy(member.config)
        config.train.epochs = 3
        shortened.append(member._replace(config=config))
    times = [time.perf_counter()]
    for _ in population.epochs(
        shortened, population.build_program(shortened[0].config, scale=shortened[0].dataset.scale)
    ):
        times.append(time.perf_counter())
    return times[1] - times[0], min(times[2] - times[1], times[3] - times[2])
