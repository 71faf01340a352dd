"""Unintended pen movements: hooks, overruns, retraced or broken strokes, loops, dots.

Each of `SLIPS` changes a character's plan, so that the pen carries the slip out like any other movement. None changes
what the character reads as.
"""

import math
from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Float

from gradejax.hands.plans import Form, Targets


def slip(form: Form, habits: Mapping[str, float], rng: np.random.Generator) -> Form:
    """Adds slips to a form.

    Args:
        form: the planned character; left unchanged.
        habits: the probability of each of `SLIPS`.
        rng: the source of randomness.
    """
    for name, probability in habits.items():
        if rng.random() < probability:
            form = SLIPS[name](form, rng)
    return form


def _hook(form: Form, rng: np.random.Generator) -> Form:
    """The pen lands beside the start of a stroke, or leaves its end sideways."""
    i, stroke = _pick_stroke(form, rng)
    start, end = _headings(stroke)
    length, turn = rng.uniform(0.06, 0.14), rng.choice((-1, 1)) * rng.uniform(1, 2.3)
    if rng.random() < 0.5:
        landed = stroke[0, :2] - _vector(length, start[0] + turn)
        return _replace(form, i, np.vstack([[*landed, 0], stroke]))
    left = stroke[-1, :2] + _vector(length, end[-1] + turn)
    return _replace(form, i, np.vstack([stroke, [*left, 0]]))


def _overrun(form: Form, rng: np.random.Generator) -> Form:
    """A stroke runs on past its end."""
    i, stroke = _pick_stroke(form, rng)
    _, end = _headings(stroke)
    beyond = stroke[-1, :2] + _vector(rng.uniform(0.06, 0.16), end[-1])
    return _replace(form, i, np.vstack([stroke, [*beyond, 0]]))


def _retrace(form: Form, rng: np.random.Generator) -> Form:
    """A stroke is drawn twice."""
    i, stroke = _pick_stroke(form, rng)
    return _replace(form, i, stroke, stroke + rng.normal(0, (0.035, 0.035, 4), stroke.shape))


def _break(form: Form, rng: np.random.Generator) -> Form:
    """The pen lifts off within a stroke and resumes slightly to the side."""
    i, stroke = _pick_stroke(form, rng)
    length = np.hypot(*np.diff(stroke[:, :2], axis=0).T)
    piece = length.argmax()
    gap = rng.uniform(0.04, 0.2) / length[piece]
    if gap > 0.4:
        return form
    share = rng.uniform(0.3, 0.7 - gap)
    x, y, bend = stroke[piece + 1]
    left = [*_point_on_arc(stroke[piece, :2], stroke[piece + 1], share), share * bend]
    landed = [*_point_on_arc(stroke[piece, :2], stroke[piece + 1], share + gap) + rng.normal(0, 0.03, 2), 0.0]
    rest = [x, y, (1 - share - gap) * bend]
    return _replace(form, i, np.vstack([stroke[: piece + 1], left]), np.vstack([landed, rest, stroke[piece + 2 :]]))


def _loop(form: Form, rng: np.random.Generator) -> Form:
    """The sharpest corner of a stroke becomes a loop on its outside."""
    i, stroke = _pick_stroke(form, rng)
    start, end = _headings(stroke)
    corner = (start[1:] - end[:-1] + math.pi) % (2 * math.pi) - math.pi
    if not len(corner) or (sharp := np.abs(corner).max()) < math.radians(80):
        return form
    at = np.abs(corner).argmax()
    turn = corner[at]
    # Two arcs, out along the corner's axis and back, that turn the opposite way.
    axis = end[at] - np.sign(turn) * (math.pi - sharp) / 2
    far = stroke[at + 1, :2] + _vector(rng.uniform(0.1, 0.25), axis)
    bend = -np.sign(turn) * np.rad2deg(2 * math.pi - sharp) / 2
    return _replace(form, i, np.insert(stroke, at + 2, [[*far, bend], [*stroke[at + 1, :2], bend]], axis=0))


def _dot(form: Form, rng: np.random.Generator) -> Form:
    """The pen touches the paper beside the character."""
    places = np.concatenate(form)[:, :2]
    at = rng.uniform(places.min(axis=0) - 0.25, places.max(axis=0) + 0.25)
    return [*form, np.array([[*at, 0], [*(at + rng.normal(0, 0.015, 2)), 0]])]


SLIPS: dict[str, Callable[[Form, np.random.Generator], Form]] = {
    "hook": _hook,
    "overrun": _overrun,
    "retrace": _retrace,
    "break": _break,
    "loop": _loop,
    "dot": _dot,
}
"""Functions that each add one slip to a form, by name."""


def _pick_stroke(form: Form, rng: np.random.Generator) -> tuple[int, Targets]:
    i = int(rng.integers(len(form)))
    return i, form[i]


def _replace(form: Form, i: int, *strokes: Targets) -> Form:
    """The form with `strokes` in place of its stroke `i`."""
    return [*form[:i], *strokes, *form[i + 1 :]]


def _vector(length: float, angle: float) -> Float[np.ndarray, " 2"]:
    return length * np.array([math.cos(angle), math.sin(angle)])


def _headings(stroke: Targets) -> tuple[Float[np.ndarray, " arcs"], Float[np.ndarray, " arcs"]]:
    """The directions, in radians, in which each arc of a stroke begins and ends."""
    chord = np.diff(stroke[:, :2], axis=0)
    angle = np.arctan2(chord[:, 1], chord[:, 0])
    bend = np.deg2rad(stroke[1:, 2])
    return angle - bend / 2, angle + bend / 2


def _point_on_arc(
    start: Float[np.ndarray, " 2"], target: Float[np.ndarray, " 3"], share: float
) -> Float[np.ndarray, " 2"]:
    """The point at the fraction `share` of the arc from `start` to `target`."""
    chord = target[:2] - start
    bend = math.radians(target[2])
    if abs(bend) < 1e-3:
        return start + share * chord
    # The chord to that point is shorter, and turned back by the rest of half the bend.
    part = math.sin(share * bend / 2) / math.sin(bend / 2)
    return start + part * _vector(np.hypot(*chord), math.atan2(chord[1], chord[0]) + (share - 1) * bend / 2)
