"""Renaming a tag on all drawings, excluded ones too; renaming it to another that exists merges the two.

A request changes a part of the drawings and says how many are left, so that none takes long. A rename that was
interrupted is finished by asking for it again.
"""

import asyncio
import secrets
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException

from gradejax.stores import Query
from gradejax.web.editing import Editor
from gradejax.web.languages import Text
from gradejax.web.limits import bounded, no_repeats
from gradejax.web.roles import TEACHER_ONLY
from gradejax.web.settings import MAX_RENAMED, ClassSettings, Settings
from gradejax.web.state import from_state
from gradejax.web.tag_messages import Renamed, Renaming, Undoing, Undone
from gradejax.web.tags import DEFAULT_TAG
from gradejax.web.workers import Workers

_AT_ONCE = 1000  # drawings changed by one request
_MAX_PARTS = 500  # commas in names are refused later, in words

_Tags = tuple[str, ...]


@dataclass
class _Rename:
    """The latest rename, with what undoes it.

    Attributes:
        before: of each drawing that it changed, the tags that it had.
        settings_before: the class's settings; `settings_after` as the rename left them.
    """

    old: str
    new: str
    settings_before: ClassSettings
    settings_after: ClassSettings
    token: str = field(default_factory=lambda: secrets.token_hex(16))
    before: dict[str, _Tags] = field(default_factory=dict)
    is_finished: bool = False

    def after(self, tags: _Tags) -> _Tags:
        """Returns what the rename makes of a drawing's tags."""
        return tuple(dict.fromkeys(self.new if tag == self.old else tag for tag in tags))


class Renamer:
    """Renames tags, one at a time, and undoes the latest rename."""

    def __init__(self, editor: Editor, settings: Settings, workers: Workers):
        self._editor = editor
        self._store = editor.store
        self._settings = settings
        self._workers = workers
        self._one_at_a_time = asyncio.Lock()
        self._latest: _Rename | None = None

    async def rename(self, old: str, new: str, *, merge: bool) -> Renamed:
        """Renames the tag of up to _AT_ONCE drawings.

        Args:
            old: the tag.
            new: its new name.
            merge: whether there may be drawings with this name.

        Raises:
            HTTPException: 404 if nothing has the tag, 422 if it has this name already, 409 if both tags have
                drawings and `merge` is False.
            StoreError: if the store cannot be read or written.
        """
        async with self._one_at_a_time:
            rename = self._latest
            if rename is None or rename.is_finished or (rename.old, rename.new) != (old, new):
                await self._workers.run(self._check, old, new, merge)
                rename = self._latest = await self._workers.run(self._begin, old, new)
            tagged = await self._workers.run(self._tagged, old, new)
            rename.before = tagged | rename.before
            changed = await self._set(tagged, {id: rename.after(tags) for id, tags in tagged.items()})
            left = await self._workers.run(self._count, old)
            rename.is_finished = not left
            return Renamed(changed=changed, left=left, undo=rename.token)

    async def undo(self, token: str) -> Undone:
        """Gives up to _AT_ONCE drawings exactly the tags that they had before the latest rename.

        Raises:
            HTTPException: 404 if `token` is not that of the latest rename.
            StoreError: if the store cannot be written.
        """
        async with self._one_at_a_time:
            rename = self._latest
            if rename is None or rename.token != token:
                raise HTTPException(404, Text("server.rename-not-undone"))
            rename.is_finished = True
            await self._workers.run(self._put_settings_back, rename)
            part = {id: rename.before[id] for id in list(rename.before)[:_AT_ONCE]}
            changed = await self._set({id: rename.after(tags) for id, tags in part.items()}, part)
            for id in part:
                del rename.before[id]
            if not rename.before:
                self._latest = None
            return Undone(changed=changed, left=len(rename.before))

    def _check(self, old: str, new: str, merge: bool) -> None:
        if old == new:
            raise HTTPException(422, Text("server.tag-is-called-so", tag=new))
        settings = self._settings.now
        of_old, of_new = self._count(old), self._count(new)
        is_known = old in settings.tags or old in settings.renamed
        if not (of_old or is_known):
            raise HTTPException(404, Text("server.no-drawing-has-tag", tag=old))
        # A rename that was interrupted has made the new tag itself.
        if of_old and of_new and not merge and settings.renamed.get(old) != new:
            raise HTTPException(409, Text("server.both-tags-exist", tag=new, n=of_new, others=of_old))

    def _begin(self, old: str, new: str) -> _Rename:
        """Renames the tag in the settings, first: drawings that arrive meanwhile get the new one."""
        before = self._settings.now
        tags = tuple(dict.fromkeys(new if tag == old else tag for tag in before.tags))
        renamed = {earlier: new if now == old else now for earlier, now in before.renamed.items()} | {old: new}
        renamed.pop(new, None)
        renamed.pop(DEFAULT_TAG, None)  # nobody chose it: it says nothing about the drawings to come
        after = self._settings.change(tags=tags, renamed=dict(list(renamed.items())[-MAX_RENAMED:]))
        return _Rename(old, new, before, after)

    def _put_settings_back(self, rename: _Rename) -> None:
        """Puts back what the rename changed in the settings, unless the teacher has changed it since."""
        now, before, after = self._settings.now, rename.settings_before, rename.settings_after
        renamed = {earlier: name for earlier, name in now.renamed.items() if earlier != rename.old}
        self._settings.change(
            tags=before.tags if now.tags == after.tags else now.tags,
            renamed=before.renamed if now.renamed == after.renamed else renamed,
        )

    def _count(self, tag: str) -> int:
        return self._store.count(Query((tag,), deleted=None))

    def _tagged(self, old: str, new: str) -> dict[str, _Tags]:
        """Returns the tags of up to _AT_ONCE drawings with the tag `old`, by id; and of documents that are invalid."""
        invalid: list[str] = []
        tagged = {
            drawing.id: drawing.tags
            for drawing in self._store.find(
                Query((old,), deleted=None),
                limit=_AT_ONCE,
                pictures=False,
                refused=lambda id, _: invalid.append(id),
            )
        }
        if invalid:  # they are counted by their tags all the same
            both: set[str] = set()
            for _ in self._store.find(Query((new,), deleted=None), pictures=False, refused=lambda id, _: both.add(id)):
                pass
            tagged |= {id: (old, new) if id in both else (old,) for id in invalid}
        return tagged

    async def _set(self, now: Mapping[str, _Tags], wanted: Mapping[str, _Tags]) -> int:
        """Gives drawings the tags `wanted` instead of those they have `now`, in this order, after any others."""
        groups: defaultdict[tuple[_Tags, _Tags], list[str]] = defaultdict(list)
        for id, tags in wanted.items():
            groups[now[id], tags].append(id)

        def change(_: Sequence[str]) -> int:
            return sum(
                self._store.retag(ids, add=tags, remove=(*before, *tags)) for (before, tags), ids in groups.items()
            )

        return (await self._editor.apply(list(wanted), change)).changed if wanted else 0


router = APIRouter(prefix="/tags", dependencies=[TEACHER_ONLY, Depends(no_repeats)], route_class=bounded(_MAX_PARTS))


@router.post("/rename")
async def rename(renaming: Renaming, renamer: Annotated[Renamer, from_state("renamer")]) -> Renamed:
    """Renames a tag on all drawings, excluded ones too, a part at a time. 409 if that would merge two tags."""
    return await renamer.rename(renaming.old, renaming.new, merge=renaming.merge)


@router.post("/undo")
async def undo(undoing: Undoing, renamer: Annotated[Renamer, from_state("renamer")]) -> Undone:
    """Undoes the latest rename, a part at a time: each drawing gets exactly the tags that it had."""
    return await renamer.undo(undoing.undo)
