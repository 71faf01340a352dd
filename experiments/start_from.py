"""Are fifty drawings enough, if training starts from the recogniser that comes with gradejax?

    python -m gradejax.ablate --experiment=experiments/start_from.py --seeds=5 --workdir=runs/start_from

From scratch, the recipe is configs/cnn.py, as in experiments/train_size.py: the fewer drawings, the more epochs. From
the shipped recogniser, the network and its distortions are those of configs/best.py, with a tenth of its learning rate,
20 epochs and no synthetic drawings. Smaller training sets are subsets of larger ones. The shipped recogniser has seen
no drawing of Chars74K. 8 variants x 3 folds.
"""

from ml_collections import ConfigDict

from configs import best, cnn
from gradejax.recipe import as_json

SIZES = {"50": (50, 400), "200": (200, 200), "400": (400, 100), "all": (0, 40)}
"""For each size its number of drawings, and the epochs from scratch."""


def get_config() -> ConfigDict:
    config = cnn.get_config()
    config.data.folds = 3
    return config


def get_variants() -> dict[str, dict]:
    recipe = best.get_config()
    groups = {"augment": as_json(recipe.augment), "data": {"resampling": recipe.data.resampling}}
    groups["train"] = {
        key: recipe.train[key] for key in ("batch_size", "label_smoothing", "ema_decay", "warmup_epochs")
    }
    groups["train"] |= {"start_from": "shipped", "learning_rate": 3e-4, "epochs": 20}
    shipped = {f"{name}.{key}": value for name, group in groups.items() for key, value in group.items()}
    shipped["model"] = as_json(recipe.model)
    variants = {}
    for name, (n, epochs) in reversed(SIZES.items()):
        variants[f"{name} drawings, from scratch"] = {"data.train_drawings": n, "train.epochs": epochs}
        variants[f"{name} drawings, shipped start"] = {**shipped, "data.train_drawings": n}
    return variants
