"""How many wrong labels an audit finds: 66 of the drawings, drawn at random, get another grade, three times.

    python -m benchmarks.audit --store=sqlite:///data/chars74k.db

It prints how many of them are among the first 66, 80 and 132 of the audit's order, and the estimated number. The target
is 62 in the first 80. For drawings said to be by another writer, it moves 20 to other writers, ten times.
"""

import resource
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
from absl import flags
from rich.console import Console
from rich.table import Table

from gradejax import cli, labels, prepare, recipe, styles
from gradejax.data.audit import out_of_fold
from gradejax.dataset import Dataset
from gradejax.scales import LETTERS
from gradejax.stores import Query, open_store, store_uri

GRADES = LETTERS.labels

_FLAGS = flags.FlagValues()
cli.define_store(_FLAGS)

SEEDS, WRONG, FIRST = (0, 1, 2), 66, (66, 80, 132)
MOVES, MOVED = 10, 20


def main(_: list[str]) -> None:
    """Measures and prints."""
    settings = recipe.base().data
    with closing(open_store(store_uri(_FLAGS.store))) as store:
        dataset = prepare.load(store, Query(), settings.size, Path(settings.cache))
    table = Table("draw", *(f"in the first {n}" for n in FIRST), "estimate", "seconds", "CPU seconds")
    for seed in SEEDS:
        began, cpu = time.perf_counter(), _cpu_seconds()
        mislabelled, wrong = with_wrong_labels(dataset, seed)
        doubts = labels.doubts(out_of_fold(mislabelled), mislabelled.labels)
        hits = np.isin(doubts.order, wrong)
        seconds, cpu = time.perf_counter() - began, _cpu_seconds() - cpu
        counts = (str(hits[:n].sum()) for n in FIRST)
        table.add_row(str(seed), *counts, f"{doubts.n_wrong:.1f}", f"{seconds:.0f}", f"{cpu:.0f}")
    Console().print(table)
    listed, hits = np.sum([_moved(dataset, seed) for seed in range(MOVES)], axis=0)
    print(f"by another writer: {hits} of the {listed} listed, and of the {MOVES * MOVED} moved")


def with_wrong_labels(dataset: Dataset, seed: int) -> tuple[Dataset, np.ndarray]:
    """The drawings with `WRONG` labels changed to any other grade, and the rows of these."""
    rng = np.random.default_rng(seed)
    wrong = rng.choice(len(dataset), WRONG, replace=False)
    changed = dataset.labels.copy()
    changed[wrong] = (changed[wrong] + rng.integers(1, len(GRADES), WRONG)) % len(GRADES)
    return replace(dataset, labels=changed), wrong


def _moved(dataset: Dataset, seed: int) -> tuple[int, int]:
    """How many drawings are listed as another writer's when `MOVED` are, and how many of these."""
    rng = np.random.default_rng(seed)
    moved = rng.choice(len(dataset), MOVED, replace=False)
    writers, n = dataset.writers.copy(), len(dataset.writer_names)
    writers[moved] = (writers[moved] + rng.integers(1, n, MOVED)) % n
    listed = [one.row for one in styles.strangers(dataset.ink, dataset.labels, writers)]
    return len(listed), int(np.isin(listed, moved).sum())


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    cli.run(main, _FLAGS)
