"""Does it matter whether drawings are resampled to 28 pixels by area or by point?

    python -m gradejax.ablate --experiment=experiments/resampling.py --seeds=2 --workdir=runs/resampling

Point sampling skips most pixels of a large drawing, which breaks up thin strokes. The base is configs/cnn.py with half
its epochs, over which the whole learning rate schedule runs. 2 variants x 2 seeds x 3 folds x 20 epochs.
"""

from ml_collections import ConfigDict

from configs import cnn


def get_config() -> ConfigDict:
    config = cnn.get_config()
    config.train.epochs = 20
    config.data.folds = 3
    return config


def get_variants() -> dict[str, dict]:
    return {method: {"data.resampling": method} for method in ("area", "point")}
