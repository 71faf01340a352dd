"""What happens when ink is divided by 255 twice, as in the notebook this project began with?

    python -m gradejax.ablate --experiment=experiments/normalisation.py --seeds=5 --workdir=runs/normalisation

Twice, the inputs are at most 1/255 and the first convolution's outputs have variances of about 1e-6. Batch norm
divides by the root of the variance plus an epsilon of 1e-3, so there it hardly normalises at all: the network learns to
make up for it with weights that amplify, and what the running statistics, a hundred steps behind, are wrong by is
amplified with them. Accuracy on validation swings from epoch to epoch while training looks fine, and its best epoch
looks fine too. The third variant divides twice with an epsilon as small as the variance asks for: if that mends it, the
epsilon was why.

The training is the notebook's: a learning rate of 1e-3 that stays, no average of the parameters (either would hide the
swings), no smoothed labels. 3 variants x 5 seeds x 80 epochs: about 10 minutes on two cores.
"""

from ml_collections import ConfigDict

from configs import cnn

MEASURES = {"last epoch": "val_accuracy", "best epoch": "best_val_accuracy"}
PICTURE = "curves"


def get_config() -> ConfigDict:
    config = cnn.get_config()
    config.train.epochs = 80
    config.train.learning_rate = 1e-3
    config.train.learning_rate_end = 1.0
    config.train.warmup_epochs = 0.0
    config.train.weight_decay = 0.0
    config.train.label_smoothing = 0.0
    config.train.ema_decay = 0.0
    return config


def get_variants() -> dict[str, dict]:
    twice = {"model.ink_divisor": 255.0**2}
    return {
        "divided once": {},
        "divided twice": twice,
        "twice, epsilon 1e-9": {**twice, "model.batch_norm_epsilon": 1e-9},
    }
