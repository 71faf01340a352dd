"""Does dropout before the last layer help the CNN on unseen writers, and how much is best?

    python -m gradejax.ablate --experiment=experiments/dropout.py --seeds=2 --workdir=runs/dropout

The base is configs/cnn.py, whose rate is 0.3, with half its epochs, over which the whole learning rate schedule runs.
5 variants x 2 seeds x 3 folds x 20 epochs.
"""

from ml_collections import ConfigDict

from configs import cnn


def get_config() -> ConfigDict:
    config = cnn.get_config()
    config.train.epochs = 20
    config.data.folds = 3
    return config


def get_variants() -> dict[str, dict]:
    return {f"dropout {rate:g}": {"model.dropout": rate} for rate in (0.3, 0.0, 0.15, 0.5, 0.7)}
