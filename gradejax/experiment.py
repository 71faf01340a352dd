"""Experiments: a question, a base config, and variants of it to train with several seeds.

An experiment is a Python file: a docstring with the question, `get_config()` with the base config, and
`get_variants()`, a mapping from a name to overrides such as `{"model.dropout": 0.5}`; the first variant is the base
that the others are compared with. It may say more: MEASURES, a mapping from a name to one of `val_accuracy`,
`best_val_accuracy`, `test_accuracy` and `best_epoch_test_accuracy` (the first alone unless it does), and PICTURE, one
of `dots`, `curves` and `line`.
"""

import copy
import hashlib
import importlib.util
import json
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from gradejax import config as configs
from gradejax import dataset as datasets
from gradejax import population
from gradejax.dataset import Dataset
from gradejax.errors import UserError
from gradejax.stores import Store

MEASURES = ("val_accuracy", "best_val_accuracy", "test_accuracy", "best_epoch_test_accuracy")
PICTURES = ("dots", "curves", "line")


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


Group = Sequence[Training]


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
            raise UserError(f"variant {variant!r} sets {name!r}, which no config has: see gradejax/config.py")
        else:
            try:
                config[group][key] = value
            except TypeError:
                raise UserError(f"variant {variant!r}: {name} cannot be {value!r}") from None
    configs.check(config)
    population.build(config)
    return config


def plan(experiment: Experiment, seeds: int, store: Store) -> list[Training]:
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
            parts = datasets.split_as(config, loaded[about])
            member = population.Member(config, *datasets.mix_as(config, loaded[about], parts))
            trainings.append(Training(variant, seed, member, _digest(member)))
    return trainings


def _digest(member: population.Member) -> str:
    settings = configs.as_json(member.config)
    # What a training's outcome does not depend on.
    for group, key in (("data", "store"), ("data", "cache"), ("train", "checkpoint_every")):
        del settings[group][key]
    del settings["evaluate"]
    return hashlib.sha256(json.dumps([settings, member.dataset.digest], sort_keys=True).encode()).hexdigest()


def groups(trainings: Sequence[Training], most: int) -> list[Group]:
    """Trainings that share a program, at most so many together; the groups of one program follow each other."""
    programs: dict[str, list[Training]] = {}
    for one in trainings:
        programs.setdefault(population.program(one.member.config), []).append(one)
    return [those[start : start + most] for those in programs.values() for start in range(0, len(those), most)]


def names(group: Group) -> str:
    """The variants in a group with their seeds: `base (seeds 0 to 7)`."""
    names = []
    for variant, those in groupby(group, lambda one: one.variant):
        seeds = [one.seed for one in those]
        names.append(f"{variant} (seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))})")
    return "; ".join(names)
