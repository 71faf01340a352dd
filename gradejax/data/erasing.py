"""`python -m gradejax.data erase`: drawings of a writer, of tags or of an age, gone for good."""

import logging
import re
import sys
from contextlib import closing
from datetime import UTC, datetime

from gradejax.errors import UserError
from gradejax.progress import progress
from gradejax.stores import Query, Store, open_store

log = logging.getLogger(__name__)


def erase(uri: str, writer: str, tags: tuple[str, ...], before: str, *, dry_run: bool, sure: bool) -> None:
    """Erases the drawings that all of the filters select, excluded ones too, and prints what cannot be reached.

    Args:
        uri: the store's address.
        writer: drawings by this writer; empty for all.
        tags: drawings with one of these; empty for all.
        before: drawings made before this day, `YYYY-MM-DD` in UTC; empty for all.
        dry_run: only count them.
        sure: do not ask.

    Raises:
        UserError: if no filter is given, none selects anything, or nobody can be asked.
    """
    query = _query(writer, tags, before)
    with closing(open_store(uri)) as store:
        ids = _selected(store, query)
        if not ids:
            if not dry_run:
                store.erase([])  # an earlier erasure may have been cut off before it was complete
            raise UserError(f"no drawing in {store.uri} is selected: nothing was erased")
        if dry_run:
            print(f"{_drawings(len(ids))} would be erased from {store.uri}")
            return
        if not sure:
            _ask_twice(store.uri, len(ids))
        from gradejax import erasure  # imports JAX, which counting and asking need not wait for

        with progress("erasing (steps)", None, log) as update:
            erased = erasure.erase(store, ids, progress=lambda done, total: update(completed=done, total=total))
        print(f"{_drawings(erased.drawings)} erased from {store.uri}")
    print("gradejax cannot reach everything:", *erased.unreachable, sep="\n- ")


def _query(writer: str, tags: tuple[str, ...], before: str) -> Query:
    if not (writer or tags or before):
        raise UserError("name the drawings to erase: --writer=NAME, --tags=a,b or --before=YYYY-MM-DD")
    until = None
    if before:
        try:
            if not re.fullmatch(r"\d{4}-\d\d-\d\d", before):
                raise ValueError
            until = datetime.fromisoformat(before).replace(tzinfo=UTC)
        except ValueError:
            raise UserError(f"--before={before} is no day: write it as --before=2026-07-31") from None
    return Query(tags=tags, writer=writer or None, until=until, deleted=None)


def _selected(store: Store, query: Query) -> list[str]:
    """The ids of the selected documents; those that are no valid drawings are somebody's, too."""
    ids: list[str] = []
    with progress("looking for drawings", None, log) as update:
        for drawing in store.find(query, pictures=False, refused=lambda id, _: ids.append(id)):
            ids.append(drawing.id)
            update(1)
    return ids


def _ask_twice(uri: str, n: int) -> None:
    """Raises UserError unless somebody at a terminal wants this twice."""
    if not sys.stdin.isatty():
        raise UserError(f"{_drawings(n)} would be erased for good: say --yes, since nobody can be asked here")
    print(f"{_drawings(n)} will be erased from {uri} for good. Nobody can bring them back.")
    for question, answer in (
        ("Erase them? Type yes: ", "yes"),
        (f"Are you sure? Type the number of drawings, {n}: ", str(n)),
    ):
        try:
            said = input(question)
        except EOFError:
            said = ""
        if said.strip().lower() != answer:
            raise UserError("nothing was erased")


def _drawings(n: int) -> str:
    return f"{n:,} drawings" if n != 1 else "1 drawing"
