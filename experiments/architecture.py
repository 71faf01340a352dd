"""How much do convolutions gain over an MLP, and batch norm over convolutions without it?

    python -m gradejax.ablate --experiment=experiments/architecture.py --seeds=2 --workdir=runs/architecture

The base is configs/cnn.py with half its epochs, over which the whole learning rate schedule runs. The MLP is
configs/mlp.py with the CNN's distortions. 3 variants x 2 seeds x 3 folds.
"""

from ml_collections import ConfigDict

from configs import cnn, mlp
from gradejax.recipe import as_json


def get_config() -> ConfigDict:
    config = cnn.get_config()
    config.train.epochs = 20
    config.data.folds = 3
    return config


def get_variants() -> dict[str, dict]:
    recipe = as_json(mlp.get_config())
    return {
        "CNN": {},
        "CNN without batch norm": {"model.batch_norm": False},
        "MLP": {"model": recipe["model"], **{f"train.{key}": value for key, value in recipe["train"].items()}},
    }
