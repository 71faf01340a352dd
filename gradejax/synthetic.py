"""Grades written by made-up hands, for the first run and for pre-training.

A hand is modelled where it moves, not where its ink ends up. Each character has a plan (`gradejax.allographs`), and
the pen carries it out as the kinematic theory describes fast human movement (R. Plamondon, "A kinematic theory of
rapid human movements, part I", Biological Cybernetics 72, 1995; R. Plamondon and M. Djioua, "A multi-level
representation paradigm for handwriting stroke generation", Human Movement Science 25, 2006): every piece of the plan
is an arc whose speed rises and falls as a lognormal, and the next piece begins before the last is over, so that a
hurried hand cuts its corners and a careful one stops in them. That targets and arcs stand for the theory's
parameters is from D. Berio, F. F. Leymarie and R. Plamondon, "Expressive curve editing with the sigma lognormal
model" (Eurographics 2018).

A writer (`make_writer`) is a set of habits; each drawing then differs a little (`write`), and is inked as a browser's
canvas inks it (`ink_strokes`).
"""

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from gradejax.allographs import ALLOGRAPHS, Targets, plan_strokes
from gradejax.drawings import Drawing, encode_png
from gradejax.grades import GRADES

CANVAS = 280
"""Pixels; the side of the canvas that drawings are made on."""
PEN = 20
"""Pixels; the width of the pen's round tip."""

Strokes = list[list[dict[str, float]]]
"""A drawing's strokes as its document holds them: per stroke a list of `{x, y, t, pressure}`, t in milliseconds."""

_MARGIN = PEN / 2 + 3  # from the border to the middle of the pen, at least
_SAMPLES_PER_SECOND = 60  # how often a phone tells a page where the finger is
_SKEW = 0.25  # the lognormal's sigma
_FLOW = 0.6  # the overlap of two movements that go on in the same direction
_CONSTANCY = 0.8  # how often a hand writes a character in its usual way
_FIRST_DATE = datetime(2024, 1, 1, 8, tzinfo=UTC)
_INTERVAL = timedelta(seconds=4)
_erf = np.frompyfunc(math.erf, 1, 1)

Form = list[Targets]
"""A character's strokes."""


@dataclass(frozen=True, slots=True)
class Writer:
    """The habits of one hand.

    Attributes:
        forms: for each character how this hand writes it: the usual way, and the other.
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
    for character in ALLOGRAPHS:
        usual, other = _favourites(character, rng)
        forms[character] = (_own_form(usual, waist, belly, rng), _own_form(other, waist, belly, rng))
    return Writer(
        forms=forms,
        height=np.clip(rng.normal(140, 22), 95, 200),
        width=np.exp(rng.normal(0, 0.17)),
        slant=rng.normal(0.1, 0.13),
        tilt=rng.normal(2, 3.5),
        hurry=rng.uniform(0.0, 0.5),
        tempo=rng.uniform(0.2, 0.45),
        tremor=rng.gamma(2, 0.3),
        carelessness=rng.uniform(0.01, 0.04),
        overshoot=rng.normal(0.01, 0.03),
        sign_length=np.clip(rng.normal(72, 13), 42, 105),
        sign_aspect=np.exp(rng.normal(0.2, 0.2)),
        sign_drop=rng.uniform(0.1, 0.5),
        gap=rng.normal(13, 8),
        pressure=rng.uniform(0.3, 0.9),
    )


def write(grade: str, writer: Writer, rng: np.random.Generator) -> Strokes:
    """Writes a grade: the letter, and its sign to the right of it, somewhere about the middle of the canvas."""
    height = writer.height * np.exp(rng.normal(0, 0.09))
    if len(grade) == 1:  # a letter that has the canvas to itself is written larger
        height *= 1.1
    width = height * writer.width * np.exp(rng.normal(0, 0.07))
    lean = height * (writer.slant + rng.normal(0, 0.04))
    strokes = _character(grade[0], np.array([[width, 0], [-lean, height]]), writer, rng)
    for sign in grade[1:]:
        (_, top), (right, bottom) = _corners(strokes)
        length = (1 if sign == "-" else 0.75) * writer.sign_length * np.exp(rng.normal(0, 0.13))
        upright = length * writer.sign_aspect
        signs = _character(sign, np.array([[length, 0], [-0.5 * lean / height * upright, upright]]), writer, rng)
        (sign_left, sign_top), (_, sign_bottom) = _corners(signs)
        gap = PEN + writer.gap + rng.normal(0, 6)
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
    hands: dict[int, Writer] = {}
    collection = "synthetic" if seed == 0 else f"synthetic-{seed}"
    owner = hashlib.blake2b(f"{collection} {writers}".encode(), digest_size=5).hexdigest()
    turns = math.lcm(len(GRADES), writers)
    for number in range(first, first + n):
        grade = GRADES[number % len(GRADES)]
        # Alone, `number % writers` would give a writer the same few grades for ever: each round moves on by one.
        hand = (number + number // turns) % writers
        if hand not in hands:
            hands[hand] = make_writer(_generator(seed, 0, hand))
        strokes = write(grade, hands[hand], _generator(seed, 1, number))
        date = _FIRST_DATE + number * _INTERVAL
        yield Drawing(
            # Like an ObjectId: the second, whose it is, a counter.
            id=f"{int(date.timestamp()):08x}{owner}{number % 2**24:06x}",
            tags=("synthetic",),
            label=grade,
            png=encode_png(ink_strokes(strokes)),
            date=date,
            writer=f"{collection}-{hand:03d}",
            strokes=strokes,
        )


def _generator(seed: int, *key: int) -> np.random.Generator:
    # As a spawn key: plain seeds (5, 0) and (5, 0, 0) would be the same.
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def _favourites(character: str, rng: np.random.Generator) -> list[str]:
    """The plans of the allographs that a hand has come to use for a character: the usual one, and the other.

    They may be the same one: few people write a `-` in two ways.
    """
    shares, plans = zip(*ALLOGRAPHS[character], strict=True)
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


def _character(
    character: str, frame: Float[np.ndarray, "2 2"], writer: Writer, rng: np.random.Generator
) -> list[Float[np.ndarray, "points 3"]]:
    """A character's strokes as x, y and t (seconds, from the stroke's start); a place in it is x, y @ `frame`."""
    usual, other = writer.forms[character]
    form = usual if rng.random() < _CONSTANCY else other
    hurry = np.clip(writer.hurry + rng.normal(0, 0.08), 0, 0.6)
    strokes = []
    for stroke in form:
        noise = rng.normal(0, 1, stroke.shape)
        targets = stroke + noise * (writer.carelessness, writer.carelessness, 5)
        late = writer.overshoot + rng.normal(0, 0.02)
        last = targets[-1, :2] - targets[-2, :2]
        targets[-1, :2] += late * last / (np.hypot(*last) + 0.05)
        points = _move(targets, hurry, writer.tempo)
        points[:, :2] = points[:, :2] @ frame + _tremble(points[:, 2], writer.tremor, rng)
        strokes.append(points)
    return strokes


def _move(targets: Targets, hurry: float, tempo: float) -> Float[np.ndarray, "points 3"]:
    """The pen's x, y, t on its way from target to target: a sum of arcs, each with a lognormal speed."""
    chord = np.diff(targets[:, :2], axis=0)
    length = np.hypot(*chord.T)
    bend = np.deg2rad(targets[1:, 2])
    bend = np.where(np.abs(bend) < 1e-3, 1e-3, bend)  # a straight line is an arc of a very large circle
    start = np.arctan2(chord[:, 1], chord[:, 0]) - bend / 2
    # Long movements take little longer than short ones (isochrony).
    duration = tempo * np.sqrt(length + 0.05)
    # No hand stops where it goes straight on: the smoother a joint, the more the movements overlap.
    corner = start[1:] - (start + bend)[:-1]
    overlap = hurry + (_FLOW - hurry) * np.maximum(np.cos(corner), 0)
    onset = np.concatenate([[0], np.cumsum(duration[:-1] * (1 - overlap))])
    end = onset[-1] + duration[-1]
    t = np.linspace(0, end, max(3, round(end * _SAMPLES_PER_SECOND)))
    done = _lognormal_progress((t[:, None] - onset) / duration)
    # The integral of an arc of radius `radius` from its start to where `done` of its angle is passed.
    radius = length / (2 * np.sin(bend / 2))
    angle = start + bend * done
    x = targets[0, 0] + (radius * (np.sin(angle) - np.sin(start))).sum(axis=1)
    y = targets[0, 1] - (radius * (np.cos(angle) - np.cos(start))).sum(axis=1)
    return np.column_stack([x, y, t])


def _lognormal_progress(share: np.ndarray) -> np.ndarray:
    """How much of a movement's way lies behind when `share` of its time has passed.

    It is the lognormal's distribution function, cut at three standard deviations on either side.
    """
    low, high = np.exp(-3 * _SKEW), np.exp(3 * _SKEW)
    z = np.log(low + (high - low) * np.clip(share, 0, 1)) / _SKEW
    return (_erf(z / math.sqrt(2)).astype(float) / math.erf(3 / math.sqrt(2)) + 1) / 2


def _tremble(
    t: Float[np.ndarray, " points"], amplitude: float, rng: np.random.Generator
) -> Float[np.ndarray, "points 2"]:
    """An unsteady hand, in pixels: three waves of 3 to 9 Hz across and three down."""
    frequency, phase = rng.uniform(3, 9, (3, 2)), rng.uniform(0, 2 * np.pi, (3, 2))
    return amplitude / math.sqrt(3) * np.sin(2 * np.pi * frequency * t[:, None, None] + phase).sum(axis=1)


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
