"""How much better does a recogniser look when it is validated on the writers it was trained on?

    python -m gradejax.ablate --experiment=experiments/splits.py --seeds=2 --workdir=runs/splits

A fifth of the writers, the same for every seed, are held out as test writers. The rest are split by writer, at random
or in order of insertion. If validation accuracy exceeds test accuracy, writers have leaked. The base is configs/cnn.py
with half its epochs, over which the whole learning rate schedule runs. 3 variants x 2 seeds x 3 folds x 20 epochs.
"""

from ml_collections import ConfigDict

from configs import cnn

MEASURES = {"on validation": "val_accuracy", "on test writers": "test_accuracy"}


def get_config() -> ConfigDict:
    config = cnn.get_config()
    config.data.test_fraction = 0.2
    config.train.epochs = 20
    config.data.folds = 3
    return config


def get_variants() -> dict[str, dict]:
    return {split: {"data.split": split} for split in ("writer", "random", "sequential")}
