"""How much does the peak learning rate matter to the CNN?

    python -m gradejax.ablate --experiment=experiments/learning_rate.py --seeds=2 --workdir=runs/learning_rate

The base is configs/cnn.py, whose peak is 3e-3, with half its epochs, over which the whole schedule runs. 5 variants x
2 seeds x 3 folds x 20 epochs.
"""

from ml_collections import ConfigDict

from configs import cnn


def get_config() -> ConfigDict:
    config = cnn.get_config()
    config.train.epochs = 20
    config.data.folds = 3
    return config


def get_variants() -> dict[str, dict]:
    return {f"learning rate {rate:g}": {"train.learning_rate": rate} for rate in (3e-3, 3e-4, 1e-3, 1e-2, 3e-2)}
