"""A CNN trained within seconds: that of configs/cnn.py on cropped ink, 226,063 parameters.

    python -m gradejax.main --config=configs/fast.py

It reads 99.07% of real drawings by writers that it has not seen (Chars74K, 55 writers; mean of ten seeds, of which each
holds out another fifth of them; 97.91 to 100%), 6.2 s after the command is given where it has never run, and 3.5 s
where it has (medians of the ten, two cores, AMD EPYC; `python -m benchmarks.run --only=accuracy`).

In six epochs configs/cnn.py reads 81.4% of them; cropped 95.5%; in five, with batch norm's statistics following ten
times as fast and without a moving average, 98.5%. A learning rate twice as high, more weight decay and a short average
bring the rest. Smaller ink (24 pixels), larger batches, SGD, fewer channels and a shorter warm-up read fewer drawings
in as many epochs.
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

    config.train.epochs = 7
    config.train.warmup_epochs = 1.0
    config.train.learning_rate = 6e-3
    config.train.weight_decay = 0.1
    config.train.label_smoothing = 0.1
    config.train.ema_decay = 0.95
    config.train.checkpoint_every = 7

    config.evaluate.batch_size = 32  # fits into the cores' caches

    config.augment.rotation = 5.0
    config.augment.shift = 0.05
    config.augment.shear = 0.05
    config.augment.zoom = 0.05
    return config
