"""Experiments: a question, a base config, and variants of it to train with several seeds.

An experiment is a Python file: a docstring with the question, `get_config()` with the base config, and
`get_variants()`, a mapping from a name to overrides such as `{"model.dropout": 0.5}`; the first variant is the base
that the others are compared with. It may say more: MEASURES, a mapping from a name to one of `val_accuracy`,
`best_val_accuracy`, `test_accuracy` and `best_epoch_test_accuracy` (the first alone unless it does), and PICTURE, one
of `dots`, `curves` and `line`.
"""

import ast
import copy
import hashlib
import importlib.util
import json
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from gradejax import prepare, recipe
from gradejax.ablate import population
from gradejax.dataset import Dataset
from gradejax.errors import UserError
from gradejax.stores import Store

MEASURES = ("val_accuracy", "best_val_accuracy", "test_accuracy", "best_epoch_test_accuracy")
PICTURES = ("dots", "curves", "line")
_LONGEST_NAME = 100


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
    recipe.check(base)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        given = module.get_variants() if hasattr(module, "get_variants") else None
    except Exception as error:  # a Python file: anything can be wrong with it
        raise UserError(f"{path}: {type(error).__name__}: {error}") from None
    if not isinstance(given, Mapping):
        raise UserError(
            f"{path} has no get_variants() that returns a mapping from a name to overrides, the base's first"
        )
    variants = {str(name): varied(base, str(name), overrides) for name, overrides in given.items()}
    measures = getattr(module, "MEASURES", {"validation accuracy": "val_accuracy"})
    picture = getattr(module, "PICTURE", "dots")
    if not variants:
        raise UserError(f"{path}: get_variants() is empty")
    if len(variants) < len(given):
        raise UserError(f"{path}: two variants have the same name")
    if not measures or not isinstance(measures, Mapping):
        raise UserError(f"{path}: MEASURES is no mapping from a name to one of {', '.join(MEASURES)}")
    for name in (*variants, *measures):
        # It is a row of a table and a line in a picture.
        if not isinstance(name, str) or not name.strip() or not name.isprintable() or len(name) > _LONGEST_NAME:
            raise UserError(f"{path}: a name must be one line of at most {_LONGEST_NAME} letters, and not {name!r:.80}")
    if unknown := [measure for measure in measures.values() if measure not in MEASURES]:
        raise UserError(f"{path}: no measure is called {unknown[0]!r}: there are {', '.join(MEASURES)}")
    if not base.data.test_fraction and any("test" in measure for measure in measures.values()):
        raise UserError(f"{path} measures on a test side and has none: set data.test_fraction in get_config()")
    if picture not in PICTURES:
        raise UserError(f"{path}: no PICTURE is called {picture!r}: there are {', '.join(PICTURES)}")
    # Not the module's own, which `python -OO` forgets.
    question = ast.get_docstring(ast.parse(path.read_bytes())) or ""
    return Experiment(path.stem, question, variants, dict(measures), picture)


def varied(base: ConfigDict, variant: str, overrides: Mapping[str, Any]) -> ConfigDict:
    """A copy of `base` with `overrides`: keys with a dot; `model` alone with a mapping replaces the whole group."""
    config = copy.deepcopy(base)
    try:
        if not isinstance(overrides, Mapping):
            raise UserError(
                f"its overrides are {overrides!r:.80}: they must be a mapping such as {{'model.dropout': 0.5}}"
            )
        for name, value in overrides.items():
            _override(config, str(name), value)
        recipe.check(config)
        prepare.network(config)
    except UserError as error:
        raise UserError(f"variant {variant!r}: {error}") from None
    return config


def _override(config: ConfigDict, name: str, value: Any) -> None:
    group, _, key = name.partition(".")
    if name == "seed":
        raise UserError("it sets 'seed': each variant is trained with the seeds 0, 1, … that --seeds asks for")
    with config.unlocked():
        if name == "model":
            config.model = ConfigDict(value)
        elif not key or not isinstance(config.get(group), ConfigDict):
            raise UserError(f"it sets {name!r}, which no config has: see gradejax/recipe.py")
        else:
            try:
                config[group][key] = value
            except TypeError:
                raise UserError(
                    f"{name} cannot be {value!r:.80}: it must be {recipe.kind_of(config[group][key])}"
                ) from None


def plan(experiment: Experiment, seeds: int, store: Store) -> list[Training]:
    """Every variant with every seed. Each drawing is loaded once for each way that it is resampled."""
    loaded: dict[str, Dataset] = {}
    trainings = []
    for variant, base in experiment.variants.items():
        about = repr((base.data.tags, base.data.size, base.data.resampling))
        if about not in loaded:
            loaded[about] = prepare.dataset(base, store)
        for seed in range(seeds):
            config = copy.deepcopy(base)
            config.seed = seed
            member = population.Member(config, *prepare.split_and_mix(config, loaded[about]))
            trainings.append(Training(variant, seed, member, _digest(member)))
    return trainings


def _digest(member: population.Member) -> str:
    settings = recipe.as_json(member.config)
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
