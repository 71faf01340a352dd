"""What does the maximum of the validation accuracy over epochs hide?

    python -m gradejax.ablate --experiment=experiments/selection.py --seeds=8 --workdir=runs/selection

A fifth of the writers is put aside and never chosen by. One training is read in four ways: its last epoch, and the
epoch with the best validation accuracy, on the validation set and on the writers put aside.

The training is the notebook's: a learning rate of 1e-3 that stays, no average of the parameters, no smoothed labels.
8 seeds x 40 epochs: about 3 minutes on two cores.
"""

from ml_collections import ConfigDict

from configs import cnn

MEASURES = {
    "last epoch, on validation": "val_accuracy",
    "best epoch, on validation": "best_val_accuracy",
    "last epoch, on writers put aside": "test_accuracy",
    "that best epoch, on writers put aside": "best_epoch_test_accuracy",
}


def get_config() -> ConfigDict:
    config = cnn.get_config()
    config.data.test_fraction = 0.2
    config.train.learning_rate = 1e-3
    config.train.learning_rate_end = 1.0
    config.train.warmup_epochs = 0.0
    config.train.weight_decay = 0.0
    config.train.label_smoothing = 0.0
    config.train.ema_decay = 0.0
    return config


def get_variants() -> dict[str, dict]:
    return {"the notebook's training": {}}
