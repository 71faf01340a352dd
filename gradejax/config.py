"""What every recipe may set, with the value it has where a recipe does not. `configs/*.py` start from here."""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from gradejax.errors import UserError


def base() -> ConfigDict:
    """All keys with their defaults; a file in `configs/` sets those that make its recipe."""
    config = ConfigDict()
    config.seed = 0  # of initialisation, order, augmentation and split

    config.data = ConfigDict()
    config.data.store = ""  # address of the drawings; empty: --store, GRADEJAX_STORE or sqlite:///data/grades.db
    config.data.tags = ""  # only drawings with one of these tags: 3a,3b; empty: all
    config.data.split = "writer"  # writer, random or sequential
    config.data.validation_fraction = 0.2  # of the writers, or of the drawings
    config.data.test_fraction = 0.0  # of the writers, put aside before the split and scored after the training
    config.data.train_drawings = 0  # as many of those to train on, drawn at random; 0: all
    config.data.synthetic = 0  # so many made-up drawings of grades are trained on beside the store's
    config.data.others = 0  # and so many of other letters and digits, in which no grade is to be seen
    config.data.size = 28  # pixels a side
    config.data.resampling = "area"  # to that size; or point, which skips most pixels
    config.data.cache = ".cache/drawings"  # folder for decoded drawings; empty: none

    config.augment = ConfigDict()
    config.augment.rotation = 0.0  # degrees, to either side
    config.augment.shift = 0.0  # fraction of the side, in each direction
    config.augment.shear = 0.0  # degrees (as in Keras), to either side
    config.augment.zoom = 0.0  # each axis is scaled by 1 - zoom to 1 + zoom
    config.augment.elastic = 0.0  # fraction of the side that points of a coarse grid move, in each direction
    config.augment.pen_width = 0.0  # pixels that lines become wider or thinner

    config.model = ConfigDict()
    config.model.name = "cnn"  # the other keys of this group are the model's own options

    config.train = ConfigDict()
    config.train.epochs = 40
    config.train.batch_size = 32
    config.train.learning_rate = 1e-3  # at its peak: linear warm-up, then a cosine
    config.train.learning_rate_end = 0.0  # fraction of the peak that the cosine comes down to; 1: it stays
    config.train.warmup_epochs = 2.0
    config.train.weight_decay = 1e-4  # AdamW's, on kernels only
    config.train.label_smoothing = 0.0
    config.train.ema_decay = 0.0  # above 0, the moving average of the parameters is what is evaluated and kept
    config.train.checkpoint_every = 5  # epochs

    config.evaluate = ConfigDict()
    config.evaluate.batch_size = 512
    config.evaluate.mistakes = 24  # drawn in plots/mistakes.png
    return config


_BOUNDS = {
    "seed": (0, 2**31 - 1),
    "data.synthetic": (0, 10**7),
    "data.others": (0, 10**7),
    "data.size": (8, 512),
    "data.test_fraction": (0, 0.99),
    "data.train_drawings": (0, 10**9),
    "train.epochs": (1, 10**6),
    "train.batch_size": (1, 10**6),
    "train.learning_rate": (0, 1e3),
    "train.learning_rate_end": (0, 1),
    "train.warmup_epochs": (0, 10**6),
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


def check(config: ConfigDict) -> None:
    """Raises UserError, naming the key, where a config lacks one or holds a value that makes no sense."""
    reference = base()
    for group, keys in reference.items():
        if group not in config:
            raise UserError(f"the config has no {group!r}: begin it with `config = gradejax.config.base()`")
        for key in keys if isinstance(keys, Mapping) else ():
            if key not in config[group]:
                raise UserError(f"the config has no '{group}.{key}': begin it with `config = gradejax.config.base()`")
    for name, (low, high) in _BOUNDS.items():
        value = config
        for key in name.split("."):
            value = value[key]
        if not low <= value <= high:
            raise UserError(f"{name} is {value}: it must lie between {low:,} and {high:,}")


def tags(config: ConfigDict) -> tuple[str, ...]:
    """The names in `data.tags`."""
    return tuple(filter(None, (name.strip() for name in config.data.tags.split(","))))


def as_json(config: ConfigDict) -> dict[str, Any]:
    """The config as what JSON can hold and gives back equal."""
    return {
        key: as_json(value) if isinstance(value, ConfigDict) else list(value) if isinstance(value, tuple) else value
        for key, value in config.items()
    }
