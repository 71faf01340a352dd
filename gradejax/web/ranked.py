"""One ranking: the drawings of a query by confidence in their label, kept up to date with changes made on the pages."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
from jaxtyping import Float

from gradejax.drawings import Drawing
from gradejax.grades import NO_GRADE
from gradejax.recogniser import Recogniser
from gradejax.stores import Query
from gradejax.web.languages import Text
from gradejax.web.model import Judgement, confidence_in

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
        judgements: once finished, the judgement of each drawing, by id; ranked.
        confidence: in each one's label.
        labels: of the drawings.
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
    judgements: dict[str, Judgement] = field(default_factory=dict)
    confidence: dict[str, float] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
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
        drawings: dict[str, Drawing] = {}
        for drawing, judgement in judged:
            if is_unwanted():
                return False
            self.done += 1
            if judgement is not None:
                drawings[drawing.id] = drawing
                self._place(drawing, judgement)
        self._sort()
        self.first_drawings = {id: drawings[id] for id in islice(self.judgements, _MAX_KEPT_DRAWINGS)}
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
        complete, edited = True, dict(self.edited)  # a copy, because a page may be reading the other
        for id in ids:
            drawing = drawings.get(id)
            was_in = edited[id] is not None if id in edited else id in self.judgements
            is_in = drawing is not None and self.query.selects(drawing)
            if is_in and id not in self.judgements and known(id) is None:
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
        self.judgements = dict(self.judgements)  # a page may be reading the other
        for id, drawing in self.edited.items():
            judgement = self.judgements.get(id) or known(id)
            if drawing is not None and judgement is not None:
                self._place(drawing, judgement)
            else:
                for kept in (self.judgements, self.confidence, self.labels):
                    kept.pop(id, None)
        self.edited = {}
        self._sort()

    def label_of(self, id: str) -> str:
        """The label of a drawing in the ranking."""
        drawing = self.edited.get(id)
        return drawing.label if drawing else self.labels[id]

    def guess_of(self, judgement: Judgement) -> str:
        """What the model takes a drawing for, which may be no grade."""
        assert self.recogniser
        return self.recogniser.labels[int(judgement.confidences.argmax())] if judgement.is_grade else NO_GRADE

    def ranked(self, drawing: Drawing) -> Ranked:
        """A drawing of the ranking, as it is now, with its judgement."""
        assert self.recogniser
        labels, (confidences, is_grade) = self.recogniser.labels, self.judgements[drawing.id]
        confidence = confidence_in(drawing.label, labels, confidences)
        return Ranked(drawing, labels[int(confidences.argmax())], bool(is_grade), confidence)

    def ids(self, guess: str | None, after: str | None = None) -> Iterator[str]:
        """The ids in the ranking's order.

        Args:
            guess: only drawings that the model takes for this; None for all.
            after: begin after this one, which may have been excluded since; None from the first. Nothing follows an
                unknown one.
        """
        judgements, edited = self.judgements, self.edited
        ids = iter(judgements)
        if after is None or after in ids:  # `in` advances `ids` past `after`
            for id in ids:
                is_gone = id in edited and edited[id] is None
                if not is_gone and (guess is None or self.guess_of(judgements[id]) == guess):
                    yield id

    def _place(self, drawing: Drawing, judgement: Judgement) -> None:
        assert self.recogniser
        if drawing.id in self.audited:
            judgement = judgement._replace(confidences=self.audited[drawing.id])
        self.judgements[drawing.id] = judgement
        self.labels[drawing.id] = drawing.label
        self.confidence[drawing.id] = confidence_in(drawing.label, self.recogniser.labels, judgement.confidences)

    def _sort(self) -> None:
        order = sorted(self.judgements, key=self.confidence.__getitem__)
        self.judgements = {id: self.judgements[id] for id in order}
