"""gradejax's side of `benchmarks.run`, which starts it in a process of its own.

    python -m benchmarks.ours epochs FOLDER MODEL N | product FOLDER | augmentation FOLDER | images FOLDER |
        loading FOLDER | backend FOLDER

Prints one line of JSON.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from benchmarks.workers import AUGMENTED_SECONDS, answer, on_one_core, read_drawings, recipe
from gradejax import batches, loop, models, prepare
from gradejax.augment import DistortionRanges, affine_maps, warp
from gradejax.dataset import Dataset
from gradejax.resampling import resample
from gradejax.splits import Split
from gradejax.stores import Query, open_store


def epochs(folder: Path, model: str, n: str) -> dict:
    """Seconds of each epoch of `loop.fit`, including the wait for distorted batches, and the GFLOP in one."""
    ink, labels, rows = read_drawings(folder)
    return fit(model, ink, labels, rows, int(n), lambda: None)


def fit(
    model: str, ink: np.ndarray, labels: np.ndarray, rows: np.ndarray, n: int, announce: Callable[[], None]
) -> dict:
    """Trains as the recipe says, but with next to no validation. `announce` is called as `loop.Announce` is."""
    config = recipe(model)
    config.train.epochs = config.train.checkpoint_every = n
    network = models.build(size=config.data.size, seed=0, **config.model)
    steps = batches.steps_per_epoch(len(rows), config.train.batch_size)
    flop = 3 * forward_flop(network, config.data.size) * steps * config.train.batch_size
    data = Dataset(ink, labels, np.zeros_like(labels), ("writer nobody",), "benchmark")
    records = []

    def on_progress(record: loop.Epoch | None, _: int) -> None:
        announce()
        if record:
            records.append(record)

    with tempfile.TemporaryDirectory() as workdir:
        split = Split(rows, np.arange(config.train.batch_size) % len(ink), np.arange(0))
        loop.fit(
            config, prepare.Prepared(data, split, network, {"data_digest": data.digest}), Path(workdir), on_progress
        )
    return {
        "seconds": [record.seconds for record in records],
        "seconds_with_validation_and_log": np.diff([0.0, *(record.elapsed for record in records)]).tolist(),
        "gflop": flop / 1e9,
        "images": steps * config.train.batch_size,
        "parameters": models.parameters(network),
        "device": jax.devices()[0].device_kind,
    }


def forward_flop(network: models.Network, size: int) -> int:
    """Floating-point operations of the matrix products in a forward pass of one drawing.

    Training takes three times as many, because the gradients of a product with respect to its input and to its kernel
    cost as much as the product itself. Other operations, a few per cent, are not counted.
    """
    flop = 0
    for layer in network.layers:
        if isinstance(layer, nnx.Conv):
            size -= layer.kernel_size[0] - 1
            flop += 2 * size * size * layer.kernel[...].size
            size //= 2  # the max-pool after each convolution
        elif isinstance(layer, nnx.Linear):
            flop += 2 * layer.kernel[...].size
    return flop


def product(_: Path) -> dict:
    """The speed of a float32 matrix product in GFLOP/s, by XLA and by NumPy, best of many."""
    size = 2048
    left, right = np.random.default_rng(0).standard_normal((2, size, size), np.float32)
    on_device = jnp.array(left), jnp.array(right)
    dot = jax.jit(jnp.dot)
    products = {"xla": lambda: dot(*on_device).block_until_ready(), "numpy": lambda: left @ right}
    speeds = {}
    for name, compute in products.items():
        compute()
        speeds[name] = 2 * size**3 / 1e9 / min(_timed(compute) for _ in range(15))
    return speeds


def augmentation(folder: Path) -> dict:
    """Distorted drawings per second, in one thread on one core."""
    on_one_core()
    ink, labels, rows = read_drawings(folder)
    config = recipe("cnn")

    def epoch(number: int) -> int:
        epoch_batches = batches.epoch_batches(
            ink,
            labels,
            rows,
            batch_size=config.train.batch_size,
            augment=DistortionRanges(**config.augment),
            seed=0,
            epoch=number,
        )
        return sum(batch.labels.size for batch in epoch_batches)

    drawings, number = 0, 1
    epoch(0)
    began = time.perf_counter()
    while (took := time.perf_counter() - began) < AUGMENTED_SECONDS:
        drawings += epoch(number)
        number += 1
    return {"images_per_second": drawings / took}


def images(folder: Path) -> dict:
    """Writes drawings, distortion parameters and distorted drawings to `distorted.npz`, for comparison with Keras."""
    ink = read_drawings(folder)[0][:500]
    n, size = ink.shape[:2]
    rng = np.random.default_rng(0)
    parameters = {
        "rotation": rng.uniform(-20, 20, n),
        "shift": rng.uniform(-0.2, 0.2, (n, 2)) * size,
        "shear": rng.uniform(-15, 15, n),
        "zoom": rng.uniform(0.8, 1.2, (n, 2)),
    }
    np.savez(folder / "distorted.npz", ink=ink, distorted=warp(ink, affine_maps(**parameters, size=size)), **parameters)
    return {"drawings": n}


def loading(folder: Path) -> dict:
    """Seconds to decode a store's drawings one by one with OpenCV, and to load them without and with a cache."""
    store = open_store(f"sqlite:///{folder}/grades.db")
    size = recipe("cnn").data.size

    def decoded(png: bytes) -> np.ndarray:
        picture = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
        assert picture is not None
        return resample(np.ascontiguousarray(picture[..., 3]), size)

    one_by_one, cold, warm = [], [], []
    for _ in range(3):
        one_by_one.append(_timed(lambda: [decoded(drawing.png) for drawing in store.find(Query())]))
        with tempfile.TemporaryDirectory() as cache:
            cold.append(_timed(lambda: prepare.load(store, Query(), size, Path(cache))))
            warm += [_timed(lambda: prepare.load(store, Query(), size, Path(cache))) for _ in range(5)]
    store.close()
    return {"one_by_one": one_by_one, "cold": cold, "warm": warm}


def backend(_: Path) -> dict:
    """The backend that JAX chooses."""
    return {"backend": jax.default_backend(), "device": jax.devices()[0].device_kind}


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    tasks = (epochs, product, augmentation, images, loading, backend)
    answer({task.__name__: task for task in tasks}, sys.argv)
