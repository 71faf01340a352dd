"""Synthetic drawings, for a first run and for pre-training.

A seed and a number of writers define an endless sequence of numbered drawings. Every drawing depends on its number
alone, so that any stretch of the sequence is the same, byte for byte, whenever it is generated.
"""

import hashlib
import math
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import numpy as np

from gradejax.drawings import Drawing
from gradejax.grades import GRADES
from gradejax.hands.canvas import Strokes, ink_strokes
from gradejax.hands.others import OTHERS
from gradejax.hands.writer import SCRIBBLE, Writer, make_writer, write
from gradejax.ink import encode_png

_FIRST_DATE = datetime(2024, 1, 1, 8, tzinfo=UTC)
_INTERVAL = timedelta(seconds=4)
_LIKE_GRADES = "008OQ3GMH49"
"""What is most often taken for a grade is written more often than the rest."""


class Written(NamedTuple):
    """A synthetic drawing before it is inked.

    Attributes:
        name: a grade, or the name of something else: `F`, `7+`, `tick`, `scribble`.
        writer: the writer's id.
        strokes: the pen's path.
    """

    name: str
    writer: str
    strokes: Strokes


def write_drawings(n: int, *, seed: int = 0, writers: int = 30, first: int = 0) -> Iterator[Drawing]:
    """Generates drawings of grades.

    Grades and writers take turns: any `n` consecutive drawings have the grades as evenly as possible, and in the first
    15 x `writers` everyone writes each grade once.

    Args:
        n: number of drawings.
        seed: 0 or more; another seed gives other drawings by other writers.
        writers: number of writers, at least 1.
        first: number of the first drawing.

    Yields:
        Drawings number `first` to `first + n - 1`.
    """
    owner = hashlib.blake2b(f"{_collection(seed)} {writers}".encode(), digest_size=5).hexdigest()
    for number, written in enumerate(written_grades(n, seed=seed, writers=writers, first=first), first):
        date = _FIRST_DATE + number * _INTERVAL
        yield Drawing(
            # Like an ObjectId: seconds, owner, counter.
            id=f"{int(date.timestamp()):08x}{owner}{number % 2**24:06x}",
            tags=("synthetic",),
            label=written.name,
            png=encode_png(ink_strokes(written.strokes)),
            date=date,
            writer=written.writer,
            strokes=written.strokes,
        )


def written_grades(n: int, *, seed: int = 0, writers: int = 30, first: int = 0) -> Iterator[Written]:
    """The drawings of `write_drawings` with the same arguments, before they are inked."""
    for number, grade, index, writer in _turns(GRADES, n, seed, writers, first):
        strokes = write(grade[0], grade[1:], writer, _generator(seed, 1, number))
        yield Written(grade, _writer_id(seed, index), strokes)


def written_others(n: int, *, seed: int = 0, writers: int = 30, first: int = 0) -> Iterator[Written]:
    """Drawings of what is not a grade, by the writers of `written_grades` with the same `seed` and `writers`.

    These are the letters F to Z and the digits, half of them with a sign; marks such as lines, ticks and dots; lone
    signs; and scribbles. Some inevitably look like grades: see `gradejax.hands.others`.
    """
    for number, name, index, writer in _turns((*OTHERS, *_LIKE_GRADES, "+", "-", SCRIBBLE), n, seed, writers, first):
        rng = _generator(seed, 2, number)
        sign = str(rng.choice(("", "+", "-"), p=(1 / 2, 1 / 4, 1 / 4))) if name.isalnum() and len(name) == 1 else ""
        yield Written(f"{name}{sign}", _writer_id(seed, index), write(name, sign, writer, rng))


def _turns(
    characters: Sequence[str], n: int, seed: int, writers: int, first: int
) -> Iterator[tuple[int, str, int, Writer]]:
    """Who writes what: for each drawing its number, its character, and its writer's index and habits."""
    habits: dict[int, Writer] = {}
    period = math.lcm(len(characters), writers)
    for number in range(first, first + n):
        # `number % writers` alone would give a writer the same few characters for ever: each period shifts by one.
        index = (number + number // period) % writers
        if index not in habits:
            habits[index] = make_writer(_generator(seed, 0, index))
        yield number, characters[number % len(characters)], index, habits[index]


def _collection(seed: int) -> str:
    return "synthetic" if seed == 0 else f"synthetic-{seed}"


def _writer_id(seed: int, index: int) -> str:
    return f"{_collection(seed)}-{index:03d}"


def _generator(seed: int, *key: int) -> np.random.Generator:
    # A spawn key, because the plain seeds (5, 0) and (5, 0, 0) would be the same.
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))
