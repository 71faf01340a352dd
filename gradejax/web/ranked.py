"""One ranking: the drawings of a query by confidence in their label, kept up to date with changes made on the pages."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappush, heappushpop

import numpy as np
from jaxtyping import Float

from gradejax.drawings import Drawing
from gradejax.recogniser import Recogniser
from gradejax.stores import Query
from gradejax.web.languages import Text
from gradejax.web.model import Judgement, confidence_in
from gradejax.web.standings import Standings

_ABANDONED_SECONDS = 15.0  # a page asks every half second
_MAX_KEPT_DRAWINGS = 600  # in each ranking: its first pages


@dataclass(frozen=True, slots=True)
class Ranked:
    """A drawing and what the model says about it.

    Attributes:
        drawing: without its picture and strokes.
        guess: the likeliest grade.
        is_grade: whether the model accepts the drawing as a grade.
        confidence: the model's confidence in the drawing's own label.
    """

    drawing: Drawing
    guess: str
    is_grade: bool
    confidence: float


@dataclass(slots=True)
class Ranking:
    """The ranking for one query, while it is computed and after.

    Attributes:
        query: which drawings.
        requested: when somebody last asked for it; as all times here, in seconds of `time.monotonic`.
        changes: how often this server had changed the store when it was last up to date.
        replaces: the finished ranking in use until this one, which runs in the background, is finished.
        total: how many drawings match the query.
        done: how many of them are judged.
        standings: the order of the drawings that were judged, once it is finished; None until it is begun.
        edited: what the pages changed since it was sorted; None for a drawing that is gone.
        audited: the confidences that come before the model's, by id.
        recogniser: whose judgements they are.
        first_drawings: the first ones in the ranking, without pictures.
        finished: whether it is complete.
        served: whether somebody has received it complete.
        ranked_by: whose confidences they are, such as `the audit of 2026-11-26`; None until it is finished.
        ranked_by_model: the name of the model, if they are all the model's.
        error: why it failed.
        fingerprint: the store's, when it was last up to date.
        checked: when the store was last compared with it.
        check_seconds: how long such a check takes.
    """

    query: Query
    requested: float
    changes: int
    replaces: "Ranking | None" = None
    total: int = 0
    done: int = 0
    standings: Standings | None = None
    edited: dict[str, Drawing | None] = field(default_factory=dict)
    audited: Mapping[str, Float[np.ndarray, " grades"]] = field(default_factory=dict)
    recogniser: Recogniser | None = None
    first_drawings: dict[str, Drawing] = field(default_factory=dict)
    finished: bool = False
    served: bool = False
    ranked_by: Text | None = None
    ranked_by_model: str | None = None
    error: Exception | None = None
    fingerprint: str = ""
    checked: float = 0.0
    check_seconds: float = 0.0

    def is_abandoned(self) -> bool:
        """Whether nobody has asked for it for a while."""
        return self.replaces is None and time.monotonic() - self.requested > _ABANDONED_SECONDS

    def fill(self, judged: Iterable[tuple[Drawing, Judgement | None]], is_unwanted: Callable[[], bool]) -> bool:
        """Ranks judged drawings; those whose picture cannot be read are left out. `done` counts them meanwhile.

        Args:
            judged: the drawings, without pictures.
            is_unwanted: asked after each drawing.

        Returns:
            False if it became unwanted before the end.
        """
        assert self.recogniser
        self.standings = Standings(self.recogniser.labels, self.total)
        first: list[tuple[float, int, Drawing]] = []  # a heap of those with the lowest confidences
        for drawing, judgement in judged:
            if is_unwanted():
                return False
            self.done += 1
            if judgement is not None:
                confidence = self.standings.add(drawing.id, drawing.label, self._audited(drawing.id, judgement))
                (heappush if len(first) < _MAX_KEPT_DRAWINGS else heappushpop)(
                    first, (-confidence, -self.done, drawing)
                )
        self.standings.sort()
        self.first_drawings = {drawing.id: drawing for *_, drawing in first}
        return True

    def edit(
        self, ids: Sequence[str], drawings: Mapping[str, Drawing], known: Callable[[str], Judgement | None]
    ) -> bool:
        """Takes over changed labels and exclusions. The order stays until `settle`, so that pages follow each other.

        Args:
            ids: the drawings that may have changed.
            drawings: these, as they are now, without pictures.
            known: returns the model's judgement of a drawing that was not in the ranking; None if there is none.

        Returns:
            Whether the ranking is now complete; if not, a drawing that belongs into it must be judged first.
        """
        assert self.standings is not None
        complete, edited = True, dict(self.edited)  # a copy, because a page may be reading the other
        for id in ids:
            drawing = drawings.get(id)
            was_in = edited[id] is not None if id in edited else id in self.standings
            is_in = drawing is not None and self.query.selects(drawing)
            if is_in and id not in self.standings and known(id) is None:
                complete = False
            edited[id] = drawing if is_in else None
            self.total += is_in - was_in
            if drawing is not None and id in self.first_drawings:
                self.first_drawings[id] = drawing
        self.edited = edited
        return complete

    def settle(self, known: Callable[[str], Judgement | None]) -> None:
        """Moves the drawings that were edited to their places. `known` is that of `edit`."""
        if not self.edited:
            return
        assert self.standings is not None
        changed: dict[str, tuple[str, Judgement] | None] = {}
        for id, drawing in self.edited.items():
            if id in self.standings:
                judgement = self.standings.judgement_of(id)
            elif (judgement := known(id)) is not None:
                judgement = self._audited(id, judgement)
            changed[id] = (drawing.label, judgement) if drawing is not None and judgement is not None else None
        self.standings.move(changed)
        self.edited = {}

    @property
    def size(self) -> int:
        """How many drawings have a place."""
        return 0 if self.standings is None else len(self.standings)

    def names_any(self, ids: Iterable[str]) -> bool:
        """Whether one of these drawings has a place."""
        return self.standings is not None and any(id in self.standings for id in ids)

    def label_of(self, id: str) -> str:
        """The label of a drawing in the ranking."""
        assert self.standings is not None
        drawing = self.edited.get(id)
        return drawing.label if drawing else self.standings.label_of(id)

    def guess_of(self, id: str) -> str:
        """What the model takes a drawing of the ranking for, which may be no grade."""
        assert self.standings is not None
        return self.standings.guess_of(id)

    def ranked(self, drawing: Drawing) -> Ranked:
        """A drawing of the ranking, as it is now, with its judgement."""
        assert self.recogniser and self.standings is not None
        labels, (confidences, is_grade) = self.recogniser.labels, self.standings.judgement_of(drawing.id)
        confidence = confidence_in(drawing.label, labels, confidences)
        return Ranked(drawing, labels[int(confidences.argmax())], is_grade, confidence)

    def ids(self, guess: str | None, after: str | None = None) -> Iterator[str]:
        """The ids in the ranking's order.

        Args:
            guess: only drawings that the model takes for this; None for all.
            after: begin after this one, which may have been excluded since; None from the first. Nothing follows an
                unknown one.
        """
        assert self.standings is not None
        edited = self.edited
        return (id for id in self.standings.ids(guess, after) if id not in edited or edited[id] is not None)

    def count(self, guess: str | None) -> int:
        """How many drawings `ids(guess)` yields."""
        assert self.standings is not None
        return self.standings.count(guess, [id for id, drawing in self.edited.items() if drawing is None])

    def _audited(self, id: str, judgement: Judgement) -> Judgement:
        """A judgement with the confidences of the audit, if that has read the drawing."""
        return judgement._replace(confidences=self.audited[id]) if id in self.audited else judgement
