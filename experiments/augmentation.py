"""Which of the four distortions does the CNN need, and would any help more if it were stronger?

    python -m gradejax.ablate --experiment=experiments/augmentation.py --seeds=2 --workdir=runs/augmentation

The base is configs/cnn.py, whose distortions are as published, with half its epochs, over which the whole learning rate
schedule runs. 10 variants (as published, none, and each distortion off or doubled) x 2 seeds x 3 folds x 20 epochs.
Shear is in degrees, as in Keras: the published 0.05 does next to nothing.
"""

from ml_collections import ConfigDict

from configs import cnn

DISTORTIONS = ("rotation", "shift", "shear", "zoom")


def get_config() -> ConfigDict:
    config = cnn.get_config()
    config.train.epochs = 20
    config.data.folds = 3
    return config


def get_variants() -> dict[str, dict]:
    published = get_config().augment
    variants = {"as published": {}, "none": {f"augment.{name}": 0.0 for name in DISTORTIONS}}
    for name in DISTORTIONS:
        variants[f"no {name}"] = {f"augment.{name}": 0.0}
        variants[f"{name} doubled"] = {f"augment.{name}": 2 * published[name]}
    return variants
