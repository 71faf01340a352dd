"""Downloads: the filtered drawings as NDJSON, streamed."""

from collections.abc import AsyncIterator, Sequence
from functools import partial
from io import BytesIO
from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi import Query as InQuery
from fastapi.responses import StreamingResponse

from gradejax.data import ndjson
from gradejax.stores import Query, Store
from gradejax.web.filters import Filters
from gradejax.web.limits import bounded, no_repeats
from gradejax.web.roles import TEACHER_ONLY
from gradejax.web.sending import SendBudget
from gradejax.web.state import from_state
from gradejax.web.workers import Workers

_IDS_AT_ONCE = 500
_FIRST_READ, _MAX_READ = 8, 128  # drawings at once, which may be large
_PIECE_BYTES = 2**20


class Downloads:
    """Reads drawings for all downloads in one thread: they take turns, and a hundred of them leave time to save."""

    def __init__(self, store: Store, budget: SendBudget):
        self._store = store
        self._budget = budget
        self._thread = Workers(1)

    async def begin(self, filters: Filters) -> AsyncIterator[bytes]:
        """Returns the NDJSON in pieces.

        Raises:
            BadDrawing: for a label that is not in the store's scale.
            StoreError: at once, if the store does not answer.
        """
        query = filters.query(await self._thread.run(lambda: self._store.scale))
        await self._next_ids(query, None)
        return self._pieces(query)

    async def _pieces(self, query: Query) -> AsyncIterator[bytes]:
        ids = await self._next_ids(query, None)
        n = _FIRST_READ
        while ids:
            async with self._budget.holding(partial(self._lines, ids[:n])) as lines:
                size = len(lines)
                yield lines
                yield b""  # uvicorn asks for this once the client has read nearly all of the lines
                del lines
            ids = ids[n:] or await self._next_ids(query, ids[-1])
            # Few large pieces: a database may have to search all its drawings for each.
            n = max(1, min(_MAX_READ, n * _PIECE_BYTES // max(size, 1)))

    async def _next_ids(self, query: Query, after: str | None) -> list[str]:
        return await self._thread.run(_ids, self._store, query, after)

    async def _lines(self, ids: Sequence[str]) -> bytes:
        return await self._thread.run(_lines, self._store, ids)


router = APIRouter(dependencies=[TEACHER_ONLY, Depends(no_repeats)], route_class=bounded(0))


@router.get(
    "/export",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/x-ndjson": {}}, "description": "a drawing a line"}},
)
async def export(
    filters: Annotated[Filters, InQuery()], downloads: Annotated[Downloads, from_state("downloads")]
) -> StreamingResponse:
    """Returns the filtered drawings as NDJSON, as mongoexport writes it and `python -m gradejax.data import` reads."""
    return StreamingResponse(
        await downloads.begin(filters),
        media_type="application/x-ndjson",
        headers={"Content-Disposition": 'attachment; filename="drawings.ndjson"'},
    )


def _ids(store: Store, query: Query, after: str | None) -> list[str]:
    return [drawing.id for drawing in store.find(query, after=after, limit=_IDS_AT_ONCE, pictures=False)]


def _lines(store: Store, ids: Sequence[str]) -> bytes:
    lines = BytesIO()
    ndjson.write(lines, store.get_many(ids).values())
    return lines.getvalue()
