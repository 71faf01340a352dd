"""Pen plans: what the pen aims for, before a writer's habits and the pen's movement blur it.

A plan is written as text. ` | ` separates strokes (pen down to pen up); a stroke is a sequence of targets that the pen
visits in turn, each `x,y` or `x,y,bend`. The unit of length is the height of a capital; x runs right from the letter's
left edge, y **down** from its top. `bend` is the angle in degrees through which the pen turns on its way to the target,
clockwise as seen on paper: omitted for a straight line, 90 for a quarter circle, -180 for a half circle the other way.
Lines and arcs meet at sharp corners; `gradejax.hands.movement` rounds them.
"""

import numpy as np
from jaxtyping import Float

Targets = Float[np.ndarray, "_targets 3"]
"""A planned stroke: x, y and bend of its targets. The first bend has no meaning."""

Form = list[Targets]
"""A planned character: its strokes."""

Allographs = tuple[tuple[float, str], ...]
"""The ways to write a character: how common each is relative to the others, and its plan."""


def plan_strokes(plan: str) -> Form:
    """Parses a plan."""
    return [
        np.array([(*map(float, target.split(",")), 0.0)[:3] for target in stroke.split()]) for stroke in plan.split("|")
    ]
