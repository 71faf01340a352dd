"""How a pen moves: the sigma-lognormal model of fast human movement.

A plan is a sequence of targets. The pen visits them as the kinematic theory describes: each piece of the plan is an
arc whose speed rises and falls as a lognormal, and the next piece begins before the last is over, so that a hurried
writer cuts corners and a careful one stops in them.

R. Plamondon, "A kinematic theory of rapid human movements, part I", Biological Cybernetics 72, 1995; R. Plamondon and
M. Djioua, "A multi-level representation paradigm for handwriting stroke generation", Human Movement Science 25, 2006.
Targets and arcs as the theory's parameters are from D. Berio, F. F. Leymarie and R. Plamondon, "Expressive curve
editing with the sigma lognormal model", Eurographics 2018.
"""

import math

import numpy as np
from jaxtyping import Float

from gradejax.hands.plans import Targets

_SAMPLES_PER_SECOND = 60  # how often a phone reports the finger's position to a page
_SKEW = 0.25  # sigma of the lognormal
_FLOW = 0.6  # overlap of two movements in the same direction
_erf = np.frompyfunc(math.erf, 1, 1)


def move(targets: Targets, hurry: float, tempo: float) -> Float[np.ndarray, "points 3"]:
    """Moves the pen from target to target: a sum of arcs, each with lognormal speed.

    Args:
        targets: the planned stroke.
        hurry: fraction of a movement still to come when the next one begins; at 0 the pen stops in every corner.
        tempo: about the seconds for a movement of length 1.

    Returns:
        The pen's x, y (in the plan's units) and t (seconds from the start of the stroke).
    """
    chord = np.diff(targets[:, :2], axis=0)
    length = np.hypot(*chord.T)
    bend = np.deg2rad(targets[1:, 2])
    bend = np.where(np.abs(bend) < 1e-3, 1e-3, bend)  # a straight line is an arc of a very large circle
    start = np.arctan2(chord[:, 1], chord[:, 0]) - bend / 2
    # Long movements take only a little longer than short ones (isochrony).
    duration = tempo * np.sqrt(length + 0.05)
    # Nobody stops on a straight line: the smoother a joint, the more the movements overlap.
    corner = start[1:] - (start + bend)[:-1]
    overlap = hurry + (_FLOW - hurry) * np.maximum(np.cos(corner), 0)
    onset = np.concatenate([[0], np.cumsum(duration[:-1] * (1 - overlap))])
    end = onset[-1] + duration[-1]
    t = np.linspace(0, end, max(3, round(end * _SAMPLES_PER_SECOND)))
    done = _lognormal_progress((t[:, None] - onset) / duration)
    # Displacement along an arc of radius `radius` once the fraction `done` of its angle is covered.
    radius = length / (2 * np.sin(bend / 2))
    angle = start + bend * done
    x = targets[0, 0] + (radius * (np.sin(angle) - np.sin(start))).sum(axis=1)
    y = targets[0, 1] - (radius * (np.cos(angle) - np.cos(start))).sum(axis=1)
    return np.column_stack([x, y, t])


def _lognormal_progress(share: Float[np.ndarray, "points arcs"]) -> Float[np.ndarray, "points arcs"]:
    """The fraction of a movement completed after the fraction `share` of its time.

    This is the lognormal's distribution function, truncated at three standard deviations on either side.
    """
    low, high = np.exp(-3 * _SKEW), np.exp(3 * _SKEW)
    z = np.log(low + (high - low) * np.clip(share, 0, 1)) / _SKEW
    return (np.asarray(_erf(z / math.sqrt(2)), float) / math.erf(3 / math.sqrt(2)) + 1) / 2


def tremble(
    t: Float[np.ndarray, " points"], amplitude: float, rng: np.random.Generator
) -> Float[np.ndarray, "points 2"]:
    """An unsteady hand: three waves of 3 to 9 Hz across and three down, in the unit of `amplitude`."""
    frequency, phase = rng.uniform(3, 9, (3, 2)), rng.uniform(0, 2 * np.pi, (3, 2))
    return amplitude / math.sqrt(3) * np.sin(2 * np.pi * frequency * t[:, None, None] + phase).sum(axis=1)
