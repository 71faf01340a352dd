"""The gallery's routes: look, relabel, put aside, restore, count, download."""

import time
from collections import Counter
from collections.abc import Iterator
from io import BytesIO
from threading import Lock
from typing import Annotated

from fastapi import APIRouter, HTTPException, Response
from fastapi import Query as InQuery
from fastapi.responses import StreamingResponse

from gradejax import exchange
from gradejax.drawings import Drawing
from gradejax.errors import UserError
from gradejax.grades import GRADE_INDEX
from gradejax.stores import Query, Store
from gradejax.web.guessing import Model
from gradejax.web.messages import (
    Changed,
    Count,
    Counts,
    Filters,
    Name,
    Page,
    Relabelling,
    Selection,
    Shelf,
    Shown,
    Status,
)
from gradejax.web.ranking import Rankings

_EXPORT_AT_ONCE = 500
_COUNT_SECONDS = 1.0


class Totals:
    """The store's summary, at most a second old: while a class draws, every telephone asks for it."""

    def __init__(self, store: Store):
        self._store = store
        self._lock = Lock()
        self._until = 0.0
        self._summary: Counter[tuple[tuple[str, ...], str]] = Counter()

    def get(self) -> Counter[tuple[tuple[str, ...], str]]:
        with self._lock:
            if time.monotonic() >= self._until:
                summary = self._store.summary()
                # A stranger's document may have any label, and is no drawing.
                self._summary = Counter({key: n for key, n in summary.items() if key[1] in GRADE_INDEX})
                self._until = time.monotonic() + _COUNT_SECONDS
            return self._summary

    def forget(self) -> None:
        """Makes the next look a fresh one: who has changed a drawing wants to see it counted."""
        with self._lock:
            self._until = 0.0


def routes(store: Store, model: Model, rankings: Rankings) -> APIRouter:
    """Every route below `/api` that a drawing's saving and guessing does not need."""
    router = APIRouter()
    totals = Totals(store)

    @router.get("/status")
    def status() -> Status:
        """What the store holds, and whether there is a model."""
        run, missing = None, None
        try:
            run = model.get()[0]
        except UserError as error:
            missing = str(error)
        summary = totals.get()
        grades: Counter[str] = Counter()
        for (_, label), count in summary.items():
            grades[label] += count
        tags = sorted({tag for tags, _ in summary for tag in tags})
        return Status(total=grades.total(), grades=grades, tags=tags, model=run, model_missing=missing)

    @router.get("/drawings")
    def look(page: Annotated[Page, InQuery()]) -> Shelf:
        """A page of drawings, newest first or, with a model, those first whose label it doubts most."""
        query = page.query()
        if page.after is not None and store.get(page.after) is None:
            raise HTTPException(404, "No drawing has the id to go on from.")
        if page.by == "disagreement":
            return _by_disagreement(rankings, query, page)
        drawings = list(store.find(query, newest_first=True, after=page.after, limit=page.limit))
        return Shelf(
            drawings=[_shown(drawing) for drawing in drawings],
            next=drawings[-1].id if len(drawings) == page.limit else None,
            total=store.count(query) if page.after is None else None,
        )

    @router.get(
        "/picture", response_class=Response, responses={200: {"content": {"image/png": {}}, "description": "PNG"}}
    )
    def picture(id: Name) -> Response:
        """A drawing's PNG; it never changes."""
        drawing = store.get(id)
        if drawing is None:
            raise HTTPException(404, "No drawing has this id.")
        return Response(
            drawing.png, media_type="image/png", headers={"Cache-Control": "private, max-age=31536000, immutable"}
        )

    @router.post("/drawings/relabel")
    def relabel(selection: Relabelling) -> Changed:
        """Gives drawings another label; the one before is kept in their history."""
        changed = store.relabel(selection.ids, selection.label)
        totals.forget()
        return Changed(changed=changed)

    @router.post("/drawings/put-aside")
    def put_aside(selection: Selection) -> Changed:
        """Takes drawings out of use; none is lost."""
        changed = store.put_aside(selection.ids)
        totals.forget()
        return Changed(changed=changed)

    @router.post("/drawings/restore")
    def restore(selection: Selection) -> Changed:
        """Brings back drawings that were put aside."""
        changed = store.restore(selection.ids)
        totals.forget()
        return Changed(changed=changed)

    @router.get("/counts")
    def counts() -> Counts:
        """How many drawings in use there are of each set of tags and label."""
        return Counts(
            counts=[Count(tags=list(tags), label=label, count=n) for (tags, label), n in totals.get().items()]
        )

    @router.get(
        "/export",
        response_class=StreamingResponse,
        responses={200: {"content": {"application/x-ndjson": {}}, "description": "a drawing a line"}},
    )
    def export(filters: Annotated[Filters, InQuery()]) -> StreamingResponse:
        """The drawings meant as NDJSON, as mongoexport writes it and `python -m gradejax.data import` reads it."""
        return StreamingResponse(
            _lines(store, filters.query()),
            media_type="application/x-ndjson",
            headers={"Content-Disposition": 'attachment; filename="drawings.ndjson"'},
        )

    return router


def _by_disagreement(rankings: Rankings, query: Query, page: Page) -> Shelf:
    ranking = rankings.ranking(query, anew=page.after is None)
    if not ranking.finished:
        return Shelf(drawings=[], next=None, total=ranking.total, done=ranking.done)
    judged = rankings.page(query, ranking, page.after, page.limit)
    return Shelf(
        drawings=[_shown(one.drawing, one.guess, one.is_grade, one.confidence) for one in judged],
        next=judged[-1].drawing.id if len(judged) == page.limit else None,
        total=len(ranking.place) if page.after is None else None,
    )


def _shown(drawing: Drawing, guess: str | None = None, is_grade: bool = True, confidence: float | None = None) -> Shown:
    return Shown(
        id=drawing.id,
        tags=list(drawing.tags),
        label=drawing.label,
        date=drawing.date,
        writer=drawing.writer,
        earlier=[entry["label"] for entry in drawing.history],
        guess=guess,
        is_grade=is_grade,
        confidence=confidence,
    )


def _lines(store: Store, query: Query) -> Iterator[bytes]:
    # Page by page, for each is asked for by another thread and no reading transaction stays open meanwhile.
    after = None
    while drawings := list(store.find(query, after=after, limit=_EXPORT_AT_ONCE)):
        lines = BytesIO()
        exchange.write(lines, drawings)
        yield lines.getvalue()
        after = drawings[-1].id
