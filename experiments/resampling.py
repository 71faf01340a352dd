"""Does it matter whether drawings are brought to 28 pixels by area or by point?

    python -m gradejax.ablate --experiment=experiments/resampling.py --seeds=8 --workdir=runs/resampling

Point samples skip most of a large drawing's pixels, so that thin strokes break up. The base is configs/cnn.py, but half
its epochs: the learning rate comes down within them. 2 variants x 8 seeds x 20 epochs: about 3 minutes on two cores.
"""

from ml_collections import ConfigDict

from configs import cnn


def get_config() -> ConfigDict:
    config = cnn.get_config()
    config.train.epochs = 20
    return config


def get_variants() -> dict[str, dict]:
    return {how: {"data.resampling": how} for how in ("area", "point")}
