"""Erasing drawings for good, while the pages that show them follow."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import Field

from gradejax.erasure import Erased, erase
from gradejax.traces import Trace
from gradejax.web.editing import Editor
from gradejax.web.gone import Gone
from gradejax.web.languages import Text
from gradejax.web.limits import bounded, no_repeats
from gradejax.web.messages import MAX_SELECTED, Message, Selection
from gradejax.web.ranking import Rankings
from gradejax.web.roles import TEACHER_ONLY
from gradejax.web.state import LanguageDep, from_state
from gradejax.web.workers import Workers


class Eraser:
    """Erases drawings from the store, from what is kept of it on disk, and from what this server remembers."""

    def __init__(self, editor: Editor, workers: Workers, rankings: Rankings, gone: Gone):
        self._editor = editor
        self._workers = workers
        self._rankings = rankings
        self._gone = gone

    async def erase(self, ids: Sequence[str]) -> Erased:
        """Erases drawings, excluded ones too, and those that are on their way here."""
        self._gone.mark(ids)
        return await self._workers.run(self.erase_here, ids)

    def erase_here(self, ids: Sequence[str]) -> Erased:
        """Erases drawings in the thread that calls it."""
        erased = Erased(0, ())

        def edit(ids: Sequence[str]) -> int:
            nonlocal erased
            erased = erase(self._editor.store, ids)
            self._rankings.forget(ids)
            return erased.drawings

        self._editor.apply_here(ids, edit)
        return erased


EraserDep = Annotated[Eraser, from_state("eraser")]

router = APIRouter(
    prefix="/drawings", dependencies=[TEACHER_ONLY, Depends(no_repeats)], route_class=bounded(2 * MAX_SELECTED)
)


class ErasedForGood(Message):
    erased: int
    unreachable: list[str] = Field(description="what may still hold copies, in sentences in the visitor's language")


@router.post("/erase")
async def erase_drawings(selection: Selection, eraser: EraserDep, language: LanguageDep) -> ErasedForGood:
    """Erases drawings for good, excluded ones too. Nothing brings them back."""
    erased = await eraser.erase(selection.ids)
    unreachable = [said(trace).to(language) for trace in erased.unreachable]
    return ErasedForGood(erased=erased.drawings, unreachable=unreachable)


def said(trace: Trace) -> Text:
    """Returns what a trace says."""
    path = trace.path
    return {
        "backup": Text("server.left-in-backup", path=path),
        "read": Text("server.left-while-read", path=path),
        "mongodb": Text("server.left-in-mongodb"),
        "ferretdb": Text("server.left-in-ferretdb"),
        "run": Text("server.left-in-run", path=path),
        "copies": Text("server.left-in-copies"),
        "models": Text("server.left-in-models"),
        "elsewhere": Text("server.left-elsewhere"),
    }[trace.kind]
