"""Copying a SQLite store while others use it."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from gradejax.errors import StoreError

_PAGES = 1000  # copied at a time


def copy(source: sqlite3.Connection, target: Path, progress: Callable[[int, int], None]) -> None:
    """Writes the present content of `source` to a new file that only its owner may read.

    The copy is durable and checked when this returns. Others may write to the source meanwhile.

    Args:
        source: an open store.
        target: the file to create.
        progress: called now and then with the number of pages written and their total.

    Raises:
        StoreError: if the disk is full, or the store is damaged.
        OSError: if the file exists already or cannot be created.
    """
    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    with closing(sqlite3.connect(target.absolute().as_uri(), uri=True)) as copied:
        source.execute("BEGIN")
        try:
            # This starts the transaction: otherwise the copy would start again whenever somebody writes.
            source.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            source.backup(copied, pages=_PAGES, progress=lambda _, left, total: progress(total - left, total))
            (result,) = copied.execute("PRAGMA quick_check(1)").fetchone()
        except sqlite3.Error as error:
            raise StoreError(f"cannot copy the store to {target}: {error}") from error
        finally:
            source.execute("COMMIT")
    if result != "ok":
        raise StoreError(f"the store is damaged, and not copied: {' '.join(result.split())}")
