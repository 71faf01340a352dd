"""`python -m gradejax.data check`: invalid documents, duplicates, blank drawings and damage to the file."""

import logging
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from hashlib import blake2b

from gradejax.drawings import Drawing, printable
from gradejax.errors import BadDrawing, UserError
from gradejax.ink import decode_ink
from gradejax.progress import progress, track
from gradejax.scales import Scale
from gradejax.stores import Query, open_store
from gradejax.stores.sqlite import SqliteStore
from gradejax.threads import parallel_map

log = logging.getLogger(__name__)

_BLANK = 32  # ink no stronger than this comes from compression and paper, not from a pen
_KINDS = ("bad", "duplicate", "blank")


def check(uri: str, scale: Scale | None = None) -> None:
    """Examines every drawing in a store and prints a line for each problem.

    Args:
        uri: the store's address.
        scale: as in `open_store`.

    Raises:
        UserError: if there is any problem.
    """
    problems: list[tuple[str, str]] = []
    with closing(open_store(uri, scale=scale)) as store, _first_with_ink() as first_with:
        uri = store.uri
        if isinstance(store, SqliteStore) and (damage := _damage(store)):
            print("\n".join(f"damaged: {line}" for line in damage))
            raise UserError(f"{uri} is damaged: put a backup in its place, as docs/backup.md says")
        everything = Query(deleted=None)
        drawings = store.find(
            everything, refused=lambda id, reason: problems.append(("bad", f"{printable(id)}: {reason}"))
        )
        with progress("checking", store.count(everything), log) as update:
            for drawing, ink in parallel_map(_ink_digest, track(drawings, update)):
                id = printable(drawing.id)
                if isinstance(ink, BadDrawing):
                    problems.append(("bad", f"{id}: {ink}"))
                elif drawing.deleted is not None:
                    continue
                elif ink == b"":
                    problems.append(("blank", id))
                elif (first := first_with(ink, drawing.id)) != drawing.id:
                    problems.append(("duplicate", f"{id}: the same ink as {printable(first)}"))
    for kind, line in problems:
        print(kind, line)
    if problems:
        counts = Counter(kind for kind, _ in problems)
        raise UserError(f"{uri}: " + ", ".join(f"{counts[kind]} {kind}" for kind in _KINDS))
    print(f"{uri}: nothing wrong")


def _damage(store: SqliteStore) -> list[str]:
    with progress("examining the file", None):  # nobody knows how much of it is left
        return store.file.damage()


@contextmanager
def _first_with_ink() -> Iterator[Callable[[bytes, str], str]]:
    """Yields a function that returns the first id it was called with for the same digest.

    They are in a file that SQLite makes among the temporary ones and deletes: a million would fill 250 MB of memory.

    Raises:
        UserError: if there is no room for it.
    """
    try:
        with closing(sqlite3.connect("", isolation_level=None)) as seen:
            seen.execute("PRAGMA journal_mode = OFF")
            seen.execute("CREATE TABLE seen (ink BLOB PRIMARY KEY, id TEXT NOT NULL) WITHOUT ROWID")

            def first(ink: bytes, id: str) -> str:
                if seen.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", (ink, id)).rowcount:
                    return id
                return seen.execute("SELECT id FROM seen WHERE ink = ?", (ink,)).fetchone()[0]

            yield first
    except sqlite3.Error as error:
        raise UserError(f"no room for temporary files ({error}): name another folder for them with TMPDIR") from None


def _ink_digest(drawing: Drawing) -> bytes | BadDrawing:
    """Returns a digest of the drawing's ink and its shape; empty if it is blank."""
    try:
        ink = decode_ink(drawing.png)
    except BadDrawing as error:
        return error
    if ink.max() <= _BLANK:
        return b""
    digest = blake2b(repr(ink.shape).encode(), digest_size=16)
    digest.update(ink)
    return digest.digest()
