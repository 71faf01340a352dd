"""How much does the best epoch's validation accuracy overstate?

    python -m gradejax.ablate --experiment=experiments/selection.py --seeds=2 --workdir=runs/selection

A fifth of the writers are held out as test writers, on whom no epoch is chosen. Each training is scored in four ways:
its last epoch and the epoch with the best validation accuracy, each on validation and on test writers.

The training is the original notebook's: a constant learning rate of 1e-3, no moving average of the parameters, no label
smoothing. 2 seeds x 3 folds x 40 epochs.
"""

from ml_collections import ConfigDict

from experiments import normalisation

MEASURES = {
    "last epoch, on validation": "val_accuracy",
    "best epoch, on validation": "best_val_accuracy",
    "last epoch, on test writers": "test_accuracy",
    "that best epoch, on test writers": "best_epoch_test_accuracy",
}


def get_config() -> ConfigDict:
    config = normalisation.notebook_training()
    config.train.epochs = 40
    config.data.test_fraction = 0.2
    config.data.folds = 3
    return config


def get_variants() -> dict[str, dict]:
    return {"the notebook's training": {}}
