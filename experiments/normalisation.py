"""What happens when ink is divided by 255 twice, as in the notebook this project began with?

    python -m gradejax.ablate --experiment=experiments/normalisation.py --seeds=1 --workdir=runs/normalisation

Divided twice, inputs are at most 1/255, and batch norm sees variances of 1e-6 and less. It divides by the square root
of the variance plus an epsilon of 1e-3, so it hardly normalises: the epsilon is the first suspect. The third variant
divides twice with an epsilon of 1e-9. If its validation accuracy swings as well, the epsilon is not the cause. That
leaves the running mean and variance, which are used in validation but not in training, where each batch is normalised
by its own. They average about a hundred steps and start at 0 and 1: it takes 12 epochs until less than the old epsilon
remains of that 1.

The training is the original notebook's: 500 epochs, a constant learning rate of 1e-3, no moving average of the
parameters (a falling rate or an average would hide the swings), no label smoothing. 3 variants x 1 seed x 500 epochs:
about 15 minutes of one core. --experiment.train.epochs=80 --seeds=5 shows the beginning of the same curves five times.
"""

from ml_collections import ConfigDict

from configs import cnn

MEASURES = {"last epoch": "val_accuracy", "best epoch": "best_val_accuracy"}
PICTURE = "curves"


def get_config() -> ConfigDict:
    config = cnn.get_config()
    config.train.epochs = 500
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
