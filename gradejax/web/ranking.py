"""Drawings sorted by how little the model believes their label: that is where wrong labels are."""

import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from itertools import islice

from gradejax.drawings import Drawing
from gradejax.errors import BadDrawing
from gradejax.stores import Query, Store
from gradejax.web.guessing import Judgement, Model

_AT_ONCE = 4  # drawings; a guess may have to wait for them
_MOST_RANKINGS = 8
_MOST_PLACES = 400_000  # in all rankings together: 200 bytes each
_MOST_JUDGEMENTS = 200_000  # 400 bytes each
_MOST_WAITING = 8
_MOST_KEPT_DRAWINGS = 600  # of each ranking: its first pages
_ABANDONED_SECONDS = 15.0  # a page asks every half second
_QUICK_SECONDS = 0.05
_FAREWELL = 1.0
_REST = 10  # times as long as it took to look for changes, until the next look


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

    asked: float
    changes: int
    instead_of: "Ranking | None" = None
    total: int = 0
    done: int = 0
    place: dict[str, Judgement] = field(default_factory=dict)
    """What the model makes of each drawing, by id, once finished; in the order of the places."""
    first: dict[str, Drawing] = field(default_factory=dict)
    """Those in the first places, without their pictures, as they were then."""
    finished: bool = False
    seen: bool = False
    error: Exception | None = None
    fingerprint: str = ""
    looked: float = 0.0
    """When it was found to be as the store is, and how many seconds that took."""
    seconds: float = 0.0


class Rankings:
    """Rankings by query, made in the background, one at a time, and kept until the store changes.

    What the model said of a picture is kept, so after a correction only the order is made anew.

    Whether the store has changed some stores say at once. Others have to be read from end to end, so a ranking is given
    out as it is and another made behind it, unless this server made the change (`forget`). No request waits for either.
    """

    def __init__(self, store: Store, model: Model):
        self._store = store
        self._model = model
        self._lock = threading.Lock()  # never held while the store or the model is asked
        self._closing = threading.Event()
        self._worker: threading.Thread | None = None
        self._waiting: OrderedDict[Query, Ranking] = OrderedDict()
        self._rankings: OrderedDict[Query, Ranking] = OrderedDict()
        self._judgements: OrderedDict[bytes, Judgement] = OrderedDict()
        self._changes = 0

    def ranking(self, query: Query, *, anew: bool) -> Ranking:
        """The ranking for `query`, perhaps unfinished; `anew` asks for another where the store has changed since.

        Each is given out once finished, however fast the store changes meanwhile. Where too many wait already, it is
        not begun, and whoever comes again may have more luck.

        Raises:
            UserError: where there is no model, or the store failed while it was made.
        """
        self._model.get()
        with self._lock:
            ranking = self._rankings.get(query)
            if ranking is None or (anew and ranking.seen and ranking.changes != self._changes):
                ranking = self._begin(query, ranking)
        if anew and ranking.seen and self._has_changed(query, ranking):
            with self._lock:
                if self._rankings.get(query) is ranking:
                    ranking = self._begin(query, ranking)
        with self._lock:
            ranking.asked = time.monotonic()
            if query in self._rankings:
                self._rankings.move_to_end(query)
            if ranking.error:
                self._rankings.pop(query, None)
                raise ranking.error
            ranking.seen = ranking.finished
        return ranking

    def page(self, query: Query, ranking: Ranking, after: str | None, limit: int) -> list[Judged]:
        """At most `limit` drawings of a finished ranking, as they are now, behind the one of id `after`."""
        labels = self._model.get()[1].labels
        kept = ranking.first if ranking.seconds > _QUICK_SECONDS and ranking.changes == self._changes else {}
        places = iter(ranking.place)
        if after is not None and after not in places:  # which leads it behind `after`
            return []
        judged: list[Judged] = []
        while len(judged) < limit and (ids := list(islice(places, limit - len(judged)))):
            others = [id for id in ids if id not in kept]
            there = kept | self._store.get_many(others, pictures=False) if others else kept
            for id in ids:
                drawing = there.get(id)
                if drawing is not None and (drawing.deleted is not None) == query.deleted:
                    row, is_grade = ranking.place[id]
                    confidence = float(row[labels.index(drawing.label)])
                    judged.append(Judged(drawing, labels[int(row.argmax())], bool(is_grade), confidence))
        return judged

    def forget(self) -> None:
        """Makes the next look at each ranking a fresh one: who has changed a drawing wants to see it moved."""
        with self._lock:
            self._changes += 1

    @contextmanager
    def open(self) -> Iterator[None]:
        """While the application runs. What is being made at its end is left off, and no store is waited for."""
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
                worker.join(_FAREWELL)

    def _has_changed(self, query: Query, ranking: Ranking) -> bool:
        """Whether the store is known to have; where that takes long it is looked at behind what is given out."""
        if ranking.seconds <= _QUICK_SECONDS:
            return self._store.fingerprint(query) != ranking.fingerprint
        with self._lock:
            if query not in self._waiting and time.monotonic() - ranking.looked > _REST * ranking.seconds:
                ranking.looked = time.monotonic()
                self._wait(query, Ranking(time.monotonic(), self._changes, instead_of=ranking))
        return False

    def _begin(self, query: Query, last: Ranking | None) -> Ranking:
        """A ranking to be made; where none can wait now, the last one or one that is not made."""
        ranking = Ranking(time.monotonic(), self._changes)
        self._waiting.pop(query, None)  # another that was to be made behind the last
        if not self._wait(query, ranking):
            return last or ranking
        self._rankings[query] = ranking
        return ranking

    def _wait(self, query: Query, ranking: Ranking) -> bool:
        """Puts it behind those that wait; False where there are too many that somebody still asks for."""
        for other in [other for other, waiting in self._waiting.items() if _is_abandoned(waiting)]:
            del self._waiting[other]
            self._rankings.pop(other, None)
        if len(self._waiting) >= _MOST_WAITING:
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
                if not _is_abandoned(ranking):
                    self._make(query, ranking)
            except Exception as error:
                ranking.error = error
            with self._lock:
                self._keep(query, ranking)

    def _keep(self, query: Query, ranking: Ranking) -> None:
        current = self._rankings.get(query)
        if current is ranking and not ranking.finished and ranking.error is None:
            del self._rankings[query]
        elif current is not None and current is ranking.instead_of and ranking.finished:
            self._rankings[query] = ranking
        ranking.instead_of = None
        finished = [(query, one) for query, one in self._rankings.items() if one.finished or one.error]
        places = sum(len(one.place) for _, one in finished)
        for number, (other, one) in enumerate(finished[:-1]):
            if len(finished) - number > _MOST_RANKINGS or places > _MOST_PLACES:
                del self._rankings[other]
                places -= len(one.place)

    def _make(self, query: Query, ranking: Ranking) -> None:
        began = time.monotonic()
        ranking.fingerprint = self._store.fingerprint(query)
        ranking.looked = time.monotonic()
        ranking.seconds = ranking.looked - began
        before = ranking.instead_of
        if before is not None and before.fingerprint == ranking.fingerprint:
            return
        ranking.total = self._store.count(query)
        labels = self._model.get()[1].labels
        belief: dict[str, float] = {}
        judgements: dict[str, Judgement] = {}
        bare: dict[str, Drawing] = {}
        for batch in _batches(self._store.find(query), _AT_ONCE):
            if self._closing.is_set() or _is_abandoned(ranking):
                return
            self._model.let_pass()
            for drawing, judgement in zip(batch, self._judge(batch), strict=True):
                if judgement is not None:
                    judgements[drawing.id] = judgement
                    belief[drawing.id] = float(judgement.confidences[labels.index(drawing.label)])
                    bare[drawing.id] = replace(drawing, png=b"", strokes=None)
            ranking.done += len(batch)
        order = sorted(belief, key=belief.__getitem__)
        ranking.place = {id: judgements[id] for id in order}
        ranking.first = {id: bare[id] for id in order[:_MOST_KEPT_DRAWINGS]}
        ranking.finished = True

    def _judge(self, drawings: Sequence[Drawing]) -> list[Judgement | None]:
        """None for a stored PNG whose pixels cannot be read: it has no place in the order."""
        digests = [blake2b(drawing.png, digest_size=16).digest() for drawing in drawings]
        new = {
            digest: drawing.png
            for digest, drawing in zip(digests, drawings, strict=True)
            if digest not in self._judgements
        }
        for digest, judgement in zip(new, self._model.judge(list(new.values())), strict=True):
            if not isinstance(judgement, BadDrawing):
                self._judgements[digest] = judgement
        found = [self._judgements.get(digest) for digest in digests]
        for digest in digests:
            if digest in self._judgements:
                self._judgements.move_to_end(digest)
        while len(self._judgements) > _MOST_JUDGEMENTS:
            self._judgements.popitem(last=False)
        return found


def _is_abandoned(ranking: Ranking) -> bool:
    return ranking.instead_of is None and time.monotonic() - ranking.asked > _ABANDONED_SECONDS


def _batches(drawings: Iterable[Drawing], size: int) -> Iterator[list[Drawing]]:
    drawings = iter(drawings)
    while batch := list(islice(drawings, size)):
        yield batch
