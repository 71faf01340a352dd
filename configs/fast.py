"""A CNN trained within seconds: that of configs/cnn.py on cropped ink, 226,063 parameters.

python -m gradejax.main --config=configs/fast.py
"""

from ml_collections import ConfigDict

from gradejax.recipe import base


def get_config() -> ConfigDict:
    config = base()
    config.data.resampling = "crop"

    config.model.name = "cnn"
    config.model.channels = (32, 64)
    config.model.hidden = 128
    config.model.dropout = 0.3
    config.model.batch_norm_momentum = 0.9
    config.model.no_grade = False
    config.model.test_time_augmentation = False

    config.train.epochs = 8
    config.train.warmup_epochs = 1.0
    config.train.learning_rate = 6e-3
    config.train.weight_decay = 0.1
    config.train.label_smoothing = 0.1
    config.train.ema_decay = 0.95
    config.train.checkpoint_every = 8

    config.augment.rotation = 5.0
    config.augment.shift = 0.05
    config.augment.shear = 0.05
    config.augment.zoom = 0.05
    return config
