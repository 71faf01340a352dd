"""`python -m gradejax.data export`: drawings to NDJSON."""

import logging
import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO

from gradejax.data import ndjson
from gradejax.errors import UserError
from gradejax.progress import progress, track
from gradejax.stores import Query, Store, open_store

log = logging.getLogger(__name__)

_MOST_REASONS = 20


def export_drawings(uri: str, name: str, tags: tuple[str, ...]) -> None:
    """Writes drawings, excluded ones too, as NDJSON that import reads back unchanged.

    Args:
        uri: the store's address.
        name: the file, replaced only once it is complete; `-` is standard output.
        tags: only drawings with one of these; empty for all.
    """
    if not name:
        raise UserError("export to which file? Its name is empty; - is standard output")
    query = Query(tags=tags, deleted=None)
    refused: Counter[str] = Counter()
    with closing(open_store(uri)) as store:
        check_is_not_store(store, Path(name))
        total = store.count(query)
        if not total:
            raise UserError(f"no such drawings in {store.uri}: python -m gradejax.data stats lists its tags")
        drawings = store.find(query, refused=lambda _, reason: refused.update([str(reason)]))
        try:
            with _complete_file(name) as file, progress("exporting", total, log) as update:
                n = ndjson.write(file, track(drawings, update))
                log_omitted(refused)
                if not n:
                    raise UserError(f"nothing was exported: all {refused.total():,} documents are invalid")
        except BrokenPipeError:
            raise
        except OSError as error:
            raise UserError(f"{name} cannot be written: {error.strerror}") from error
    log.info("exported %d", n)


def log_omitted(refused: Counter[str]) -> None:
    """Logs how many documents were left out, by reason."""
    for reason, n in refused.most_common(_MOST_REASONS):
        log.warning("left out %d invalid documents: %s", n, reason)


def check_is_not_store(store: Store, path: Path) -> None:
    """Raises UserError if `path` is one of the store's own files."""
    own = store.uri.removeprefix("sqlite:///")
    if own != store.uri and any(path.resolve() == Path(own + suffix).resolve() for suffix in ("", "-wal", "-shm")):
        raise UserError(f"{path} is the store itself: name another file")


@contextmanager
def _complete_file(name: str) -> Iterator[IO[bytes]]:
    """Yields a file to write to, which appears under its name once it is complete; `-` is standard output."""
    path = Path(name)
    if name == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    elif path.exists() and not path.is_file():  # a pipe or device; for a folder, open() raises the right error
        with path.open("wb") as file:
            yield file
    else:
        path = path.resolve()
        unfinished = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            with unfinished.open("xb") as file:
                yield file
                if path.exists():
                    os.fchmod(file.fileno(), path.stat().st_mode & 0o777)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
