"""Scales of grades: ordered lists of short labels. A store has one scale, and so have its runs and their exports."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from gradejax.errors import UserError

NO_GRADE = "no grade"
"""The label of a drawing that deliberately shows no grade. It is in every scale, but no class; in arrays it is -1."""

MAX_LABELS = 100
_SIGNS = ("+", "", "-")
_LABEL = re.compile(r"(?=.*[A-Za-z0-9½+-])[A-Za-z0-9½+.,-]{1,4}")


@dataclass(frozen=True)
class Scale:
    """A scale of grades; `parse` makes one of text.

    Attributes:
        name: `letters`; of one's own scale, its labels as `parse` takes them.
        labels: the position of a label is its class index.
        groups: the class indices at which another group of neighbours begins, for tables and plots: 3, 6, 9 and 12
            part A+ to E- by letter. Empty where there are no groups.
    """

    name: str
    labels: tuple[str, ...]
    groups: tuple[int, ...] = ()

    @cached_property
    def index(self) -> dict[str, int]:
        """The class index of each label."""
        return {label: index for index, label in enumerate(self.labels)}

    @cached_property
    def all_labels(self) -> tuple[str, ...]:
        """What a drawing may be labelled: a grade or, at -1, `NO_GRADE`."""
        return (*self.labels, NO_GRADE)

    def parts(self) -> list[tuple[str, range]]:
        """The groups with their class indices, each named `A` or `0 to 4`; without groups, each label for itself."""
        starts = (0, *self.groups) if self.groups else range(len(self.labels))
        ranges = [range(start, end) for start, end in zip(starts, (*starts, len(self.labels))[1:], strict=True)]
        return [(self._name_of(indices), indices) for indices in ranges]

    def signs(self) -> list[tuple[str, list[int]]]:
        """The class indices with a `+`, with no sign and with a `-`; empty if no label has a sign."""
        signs = [split_sign(label)[1] for label in self.labels]
        if not any(signs):
            return []
        return [(sign, [index for index, own in enumerate(signs) if own == sign]) for sign in _SIGNS]

    def _name_of(self, indices: range) -> str:
        first, last = self.labels[indices[0]], self.labels[indices[-1]]
        stems = {split_sign(self.labels[index])[0] for index in indices}
        return stems.pop() if len(stems) == 1 else f"{first} to {last}"


def split_sign(label: str) -> tuple[str, str]:
    """Parts a label and the sign at its end: `A-` is `A` and `-`, but `-3` and a lone `+` have none."""
    return (label[:-1], label[-1]) if label[1:] and label[-1] in "+-" else (label, "")


def _signed(stems: Sequence[str], *unsigned: str) -> tuple[str, ...]:
    return (*(stem + sign for stem in stems for sign in _SIGNS), *unsigned)


LETTERS = Scale("letters", _signed("ABCDE"), (3, 6, 9, 12))
"""The default."""

_SCALES = (
    LETTERS,
    Scale("us", _signed("ABCD", "F"), (3, 6, 9, 12)),
    # As reports in the upper years count them: 15 points for 1+, none for 6, which has no tendency.
    Scale("german", _signed("12345", "6"), (3, 6, 9, 12, 15)),
    Scale("french", tuple(map(str, range(21))), (5, 10, 15)),
    Scale("spanish", tuple(map(str, range(11))), (5, 7, 9)),  # insuficiente, suficiente and bien, notable, …
    Scale("swiss", ("1", "1.5", "2", "2.5", "3", "3.5", "4", "4.5", "5", "5.5", "6"), (6,)),  # 4 is enough
    Scale("danish", ("-3", "00", "02", "4", "7", "10", "12"), (2,)),  # 02 is enough
    Scale("ib", tuple(map(str, range(1, 8)))),
)
NAMED = {scale.name: scale for scale in _SCALES}
"""The scales that have a name."""


def parse(text: str) -> Scale:
    """Returns the scale that `text` names or lists: `german`, `poor,fair,good`.

    The labels of one's own scale are parted by commas; by semicolons, if a label has a comma itself (`1;1,5;2`).

    Raises:
        UserError: if it is neither.
    """
    if text in NAMED:
        return NAMED[text]
    labels = [label.strip() for label in text.split(";" if ";" in text else ",")]
    try:
        if len(labels) > 1:
            return of_labels(labels)
        reason = f"no scale is called {text[:40]!r}"
    except UserError as error:
        reason = str(error)
    raise UserError(f"{reason}: name one of {', '.join(NAMED)}, or list labels of your own, such as poor,fair,good")


def of_labels(labels: Sequence[str]) -> Scale:
    """Returns the scale with these labels: a named one, if it has the same in any order, else one's own.

    Raises:
        UserError: if they are no scale.
    """
    if not 2 <= len(labels) <= MAX_LABELS:
        raise UserError(f"a scale has 2 to {MAX_LABELS} labels, and here are {len(labels)}")
    for number, label in enumerate(labels):
        if type(label) is not str or not _LABEL.fullmatch(label):
            raise UserError(f"{str(label)[:40]!r} is no label of 1 to 4 letters A to Z or a to z, digits, + - . , or ½")
        if label in labels[:number]:
            raise UserError(f"the label {label} is there twice")
    for scale in NAMED.values():
        if sorted(scale.labels) == sorted(labels):
            return scale
    separator = ";" if any("," in label for label in labels) else ","
    return Scale(separator.join(labels), tuple(labels), _groups(labels))


def with_label(label: str) -> list[str]:
    """The names of the named scales that have a label."""
    return [scale.name for scale in NAMED.values() if label in scale.index]


def _groups(labels: Sequence[str]) -> tuple[int, ...]:
    """Where the part before the sign changes, if it ever does not."""
    stems = [split_sign(label)[0] for label in labels]
    starts = tuple(index for index in range(1, len(stems)) if stems[index] != stems[index - 1])
    return starts if len(starts) < len(stems) - 1 else ()
