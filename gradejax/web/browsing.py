"""The gallery's routes: look, relabel, put aside, restore, count, download."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial, wraps
from io import BytesIO
from itertools import accumulate, takewhile
from typing import Annotated, ParamSpec, TypeVar

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi import Query as InQuery
from fastapi.responses import StreamingResponse

from gradejax.data import exchange
from gradejax.drawings import Drawing
from gradejax.errors import UserError
from gradejax.stores import Query, Store
from gradejax.web.bodies import bounded
from gradejax.web.guessing import Model
from gradejax.web.messages import (
    MAX_SELECTED,
    Changed,
    Counts,
    Filters,
    Name,
    Page,
    Relabelling,
    Selection,
    Shelf,
    Shown,
    Status,
    TagCounts,
)
from gradejax.web.ranking import Rankings
from gradejax.web.sending import USUAL_BYTES, Room
from gradejax.web.totals import Totals

_LISTED_AT_ONCE = 500  # ids of drawings to download
_FIRST_READ, _MOST_READ = 8, 128  # drawings themselves, which may be large
_PIECE_BYTES = 2**20
_SHELF_BYTES = 2**18
_EARLIER_LABELS = 20
_THREADS = 16
_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")


def routes(store: Store, model: Model, rankings: Rankings) -> APIRouter:
    """Every route below `/api` that a drawing's saving and guessing does not need."""
    router = APIRouter(dependencies=[Depends(_each_once)], route_class=bounded(2 * MAX_SELECTED))
    totals = Totals(store)
    threads = ThreadPoolExecutor(_THREADS)
    room = Room()

    def in_threads(
        route: Callable[_Given, _Result], threads: ThreadPoolExecutor = threads
    ) -> Callable[_Given, Awaitable[_Result]]:
        """In threads of the store's own: one that hangs holds up neither pages nor guesses."""

        @wraps(route)
        async def answer(*args: _Given.args, **given: _Given.kwargs) -> _Result:
            return await asyncio.get_running_loop().run_in_executor(threads, partial(route, *args, **given))

        return answer

    # One thread for all downloads: they take turns, and a hundred at once leave time to save.
    downloads = ThreadPoolExecutor(1)
    listed, lines_of = in_threads(_listed, downloads), in_threads(_lines_of, downloads)

    @router.get("/status")
    async def status() -> Status:
        """How many drawings the store holds, and whether there is a model."""
        run, missing = None, None
        try:
            run = await name_of_model()
        except UserError as error:
            missing = str(error)
        grades = (await totals.get()).grades
        return Status(total=sum(grades.values()), grades=grades, model=run, model_missing=missing)

    @in_threads
    def name_of_model() -> str:
        return model.get()[0]

    @router.get("/drawings")
    @in_threads
    def look(page: Annotated[Page, InQuery()]) -> Shelf:
        """A page of drawings, newest first or, with a model, those first whose label it doubts most."""
        query = page.query()
        if page.after is not None and store.get(page.after) is None:
            raise HTTPException(404, "No drawing has the id to go on from.")
        if page.by == "disagreement":
            return _by_disagreement(rankings, query, page)
        drawings = list(store.find(query, newest_first=True, after=page.after, limit=page.limit, pictures=False))
        return _shelf([_shown(drawing) for drawing in drawings], page, lambda: store.count(query))

    @router.get(
        "/picture", response_class=Response, responses={200: {"content": {"image/png": {}}, "description": "PNG"}}
    )
    async def picture(id: Name) -> Response:
        """A drawing's PNG. No browser keeps it: behind the code is behind the code."""
        png = await png_of(id)
        if len(png) <= USUAL_BYTES:
            return Response(png, media_type="image/png")
        length = {"Content-Length": str(len(png))}

        async def in_room() -> AsyncIterator[bytes]:
            async with room.holding(lambda: png_of(id)) as png:
                yield png
                yield b""  # uvicorn takes it once the client has read nearly all that was there

        return StreamingResponse(in_room(), media_type="image/png", headers=length)

    @in_threads
    def png_of(id: str) -> bytes:
        drawing = store.get(id)
        if drawing is None:
            raise HTTPException(404, "No drawing has this id.")
        return drawing.png

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
        changed = store.exclude(selection.ids)
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
    async def counts() -> Counts:
        """How many drawings in use there are of each grade, and of each of the most used tags and grade."""
        summary = await totals.get()
        tags = [TagCounts(tag=tag, grades=grades) for tag, grades in summary.tags.items()]
        return Counts(grades=summary.grades, tags=tags, more_tags=summary.more_tags)

    @router.get(
        "/export",
        response_class=StreamingResponse,
        responses={200: {"content": {"application/x-ndjson": {}}, "description": "a drawing a line"}},
    )
    async def export(filters: Annotated[Filters, InQuery()]) -> StreamingResponse:
        """The drawings meant as NDJSON, as mongoexport writes it and `python -m gradejax.data import` reads it."""
        query = filters.query()

        async def pieces() -> AsyncIterator[bytes]:
            ids = await listed(store, query, None)
            n = _FIRST_READ
            while ids:
                async with room.holding(partial(lines_of, store, ids[:n])) as lines:
                    size = len(lines)
                    yield lines
                    yield b""  # uvicorn takes it once the client has read nearly all that was there
                    del lines
                ids = ids[n:] or await listed(store, query, ids[-1])
                # A database that looks through all drawings for each piece is asked for few pieces.
                n = max(1, min(_MOST_READ, n * _PIECE_BYTES // max(size, 1)))

        await listed(store, query, None)  # a store that is away is told before the answer begins
        return StreamingResponse(
            pieces(),
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
    shown = [_shown(one.drawing, one.guess, one.is_grade, one.confidence) for one in judged]
    return _shelf(shown, page, lambda: len(ranking.place))


def _shelf(shown: Sequence[Shown], page: Page, count: Callable[[], int]) -> Shelf:
    """What fits on one page of `shown`; the next begins where this one ends."""
    sizes = accumulate(len(one.model_dump_json()) for one in shown)
    fitting = max(1, sum(1 for _ in takewhile(lambda size: size <= _SHELF_BYTES, sizes)))
    complete = len(shown) < page.limit and len(shown) <= fitting
    return Shelf(
        drawings=shown[:fitting],
        next=None if complete else shown[:fitting][-1].id,
        total=count() if page.after is None else None,
    )


def _shown(drawing: Drawing, guess: str | None = None, is_grade: bool = True, confidence: float | None = None) -> Shown:
    return Shown(
        id=drawing.id,
        tags=list(drawing.tags),
        label=drawing.label,
        date=drawing.date,
        writer=drawing.writer,
        earlier=[entry["label"] for entry in drawing.history[-_EARLIER_LABELS:]],
        guess=guess,
        is_grade=is_grade,
        confidence=confidence,
    )


def _listed(store: Store, query: Query, after: str | None) -> list[str]:
    """The next ids to download."""
    return [drawing.id for drawing in store.find(query, after=after, limit=_LISTED_AT_ONCE, pictures=False)]


def _lines_of(store: Store, ids: Sequence[str]) -> bytes:
    """The drawings as NDJSON."""
    lines = BytesIO()
    exchange.write(lines, store.get_many(ids).values())
    return lines.getvalue()
