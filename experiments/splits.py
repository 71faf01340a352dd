"""How much better does a recogniser look when the people it is judged on are people it was trained on?

    python -m gradejax.ablate --experiment=experiments/splits.py --seeds=8 --workdir=runs/splits

A fifth of the writers is put aside first, the same ones for each seed. The rest is split by writer, at random, or in
the order of insertion. Where validation says more than the writers put aside bear out, writers have leaked. The base is
configs/cnn.py, but half its epochs: the learning rate comes down within them. 3 variants x 8 seeds x 20 epochs: about
5 minutes on two cores.
"""

from ml_collections import ConfigDict

from configs import cnn

MEASURES = {"on validation": "val_accuracy", "on writers put aside": "test_accuracy"}


def get_config() -> ConfigDict:
    config = cnn.get_config()
    config.data.test_fraction = 0.2
    config.train.epochs = 20
    return config


def get_variants() -> dict[str, dict]:
    return {how: {"data.split": how} for how in ("writer", "random", "sequential")}
