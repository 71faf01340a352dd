"""A synthetic writer: a set of habits, and the strokes that a pen makes by them.

A writer is modelled in how the pen moves, not in what the ink looks like. Each character has a plan
(`gradejax.hands.allographs`, `gradejax.hands.others`); a writer has their own version of it, and each drawing varies it
a little more. The pen then carries out the plan (`gradejax.hands.movement`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from gradejax.hands.allographs import ALLOGRAPHS, MORE
from gradejax.hands.canvas import CANVAS, PEN, Strokes
from gradejax.hands.movement import move, tremble
from gradejax.hands.others import OTHERS, scribble
from gradejax.hands.plans import Allographs, Form, plan_strokes
from gradejax.hands.slips import SLIPS, slip

SCRIBBLE = "scribble"
"""Stands for a scribble where a character is expected."""

_MARGIN = PEN / 2 + 3  # pixels from the canvas's border to the middle of the pen, at least
_MIN_WIDTH = 60  # pixels, for a letter as wide as high: this pen would fill the bowls of a narrower B
_FINE_GRAIN = 0.01  # pixels: coordinates are rounded to it anyway
_CONSISTENCY = 0.8  # how often a writer writes a character in their usual way

Path = Float[np.ndarray, "_points 3"]
"""The pen's way along a stroke: x, y in pixels and t in seconds from the start of the stroke."""


@dataclass(frozen=True, slots=True)
class Writer:
    """One writer's habits.

    Attributes:
        forms: for each character the writer's usual form and an alternative.
        slips: probability of each of `gradejax.hands.slips.SLIPS` in a character.
        height: of a letter, pixels.
        width: factor on the width of letters.
        slant: how far the top of a letter leans to the right, in heights.
        tilt: how steeply lines climb, degrees.
        hurry: fraction of a movement still to come when the next one begins; at 0 the pen stops in every corner.
        tempo: seconds for a movement as long as a letter is high.
        tremor: amplitude of the pen's tremble, pixels.
        carelessness: standard deviation of the pen's aim, in heights.
        overshoot: how far strokes run past their end, in heights; negative: how far they stop short.
        sign_length: of a `-`, pixels; a `+` is three quarters as wide.
        sign_aspect: height of a `+` divided by its width.
        sign_drop: how far the middle of the sign lies below the letter's top, in heights.
        gap: between the letter's ink and the sign's, pixels.
        pressure: of the pen, 0 to 1.
        grain: the steps in which the paper reports the pen's position, pixels; those of old tablets are coarse.
        spacing: between the ink of two letters or digits of a word, in heights; negative: they touch.
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
    grain: float
    spacing: float


def make_writer(rng: np.random.Generator, more: Iterable[str] = ()) -> Writer:
    """Draws a writer's habits at random.

    Args:
        rng: the source of randomness.
        more: keys of `MORE`, whose forms the writer has besides those of `ALLOGRAPHS` and `OTHERS`. They change none of
            the other habits.
    """
    waist, belly = rng.normal(0, 0.2, 2)

    def forms_of(allographs: Allographs) -> tuple[Form, Form]:
        usual, alternative = _choose_plans(allographs, rng)
        return _personal_form(usual, waist, belly, rng), _personal_form(alternative, waist, belly, rng)

    forms = {character: forms_of(allographs) for character, allographs in (ALLOGRAPHS | OTHERS).items()}
    writer = Writer(
        forms=forms,
        slips={name: min(rng.exponential(0.03), 0.25) for name in SLIPS},
        height=np.clip(138 + 24 * rng.standard_t(4), 60, 215),
        width=np.clip(np.exp(0.28 * rng.standard_t(4)), 0.4, 2.4),
        slant=np.clip(0.1 + 0.12 * rng.standard_t(4), -0.35, 0.65),
        tilt=rng.normal(2, 3.5),
        hurry=rng.uniform(0.0, 0.5),
        tempo=rng.uniform(0.2, 0.45),
        tremor=rng.gamma(1.2, 0.9),
        carelessness=0.024 * np.exp(rng.normal(0, 0.4)),
        overshoot=rng.normal(0.01, 0.03),
        sign_length=np.clip(72 + 11 * rng.standard_t(4), 36, 130),
        sign_aspect=np.exp(rng.normal(0.2, 0.2)),
        sign_drop=np.clip(0.3 + 0.12 * rng.standard_t(4), -0.1, 0.75),
        gap=12 + 7 * rng.standard_t(4),
        pressure=rng.uniform(0.3, 0.9),
        grain=rng.uniform(3, 10) if rng.random() < 0.35 else _FINE_GRAIN,
        spacing=np.clip(0.08 + 0.07 * rng.standard_t(4), -0.12, 0.3),
    )
    forms |= {character: forms_of(MORE[character]) for character in more}
    return writer


def write(word: Sequence[str], sign: str, writer: Writer, rng: np.random.Generator) -> Strokes:
    """Writes a word, most often of one character, near the middle of the canvas.

    Args:
        word: the characters: those that the writer has forms of, and `SCRIBBLE`.
        sign: written to the right of the word: `+`, `-` or, if empty, nothing.
        writer: whose habits the drawing shows.
        rng: makes this drawing differ from the writer's others.
    """
    height = writer.height * np.exp(rng.normal(0, 0.09))
    if not sign and len(word) == 1:  # a letter that has the canvas to itself is written larger
        height *= 1.1
    width = max(height * writer.width * np.exp(rng.normal(0, 0.07)), _MIN_WIDTH)
    lean = height * (writer.slant + rng.normal(0, 0.04))
    frame = np.array([[width, 0], [-lean, height]])
    if len(word) == 1:
        form = scribble(rng) if word[0] == SCRIBBLE else _choose_form(word[0], writer, rng)
        paths = _carry_out(form, frame, writer, rng)
    else:
        paths = _write_in_a_row(word, frame, writer, rng)
    if sign:
        (_, top), (right, bottom) = _bounds(paths)
        length = (1 if sign == "-" else 0.75) * writer.sign_length * np.exp(rng.normal(0, 0.13))
        upright = length * writer.sign_aspect
        sign_frame = np.array([[length, 0], [-0.5 * lean / height * upright, upright]])
        sign_paths = _carry_out(_choose_form(sign, writer, rng), sign_frame, writer, rng)
        (sign_left, sign_top), (_, sign_bottom) = _bounds(sign_paths)
        # A sign may run into the letter, but a short - that did would read as a bar of an A or E.
        gap = PEN + np.clip(writer.gap + rng.normal(0, 6), -4 if sign == "-" and length < 50 else -16, 60)
        middle = top + (writer.sign_drop + rng.normal(0, 0.06)) * (bottom - top)
        shift = np.array([right + gap - sign_left, middle - (sign_top + sign_bottom) / 2, 0])
        paths += [path + shift for path in sign_paths]
    tilt = np.deg2rad(writer.tilt + rng.normal(0, 2))
    rotation = np.array([[np.cos(tilt), -np.sin(tilt), 0], [np.sin(tilt), np.cos(tilt), 0], [0, 0, 1]])
    return _record(_fit_on_canvas([path @ rotation for path in paths], rng), writer, rng)


def _write_in_a_row(
    word: Sequence[str], frame: Float[np.ndarray, "2 2"], writer: Writer, rng: np.random.Generator
) -> list[Path]:
    """The paths of several characters on one base line, as far from each other as the writer's habit is."""
    height, lean = frame[1, 1], frame[1, 0] / frame[1, 1]
    upright = np.array([[1, 0, 0], [-lean, 1, 0], [0, 0, 1]])  # distances are measured as if nothing leant
    paths: list[Path] = []
    for before, character in zip(("", *word), word, strict=False):
        size = np.exp(rng.normal(0, 0.05))
        form = _choose_form(character, writer, rng)
        if character in "+-":  # half as high as the digits, in their middle
            form = [stroke * (0.6, 0.5, 1) + (0, 0.27, 0) for stroke in form]
        of_character = _carry_out(form, size * frame, writer, rng)
        drop = np.array([0, height * (1 - size + rng.normal(0, 0.025)), 0])
        if paths:
            least = 0.04 if {before, character} & {".", ","} else -0.13  # a point that touched would be lost
            gap = PEN + height * np.clip(writer.spacing + rng.normal(0, 0.03), least, 0.35)
            right = _bounds([path @ upright for path in paths])[1, 0]
            left = _bounds([path @ upright for path in of_character])[0, 0]
            drop[0] = right + gap - left
        paths += [path + drop for path in of_character]
    return paths


def _choose_plans(allographs: Allographs, rng: np.random.Generator) -> list[str]:
    """A writer's usual and alternative plan for a character, drawn by how common they are.

    They may be the same: few people write a `-` in two ways.
    """
    weights, plans = zip(*allographs, strict=True)
    chosen = rng.choice(len(plans), size=2, p=np.array(weights) / sum(weights))
    return [plans[i] for i in chosen]


def _personal_form(plan: str, waist: float, belly: float, rng: np.random.Generator) -> Form:
    """A writer's own version of an allograph: other proportions, arcs rounder or flatter.

    `waist` is how far the middle of letters is moved down, `belly` how far to the right.
    """
    form = plan_strokes(plan)
    for targets in form:
        x, y, bend = targets.T
        noise = rng.normal(0, 1, (4, len(x)))
        targets[:, 0] = x + belly * x * (0.8 - x) + 0.03 * noise[0]
        targets[:, 1] = y + waist * y * (1 - y) + 0.03 * noise[1]
        targets[:, 2] = bend * (1 + 0.1 * noise[2]) + 6 * noise[3]
    return form


def _choose_form(character: str, writer: Writer, rng: np.random.Generator) -> Form:
    usual, alternative = writer.forms[character]
    return usual if rng.random() < _CONSISTENCY else alternative


def _carry_out(form: Form, frame: Float[np.ndarray, "2 2"], writer: Writer, rng: np.random.Generator) -> list[Path]:
    """The pen's paths for a form's strokes; `frame` maps the plan's units to pixels: (x, y) @ frame."""
    hurry = np.clip(writer.hurry + rng.normal(0, 0.1), 0, 0.65)
    paths = []
    for stroke in slip(form, writer.slips, rng):
        noise = rng.normal(0, 1, stroke.shape)
        targets = stroke + noise * (writer.carelessness, writer.carelessness, 5)
        overshoot = writer.overshoot + rng.normal(0, 0.02)
        last = targets[-1, :2] - targets[-2, :2]
        targets[-1, :2] += overshoot * last / (np.hypot(*last) + 0.05)
        path = move(targets, hurry, writer.tempo)
        path[:, :2] = path[:, :2] @ frame + tremble(path[:, 2], writer.tremor, rng)
        paths.append(path)
    return paths


def _bounds(paths: Sequence[Path]) -> Float[np.ndarray, "2 2"]:
    """The smallest and the largest x, y."""
    places = np.concatenate(paths)[:, :2]
    return np.array([places.min(axis=0), places.max(axis=0)])


def _fit_on_canvas(paths: list[Path], rng: np.random.Generator) -> list[Path]:
    """Moves strokes near the middle of the canvas, scaled down if they would not fit on it."""
    low, high = _bounds(paths)
    scale = min(1, (CANVAS - 2 * _MARGIN) / (high - low).max())
    half = scale * (high - low) / 2
    middle = np.clip(rng.normal(CANVAS / 2, 14, 2), _MARGIN + half, CANVAS - _MARGIN - half)
    return [np.column_stack([middle + scale * (path[:, :2] - (low + high) / 2), path[:, 2]]) for path in paths]


def _record(paths: list[Path], writer: Writer, rng: np.random.Generator) -> Strokes:
    """Strokes as a document holds them: one after another in time, pressure rising and falling within each.

    Numbers are rounded, to hide that processors differ in the last digit of a sine.
    """
    strokes, clock = [], 0.0
    offset = rng.uniform(0, writer.grain, 2)
    for path in paths:
        places = writer.grain * np.rint((path[:, :2] - offset) / writer.grain) + offset
        (x, y), t = np.clip(places, _MARGIN, CANVAS - _MARGIN).T, path[:, 2]
        pressure = writer.pressure * np.clip(0.4 + 12 * np.minimum(t, t[-1] - t), 0, 1)
        columns = (x.round(2), y.round(2), (1000 * (clock + t)).round(), pressure.round(2))
        rows = zip(*(column.tolist() for column in columns), strict=True)
        strokes.append([{"x": x, "y": y, "t": t, "pressure": pressure} for x, y, t, pressure in rows])
        clock += t[-1] + writer.tempo * rng.uniform(0.4, 1.2)
    return strokes
