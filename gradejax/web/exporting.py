"""Downloads of a recogniser: the page or the ONNX file that `python -m gradejax.export` writes."""

import logging
from collections.abc import AsyncIterator
from typing import Annotated, Literal
from urllib.parse import quote

from fastapi import APIRouter, Depends, HTTPException
from fastapi.responses import StreamingResponse

from gradejax import shipped
from gradejax.errors import MissingLibrary, UserError
from gradejax.export.formats import FORMATS, file_name
from gradejax.recogniser import Chosen, load_shipped, of_run
from gradejax.web.languages import Text
from gradejax.web.limits import bounded, no_repeats
from gradejax.web.messages import Name
from gradejax.web.model import Model
from gradejax.web.models import finished_run
from gradejax.web.roles import TEACHER_ONLY
from gradejax.web.sending import SendBudget
from gradejax.web.state import from_state
from gradejax.web.workers import Workers

log = logging.getLogger(__name__)


class Exporter:
    """Writes one file at a time, in a thread of its own, while nobody waits for a guess."""

    def __init__(self, model: Model, budget: SendBudget):
        self._model = model
        self._budget = budget
        self._thread = Workers(1)

    async def begin(self, name: str, to: str) -> tuple[int, AsyncIterator[bytes]]:
        """Writes a recogniser.

        Args:
            name: the model in use, a finished run below `runs/`, or `shipped`.
            to: a key of `FORMATS`.

        Returns:
            The number of bytes, and these in pieces.

        Raises:
            HTTPException: if there is no such run, its model is damaged, or a library is missing.
        """
        pieces = self._pieces(name, to)
        content = await anext(pieces)  # what is wrong is said before the answer begins
        return len(content), _chain(content, pieces)

    async def _pieces(self, name: str, to: str) -> AsyncIterator[bytes]:
        async with self._budget.holding(lambda: self._thread.run(self._write, name, to)) as content:
            yield content
            yield b""  # uvicorn asks for this once the client has read nearly all of the file

    def _write(self, name: str, to: str) -> bytes:
        self._model.wait_for_urgent()
        chosen = self._chosen(name)
        self._model.wait_for_urgent()
        try:
            return FORMATS[to].write(chosen)
        except MissingLibrary as error:
            raise HTTPException(503, Text("server.needs-library", command=error.command)) from error

    def _chosen(self, name: str) -> Chosen:
        in_use = self._model.loaded
        if in_use and in_use.name == name:
            return in_use
        run = None if name == shipped.NAME else finished_run(name)
        try:
            return of_run(run) if run else Chosen(name, load_shipped(), None)
        except UserError as error:
            log.warning("%s", error)
            raise HTTPException(503, Text("server.damaged-model", run=name)) from error


router = APIRouter(dependencies=[TEACHER_ONLY, Depends(no_repeats)], route_class=bounded(0))


@router.get(
    "/models/export",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/html": {}, "application/octet-stream": {}}, "description": "the file"}},
)
async def export(
    name: Name, to: Literal["page", "onnx"], exporter: Annotated[Exporter, from_state("exporter")]
) -> StreamingResponse:
    """Returns a recogniser as a page to draw on, or as an ONNX file."""
    size, pieces = await exporter.begin(name, to)
    file = quote(file_name(name, to), safe="")
    headers = {"Content-Length": str(size), "Content-Disposition": f"attachment; filename*=utf-8''{file}"}
    return StreamingResponse(pieces, media_type=FORMATS[to].media_type, headers=headers)


async def _chain(first: bytes, others: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in others:
        yield piece
