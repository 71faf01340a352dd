"""Grades written by made-up hands, for the first run and for pre-training.

A hand is modelled where it moves, not where its ink ends up: each character has a plan (`gradejax.hands.allographs`,
`gradejax.hands.others`), and the pen carries it out as hands do (`gradejax.hands.movement`).
A writer (`make_writer`) is a set of habits; each drawing then differs a little (`write`), and is inked as a browser's
canvas inks it (`ink_strokes`).
"""

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from gradejax.drawings import Drawing
from gradejax.grades import GRADES
from gradejax.hands.allographs import ALLOGRAPHS, Form, plan_strokes
from gradejax.hands.movement import move, tremble
from gradejax.hands.others import OTHERS, scribble
from gradejax.hands.slips import SLIPS, slip
from gradejax.ink import encode_png

CANVAS = 280
"""Pixels; the side of the canvas that drawings are made on."""
PEN = 20
"""Pixels; the width of the pen's round tip."""

Strokes = list[list[dict[str, float]]]
"""A drawing's strokes as its document holds them: per stroke a list of `{x, y, t, pressure}`, t in milliseconds."""

_MARGIN = PEN / 2 + 3  # from the border to the middle of the pen, at least
_LEAST_WIDTH = 80  # pixels to a height's breadth: in a narrower B this pen would fill the bowls
_CONSTANCY = 0.8  # how often a hand writes a character in its usual way
_FIRST_DATE = datetime(2024, 1, 1, 8, tzinfo=UTC)
_INTERVAL = timedelta(seconds=4)

_SCRIBBLE = "scribble"


class Written(NamedTuple):
    """What a hand wrote.

    Attributes:
        name: a grade; or what it shows besides: `F`, `7+`, `tick`, `scribble`.
        writer: the hand.
        strokes: the pen's path.
    """

    name: str
    writer: str
    strokes: Strokes


@dataclass(frozen=True, slots=True)
class Writer:
    """The habits of one hand.

    Attributes:
        forms: for each character how this hand writes it: the usual way, and the other.
        slips: how likely each of `gradejax.hands.slips.SLIPS` is in a character.
        height: of a letter, pixels.
        width: factor on the breadth of letters.
        slant: how far the top of a letter leans to the right, in heights.
        tilt: how much lines climb, degrees.
        hurry: how much of a movement is still to come when the next one begins; 0 stops in every corner.
        tempo: seconds for a movement as long as a letter is high.
        tremor: how far the pen trembles, pixels.
        carelessness: standard deviation of the pen's aim, in heights.
        overshoot: how much too late a stroke ends, in heights; negative: too early.
        sign_length: of a `-`, pixels; a `+` is three quarters as broad.
        sign_aspect: height of a `+` by its width.
        sign_drop: how far below the letter's top the middle of the sign is, in heights.
        gap: from the letter's ink to the sign's, pixels.
        pressure: of the pen, 0 to 1.
    """

    forms: Mapping[str, tuple[Form, Form]]
    slips: Mapping[str, float]
    height: float
    width: float
    slant: float
    tilt: float
    hurry: float
    tempo: float
    tremor: float
    carelessness: float
    overshoot: float
    sign_length: float
    sign_aspect: float
    sign_drop: float
    gap: float
    pressure: float


def make_writer(rng: np.random.Generator) -> Writer:
    """A hand of its own."""
    waist, belly = rng.normal(0, 0.2, 2)
    forms = {}
    for character, allographs in (ALLOGRAPHS | OTHERS).items():
        usual, other = _favourites(allographs, rng)
        forms[character] = (_own_form(usual, waist, belly, rng), _own_form(other, waist, belly, rng))
    return Writer(
        forms=forms,
        slips={name: min(rng.exponential(0.02), 0.2) for name in SLIPS},
        height=np.clip(138 + 24 * rng.standard_t(4), 60, 215),
        width=np.clip(np.exp(0.24 * rng.standard_t(4)), 0.4, 2.4),
        slant=np.clip(0.1 + 0.12 * rng.standard_t(4), -0.35, 0.65),
        tilt=rng.normal(2, 3.5),
        hurry=rng.uniform(0.0, 0.5),
        tempo=rng.uniform(0.2, 0.45),
        tremor=rng.gamma(2, 0.3),
        carelessness=0.024 * np.exp(rng.normal(0, 0.4)),
        overshoot=rng.normal(0.01, 0.03),
        sign_length=np.clip(72 + 11 * rng.standard_t(4), 36, 130),
        sign_aspect=np.exp(rng.normal(0.2, 0.2)),
        sign_drop=np.clip(0.3 + 0.12 * rng.standard_t(4), -0.1, 0.75),
        gap=12 + 7 * rng.standard_t(4),
        pressure=rng.uniform(0.3, 0.9),
    )


def write(character: str, sign: str, writer: Writer, rng: np.random.Generator) -> Strokes:
    """Writes a character of `ALLOGRAPHS` or `OTHERS`, and to the right of it `+`, `-` or, if empty, nothing.

    It stands somewhere about the middle of the canvas.
    """
    height = writer.height * np.exp(rng.normal(0, 0.09))
    if not sign:  # a letter that has the canvas to itself is written larger
        height *= 1.1
    width = max(height * writer.width * np.exp(rng.normal(0, 0.07)), _LEAST_WIDTH)
    lean = height * (writer.slant + rng.normal(0, 0.04))
    form = scribble(rng) if character == _SCRIBBLE else _form(character, writer, rng)
    strokes = _carried_out(form, np.array([[width, 0], [-lean, height]]), writer, rng)
    if sign:
        (_, top), (right, bottom) = _corners(strokes)
        length = (1 if sign == "-" else 0.75) * writer.sign_length * np.exp(rng.normal(0, 0.13))
        upright = length * writer.sign_aspect
        frame = np.array([[length, 0], [-0.5 * lean / height * upright, upright]])
        signs = _carried_out(_form(sign, writer, rng), frame, writer, rng)
        (sign_left, sign_top), (_, sign_bottom) = _corners(signs)
        # A sign may run into the letter, but a short - that did would be read as a bar of an A or E.
        gap = PEN + np.clip(writer.gap + rng.normal(0, 6), -4 if sign == "-" and length < 50 else -16, 60)
        middle = top + (writer.sign_drop + rng.normal(0, 0.06)) * (bottom - top)
        shift = np.array([right + gap - sign_left, middle - (sign_top + sign_bottom) / 2, 0])
        strokes += [points + shift for points in signs]
    tilt = np.deg2rad(writer.tilt + rng.normal(0, 2))
    climb = np.array([[np.cos(tilt), -np.sin(tilt), 0], [np.sin(tilt), np.cos(tilt), 0], [0, 0, 1]])
    return _timed(_placed([points @ climb for points in strokes], rng), writer, rng)


def ink_strokes(
    strokes: Sequence[Sequence[Mapping[str, float]]], size: int = CANVAS, width: float = PEN
) -> UInt8[np.ndarray, "size size"]:
    """The ink that a round pen leaves along `strokes`, antialiased; places and `width` in pixels of the picture."""
    fine = 4  # drawn so many times larger, then averaged: OpenCV's own antialiased lines come out too wide
    # A stroke's first place comes twice: a line from a place to itself is how OpenCV draws a dot.
    places = [np.array([(p["x"], p["y"]) for p in (stroke[0], *stroke)]) for stroke in strokes if stroke]
    # OpenCV's whole numbers are the middles of pixels, and here sixteenths of one (shift=4); a canvas's are edges.
    lines = [np.rint((line * fine - 0.5) * 16).astype(np.int32) for line in places]
    ink = np.zeros((size * fine, size * fine), np.uint8)
    cv2.polylines(ink, lines, isClosed=False, color=255, thickness=round(width * fine), shift=4)
    for scale in (2, 1):  # OpenCV halves twice in a fifth of the time that it takes to quarter once
        ink = cv2.resize(ink, (size * scale, size * scale), interpolation=cv2.INTER_AREA)
    return ink


def write_drawings(n: int, *, seed: int = 0, writers: int = 30, first: int = 0) -> Iterator[Drawing]:
    """Drawings number `first` to `first + n - 1` of the endless row that `seed` and `writers` stand for.

    A drawing is the same, byte for byte, whichever others are made. Grades and writers take turns: any `n` in a row
    have the grades as evenly as can be, and in the first 15 x `writers` everyone writes each grade once.

    Args:
        n: how many.
        seed: 0 or more; another seed is other drawings by other writers.
        writers: how many made-up hands, at least 1.
        first: the number of the first one.
    """
    owner = hashlib.blake2b(f"{_collection(seed)} {writers}".encode(), digest_size=5).hexdigest()
    for number, written in enumerate(written_grades(n, seed=seed, writers=writers, first=first), first):
        date = _FIRST_DATE + number * _INTERVAL
        yield Drawing(
            # Like an ObjectId: the second, whose it is, a counter.
            id=f"{int(date.timestamp()):08x}{owner}{number % 2**24:06x}",
            tags=("synthetic",),
            label=written.name,
            png=encode_png(ink_strokes(written.strokes)),
            date=date,
            writer=written.writer,
            strokes=written.strokes,
        )


def written_grades(n: int, *, seed: int = 0, writers: int = 30, first: int = 0) -> Iterator[Written]:
    """What `write_drawings` makes pictures of."""
    for number, grade, hand, writer in _turns(GRADES, n, seed, writers, first):
        strokes = write(grade[0], grade[1:], writer, _generator(seed, 1, number))
        yield Written(grade, f"{_collection(seed)}-{hand:03d}", strokes)


def written_others(n: int, *, seed: int = 0, writers: int = 30, first: int = 0) -> Iterator[Written]:
    """The same for what is no grade, by the hands that `written_grades` has for the same `seed` and `writers`.

    The letters F to Z and the digits, a third of them with a sign beside them, marks such as lines, ticks and dots,
    lone signs, and scribbles. Some are like grades by nature; `gradejax.hands.others` says which.
    """
    for number, name, hand, writer in _turns((*OTHERS, "+", "-", _SCRIBBLE), n, seed, writers, first):
        rng = _generator(seed, 2, number)
        sign = rng.choice(("", "+", "-"), p=(2 / 3, 1 / 6, 1 / 6)) if name.isalnum() and len(name) == 1 else ""
        yield Written(f"{name}{sign}", f"{_collection(seed)}-{hand:03d}", write(name, sign, writer, rng))


def _turns(
    characters: Sequence[str], n: int, seed: int, writers: int, first: int
) -> Iterator[tuple[int, str, int, Writer]]:
    """Whose turn it is to write what: each drawing's number, its character, the number of the hand, and the hand."""
    hands: dict[int, Writer] = {}
    turns = math.lcm(len(characters), writers)
    for number in range(first, first + n):
        # Alone, `number % writers` would give a writer the same few characters for ever: each round moves on by one.
        hand = (number + number // turns) % writers
        if hand not in hands:
            hands[hand] = make_writer(_generator(seed, 0, hand))
        yield number, characters[number % len(characters)], hand, hands[hand]


def _collection(seed: int) -> str:
    return "synthetic" if seed == 0 else f"synthetic-{seed}"


def _generator(seed: int, *key: int) -> np.random.Generator:
    # As a spawn key: plain seeds (5, 0) and (5, 0, 0) would be the same.
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def _favourites(allographs: Sequence[tuple[float, str]], rng: np.random.Generator) -> list[str]:
    """The plans of those allographs that a hand has come to use for a character: the usual one, and the other.

    They may be the same one: few people write a `-` in two ways.
    """
    shares, plans = zip(*allographs, strict=True)
    chosen = rng.choice(len(plans), size=2, p=np.array(shares) / sum(shares))
    return [plans[i] for i in chosen]


def _own_form(plan: str, waist: float, belly: float, rng: np.random.Generator) -> Form:
    """A hand's own version of an allograph: other proportions, arcs rounder or flatter.

    `waist` is how far down the middle of letters is drawn, `belly` how far to the right.
    """
    form = plan_strokes(plan)
    for targets in form:
        x, y, bend = targets.T
        noise = rng.normal(0, 1, (4, len(x)))
        targets[:, 0] = x + belly * x * (0.8 - x) + 0.025 * noise[0]
        targets[:, 1] = y + waist * y * (1 - y) + 0.025 * noise[1]
        targets[:, 2] = bend * (1 + 0.1 * noise[2]) + 6 * noise[3]
    return form


def _form(character: str, writer: Writer, rng: np.random.Generator) -> Form:
    usual, other = writer.forms[character]
    return usual if rng.random() < _CONSTANCY else other


def _carried_out(
    form: Form, frame: Float[np.ndarray, "2 2"], writer: Writer, rng: np.random.Generator
) -> list[Float[np.ndarray, "points 3"]]:
    """A form's strokes as x, y and t (seconds, from the stroke's start); a place in it is x, y @ `frame`."""
    hurry = np.clip(writer.hurry + rng.normal(0, 0.1), 0, 0.65)
    strokes = []
    for stroke in slip(form, writer.slips, rng):
        noise = rng.normal(0, 1, stroke.shape)
        targets = stroke + noise * (writer.carelessness, writer.carelessness, 5)
        late = writer.overshoot + rng.normal(0, 0.02)
        last = targets[-1, :2] - targets[-2, :2]
        targets[-1, :2] += late * last / (np.hypot(*last) + 0.05)
        points = move(targets, hurry, writer.tempo)
        points[:, :2] = points[:, :2] @ frame + tremble(points[:, 2], writer.tremor, rng)
        strokes.append(points)
    return strokes


def _corners(strokes: Sequence[Float[np.ndarray, "points 3"]]) -> Float[np.ndarray, "2 2"]:
    """The least and the greatest x, y."""
    places = np.concatenate(strokes)[:, :2]
    return np.array([places.min(axis=0), places.max(axis=0)])


def _placed(
    strokes: list[Float[np.ndarray, "points 3"]], rng: np.random.Generator
) -> list[Float[np.ndarray, "points 3"]]:
    """Strokes put about the middle of the canvas, made smaller where they would not fit on it."""
    low, high = _corners(strokes)
    scale = min(1, (CANVAS - 2 * _MARGIN) / (high - low).max())
    half = scale * (high - low) / 2
    middle = np.clip(rng.normal(CANVAS / 2, 14, 2), _MARGIN + half, CANVAS - _MARGIN - half)
    return [np.column_stack([middle + scale * (points[:, :2] - (low + high) / 2), points[:, 2]]) for points in strokes]


def _timed(strokes: list[Float[np.ndarray, "points 3"]], writer: Writer, rng: np.random.Generator) -> Strokes:
    """Strokes in the document's form: one after another in time, pressed on while they last.

    Rounded, so that what a processor's own sine does to the last digit is not seen.
    """
    document, clock = [], 0.0
    for points in strokes:
        x, y, t = points.T
        pressure = writer.pressure * np.clip(0.4 + 12 * np.minimum(t, t[-1] - t), 0, 1)
        columns = (x.round(2), y.round(2), (1000 * (clock + t)).round(), pressure.round(2))
        rows = zip(*(column.tolist() for column in columns), strict=True)
        document.append([{"x": x, "y": y, "t": t, "pressure": pressure} for x, y, t, pressure in rows])
        clock += t[-1] + writer.tempo * rng.uniform(0.4, 1.2)
    return document
