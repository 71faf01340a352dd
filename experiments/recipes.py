"""How accurate are the three recipes on unseen writers?

    python -m gradejax.ablate --experiment=experiments/recipes.py --seeds=2 --workdir=runs/recipes

Each recipe is taken as it is, with all its epochs. Five folds hold every writer out once, so that each drawing is read
by a network that has not seen its writer. 3 variants x 2 seeds x 5 folds, most of the time for best.
"""

from ml_collections import ConfigDict

from configs import best, cnn, mlp
from gradejax.recipe import as_json


def get_config() -> ConfigDict:
    config = cnn.get_config()
    config.data.folds = 5
    return config


def get_variants() -> dict[str, dict]:
    return {"cnn": {}, "mlp": _whole(mlp.get_config()), "best": _whole(best.get_config())}


def _whole(config: ConfigDict) -> dict:
    """The overrides that make this recipe of any other, on the same drawings."""
    groups = {name: as_json(config[name]) for name in ("augment", "train")}
    groups["data"] = {key: config.data[key] for key in ("synthetic", "others", "resampling")}
    overrides = {f"{name}.{key}": value for name, group in groups.items() for key, value in group.items()}
    return {"model": as_json(config.model), **overrides}
