"""`python -m gradejax.data backup`: a whole store in one new file."""

import logging
import os
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path

from gradejax.data import ndjson
from gradejax.data.exporting import log_omitted
from gradejax.errors import UserError
from gradejax.progress import progress, track
from gradejax.stores import Query, Store, open_store
from gradejax.stores.sqlite import SqliteStore

log = logging.getLogger(__name__)

_EVERYTHING = Query(deleted=None)


def back_up(uri: str, name: str) -> None:
    """Copies a store while others may use it: SQLite to another SQLite file, MongoDB to NDJSON for import.

    Args:
        uri: the store's address.
        name: the file, which must not exist; only its owner may read it.
    """
    path = Path(name)
    if os.path.lexists(path):
        raise UserError(f"{name} already exists, and a backup replaces nothing: name another file")
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    refused: Counter[str] = Counter()
    with closing(open_store(uri)) as store:
        try:
            n = _copy_file(store, unfinished) if isinstance(store, SqliteStore) else _dump(store, unfinished, refused)
            if not n:
                raise UserError(f"there are no drawings in {store.uri}: nothing to back up")
            unfinished.rename(path)
        except OSError as error:
            raise UserError(f"{name} cannot be written: {error.strerror}") from error
        finally:
            with suppress(OSError):
                unfinished.unlink()
    log_omitted(refused)
    print(f"{n} drawings backed up to {name}")


def _copy_file(store: SqliteStore, path: Path) -> int:
    with progress("copying", None, log) as update:

        def copied(done: int, total: int) -> None:
            update(completed=done, total=total, description="copying" if done < total else "checking the copy")

        store.file.copy_to(path, copied)
    with closing(open_store(f"sqlite:///{path}")) as copy:
        return copy.count(_EVERYTHING)


def _dump(store: Store, path: Path, refused: Counter[str]) -> int:
    total = store.count(_EVERYTHING)
    drawings = store.find(_EVERYTHING, refused=lambda _, reason: refused.update([str(reason)]))
    with (
        open(path, "xb", opener=lambda file, flags: os.open(file, flags, 0o600)) as file,
        progress("copying", total, log) as update,
    ):
        n = ndjson.write(file, track(drawings, update))
        file.flush()
        os.fsync(file.fileno())
    return n
