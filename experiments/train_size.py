"""How many drawings does the CNN need?

    python -m gradejax.ablate --experiment=experiments/train_size.py --seeds=1 --workdir=runs/train_size

Smaller training sets are subsets of larger ones, and all are validated on the same writers. Smaller sets are trained on
for more epochs, so that no training is short of steps. The base, all drawings, is configs/cnn.py with its 40 epochs. 6
variants x 3 folds.
"""

from ml_collections import ConfigDict

from configs import cnn

PICTURE = "line"


def get_config() -> ConfigDict:
    config = cnn.get_config()
    config.data.folds = 3
    return config


def get_variants() -> dict[str, dict]:
    epochs = {50: 400, 100: 300, 200: 200, 400: 100, 800: 60}
    fewer = {f"{n} drawings": {"data.train_drawings": n, "train.epochs": epochs[n]} for n in epochs}
    return {"all drawings": {}, **fewer}
