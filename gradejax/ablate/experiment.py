"""Experiment files: a question, a base config, and variants of it.

An experiment is a Python file with
- a docstring that asks the question,
- `get_config()`, which returns the base config,
- `get_variants()`, which returns a mapping from names to overrides such as `{"model.dropout": 0.5}`; the other variants
  are compared with the first,
- optionally `MEASURES`, a mapping from names to `val_accuracy` (the default), `best_val_accuracy`, `test_accuracy` or
  `best_epoch_test_accuracy`,
- optionally `PICTURE`: `dots` (the default), `curves` or `line`.
"""

import ast
import copy
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from gradejax import prepare, recipe
from gradejax.errors import UserError

MEASURES = ("val_accuracy", "best_val_accuracy", "test_accuracy", "best_epoch_test_accuracy")
PICTURES = ("dots", "curves", "line")
_MAX_NAME_LENGTH = 100


class Experiment(NamedTuple):
    """The contents of an experiment file.

    Attributes:
        name: of the file, without its suffix.
        question: the docstring.
        variants: each variant's whole config, the base first.
        measures: from a name to one of `MEASURES`.
        picture: one of `PICTURES`.
    """

    name: str
    question: str
    variants: dict[str, ConfigDict]
    measures: dict[str, str]
    picture: str


def load(path: Path, base: ConfigDict) -> Experiment:
    """Loads an experiment file.

    Args:
        path: the file.
        base: its base config, with the changes made on the command line.

    Raises:
        UserError: when the file cannot be run, or what it defines makes no sense.
    """
    recipe.check(base)
    module = _run(path)
    try:
        overrides_of = module.get_variants() if hasattr(module, "get_variants") else None
    except Exception as error:  # a Python file may raise anything
        raise UserError(f"{path}: {type(error).__name__}: {error}") from None
    if not isinstance(overrides_of, Mapping):
        raise UserError(f"{path} has no get_variants() that returns a mapping from names to overrides, the base first")
    variants = {str(name): varied(base, str(name), overrides) for name, overrides in overrides_of.items()}
    if not variants:
        raise UserError(f"{path}: get_variants() is empty")
    if len(variants) < len(overrides_of):
        raise UserError(f"{path}: two variants have the same name")
    measures = getattr(module, "MEASURES", {"validation accuracy": "val_accuracy"})
    if not measures or not isinstance(measures, Mapping):
        raise UserError(f"{path}: MEASURES must be a mapping from names to {', '.join(MEASURES)}")
    for name in (*variants, *measures):
        # Each name is a row of the table and a label in the picture.
        if not isinstance(name, str) or not name.strip() or not name.isprintable() or len(name) > _MAX_NAME_LENGTH:
            limit = f"one line of at most {_MAX_NAME_LENGTH} characters"
            raise UserError(f"{path}: a name must be {limit}, not {name!r:.80}")
    if unknown := [measure for measure in measures.values() if measure not in MEASURES]:
        raise UserError(f"{path}: no measure is called {unknown[0]!r}: there are {', '.join(MEASURES)}")
    if not base.data.test_fraction and any("test" in measure for measure in measures.values()):
        raise UserError(f"{path} measures test accuracy without test drawings: set data.test_fraction in get_config()")
    picture = getattr(module, "PICTURE", "dots")
    if picture not in PICTURES:
        raise UserError(f"{path}: no PICTURE is called {picture!r}: there are {', '.join(PICTURES)}")
    if picture == "line" and len(measures) > 1:
        raise UserError(f"{path}: the PICTURE 'line' shows one measure, and there are {len(measures)}")
    # `python -OO` drops a module's __doc__.
    question = ast.get_docstring(ast.parse(path.read_bytes())) or ""
    return Experiment(path.stem, question, variants, dict(measures), picture)


def _run(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise UserError(f"{path} is not a Python file: its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # a Python file may raise anything
        raise UserError(f"{path}: {type(error).__name__}: {error}") from None
    return module


def varied(base: ConfigDict, variant: str, overrides: object) -> ConfigDict:
    """A copy of a config with some keys changed.

    Args:
        base: the config.
        variant: a name for error messages.
        overrides: a mapping from dotted keys to values. The key `model`, with a mapping, replaces the whole group.

    Raises:
        UserError: when a key does not exist, or a value makes no sense.
    """
    config = copy.deepcopy(base)
    try:
        if not isinstance(overrides, Mapping):
            raise UserError(f"its overrides are {overrides!r:.80}, not a mapping such as {{'model.dropout': 0.5}}")
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
        raise UserError("it sets 'seed': every variant is trained with the seeds 0, 1, … that --seeds asks for")
    with config.unlocked():
        if name == "model":
            config.model = ConfigDict(value)
        elif not key or not isinstance(config.get(group), ConfigDict):
            raise UserError(f"it sets {name!r}, which is not a key of a config: see gradejax/recipe.py")
        else:
            try:
                config[group][key] = value
            except TypeError:
                raise UserError(
                    f"{name} cannot be {value!r:.80}: it must be {recipe.kind_of(config[group][key])}"
                ) from None
