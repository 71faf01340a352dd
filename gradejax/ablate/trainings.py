"""The trainings that an experiment consists of, in groups that share a program."""

import copy
import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

from gradejax import population, prepare, recipe
from gradejax.ablate.experiment import Experiment
from gradejax.dataset import Dataset
from gradejax.stores import Store


class Training(NamedTuple):
    """One training of an experiment.

    Attributes:
        variant: its name.
        seed: also `seed` in the config.
        fold: 1, 2, …; 0 without `data.folds`.
        member: its config and drawings.
        digest: SHA-256 of everything its outcome depends on, drawings included.
    """

    variant: str
    seed: int
    fold: int
    member: population.Member
    digest: str

    @property
    def folder(self) -> str:
        """Name of its folder below trainings/."""
        return folder_name(self.digest)


def folder_name(digest: str) -> str:
    """Name of the folder, below trainings/, of the training with that digest."""
    return digest[:16]


Group = Sequence[Training]
"""Trainings that share a program."""


def trainings_of(experiment: Experiment, seeds: int, store: Store) -> list[Training]:
    """Every variant with every seed from 0 to `seeds` - 1, and with every fold.

    Raises:
        UserError: when the store lacks the drawings, or has too few for the split.
    """
    datasets: dict[str, Dataset] = {}  # variants share the drawings that are decoded in the same way
    trainings = []
    for variant, base in experiment.variants.items():
        key = repr((base.data.tags, base.data.size, base.data.resampling))
        if key not in datasets:
            datasets[key] = prepare.dataset(base, store)
        for seed in range(seeds):
            config = copy.deepcopy(base)
            config.seed = seed
            data, splits = prepare.split_and_mix(config, datasets[key])
            for fold, split in enumerate(splits, 1):
                member = population.Member(config, data, split)
                number = fold if config.data.folds else 0
                trainings.append(Training(variant, seed, number, member, _digest(member, number)))
    return trainings


def _digest(member: population.Member, fold: int) -> str:
    settings, defaults = recipe.as_json(member.config), recipe.as_json(recipe.base())
    # These do not affect the outcome of a training.
    for group, key in (("data", "store"), ("data", "scale"), ("data", "cache"), ("train", "checkpoint_every")):
        del settings[group][key]
    del settings["evaluate"]
    # Without defaults, so that a key that is added later leaves the digests of earlier trainings as they are.
    for group, of_group in defaults.items():
        if isinstance(of_group, dict) and group in settings:
            settings[group] = {key: value for key, value in settings[group].items() if of_group.get(key) != value}
    content = [settings, member.dataset.digest, fold]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def groups_of(trainings: Sequence[Training], max_members: int) -> list[Group]:
    """Groups trainings by program, at most `max_members` to a group; groups of one program follow each other."""
    programs: dict[str, list[Training]] = {}
    for training in trainings:
        programs.setdefault(population.program_key(training.member.config), []).append(training)
    return [
        alike[start : start + max_members] for alike in programs.values() for start in range(0, len(alike), max_members)
    ]


def describe(group: Group) -> str:
    """The variants and seeds in a group: `dropout 0.3 (seeds 0, 1); dropout 0 (seed 0, 5 folds)`."""
    descriptions = []
    for variant, trainings in groupby(group, lambda training: training.variant):
        of_seeds = Counter(training.seed for training in trainings)
        folds = max(of_seeds.values())
        seeds = f"seed{'s' if len(of_seeds) > 1 else ''} {', '.join(map(str, of_seeds))}"
        descriptions.append(f"{variant} ({seeds}{f', {folds} folds' if folds > 1 else ''})")
    return "; ".join(descriptions)
