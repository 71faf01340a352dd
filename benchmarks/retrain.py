"""One training for `benchmarks.reproduce`, which starts it in a process of its own.

    python -m benchmarks.retrain alone|one_core|cut_off|in_group FOLDER RECIPE EPOCHS STORE

Prints one line of JSON, digests and the accuracy, and writes the arrays behind them to FOLDER/arrays.npz.
"""

import hashlib
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from benchmarks.workers import answer, on_one_core, recipe
from gradejax import checkpoints, loop, population, prepare
from gradejax.augment import DistortionRanges
from gradejax.batches import epoch_batches, epoch_plans
from gradejax.forward import logits_function, logits_in_batches
from gradejax.population import Member
from gradejax.prepare import Prepared
from gradejax.stores import open_store


class CutOff(Exception):
    """Raised in the middle of a training."""


def alone(folder: Path, name: str, epochs: str, store: str) -> dict:
    """Trains as `gradejax.main` does, from the last checkpoint in FOLDER if there is one."""
    config, prepared = _prepared(name, epochs, store)
    variables = loop.fit(config, prepared, folder / "run", lambda *_: None)
    rows = prepared.split.validation
    logits = logits_in_batches(
        logits_function(prepared.network), variables, prepared.dataset.ink, rows, config.evaluate.batch_size
    )
    by_name = checkpoints.flat(variables)
    vector = np.concatenate([by_name[leaf].ravel() for leaf in sorted(by_name)])
    return {"parameters": checkpoints.digest(by_name), **_facts(folder, config, prepared, logits, parameters=vector)}


def one_core(folder: Path, *more: str) -> dict:
    """As `alone`, but on one core."""
    on_one_core()
    return alone(folder, *more)


def cut_off(folder: Path, name: str, epochs: str, store: str) -> dict:
    """Trains until the middle of the second epoch; `alone` goes on from there."""
    config, prepared = _prepared(name, epochs, store)

    def announce(epoch: loop.Epoch | None, _: int) -> None:
        if epoch is None and (folder / "run" / "metrics.jsonl").read_text():
            raise CutOff

    try:
        loop.fit(config, prepared, folder / "run", announce)
    except CutOff:
        return {}
    raise RuntimeError("the training ended before it could be cut off: it needs two epochs")


def in_group(folder: Path, name: str, epochs: str, store: str) -> dict:
    """Trains in one program with another seed, as `ablate` does. The parameters stay inside the program."""
    config, prepared = _prepared(name, epochs, store)
    other = config.copy_and_resolve_references()
    other.seed = config.seed + 1
    members = [Member(each, prepared.dataset, prepared.split) for each in (config, other)]
    *_, last = population.epochs(members, population.build_program(config))
    return _facts(folder, config, prepared, last[0].logits)


def _prepared(name: str, epochs: str, store: str) -> tuple[ConfigDict, Prepared]:
    config = recipe(name)
    config.train.epochs, config.train.checkpoint_every = int(epochs), 1
    config.data.cache = ""  # decoding is part of what is compared
    with closing(open_store(store)) as opened:
        return config, prepare.prepare(config, opened)


def _facts(folder: Path, config: ConfigDict, prepared: Prepared, logits: np.ndarray, **arrays: np.ndarray) -> dict:
    data, split, *_ = prepared
    options = {
        "batch_size": config.train.batch_size,
        "augment": DistortionRanges(**config.augment),
        "seed": config.seed,
        "epoch": 1,
    }
    plans = epoch_plans(config.data.size, data.labels, split.train, **options)
    order = np.concatenate([split.validation, *(np.ravel(plan.rows) for plan in plans)])
    batches = np.concatenate([batch.ink for batch in epoch_batches(data.ink, data.labels, split.train, **options)])
    arrays |= {"drawings": data.ink, "batches": batches, "logits": logits}
    np.savez(folder / "arrays.npz", **arrays)  # pyright: ignore[reportArgumentType]
    return {
        "drawings": data.digest,
        "order": hashlib.sha256(order.astype(np.int64).tobytes()).hexdigest(),
        "batches": hashlib.sha256(batches.tobytes()).hexdigest(),
        "accuracy": float(np.mean(logits.argmax(axis=1) == data.labels[split.validation])),
        "n_validation": len(split.validation),
    }


if __name__ == "__main__":
    answer({task.__name__: task for task in (alone, one_core, cut_off, in_group)}, sys.argv)
