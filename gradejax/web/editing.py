"""Changes to drawings in the gallery: relabel, exclude, restore, hold in quarantine."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends

from gradejax.stores import Store
from gradejax.web import quarantine
from gradejax.web.limits import bounded, no_repeats
from gradejax.web.messages import MAX_SELECTED, Changed, Relabelling, Selection
from gradejax.web.ranking import Rankings
from gradejax.web.roles import TEACHER_ONLY
from gradejax.web.state import from_state
from gradejax.web.totals import Totals
from gradejax.web.workers import Workers


class Editor:
    """Edits the store; whoever changes a drawing sees it counted afresh, and where it belongs in the ranking."""

    def __init__(self, store: Store, workers: Workers, totals: Totals, rankings: Rankings):
        self.store = store
        self._workers = workers
        self._totals = totals
        self._rankings = rankings

    async def apply(self, ids: Sequence[str], edit: Callable[[Sequence[str]], int]) -> Changed:
        """Calls `edit` with ids; it returns how many of these drawings it changed."""
        return await self._workers.run(self.apply_here, ids, edit)

    def apply_here(self, ids: Sequence[str], edit: Callable[[Sequence[str]], int]) -> Changed:
        """Does as `apply`, in the thread that calls it."""
        changed = self._rankings.edit(ids, lambda: edit(ids))
        self._totals.forget()
        return Changed(changed=changed)


EditorDep = Annotated[Editor, from_state("editor")]

router = APIRouter(
    prefix="/drawings", dependencies=[TEACHER_ONLY, Depends(no_repeats)], route_class=bounded(2 * MAX_SELECTED)
)


@router.post("/relabel")
async def relabel(selection: Relabelling, editor: EditorDep) -> Changed:
    """Gives drawings another label; the earlier one is kept in their history."""
    return await editor.apply(selection.ids, partial(editor.store.relabel, label=selection.label))


@router.post("/put-aside")
async def put_aside(selection: Selection, editor: EditorDep) -> Changed:
    """Excludes drawings from use; they can be restored. Those in quarantine no longer wait there."""
    return await editor.apply(selection.ids, partial(quarantine.reject, editor.store))


@router.post("/restore")
async def restore(selection: Selection, editor: EditorDep) -> Changed:
    """Restores excluded drawings, and accepts those in quarantine."""
    return await editor.apply(selection.ids, partial(quarantine.accept, editor.store))


@router.post("/hold")
async def hold(selection: Selection, editor: EditorDep) -> Changed:
    """Puts drawings in quarantine: the undoing of what was decided about those that were there."""
    return await editor.apply(selection.ids, partial(quarantine.hold, editor.store))
