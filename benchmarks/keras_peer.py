"""Keras 3 on TensorFlow, training like gradejax; `benchmarks.run` starts it in a process of its own.

    python -m benchmarks.keras_peer epochs FOLDER MODEL N | augmentation FOLDER | images FOLDER

The pictures are distorted by `ImageDataGenerator`, for which the recipes were published. `model.fit` runs a compiled
graph, one step or eight at a time. Prints one line of JSON.
"""
# pyright: reportMissingImports=false

import os
import sys

os.environ |= {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}

import time
from pathlib import Path

import keras
import numpy as np
from keras.src.legacy.preprocessing.image import ImageDataGenerator, Iterator, apply_affine_transform

from benchmarks.workers import AUGMENTED_SECONDS, answer, on_one_core, read_drawings, recipe
from gradejax.scales import LETTERS

GRADES = LETTERS.labels


def network(model: str, size: int) -> keras.Model:
    """The architectures of `gradejax.models`."""
    layers = keras.layers
    if model == "mlp":
        body = [
            layers.Flatten(),
            layers.Dense(256, activation="relu"),
            layers.Dropout(0.5),
            layers.Dense(128, activation="relu"),
            layers.Dropout(0.3),
        ]
    else:
        body = [
            layers.Conv2D(32, 3, activation="relu"),
            layers.BatchNormalization(momentum=0.99, epsilon=1e-3),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, activation="relu"),
            layers.BatchNormalization(momentum=0.99, epsilon=1e-3),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dropout(0.3),
        ]
    return keras.Sequential([keras.Input((size, size, 1)), *body, layers.Dense(len(GRADES))])


def batches(folder: Path, model: str) -> Iterator:
    """Endless batches of the training drawings, shuffled and distorted by the recipe's ranges."""
    config = recipe(model)
    ink, labels, rows = read_drawings(folder)
    pictures = (ink[rows] / np.float32(255))[..., None]
    targets = np.eye(len(GRADES), dtype=np.float32)[labels[rows]]
    ranges = config.augment
    generator = ImageDataGenerator(
        rotation_range=ranges.rotation,
        width_shift_range=ranges.shift,
        height_shift_range=ranges.shift,
        shear_range=ranges.shear,
        zoom_range=ranges.zoom,
    )
    return generator.flow(pictures, targets, batch_size=config.train.batch_size)


class Clock(keras.callbacks.Callback):
    """Measures the seconds of each epoch."""

    def on_train_begin(self, logs=None):
        self.seconds = []

    def on_epoch_begin(self, epoch, logs=None):
        self.began = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds.append(time.perf_counter() - self.began)


def epochs(folder: Path, model: str, n: str) -> dict:
    """Seconds of each epoch, including distortion, in the faster of two ways to run the graph."""
    config = recipe(model)
    seconds_of = {}
    # XLA (jit_compile) and a second thread for the distortion were slower than either.
    for steps_per_execution in (1, 8):
        net = network(model, config.data.size)
        net.compile(
            keras.optimizers.AdamW(config.train.learning_rate, weight_decay=config.train.weight_decay),
            keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=config.train.label_smoothing),
            metrics=["accuracy"],
            steps_per_execution=steps_per_execution,
        )
        clock = Clock()
        net.fit(batches(folder, model), epochs=int(n), verbose=0, callbacks=[clock])
        seconds_of[steps_per_execution] = clock.seconds
    fastest = min(seconds_of, key=lambda steps: np.median(seconds_of[steps]))
    return {"seconds": seconds_of[fastest], "steps_per_execution": fastest, "parameters": net.count_params()}


def augmentation(folder: Path) -> dict:
    """Distorted pictures per second, in one thread on one core."""
    on_one_core()
    flow = batches(folder, "cnn")
    pictures = 0
    next(flow)
    began = time.perf_counter()
    while (took := time.perf_counter() - began) < AUGMENTED_SECONDS:
        pictures += len(next(flow)[0])
    return {"images_per_second": pictures / took}


def images(folder: Path) -> dict:
    """The largest difference between our distorted pictures and Keras's, as a fraction of full ink."""
    arrays = np.load(folder / "distorted.npz")
    largest = 0.0
    for picture, rotation, shift, shear, zoom, ours in zip(
        *(arrays[name] for name in ("ink", "rotation", "shift", "shear", "zoom", "distorted")), strict=True
    ):
        theirs = apply_affine_transform(
            picture[..., None] / 255, rotation, *shift, shear, *zoom, row_axis=0, col_axis=1, channel_axis=2
        )
        largest = max(largest, float(np.abs(theirs[..., 0] - ours / 255).max()))
    return {"largest_difference": largest}


if __name__ == "__main__":
    answer({"epochs": epochs, "augmentation": augmentation, "images": images}, sys.argv)
