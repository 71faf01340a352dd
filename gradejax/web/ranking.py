"""Drawings ranked by confidence in their label, lowest first: likely mislabels.

The confidences are those of the store's last audit, whose networks were not trained on the drawings, or else the
model's, which may have learnt the wrong labels.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice

from gradejax import audits
from gradejax.drawings import Drawing
from gradejax.grades import GRADES
from gradejax.recogniser import Recogniser
from gradejax.stores import Query, Store
from gradejax.web.model import Judgement, Judgements, Model, confidence_in

_BATCH = 4  # drawings; a guess may have to wait for them
_MAX_RANKINGS = 8
_MAX_JUDGEMENTS = 400_000  # in all rankings together; 200 bytes each
_MAX_WAITING = 8
_MAX_KEPT_DRAWINGS = 600  # in each ranking: its first pages
_ABANDONED_SECONDS = 15.0  # a page asks every half second
_QUICK_SECONDS = 0.05
_JOIN_SECONDS = 1.0
_REST = 10  # the pause between checks for changes, as a multiple of the time that a check takes


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
        requested: when somebody last asked for it; as all times here, in seconds of `time.monotonic`.
        changes: how often this server had changed the store when it began.
        replaces: the finished ranking in use until this one, which runs in the background, is finished.
        total: how many drawings match the query.
        done: how many of them are judged.
        judgements: once finished, the judgement of each drawing, by id; ranked.
        recogniser: whose judgements they are.
        first_drawings: the first ones in the ranking, as they were then, without pictures.
        finished: whether it is complete.
        served: whether somebody has received it complete.
        ranked_by: whose confidences they are, for people: `the audit of 2026-11-26`.
        error: why it failed.
        fingerprint: the store's, when it began.
        checked: when the store was last compared with it.
        check_seconds: how long such a check takes.
    """

    requested: float
    changes: int
    replaces: "Ranking | None" = None
    total: int = 0
    done: int = 0
    judgements: dict[str, Judgement] = field(default_factory=dict)
    recogniser: Recogniser | None = None
    first_drawings: dict[str, Drawing] = field(default_factory=dict)
    finished: bool = False
    served: bool = False
    ranked_by: str = ""
    error: Exception | None = None
    fingerprint: str = ""
    checked: float = 0.0
    check_seconds: float = 0.0

    def is_abandoned(self) -> bool:
        """Whether nobody has asked for it for a while."""
        return self.replaces is None and time.monotonic() - self.requested > _ABANDONED_SECONDS


class Rankings:
    """Rankings by query, computed in the background, one at a time, and kept until the store changes.

    Some stores say at once whether they have changed. Others must be read from end to end: then a ranking is served as
    it is while another is computed, unless this server made the change (`forget`). No request waits for either.
    """

    def __init__(self, store: Store, model: Model):
        self._store = store
        self._model = model
        self._judgements = Judgements()
        self._lock = threading.Lock()  # never held while the store or the model is asked
        self._closing = threading.Event()
        self._worker: threading.Thread | None = None
        self._waiting: OrderedDict[Query, Ranking] = OrderedDict()
        self._rankings: OrderedDict[Query, Ranking] = OrderedDict()
        self._changes = 0

    def ranking(self, query: Query, *, refresh: bool) -> Ranking:
        """Returns the ranking for a query, perhaps unfinished.

        Each is served once finished, however fast the store changes meanwhile. If too many wait already, it is not
        begun, and the client may ask again.

        Args:
            query: the drawings to rank.
            refresh: whether to begin another one if the store has changed since.

        Raises:
            UserError: if there is no model, or the store failed while the ranking was computed.
        """
        recogniser = self._model.get().recogniser
        with self._lock:
            ranking = self._rankings.get(query)
            is_outdated = ranking and (ranking.changes != self._changes or ranking.recogniser is not recogniser)
            if ranking is None or (refresh and ranking.served and is_outdated):
                ranking = self._begin(query, ranking)
        if refresh and ranking.served and self._has_changed(query, ranking):
            with self._lock:
                if self._rankings.get(query) is ranking:
                    ranking = self._begin(query, ranking)
        with self._lock:
            ranking.requested = time.monotonic()
            if query in self._rankings:
                self._rankings.move_to_end(query)
            if ranking.error:
                self._rankings.pop(query, None)
                raise ranking.error
            ranking.served = ranking.finished
        return ranking

    def page(self, query: Query, ranking: Ranking, after: str | None, limit: int) -> list[Ranked]:
        """Returns a page of a finished ranking, with the drawings as they are now.

        Args:
            query: the one of the ranking.
            ranking: a finished one.
            after: the id of the drawing before the page; None for the first page.
            limit: the most drawings to return.
        """
        assert ranking.recogniser
        labels = ranking.recogniser.labels
        unchanged = ranking.check_seconds > _QUICK_SECONDS and ranking.changes == self._changes
        kept = ranking.first_drawings if unchanged else {}
        ids = iter(ranking.judgements)
        if after is not None and after not in ids:  # advances `ids` past `after`
            return []
        page: list[Ranked] = []
        while len(page) < limit and (batch := list(islice(ids, limit - len(page)))):
            others = [id for id in batch if id not in kept]
            drawings = kept | self._store.get_many(others, pictures=False) if others else kept
            for id in batch:
                drawing = drawings.get(id)
                if drawing is not None and (drawing.deleted is not None) == query.deleted:
                    confidences, is_grade = ranking.judgements[id]
                    confidence = confidence_in(drawing.label, labels, confidences)
                    page.append(Ranked(drawing, labels[int(confidences.argmax())], bool(is_grade), confidence))
        return page

    def forget(self) -> None:
        """Makes the next refresh of each ranking begin another: whoever changed a drawing wants to see it moved."""
        with self._lock:
            self._changes += 1

    @contextmanager
    def open(self) -> Iterator[None]:
        """While the application runs. At its end unfinished rankings are dropped, and no store is waited for."""
        self._closing.clear()
        try:
            yield
        finally:
            self._closing.set()
            with self._lock:
                self._waiting.clear()
                self._rankings.clear()
                worker = self._worker
            if worker is not None:
                worker.join(_JOIN_SECONDS)

    def _has_changed(self, query: Query, ranking: Ranking) -> bool:
        """Whether the store has changed, if it can say so quickly; else it is checked in the background."""
        if ranking.check_seconds <= _QUICK_SECONDS:
            return self._store.fingerprint(query) != ranking.fingerprint
        with self._lock:
            is_due = time.monotonic() - ranking.checked > _REST * ranking.check_seconds
            if query not in self._waiting and is_due:
                ranking.checked = time.monotonic()
                self._enqueue(query, Ranking(time.monotonic(), self._changes, replaces=ranking))
        return False

    def _begin(self, query: Query, previous: Ranking | None) -> Ranking:
        """Returns a new ranking that waits to be computed; if too many wait, `previous` or one that never will be."""
        ranking = Ranking(time.monotonic(), self._changes)
        self._waiting.pop(query, None)  # one that was to replace `previous` in the background
        if not self._enqueue(query, ranking):
            return previous or ranking
        self._rankings[query] = ranking
        return ranking

    def _enqueue(self, query: Query, ranking: Ranking) -> bool:
        """Adds a ranking to those that wait; returns False if too many wait that somebody still asks for."""
        for abandoned in [other for other, waiting in self._waiting.items() if waiting.is_abandoned()]:
            del self._waiting[abandoned]
            self._rankings.pop(abandoned, None)
        if len(self._waiting) >= _MAX_WAITING:
            return False
        self._waiting[query] = ranking
        if self._worker is None:
            self._worker = threading.Thread(target=self._work, daemon=True)
            self._worker.start()
        return True

    def _work(self) -> None:
        while True:
            with self._lock:
                if self._closing.is_set() or not self._waiting:
                    self._worker = None
                    return
                query, ranking = self._waiting.popitem(last=False)
            try:
                if not ranking.is_abandoned():
                    self._compute(query, ranking)
            except Exception as error:
                ranking.error = error
            with self._lock:
                self._keep(query, ranking)

    def _keep(self, query: Query, ranking: Ranking) -> None:
        current = self._rankings.get(query)
        if current is ranking and not ranking.finished and ranking.error is None:
            del self._rankings[query]
        elif current is not None and current is ranking.replaces and ranking.finished:
            self._rankings[query] = ranking
        ranking.replaces = None
        finished = [(query, one) for query, one in self._rankings.items() if one.finished or one.error]
        judgements = sum(len(one.judgements) for _, one in finished)
        for number, (oldest, one) in enumerate(finished[:-1]):
            if len(finished) - number > _MAX_RANKINGS or judgements > _MAX_JUDGEMENTS:
                del self._rankings[oldest]
                judgements -= len(one.judgements)

    def _compute(self, query: Query, ranking: Ranking) -> None:
        began = time.monotonic()
        ranking.fingerprint = self._store.fingerprint(query)
        ranking.checked = time.monotonic()
        ranking.check_seconds = ranking.checked - began
        if ranking.replaces is not None and ranking.replaces.fingerprint == ranking.fingerprint:
            return
        ranking.total = self._store.count(query)
        name, recogniser, run = self._model.get()
        ranking.recogniser, labels = recogniser, recogniser.labels
        audit = audits.load(self._store.uri)
        audited = audit.confidences if audit and tuple(labels) == GRADES else {}
        confidence: dict[str, float] = {}
        judgements: dict[str, Judgement] = {}
        drawings: dict[str, Drawing] = {}
        for batch in _batches(self._store.find(query), _BATCH):
            if self._closing.is_set() or ranking.is_abandoned():
                return
            self._model.wait_for_urgent()
            judged = self._judgements.of(recogniser, [one.png for one in batch])
            for drawing, judgement in zip(batch, judged, strict=True):
                if judgement is not None:  # else its picture cannot be read
                    if drawing.id in audited:
                        judgement = judgement._replace(confidences=audited[drawing.id])
                    judgements[drawing.id] = judgement
                    confidence[drawing.id] = confidence_in(drawing.label, labels, judgement.confidences)
                    drawings[drawing.id] = replace(drawing, png=b"", strokes=None)
            ranking.done += len(batch)
        order = sorted(confidence, key=confidence.__getitem__)
        ranking.judgements = {id: judgements[id] for id in order}
        ranking.first_drawings = {id: drawings[id] for id in order[:_MAX_KEPT_DRAWINGS]}
        ranking.ranked_by = f"the model {name}" if run else "the recogniser that comes with gradejax"
        if audit and not audited.keys().isdisjoint(judgements):
            ranking.ranked_by = f"the audit of {audit.date[:10]}"
        ranking.finished = True


def _batches(drawings: Iterable[Drawing], size: int) -> Iterator[list[Drawing]]:
    drawings = iter(drawings)
    while batch := list(islice(drawings, size)):
        yield batch
