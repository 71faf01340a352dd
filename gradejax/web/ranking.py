"""Drawings ranked by confidence in their label, lowest first: likely mislabels.

The confidences are those of the store's last audit, whose networks were not trained on the drawings, or else the
model's, which may have learnt the wrong labels.
"""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from itertools import islice
from pathlib import Path

from gradejax import audits, threads
from gradejax.errors import StoreError
from gradejax.stores import Query, Store
from gradejax.web.judgements import FOLDER, Judgements
from gradejax.web.judging import judged
from gradejax.web.languages import Text
from gradejax.web.model import Model
from gradejax.web.ranked import Ranked, Ranking

log = logging.getLogger(__name__)

_WHOLE_STORE = Query(deleted=None)
_MAX_RANKINGS = 8
_MAX_JUDGEMENTS = 1_500_000  # in all rankings together; 250 bytes each
_MAX_WAITING = 8
_QUICK_SECONDS = 0.05
_JOIN_SECONDS = 1.0
_REST = 10  # the pause between checks for changes, as a multiple of the time that a check takes
_REST_AFTER_KEEPING = 10  # likewise: a million judgements take a second to write, and each edit asks for it
_POLL_SECONDS = 0.1


class Rankings:
    """Rankings by query, computed in the background, one at a time, and kept until the store changes.

    Some stores say at once whether they have changed. Others must be read from end to end: then a ranking is served as
    it is while another is computed. Changes that this server makes (`edit`) are taken over without either. No request
    waits for a ranking.
    """

    def __init__(self, store: Store, model: Model, folder: Path = FOLDER):
        self._store = store
        self._model = model
        self._judgements = Judgements(store.uri, folder)
        self._unkept = False
        self._keep_at = 0.0
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
            elif refresh:
                ranking.settle(self._judgements.trusted)
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

    def page(self, ranking: Ranking, after: str | None, limit: int, guess: str | None = None) -> list[Ranked]:
        """Returns a page of a finished ranking, with the drawings as they are now.

        Args:
            ranking: a finished one.
            after: the id of the drawing before the page; None for the first page.
            limit: the most drawings to return.
            guess: only drawings that the model takes for this; None for all.
        """
        unchanged = ranking.check_seconds > _QUICK_SECONDS and ranking.changes == self._changes
        kept = ranking.first_drawings if unchanged else {}
        ids = ranking.ids(guess, after)
        page: list[Ranked] = []
        while len(page) < limit and (batch := list(islice(ids, limit - len(page)))):
            others = [id for id in batch if id not in kept]
            drawings = kept | self._store.get_many(others, pictures=False) if others else kept
            present = (drawings[id] for id in batch if id in drawings)
            page += [ranking.ranked(drawing) for drawing in present if ranking.query.selects(drawing)]
        return page

    def edit(self, ids: Sequence[str], change: Callable[[], int]) -> int:
        """Makes a change to drawings other than to their pictures, and takes it over into the finished rankings.

        Args:
            ids: the drawings.
            change: makes the change in the store, and returns how many it changed.

        Raises:
            StoreError: if the change could not be made.
        """
        with self._lock:
            rankings = [one for one in self._rankings.values() if one.finished]
            quick = [one for one in rankings if one.check_seconds <= _QUICK_SECONDS]
            changes = self._changes
        before = self._fingerprints(quick)
        changed = change()
        with self._lock:
            self._changes += 1
        if rankings:
            try:
                drawings = self._store.get_many(ids, pictures=False)
                counts = {one.query: self._store.count(one.query) for one in quick}
                after = self._fingerprints(quick)
            except StoreError:  # the change was made; the rankings are made anew
                return changed
            if quick:
                self._judgements.moved_on(before[_WHOLE_STORE], after[_WHOLE_STORE])
            with self._lock:
                for one in rankings:
                    is_complete = one.edit(ids, drawings, self._judgements.trusted)
                    if is_complete and one.changes == changes:
                        one.changes = self._changes
                    # Without the count, a drawing that was saved between the two fingerprints would be missed.
                    if one.fingerprint == before.get(one.query) and one.total == counts.get(one.query):
                        one.fingerprint = after[one.query]
                self._unkept = bool(quick)
                self._start()
        return changed

    def forget(self, ids: Sequence[str]) -> None:
        """Forgets what was judged of drawings that are erased, here and on disk."""
        is_on_disk = self._judgements.forget(ids)
        with self._lock:
            for ranking in self._rankings.values():
                gone = ranking.first_drawings.keys() & set(ids)
                ranking.first_drawings = {id: one for id, one in ranking.first_drawings.items() if id not in gone}
            if is_on_disk:
                self._unkept = True
                self._start()

    def _fingerprints(self, rankings: Sequence[Ranking]) -> dict[Query, str]:
        """The store's fingerprints for some rankings, and if there are any, of the whole store."""
        queries = [_WHOLE_STORE, *(one.query for one in rankings)] if rankings else []
        return {query: self._store.fingerprint(query) for query in queries}

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
                self._enqueue(Ranking(query, time.monotonic(), self._changes, replaces=ranking))
        return False

    def _begin(self, query: Query, previous: Ranking | None) -> Ranking:
        """Returns a new ranking that waits to be computed; if too many wait, `previous` or one that never will be."""
        ranking = Ranking(query, time.monotonic(), self._changes)
        self._waiting.pop(query, None)  # one that was to replace `previous` in the background
        if not self._enqueue(ranking):
            return previous or ranking
        self._rankings[query] = ranking
        return ranking

    def _enqueue(self, ranking: Ranking) -> bool:
        """Adds a ranking to those that wait; returns False if too many wait that somebody still asks for."""
        for abandoned in [other for other, waiting in self._waiting.items() if waiting.is_abandoned()]:
            del self._waiting[abandoned]
            self._rankings.pop(abandoned, None)
        if len(self._waiting) >= _MAX_WAITING:
            return False
        self._waiting[ranking.query] = ranking
        self._start()
        return True

    def _start(self) -> None:
        if self._worker is None and not self._closing.is_set():
            self._worker = threads.start(self._work)

    def _work(self) -> None:
        while True:
            with self._lock:
                if self._closing.is_set() or not (self._waiting or self._unkept):
                    self._worker = None
                    return
                _, ranking = self._waiting.popitem(last=False) if self._waiting else (None, None)
            if ranking is None:
                if time.monotonic() >= self._keep_at:
                    self._keep_judgements()
                else:
                    self._closing.wait(_POLL_SECONDS)
                continue
            try:
                if not ranking.is_abandoned():
                    self._compute(ranking)
            except Exception as error:
                ranking.error = error
            with self._lock:
                self._keep(ranking)

    def _keep_judgements(self) -> None:
        self._unkept, began = False, time.monotonic()
        try:
            self._judgements.keep(lambda ids: self._store.get_many(ids, pictures=False))
        except (StoreError, OSError) as error:
            log.warning("after a restart the drawings are judged again: %s", error)
        self._keep_at = time.monotonic() + _REST_AFTER_KEEPING * (time.monotonic() - began)

    def _keep(self, ranking: Ranking) -> None:
        query = ranking.query
        current = self._rankings.get(query)
        if current is ranking and not ranking.finished and ranking.error is None:
            del self._rankings[query]
        elif current is not None and current is ranking.replaces and ranking.finished:
            self._rankings[query] = ranking
        ranking.replaces = None
        finished = [(query, one) for query, one in self._rankings.items() if one.finished or one.error]
        judgements = sum(one.size for _, one in finished)
        for number, (oldest, one) in enumerate(finished[:-1]):
            if len(finished) - number > _MAX_RANKINGS or judgements > _MAX_JUDGEMENTS:
                del self._rankings[oldest]
                judgements -= one.size

    def _compute(self, ranking: Ranking) -> None:
        query, began = ranking.query, time.monotonic()
        ranking.fingerprint = self._store.fingerprint(query)
        ranking.checked = time.monotonic()
        ranking.check_seconds = ranking.checked - began
        if ranking.replaces is not None and ranking.replaces.fingerprint == ranking.fingerprint:
            return
        is_quick = ranking.check_seconds <= _QUICK_SECONDS
        whole = self._store.fingerprint(_WHOLE_STORE) if is_quick else None
        ranking.total = self._store.count(query)
        name, recogniser, run = self._model.get()
        ranking.recogniser = recogniser
        scale = self._store.scale
        audit = audits.load(self._store.uri, scale=scale)
        if audit and recogniser.labels == scale.labels:
            ranking.audited = audit.confidences
        self._judgements.use(recogniser, whole)
        drawings = judged(self._store, query, self._model, recogniser, self._judgements)
        with closing(drawings):
            if not ranking.fill(drawings, lambda: self._closing.is_set() or ranking.is_abandoned()):
                return
        ranking.ranked_by = Text("server.ranked-by-model", model=name) if run else Text("server.ranked-by-shipped")
        ranking.ranked_by_model = name
        if audit and ranking.names_any(ranking.audited):
            ranking.ranked_by = Text("server.ranked-by-audit", day=datetime.fromisoformat(audit.date))
            ranking.ranked_by_model = None
        ranking.finished = True
        self._unkept = True
