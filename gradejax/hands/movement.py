"""How a pen moves: the sigma-lognormal model of fast human movement.

A stroke's plan is a row of places to make for. The pen carries it out as the kinematic theory
describes (R. Plamondon, "A kinematic theory of rapid human movements, part I", Biological Cybernetics 72, 1995;
R. Plamondon and M. Djioua, "A multi-level representation paradigm for handwriting stroke generation", Human Movement
Science 25, 2006): every piece of the plan is an arc whose speed rises and falls as a lognormal, and the next piece
begins before the last is over, so that a hurried hand cuts its corners and a careful one stops in them. That targets
and arcs stand for the theory's parameters is from D. Berio, F. F. Leymarie and R. Plamondon, "Expressive curve editing
with the sigma lognormal model" (Eurographics 2018).
"""

import math

import numpy as np
from jaxtyping import Float

from gradejax.hands.allographs import Targets

_SAMPLES_PER_SECOND = 60  # how often a phone tells a page where the finger is
_SKEW = 0.25  # the lognormal's sigma
_FLOW = 0.6  # the overlap of two movements that go on in the same direction
_erf = np.frompyfunc(math.erf, 1, 1)


def move(targets: Targets, hurry: float, tempo: float) -> Float[np.ndarray, "points 3"]:
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


def tremble(
    t: Float[np.ndarray, " points"], amplitude: float, rng: np.random.Generator
) -> Float[np.ndarray, "points 2"]:
    """An unsteady hand, in pixels: three waves of 3 to 9 Hz across and three down."""
    frequency, phase = rng.uniform(3, 9, (3, 2)), rng.uniform(0, 2 * np.pi, (3, 2))
    return amplitude / math.sqrt(3) * np.sin(2 * np.pi * frequency * t[:, None, None] + phase).sum(axis=1)
