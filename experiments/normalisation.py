"""What happens when ink is divided by 255 twice, as in the notebook this project began with?

    python -m gradejax.ablate --experiment=experiments/normalisation.py --seeds=5 --workdir=runs/normalisation

Twice, the inputs are at most 1/255, and what batch norm sees has variances of 1e-6 and less. Two of its constants are
then suspect. It divides by the root of the variance plus an epsilon of 1e-3, and so hardly normalises. And the running
variance, which validation uses, begins at 1 and forgets that by 1% a step: it takes 1,400 steps, 25 epochs, until less
than 1e-6 of it is left, and 12 until less than epsilon is. Training, which uses the batch's own variance, looks fine
all the while. The third variant divides twice with an epsilon of 1e-9: swings that it does not show once the running
variance has come down are the epsilon's.

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
