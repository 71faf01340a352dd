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
from gradejax.hands.allographs import ALLOGRAPHS, MORE
from gradejax.hands.canvas import Strokes, ink_strokes
from gradejax.hands.others import OTHERS
from gradejax.hands.writer import SCRIBBLE, Writer, make_writer, write
from gradejax.ink import encode_png
from gradejax.scales import LETTERS, Scale, split_sign

_FIRST_DATE = datetime(2024, 1, 1, 8, tzinfo=UTC)
_INTERVAL = timedelta(seconds=4)
_LIKE_GRADES = "008OQ3GMH49"
"""What is most often taken for a letter is written more often than the rest."""
_ALIKE = ("0O", "1I")
"""Characters that are written in the same ways: where one is a grade, the other is not written as none."""
_NEAR_MISS = "near miss"
_NEAR_MISSES = 8  # to a round of the others
_TRIES = 20


class Written(NamedTuple):
    """A synthetic drawing before it is inked.

    Attributes:
        name: a grade, or the name of something else: `F`, `7+`, `tick`, `scribble`, `31`.
        writer: the writer's id.
        strokes: the pen's path.
    """

    name: str
    writer: str
    strokes: Strokes


def write_drawings(
    n: int, *, seed: int = 0, writers: int = 30, first: int = 0, scale: Scale = LETTERS
) -> Iterator[Drawing]:
    """Generates drawings of grades.

    Grades and writers take turns: any `n` consecutive drawings have the grades as evenly as possible, and in the first
    15 x `writers`, for fifteen grades, everyone writes each grade once.

    Args:
        n: number of drawings.
        seed: 0 or more; another seed gives other drawings by other writers.
        writers: number of writers, at least 1.
        first: number of the first drawing.
        scale: of the grades. The same writers write those of every scale.

    Yields:
        Drawings number `first` to `first + n - 1`.
    """
    owner = hashlib.blake2b(f"{_collection(seed)} {writers}".encode(), digest_size=5).hexdigest()
    drawn = written_grades(n, seed=seed, writers=writers, first=first, scale=scale)
    for number, written in enumerate(drawn, first):
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


def written_grades(
    n: int, *, seed: int = 0, writers: int = 30, first: int = 0, scale: Scale = LETTERS
) -> Iterator[Written]:
    """The drawings of `write_drawings` with the same arguments, before they are inked."""
    for number, grade, index, writer in _turns(scale.labels, scale, n, seed, writers, first):
        strokes = write(*split_sign(grade), writer, _generator(seed, 1, number))
        yield Written(grade, _writer_id(seed, index), strokes)


def written_others(
    n: int, *, seed: int = 0, writers: int = 30, first: int = 0, scale: Scale = LETTERS
) -> Iterator[Written]:
    """Drawings of what is not a grade, by the writers of `written_grades` with the same `seed` and `writers`.

    These are letters and digits, half of them with a sign; marks such as lines, ticks and dots; lone signs; scribbles;
    and, where grades have several characters, what differs from one in a character. None is a grade of `scale`, though
    some inevitably look like one: see `gradejax.hands.others`.
    """
    for number, name, index, writer in _turns(_others_of(scale), scale, n, seed, writers, first):
        rng = _generator(seed, 2, number)
        if name == _NEAR_MISS:
            word, sign = _near_miss(scale, rng), ""
        else:
            word, sign = (name,), _sign_of_other(name, scale, rng)
        yield Written("".join(word) + sign, _writer_id(seed, index), write(word, sign, writer, rng))


def _others_of(scale: Scale) -> list[str]:
    letters = (character for character in ALLOGRAPHS if character.isalpha())
    others = (*letters, *OTHERS, *_LIKE_GRADES, "+", "-", SCRIBBLE)
    look_like_grades = {one for alike in _ALIKE if not scale.index.keys().isdisjoint(alike) for one in alike}
    kept = [name for name in others if name not in look_like_grades | scale.index.keys()]
    return kept + [_NEAR_MISS] * (_NEAR_MISSES if any(map(_is_word, scale.labels)) else 0)


def _sign_of_other(name: str, scale: Scale, rng: np.random.Generator) -> str:
    if not name.isalnum() or len(name) > 1:
        return ""
    allowed = [(sign, p) for sign, p in (("", 1 / 2), ("+", 1 / 4), ("-", 1 / 4)) if name + sign not in scale.index]
    signs, p = zip(*allowed, strict=True)
    return str(rng.choice(signs, p=np.array(p) / sum(p)))


def _is_word(label: str) -> bool:
    return len(split_sign(label)[0]) > 1


def _near_miss(scale: Scale, rng: np.random.Generator) -> Sequence[str]:
    """A word of the scale with one letter or digit replaced; a scribble if nearly all of these are in the scale."""
    words = [label for label in scale.labels if _is_word(label)]
    characters = sorted(set(filter(str.isalnum, "".join(scale.labels))))
    for _ in range(_TRIES):
        word = split_sign(words[rng.integers(len(words))])[0]
        at = int(rng.integers(len(word)))
        changed = word[:at] + characters[rng.integers(len(characters))] + word[at + 1 :]
        if word[at] in characters and changed not in scale.index:
            return changed
    return (SCRIBBLE,)


def _turns(
    names: Sequence[str], scale: Scale, n: int, seed: int, writers: int, first: int
) -> Iterator[tuple[int, str, int, Writer]]:
    """Who writes what: for each drawing its number, what it shows, and its writer's index and habits."""
    habits: dict[int, Writer] = {}
    more = [character for character in MORE if character in "".join(scale.labels)]
    period = math.lcm(len(names), writers)
    for number in range(first, first + n):
        # `number % writers` alone would give a writer the same few characters for ever: each period shifts by one.
        index = (number + number // period) % writers
        if index not in habits:
            habits[index] = make_writer(_generator(seed, 0, index), more)
        yield number, names[number % len(names)], index, habits[index]


def _collection(seed: int) -> str:
    return "synthetic" if seed == 0 else f"synthetic-{seed}"


def _writer_id(seed: int, index: int) -> str:
    return f"{_collection(seed)}-{index:03d}"


def _generator(seed: int, *key: int) -> np.random.Generator:
    # A spawn key, because the plain seeds (5, 0) and (5, 0, 0) would be the same.
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))
