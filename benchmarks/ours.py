"""gradejax's side of `benchmarks.run`, which starts it in a process of its own.

    python -m benchmarks.ours epochs FOLDER MODEL N | product FOLDER | augmentation FOLDER | images FOLDER |
        loading FOLDER | backend FOLDER

The answer is one line of JSON.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from benchmarks.workers import AUGMENTED_SECONDS, answer, on_one_core, read_drawings, recipe
from gradejax import batches, models, prepare, train
from gradejax.augment import DistortionRanges, affine_maps, warp
from gradejax.dataset import Dataset
from gradejax.ink import decode_ink, resample
from gradejax.splits import Split
from gradejax.stores import Query, open_store


def epochs(folder: Path, model: str, n: str) -> dict:
    """Seconds of each epoch of `train.fit`, waiting for distorted batches included, and the arithmetic in one."""
    ink, labels, rows = read_drawings(folder)
    return fit(model, ink, labels, rows, int(n), lambda: None)


def fit(
    model: str, ink: np.ndarray, labels: np.ndarray, rows: np.ndarray, n: int, announce: Callable[[], None]
) -> dict:
    """Trains by the recipe, in the recipe's own way, but for a validation that is next to nothing."""
    config = recipe(model)
    config.train.epochs = config.train.checkpoint_every = n
    network = models.build(size=config.data.size, seed=0, **config.model)
    steps = batches.steps_per_epoch(len(rows), config.train.batch_size)
    flop = 3 * forward_flop(network, config.data.size) * steps * config.train.batch_size
    data = Dataset(ink, labels, np.zeros_like(labels), ("writer nobody",), "benchmark")
    records = []

    def told(record: train.Epoch | None, _: int) -> None:
        announce()
        if record:
            records.append(record)

    with tempfile.TemporaryDirectory() as workdir:
        split = Split(rows, np.arange(config.train.batch_size) % len(ink), np.arange(0))
        train.fit(config, prepare.Prepared(data, split, network, {"data_digest": data.digest}), Path(workdir), told)
    return {
        "seconds": [record.seconds for record in records],
        "seconds_with_validation_and_log": np.diff([0.0, *(record.elapsed for record in records)]).tolist(),
        "gflop": flop / 1e9,
        "images": steps * config.train.batch_size,
        "parameters": models.parameters(network),
        "device": jax.devices()[0].device_kind,
    }


def forward_flop(network: models.Network, size: int) -> int:
    """Floating-point operations of the products in one drawing's way through the network.

    A product's gradients with respect to its input and to its kernel cost as much as itself again, each: training
    takes three times this. All else, a few per cent, is not counted.
    """
    flop = 0
    for layer in network.layers:
        if isinstance(layer, nnx.Conv):
            size -= layer.kernel_size[0] - 1
            flop += 2 * size * size * layer.kernel[...].size
            size //= 2  # the max-pool behind each convolution
        elif isinstance(layer, nnx.Linear):
            flop += 2 * layer.kernel[...].size
    return flop


def product(_: Path) -> dict:
    """The fastest float32 matrix product here, in GFLOP/s: the best of many, by XLA and by numpy."""
    size = 2048
    left, right = np.random.default_rng(0).standard_normal((2, size, size), np.float32)
    on_device = jnp.array(left), jnp.array(right)
    dot = jax.jit(jnp.dot)
    ways = {"xla": lambda: dot(*on_device).block_until_ready(), "numpy": lambda: left @ right}
    found = {}
    for name, way in ways.items():
        way()
        found[name] = 2 * size**3 / 1e9 / min(_timed(way) for _ in range(15))
    return found


def augmentation(folder: Path) -> dict:
    """Distorted drawings a second, in one thread on one core."""
    on_one_core()
    ink, labels, rows = read_drawings(folder)
    config = recipe("cnn")

    def epoch(number: int) -> int:
        made = batches.epoch_batches(
            ink,
            labels,
            rows,
            batch_size=config.train.batch_size,
            augment=DistortionRanges(**config.augment),
            seed=0,
            epoch=number,
        )
        return sum(chunk.labels.size for chunk in made)

    made, number = 0, 1
    epoch(0)
    began = time.perf_counter()
    while (took := time.perf_counter() - began) < AUGMENTED_SECONDS:
        made += epoch(number)
        number += 1
    return {"images_per_second": made / took}


def images(folder: Path) -> dict:
    """Writes drawings, distortions and what comes of them to `distorted.npz`, for Keras to do the same."""
    ink = read_drawings(folder)[0][:500]
    n, size = ink.shape[:2]
    rng = np.random.default_rng(0)
    drawn = {
        "rotation": rng.uniform(-20, 20, n),
        "shift": rng.uniform(-0.2, 0.2, (n, 2)) * size,
        "shear": rng.uniform(-15, 15, n),
        "zoom": rng.uniform(0.8, 1.2, (n, 2)),
    }
    np.savez(folder / "distorted.npz", ink=ink, distorted=warp(ink, affine_maps(**drawn, size=size)), **drawn)
    return {"drawings": n}


def loading(folder: Path) -> dict:
    """Seconds to decode a store's drawings one by one, to load them without a cache, and with one."""
    store = open_store(f"sqlite:///{folder}/grades.db")
    size = recipe("cnn").data.size
    one_by_one, cold, warm = [], [], []
    for _ in range(3):
        one_by_one.append(_timed(lambda: [resample(decode_ink(drawing.png), size) for drawing in store.find(Query())]))
        with tempfile.TemporaryDirectory() as cache:
            cold.append(_timed(lambda: prepare.load(store, Query(), size, Path(cache))))
            warm += [_timed(lambda: prepare.load(store, Query(), size, Path(cache))) for _ in range(5)]
    store.close()
    return {"one_by_one": one_by_one, "cold": cold, "warm": warm}


def backend(_: Path) -> dict:
    """What JAX computes on when it may choose."""
    return {"backend": jax.default_backend(), "device": jax.devices()[0].device_kind}


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    tasks = (epochs, product, augmentation, images, loading, backend)
    answer({task.__name__: task for task in tasks}, sys.argv)
