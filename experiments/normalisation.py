"""What happens when ink is divided by 255 twice, as in the notebook this project began with, and why?

    python -m gradejax.ablate --experiment=experiments/normalisation.py --seeds=3 --workdir=runs/normalisation

Divided twice, inputs are at most 1/255, and the pixels after the first convolution vary by 1e-6 and less. Late in the
training validation accuracy then swings, although training accuracy does not. Each further variant divides twice and
takes away one suspect:

- an epsilon of 1e-9 instead of 1e-3, which hides such variances from batch norm;
- no bias in the first convolution: Adam moves it by up to 1e-3 a step, as much as the whole signal of such ink;
- SGD, whose steps shrink with the gradient;
- an epsilon of 1e-3 in Adam, which makes its steps shrink with small gradients;
- running statistics with a momentum of 0.9, which remember 10 steps instead of 100;
- running statistics re-estimated after each epoch, with the parameters as they are by then.

The training is the original notebook's: a constant learning rate of 1e-3, no moving average of the parameters (a
falling rate or an average would hide the swings), no label smoothing. It has 300 of its 500 epochs and a quarter of its
channels and hidden units, so that several seeds fit: 8 variants x 3 seeds x 300 epochs take about 35 minutes of one
core.
"""

from ml_collections import ConfigDict

from configs import cnn

PICTURE = "curves"


def notebook_training() -> ConfigDict:
    """The CNN, trained as in the original notebook."""
    config = cnn.get_config()
    config.train.learning_rate = 1e-3
    config.train.learning_rate_end = 1.0
    config.train.warmup_epochs = 0.0
    config.train.weight_decay = 0.0
    config.train.label_smoothing = 0.0
    config.train.ema_decay = 0.0
    return config


def get_config() -> ConfigDict:
    config = notebook_training()
    config.model.channels, config.model.hidden = (8, 16), 32
    config.train.epochs = 300
    return config


def get_variants() -> dict[str, dict]:
    twice = {"model.ink_divisor": 255.0**2}
    return {
        "divided once": {},
        "divided twice": twice,
        "twice, epsilon 1e-9": {**twice, "model.batch_norm_epsilon": 1e-9},
        "twice, no first bias": {**twice, "model.first_bias": False},
        "twice, SGD": {**twice, "train.optimizer": "sgd", "train.learning_rate": 1e-2},
        "twice, Adam's epsilon 1e-3": {**twice, "train.adam_epsilon": 1e-3},
        "twice, momentum 0.9": {**twice, "model.batch_norm_momentum": 0.9},
        "twice, statistics re-estimated": {**twice, "train.reestimate_statistics": True},
    }
