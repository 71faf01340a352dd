"""Synthetic drawings to train on beside real ones."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from gradejax import cache, hands
from gradejax.dataset import Dataset, Picture, concatenate
from gradejax.hands import synthetic
from gradejax.hands.canvas import ink_strokes
from gradejax.scales import LETTERS, Scale

N_OTHERS = 500
"""Synthetic drawings of other letters, digits and marks that each model is tried on; always the same ones."""
_STRANGERS = 2000


def mix(
    dataset: Dataset,
    n_grades: int,
    n_others: int,
    seed: int,
    cache_folder: Path | None,
    resampling: str = "area",
) -> Dataset:
    """Adds synthetic drawings to a dataset, after its own. The result is held in memory.

    Args:
        dataset: the drawings to add to.
        n_grades: how many drawings of grades, one of each by each writer.
        n_others: how many drawings of what is not a grade; their label is -1.
        seed: another seed gives other drawings by other writers.
        cache_folder: as `folder` in `cache.decode`.
        resampling: as in `cache.decode`.
    """
    # These writers differ from those of `gradejax.data generate`, whose drawings may be validated on.
    added = _decoded(n_grades, n_others, 10**9 + seed, dataset.ink.shape[1], cache_folder, resampling, dataset.scale)
    return concatenate(dataset, added)


def strangers(
    size: int, cache_folder: Path | None, resampling: str, scale: Scale = LETTERS
) -> UInt8[np.ndarray, "n size size"]:
    """Synthetic drawings of no grade by writers that `mix` does not know, always the same; arguments as in
    `mix`, and the scale whose grades they are not."""
    return np.asarray(_decoded(0, _STRANGERS, 2 * 10**9, size, cache_folder, resampling, scale).ink)


def others_to_try(
    size: int, cache_folder: Path | None, resampling: str, scale: Scale = LETTERS
) -> UInt8[np.ndarray, "n size size"]:
    """`N_OTHERS` synthetic drawings of no grade by writers that no training has seen; arguments as of `strangers`."""
    return np.asarray(_decoded(0, N_OTHERS, 10**10, size, cache_folder, resampling, scale, writers=30).ink)


def _decoded(
    n_grades: int,
    n_others: int,
    seed: int,
    size: int,
    cache_folder: Path | None,
    resampling: str,
    scale: Scale,
    writers: int = 0,
) -> Dataset:
    """Grades, then others, by so many writers; by default each writes every grade once."""
    writers = writers or -(-max(n_grades, n_others) // len(scale.labels))
    collection = {"seed": seed, "writers": writers, "scale": scale}

    def pictures() -> Iterator[Picture]:
        grades = synthetic.written_grades(n_grades, **collection)
        others = synthetic.written_others(n_others, **collection)
        for written in chain(grades, others):
            yield Picture(written.name, f"writer {written.writer}", partial(ink_strokes, written.strokes))

    source = {"grades": n_grades, "others": n_others, "seed": seed, "scale": scale.name}
    count, refused = n_grades + n_others, Counter()
    return cache.decode(pictures, lambda: count, refused, size, resampling, source, _version(), cache_folder, scale)


def _version() -> str:
    """SHA-256 of the source code that writes synthetic drawings: when it changes, they do."""
    modules = sorted(Path(hands.__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(module.read_bytes() for module in modules)).hexdigest()
