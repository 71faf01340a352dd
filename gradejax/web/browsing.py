"""The gallery's routes: look, relabel, put aside, restore, count, download."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial, wraps
from io import BytesIO
from threading import Lock
from typing import Annotated, ParamSpec, TypeVar

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi import Query as InQuery
from fastapi.responses import StreamingResponse

from gradejax import exchange
from gradejax.drawings import Drawing
from gradejax.errors import StoreError, UserError
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
_THREADS = 16
_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")


class Totals:
    """The store's summary, at most a second old: while a class draws, every telephone asks for it."""

    def __init__(self, store: Store):
        self._store = store
        self._lock = Lock()
        self._until = 0.0
        self._summary: Counter[tuple[tuple[str, ...], str]] | StoreError = Counter()

    def get(self) -> Counter[tuple[tuple[str, ...], str]]:
        with self._lock:
            if time.monotonic() >= self._until:
                try:
                    summary = self._store.summary()
                    # A stranger's document may have any label, and is no drawing.
                    self._summary = Counter({key: n for key, n in summary.items() if key[1] in GRADE_INDEX})
                except StoreError as error:  # or all who wait here would try, one after the other
                    self._summary = error
                self._until = time.monotonic() + _COUNT_SECONDS
            if isinstance(self._summary, StoreError):
                raise self._summary
            return self._summary

    def forget(self) -> None:
        """Makes the next look a fresh one: who has changed a drawing wants to see it counted."""
        with self._lock:
            self._until = 0.0


def routes(store: Store, model: Model, rankings: Rankings) -> APIRouter:
    """Every route below `/api` that a drawing's saving and guessing does not need."""
    router = APIRouter(dependencies=[Depends(_each_once)])
    totals = Totals(store)
    threads = ThreadPoolExecutor(_THREADS)

    def in_threads(
        route: Callable[_Given, _Result], threads: ThreadPoolExecutor = threads
    ) -> Callable[_Given, Awaitable[_Result]]:
        """In threads of the store's own: one that hangs holds up neither pages nor guesses."""

        @wraps(route)
        async def answer(*args: _Given.args, **given: _Given.kwargs) -> _Result:
            return await asyncio.get_running_loop().run_in_executor(threads, partial(route, *args, **given))

        return answer

    # One thread for all downloads: they take turns, and a hundred at once leave time to save.
    next_lines = in_threads(_next_lines, ThreadPoolExecutor(1))

    @router.get("/status")
    @in_threads
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
    @in_threads
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
    @in_threads
    def picture(id: Name) -> Response:
        """A drawing's PNG; it never changes."""
        drawing = store.get(id)
        if drawing is None:
            raise HTTPException(404, "No drawing has this id.")
        return Response(
            drawing.png, media_type="image/png", headers={"Cache-Control": "private, max-age=31536000, immutable"}
        )

    @router.post("/drawings/relabel")
    @in_threads
    def relabel(selection: Relabelling) -> Changed:
        """Gives drawings another label; the one before is kept in their history."""
        changed = store.relabel(selection.ids, selection.label)
        totals.forget()
        rankings.forget()
        return Changed(changed=changed)

    @router.post("/drawings/put-aside")
    @in_threads
    def put_aside(selection: Selection) -> Changed:
        """Takes drawings out of use; none is lost."""
        changed = store.put_aside(selection.ids)
        totals.forget()
        rankings.forget()
        return Changed(changed=changed)

    @router.post("/drawings/restore")
    @in_threads
    def restore(selection: Selection) -> Changed:
        """Brings back drawings that were put aside."""
        changed = store.restore(selection.ids)
        totals.forget()
        rankings.forget()
        return Changed(changed=changed)

    @router.get("/counts")
    @in_threads
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
    async def export(filters: Annotated[Filters, InQuery()]) -> StreamingResponse:
        """The drawings meant as NDJSON, as mongoexport writes it and `python -m gradejax.data import` reads it."""
        first = await next_lines(store, filters.query(), None)  # a store that is away is told before the answer begins

        async def lines() -> AsyncIterator[bytes]:
            piece, last = first
            while last is not None:
                yield piece
                piece, last = await next_lines(store, filters.query(), last)

        return StreamingResponse(
            lines(),
            media_type="application/x-ndjson",
            headers={"Content-Disposition": 'attachment; filename="drawings.ndjson"'},
        )

    return router


async def _each_once(request: Request) -> None:
    """Refuses a parameter that is given twice, of which FastAPI would take the last: only tags may be several."""
    names = [name for name, _ in request.query_params.multi_items() if name != "tag"]
    if len(set(names)) < len(names):
        raise HTTPException(422, "A parameter is given twice; only tags may be several.")


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


def _next_lines(store: Store, query: Query, after: str | None) -> tuple[bytes, str | None]:
    """The next drawings as NDJSON, and the last one's id; None for it where there are no more."""
    drawings = list(store.find(query, after=after, limit=_EXPORT_AT_ONCE))
    lines = BytesIO()
    exchange.write(lines, drawings)
    return lines.getvalue(), drawings[-1].id if drawings else None
