"""How people write the characters of a grade.

An *allograph* is one way to write a character: an A open at the top, a B whose bowls do not reach the stem.
"""

from gradejax.hands.bowls import BOWLS
from gradejax.hands.digits import DIGITS, POINTS
from gradejax.hands.minuscules import MINUSCULES
from gradejax.hands.plans import Allographs
from gradejax.hands.signs import SIGNS
from gradejax.hands.straight import STRAIGHT

ALLOGRAPHS: dict[str, Allographs] = dict(sorted((STRAIGHT | BOWLS).items())) | SIGNS
"""The allographs of each character, A to E, + and -."""

MORE: dict[str, Allographs] = DIGITS | POINTS | MINUSCULES
"""Those of the other characters of grades, except for the capitals from F, which are in `others`."""
