"""Erasing from a SQLite file, so that none of its bytes, nor of its log's, still hold what was erased.

`secure_delete` overwrites deleted content with zeros, but only since gradejax turned it on, and SQLite leaves copies of
rows behind when it moves them from one page to another. So the file is written anew (VACUUM: 1.3 s for 22,000 drawings,
93 MB), and the log truncated.

Both come after the drawings are gone, and may be cut off, or have to wait for a program that reads. So the table
`erasure`, which the first erasure creates, counts the erasures that were asked for and those that left nothing behind.
Whoever opens the file, closes it or erases from it completes what is missing.
"""

import glob
import json
import logging
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from gradejax.traces import Trace

log = logging.getLogger(__name__)

READER_SECONDS = 10.0
"""How long an erasure waits for programs that still read what it erases."""
_PAGE = 1000  # ids in a statement
_TRY_SECONDS = 0.2  # a checkpoint that waits for readers holds up everybody who writes
_PAUSE_SECONDS = 0.1


class Erasures(NamedTuple):
    """How many erasures a file has seen.

    Attributes:
        asked: whose drawings are gone.
        completed: of which no byte is left, either.
    """

    asked: int = 0
    completed: int = 0

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to be done."""
        return self.completed >= self.asked


def delete(connection: sqlite3.Connection, ids: Sequence[str]) -> int:
    """Deletes drawings in one transaction, excluded ones too; returns how many."""
    deleted = 0
    connection.execute("BEGIN IMMEDIATE")
    for start in range(0, len(ids), _PAGE):
        page = json.dumps(ids[start : start + _PAGE])
        deleted += connection.execute(
            "DELETE FROM drawing WHERE id IN (SELECT value FROM json_each(?))", (page,)
        ).rowcount
    if deleted:
        connection.execute("CREATE TABLE IF NOT EXISTS erasure (asked INTEGER NOT NULL, completed INTEGER NOT NULL)")
        connection.execute("INSERT INTO erasure SELECT 0, 0 WHERE NOT EXISTS (SELECT 1 FROM erasure)")
        connection.execute("UPDATE erasure SET asked = asked + 1")
    connection.execute("COMMIT")
    return deleted


def erasures(connection: sqlite3.Connection) -> Erasures:
    """Counts the erasures of a file."""
    if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'erasure'").fetchall():
        return Erasures()
    return Erasures(*connection.execute("SELECT max(asked), max(completed) FROM erasure").fetchall()[0])


def complete(connection: sqlite3.Connection, path: Path, seconds: float) -> bool:
    """Writes the file anew and truncates its log, if an erasure has not been completed.

    Args:
        connection: to the file, in no transaction.
        path: for the log.
        seconds: to wait at most for programs that still read what was there before.

    Returns:
        Whether nothing is left of what was erased.
    """
    asked, completed = erasures(connection)
    if completed >= asked:
        return True
    is_anew = _write_anew(connection, path)
    if not _truncate_log(connection, seconds):
        log.warning(
            "%s: what was erased is still in %s-wal, because a program is reading: it goes with the next erasure, or "
            "when the store is closed or opened", path, path,
        )  # fmt: skip
        return False
    if is_anew:
        connection.execute("UPDATE erasure SET completed = max(completed, ?)", (asked,))
    return is_anew


def remains(path: Path, is_complete: bool) -> list[Trace]:
    """Says where erased drawings may be left.

    Args:
        path: of the store.
        is_complete: what `complete` returned last.
    """
    backups = sorted(path.parent.glob(f"{glob.escape(path.name)}.v*-backup"))
    found = [Trace("backup", backup) for backup in backups]
    if not is_complete:
        found.append(Trace("read", path))
    return found


def _write_anew(connection: sqlite3.Connection, path: Path) -> bool:
    try:
        connection.execute("VACUUM")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_FULL:
            raise
        log.warning(
            "%s: what was erased is overwritten, but copies may be left in unused parts of the file until there is "
            "room on the disk for a second one: make room and open the store again", path,
        )  # fmt: skip
        return False
    return True


def _truncate_log(connection: sqlite3.Connection, seconds: float) -> bool:
    """Moves the log into the file and cuts it to nothing; returns False if somebody reads for too long."""
    deadline = time.monotonic() + seconds
    (patience,) = connection.execute("PRAGMA busy_timeout").fetchall()[0]
    connection.execute(f"PRAGMA busy_timeout = {1000 * min(_TRY_SECONDS, seconds):.0f}")
    try:
        while True:
            try:
                ((is_busy, *_),) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                    raise
                is_busy = True
            if not is_busy or time.monotonic() >= deadline:
                return not is_busy
            time.sleep(_PAUSE_SECONDS)
    finally:
        connection.execute(f"PRAGMA busy_timeout = {patience}")
