"""Drawings sorted by how little the model believes their label: that is where wrong labels are."""

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice

from gradejax.drawings import Drawing
from gradejax.errors import BadDrawing
from gradejax.stores import Query, Store
from gradejax.web.guessing import BATCH_SIZES, Judgement, Model

_MOST_RANKINGS = 8


@dataclass(frozen=True, slots=True)
class Judged:
    """A drawing, the likeliest grade, whether it is one, and the model's confidence in the drawing's own label."""

    drawing: Drawing
    guess: str
    is_grade: bool
    confidence: float


@dataclass(slots=True)
class Ranking:
    """The order for one query, while and after it is made."""

    fingerprint: str
    total: int
    done: int = 0
    place: dict[str, int] = field(default_factory=dict)
    """Of each id, once finished; in the order of the places."""
    finished: bool = False
    seen: bool = False
    error: Exception | None = None


class Rankings:
    """Rankings by query, made in the background and kept until the store changes.

    What the model said of a drawing is kept by its id: a picture never changes, so after a correction only the
    order is made anew.
    """

    def __init__(self, store: Store, model: Model):
        self._store = store
        self._model = model
        self._lock = threading.Lock()
        self._making = threading.Lock()  # one at a time: more would only be slower
        self._closing = threading.Event()
        self._judgements: dict[str, Judgement] = {}
        self._rankings: OrderedDict[Query, Ranking] = OrderedDict()

    def ranking(self, query: Query, *, anew: bool) -> Ranking:
        """The ranking for `query`, perhaps unfinished; `anew` makes another where the store has changed since.

        Each is given out once finished, however fast the store changes meanwhile.

        Raises:
            UserError: where there is no model, or the store failed while it was made.
        """
        with self._lock:
            ranking = self._rankings.get(query)
            if ranking is None or (anew and ranking.seen):
                fingerprint = self._store.fingerprint(query)
                if ranking is None or ranking.fingerprint != fingerprint:
                    self._model.get()  # raises here, in the request, where there is none
                    ranking = self._rankings[query] = Ranking(fingerprint, self._store.count(query))
                    threading.Thread(target=self._make, args=(query, ranking), daemon=True).start()
            self._rankings.move_to_end(query)
            if len(self._rankings) > _MOST_RANKINGS:
                self._rankings.popitem(last=False)
            if ranking.finished:
                ranking.seen = True
            if ranking.error:
                del self._rankings[query]
                raise ranking.error
        return ranking

    def page(self, query: Query, ranking: Ranking, after: str | None, limit: int) -> list[Judged]:
        """At most `limit` drawings of a finished ranking, as they are now, behind the one of id `after`."""
        start = 0 if after is None else ranking.place.get(after, len(ranking.place)) + 1
        labels = self._model.get()[1].labels
        judged = []
        for id in islice(ranking.place, start, None):
            drawing = self._store.get(id)
            if drawing is not None and (drawing.deleted is not None) == query.deleted:
                row, is_grade = self._judgements[id]
                confidence = float(row[labels.index(drawing.label)])
                judged.append(Judged(drawing, labels[int(row.argmax())], bool(is_grade), confidence))
            if len(judged) == limit:
                break
        return judged

    @contextmanager
    def open(self) -> Iterator[None]:
        """While the application runs; what is being made at its end is left off."""
        self._closing.clear()
        try:
            yield
        finally:
            self._closing.set()
            with self._making:
                self._rankings.clear()

    def _make(self, query: Query, ranking: Ranking) -> None:
        with self._making:
            try:
                labels = self._model.get()[1].labels
                belief = {}
                for batch in _batches(self._store.find(query), BATCH_SIZES[-1]):
                    if self._closing.is_set():
                        return
                    self._judge([drawing for drawing in batch if drawing.id not in self._judgements])
                    for drawing in batch:
                        if drawing.id in self._judgements:
                            confidences = self._judgements[drawing.id].confidences
                            belief[drawing.id] = confidences[labels.index(drawing.label)]
                    ranking.done += len(batch)
                ranking.place = {id: place for place, id in enumerate(sorted(belief, key=belief.__getitem__))}
            except Exception as error:
                ranking.error = error
            ranking.finished = True

    def _judge(self, drawings: Sequence[Drawing]) -> None:
        found = self._model.judge([drawing.png for drawing in drawings])
        for drawing, judgement in zip(drawings, found, strict=True):
            # A stored PNG whose pixels cannot be read has no place in the order.
            if not isinstance(judgement, BadDrawing):
                self._judgements[drawing.id] = judgement


def _batches(drawings: Iterable[Drawing], size: int) -> Iterator[list[Drawing]]:
    drawings = iter(drawings)
    while batch := list(islice(drawings, size)):
        yield batch
