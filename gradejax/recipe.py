"""What a recipe may set, with the defaults. The files in `configs/` start from `base()`."""

import difflib
import inspect
import reprlib
import runpy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from gradejax import scales
from gradejax.errors import UserError

_FOLDERS = (Path(__file__).parent / "configs", Path(__file__).parent.parent / "configs")
# In an installed package, and in a checkout.
SHIPPED = {path.stem: path for folder in _FOLDERS for path in sorted(folder.glob("*.py")) if path.stem != "__init__"}
"""The recipes that come with gradejax, by name: `cnn`."""


def find(name: str) -> Path:
    """The file of a recipe: `name` itself if there is such a file, else the shipped recipe of that name."""
    path = Path(name)
    return path if path.exists() else SHIPPED.get(name, path)


def require(path: Path) -> None:
    """Raises UserError if there is no such recipe."""
    if not path.is_file():
        raise UserError(f"no config {path}: name a file, or one of gradejax's own recipes: {', '.join(SHIPPED)}")


def load(name: str) -> ConfigDict:
    """The config of a recipe: of a shipped one by its name, or of a Python file.

    Raises:
        UserError: when there is no such recipe, it cannot be run, or what it returns is not a config.
    """
    path = find(name)
    require(path)
    try:
        config = runpy.run_path(str(path))["get_config"]()
    except Exception as error:  # a Python file may raise anything
        raise UserError(f"{path}: {type(error).__name__}: {error}") from error
    check(config)
    return config


def define_config(flag_values: flags.FlagValues) -> None:
    """Defines --config, whose value is the path of a recipe or the name of a shipped one."""
    help = f"The recipe: a Python file, or one that comes with gradejax ({', '.join(SHIPPED)})."
    config_flags.DEFINE_config_file("config", None, help, flag_values=flag_values)
    flag_values["config"].parser = _NamedRecipe(flag_values["config"].parser)


class _NamedRecipe(flags.ArgumentParser):
    """Lets --config name a shipped recipe."""

    def __init__(self, by_path: flags.ArgumentParser):
        self._by_path = by_path

    def parse(self, argument: str) -> ConfigDict | None:
        return self._by_path.parse(str(find(argument)))

    def flag_type(self) -> str:
        return self._by_path.flag_type()


def base() -> ConfigDict:
    """All keys with their defaults. A recipe changes some of them, and adds its model's options."""
    config = ConfigDict()
    config.seed = 0  # for initialisation, order, augmentation, dropout and split

    config.data = ConfigDict()
    config.data.store = ""  # address of the drawings; if empty: --store, GRADEJAX_STORE or sqlite:///data/grades.db
    config.data.scale = ""  # of the grades: german, or poor,fair,good; if empty: --scale, or the store's own
    config.data.tags = ""  # only drawings with one of these tags: 3a,3b; all drawings if empty
    config.data.split = "writer"  # writer, random or sequential
    config.data.validation_fraction = 0.2  # of the writers, or of the drawings
    config.data.folds = 0  # 5: hold every writer out once, each time training on the other four fifths; see prepare.py
    config.data.test_fraction = 0.0  # of the writers; set aside before the split, scored after training
    config.data.train_drawings = 0  # train only on so many, drawn at random; 0: on all
    config.data.synthetic = 0  # synthetic drawings of grades to add to the training drawings
    config.data.others = 0  # synthetic drawings of other letters, digits and marks to add, which show no grade
    config.data.size = 28  # pixels a side
    config.data.resampling = "area"  # crop: around the ink first; point: skips most pixels
    config.data.cache = ".cache/drawings"  # folder for decoded drawings; no cache if empty

    config.augment = ConfigDict()
    config.augment.rotation = 0.0  # degrees, to either side
    config.augment.shift = 0.0  # fraction of the side, in each direction
    config.augment.shear = 0.0  # degrees (as in Keras), to either side
    config.augment.zoom = 0.0  # each axis is scaled by 1 - zoom to 1 + zoom
    config.augment.elastic = 0.0  # fraction of the side by which the points of a coarse grid move, in each direction
    config.augment.pen_width = 0.0  # pixels by which lines get wider or thinner

    config.model = ConfigDict()
    config.model.name = "cnn"  # or mlp; the other keys of this group are the options of that model

    config.train = ConfigDict()
    config.train.start_from = ""  # a run whose trained parameters to begin with, or shipped: gradejax's own
    config.train.epochs = 40
    config.train.batch_size = 32
    config.train.learning_rate = 1e-3  # the peak: linear warm-up to it, cosine decay after it
    config.train.learning_rate_end = 0.0  # fraction of the peak at the end of the decay; 1: no decay
    config.train.warmup_epochs = 2.0
    config.train.optimizer = "adamw"  # or sgd, with a momentum of 0.9
    config.train.adam_epsilon = 1e-8  # AdamW's; larger: parameters with small gradients move less
    config.train.weight_decay = 1e-4  # decoupled from the gradient, on kernels only
    config.train.label_smoothing = 0.0
    config.train.ema_decay = 0.0  # above 0: the moving average of the variables is evaluated and kept
    config.train.reestimate_statistics = False  # batch norm's, after each epoch, with the parameters then reached
    config.train.checkpoint_every = 5  # epochs

    config.evaluate = ConfigDict()
    config.evaluate.batch_size = 512
    config.evaluate.mistakes = 24  # shown in plots/mistakes.png
    return config


_OPTIMIZERS = ("adamw", "sgd")
_BOUNDS = {
    "seed": (0, 2**31 - 1),
    "data.synthetic": (0, 10**7),
    "data.others": (0, 10**7),
    "data.size": (8, 512),
    "data.validation_fraction": (0, 1),
    "data.folds": (0, 1000),
    "data.test_fraction": (0, 0.99),
    "data.train_drawings": (0, 10**9),
    "train.epochs": (1, 10**6),
    "train.batch_size": (1, 10**6),
    "train.learning_rate": (0, 1e3),
    "train.learning_rate_end": (0, 1),
    "train.warmup_epochs": (0, 10**6),
    "train.adam_epsilon": (1e-30, 1),
    "train.weight_decay": (0, 1e3),
    "train.label_smoothing": (0, 0.999),
    "train.ema_decay": (0, 0.99999),
    "train.checkpoint_every": (1, 10**6),
    "evaluate.batch_size": (1, 10**6),
    "evaluate.mistakes": (1, 200),
    "augment.rotation": (0, 360),
    "augment.shift": (0, 1),
    "augment.shear": (0, 89),
    "augment.zoom": (0, 0.99),
    "augment.elastic": (0, 1),
    "augment.pen_width": (0, 2),
}


def check(config: object) -> None:
    """Checks the keys and values of a config; a model's options are checked against their defaults in `models.MODELS`.

    Raises:
        UserError: when a key is missing or does not exist, or its value has a wrong type or is out of bounds.
    """
    if not isinstance(config, ConfigDict):
        getattr(config, "seed", None)  # raises the OSError of a file that could not be read
        raise UserError(f"get_config() returns {_short(config)}: it must return a config that begins with {_BASE}")
    reference = base()
    for key, value in reference.items():
        if key not in config:
            raise UserError(f"the config has no {key!r}: begin it with {_BASE}")
        if isinstance(value, ConfigDict) and not isinstance(config[key], ConfigDict):
            raise UserError(
                f"{key} is {_short(config[key])}: it must be a group of keys; begin the config with {_BASE}"
            )
    known = _flat(reference)
    try:
        given = _flat(config)
    except TypeError:
        raise UserError("the config has keys that are not text, as in config.train[3]") from None
    if missing := known.keys() - given.keys():
        raise UserError(f"the config has no {min(missing)!r}: begin it with {_BASE}")
    known |= _model_options(given["model.name"])
    for name, value in given.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            advice = f"did you mean {near[0]!r}?" if near else "gradejax/recipe.py lists the keys"
            raise UserError(f"the config sets {name!r}, which does not exist: {advice}")
        if not _is_like(value, known[name]):
            raise UserError(f"{name} is {_short(value)}: it must be {kind_of(known[name])}, such as {known[name]!r}")
    if given["data.scale"]:
        scales.parse(given["data.scale"])
    if given["data.folds"] == 1:
        raise UserError("data.folds is 1: it must be 2 or more, or 0 for a single split")
    if given["train.optimizer"] not in _OPTIMIZERS:
        raise UserError(
            f"no optimizer is called {given['train.optimizer']!r}: train.optimizer is one of {', '.join(_OPTIMIZERS)}"
        )
    for name, (low, high) in _BOUNDS.items():
        if not low <= given[name] <= high:
            raise UserError(f"{name} is {given[name]}: it must be between {low:,} and {high:,}")


def change(config: ConfigDict, changes: Mapping[str, object]) -> None:
    """Changes keys of a config, named as in `{"train.epochs": 10}`.

    Raises:
        UserError: when a group does not exist, or a value has another type than the one it replaces. `check` finds
            keys that do not exist.
    """
    for name, value in changes.items():
        group, _, key = name.rpartition(".")
        keys = config.get(group) if group else config
        if not isinstance(keys, ConfigDict):
            raise UserError(f"no key of a config is called {name!r}: gradejax/recipe.py lists them")
        with config.unlocked():
            try:
                keys[key] = value
            except TypeError:
                raise UserError(f"{name} cannot be {_short(value)}: it must be {kind_of(keys[key])}") from None


def kind_of(default: Any) -> str:
    """The type that a value must have to replace `default`, in words."""
    if isinstance(default, tuple):
        return f"a tuple, each value {kind_of(_item_of(default))}"
    return {bool: "True or False", int: "a whole number", float: "a number", str: "text"}[type(default)]


_BASE = "`config = gradejax.recipe.base()`"


def _flat(config: ConfigDict) -> dict[str, Any]:
    """The values by their full names: `{"train.epochs": 40}`."""
    flat = {}
    for name, value in config.items():
        flat |= {f"{name}.{key}": v for key, v in value.items()} if isinstance(value, ConfigDict) else {name: value}
    return flat


def _model_options(name: str) -> dict[str, Any]:
    """A model's options with their defaults, named as by `_flat`."""
    from gradejax import models  # imports JAX, which --help need not wait for

    if name not in list(models.MODELS):  # a list, for the name may be unhashable
        raise UserError(f"no model is called {name!r}: model.name is one of {', '.join(models.MODELS)}")
    options = inspect.signature(models.MODELS[name]).parameters.values()
    return {f"model.{option.name}": option.default for option in options if option.kind is option.KEYWORD_ONLY}


def _item_of(default: tuple[Any, ...]) -> Any:
    """What the items of a tuple are like; an empty one is for whole numbers."""
    return default[0] if default else 0


def _is_like(value: Any, default: Any) -> bool:
    """Whether a value has the type of a default. A bool is not a number; a whole number will do for a float."""
    if isinstance(default, tuple):
        return isinstance(value, tuple | list) and all(_is_like(item, _item_of(default)) for item in value)
    if isinstance(value, bool) or isinstance(default, bool):
        return isinstance(value, bool) and isinstance(default, bool)
    return isinstance(value, int | float if isinstance(default, float) else type(default))


def _short(value: Any) -> str:
    return reprlib.repr(value)


def tags(config: ConfigDict) -> tuple[str, ...]:
    """The tags in `data.tags`."""
    return tuple(filter(None, (name.strip() for name in config.data.tags.split(","))))


def as_json(config: ConfigDict) -> dict[str, Any]:
    """The config as plain dicts, lists and values, which survive a round trip through JSON."""
    return {
        key: as_json(value) if isinstance(value, ConfigDict) else list(value) if isinstance(value, tuple) else value
        for key, value in config.items()
    }
