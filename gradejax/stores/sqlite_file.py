"""The file of a SQLite store: created, opened, watched, copied, and left as one whole file.

The latest changes are in a log next to it, `grades.db-wal`, until SQLite moves them into `grades.db`: now and then, and
when the last program closes the store. If somebody moves, deletes or replaces these files, SQLite goes on writing to
files that nobody can open (https://www.sqlite.org/howtocorrupt.html). So after each use they are compared with those
that were opened.

A read-only store is opened for each use. If it has no log, SQLite must treat it as a file that never changes, because
it cannot create the file that its locks need; a change is detected after each use.
"""

import logging
import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from urllib.parse import quote

from gradejax.errors import StoreAway, StoreError, StoreFull
from gradejax.stores.sqlite_copy import copy
from gradejax.stores.sqlite_erasing import Erasures, erasures

log = logging.getLogger(__name__)

_BUSY_SECONDS = 30.0  # how long a write waits for another program's
_CLOSING_SECONDS = 1.0  # how long closing waits for programs that read
_LARGEST_LOG = 4 * 2**20  # bytes; a longer log is truncated once it has been moved into the file


class SqliteFile:
    """Connections to one SQLite file, for all threads of a program.

    Attributes:
        writable: whether the file may be changed.
    """

    def __init__(self, path: Path, prepare: Callable[[sqlite3.Connection, bool], None]) -> None:
        """Opens the file; a missing file or folder is created, for its owner only.

        Args:
            path: errors name it as given here.
            prepare: called once, with a connection and whether it may write.
        """
        self._path = path
        self._place = path.absolute()  # valid even if the program changes its working folder
        self._lock = threading.Lock()  # for what follows
        self._idle: deque[sqlite3.Connection] = deque()
        self._in_use = 0
        # Always open: otherwise another program could be the last to close, and remove the log.
        self._anchor: sqlite3.Connection | None = None
        self._erasures = Erasures()
        try:
            if not self._place.exists():
                self._create()
            elif not self._place.is_file():
                raise StoreError(f"{path} is not a regular file: name one with --store=sqlite:///FILE")
            self._real = self._place.resolve()  # SQLite puts the log next to this
            self._file = _identity(self._place.stat())
            if not os.access(self._real, os.R_OK):
                raise StoreError(f"you have no permission to read {path}: ask its owner, or name another with --store")
        except OSError as error:
            raise StoreError(f"cannot open {path}: {error.strerror}") from error
        self.writable = os.access(self._real, os.W_OK) and os.access(self._real.parent, os.W_OK | os.X_OK)
        if self.writable:
            with self._lock, self._errors():
                self._attach(lambda connection: prepare(connection, True))
        else:
            with self.connection() as connection:
                prepare(connection, False)

    @contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """Yields a connection that no other thread uses; after an error it is not used again.

        Raises:
            StoreError: for an error of SQLite. Also if the files are no longer those that were opened: then nothing
                written counts as saved.
        """
        with self._errors(), self._borrowed() if self.writable else self._opened_to_read() as connection:
            yield connection

    def copy_to(self, target: Path, progress: Callable[[int, int], None]) -> None:
        """Writes the store's present content to the new file `target`; see `copy`."""
        with self.connection() as connection:
            copy(connection, target, progress)

    def damage(self) -> list[str]:
        """Returns the first ten errors of SQLite's integrity check; empty if the file is sound."""
        with self.connection() as connection:
            lines = [" ".join(line.split()) for (line,) in connection.execute("PRAGMA integrity_check(10)")]
        return [] if lines == ["ok"] else lines

    def close(self) -> None:
        """Closes the file and merges the log into it, unless another program has it open and will do so."""
        with self._lock:
            self._release()

    @contextmanager
    def _borrowed(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            if self._anchor is None and not self._in_use and _identity(_status(self._place)) == self._file:
                self._attach()
            connection = self._idle.pop() if self._idle else None
            self._in_use += 1
        sound = False
        try:
            self._check()  # before opening: closing another file would merge this one's log into it
            connection = connection or self._connect("mode=rw")
            self._check()
            yield connection
            self._check()
            sound = True
        finally:
            with self._lock:
                self._in_use -= 1
                if connection is not None and sound and self._anchor is not None:
                    self._idle.append(connection)
                elif connection is not None:
                    connection.close()

    @contextmanager
    def _opened_to_read(self) -> Iterator[sqlite3.Connection]:
        logs = [Path(f"{self._real}{suffix}") for suffix in ("-wal", "-journal")]
        unfinished = [file for file in logs if file.exists() and file.stat().st_size]
        before = _status(self._place)
        try:
            connection = self._connect("mode=ro" if unfinished else "mode=ro&immutable=1")
        except sqlite3.OperationalError as error:
            if not unfinished:
                raise
            raise StoreError(
                f"{self._path} cannot be read without {unfinished[0]}, and with it only where SQLite may write:"
                " copy both to another folder and name the copy with --store"
            ) from error
        with closing(connection):
            yield connection
        after = _status(self._place)
        if _identity(after) != self._file:
            raise self._gone()
        if not unfinished and (after.st_mtime_ns, after.st_size) != (before.st_mtime_ns, before.st_size):
            raise StoreAway(f"{self._path} was written to while it was read: try again")

    def _connect(self, options: str) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"{self._place.as_uri()}?{options}",
            uri=True,
            timeout=_BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            # A commit is on the disk before it returns, even without a log, so it survives a power cut.
            connection.execute("PRAGMA synchronous = EXTRA")
            connection.execute("PRAGMA fullfsync = ON")
            connection.execute("PRAGMA secure_delete = ON")  # what is erased or changed is overwritten
            connection.execute(f"PRAGMA journal_size_limit = {_LARGEST_LOG}")
            # Malformed text from another program must spoil its own drawing only.
            connection.text_factory = lambda text: text.decode(errors="replace")
            _read(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _create(self) -> None:
        try:
            self._place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"cannot create the folder of {self._path}: {error.strerror}") from error
        # SQLite creates the file with the permissions of this one, and its logs with those of the file.
        with self._errors(), NamedTemporaryFile(dir=self._place.parent, prefix=".gradejax-") as private:
            sqlite3.connect(f"{self._place.as_uri()}?mode=rwc&modeof={quote(private.name)}", uri=True).close()

    def _attach(self, prepare: Callable[[sqlite3.Connection], None] = lambda connection: None) -> None:
        connection = self._connect("mode=rw")
        try:
            prepare(connection)
            _use_write_ahead_log(connection)
            _read(connection)
            self._anchor, (self._files, self._size) = connection, self._snapshot()
            self._erasures = erasures(connection)
        except BaseException:
            connection.close()
            raise

    def _check(self) -> None:
        """Raises StoreError, and closes the files, if they are no longer those that were opened."""
        # Before the snapshot, for another thread may see the file grow, or become shorter, right after it.
        with self._lock:
            known, size_known = self._erasures, self._size
        files, size = self._snapshot()
        if self._anchor is None or files != self._files:
            with self._lock:
                self._release()
            raise self._gone()
        if size < size_known and not self._has_erased(known, size):
            raise StoreAway(f"{self._path} was overwritten while in use: stop this program before you replace the file")
        with self._lock:
            if self._erasures is known:
                self._size = max(self._size, size)

    def _has_erased(self, known: Erasures, size: int) -> bool:
        """Whether the file is only `size` long because somebody has erased drawings since `known`; remembers both."""
        with self._lock:
            try:
                now = erasures(self._anchor) if self._anchor else known
            except sqlite3.Error:  # this is no store any more
                return False
            if now.completed <= known.completed and now.is_complete:
                return False
            self._erasures, self._size = now, size
            return True

    def _release(self) -> None:
        """Closes idle connections, and the others after use; the last one closed merges the log into the file."""
        anchor, self._anchor = self._anchor, None
        if anchor is None:
            return
        while self._idle:
            self._idle.pop().close()
        try:
            # While another program has the file open, SQLite itself would leave this to that one.
            anchor.execute(f"PRAGMA busy_timeout = {_CLOSING_SECONDS * 1000:.0f}")
            anchor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            log.warning(
                "%s: %s; the latest drawings are in %s-wal: keep it next to the file", self._path, error, self._path
            )
        anchor.close()

    def _snapshot(self) -> tuple[list[tuple[int, int]], int]:
        """Returns which files are in place now, and the size of the first, which can only grow if there is a log."""
        file, log, index = _status(self._place), _status(f"{self._real}-wal"), _status(f"{self._real}-shm")
        return [_identity(file), _identity(log), _identity(index)], file.st_size if log.st_ino else 0

    def _gone(self) -> StoreError:
        if _identity(_status(self._place)) == self._file:
            return StoreAway(f"{self._path}-wal or -shm was deleted or replaced while in use: try again")
        return StoreAway(
            f"{self._path} was moved, deleted or replaced while in use: put it back, or restart this program"
        )

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turns SQLite's exceptions into a StoreError of one line, with advice if there is any."""
        try:
            yield
        except sqlite3.Error as error:
            kind = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the primary part of an extended code
            if kind == sqlite3.SQLITE_FULL:
                raise StoreFull(f"{self._path}: {error}") from error
            advice = {
                sqlite3.SQLITE_READONLY: ": make it and its folder writable, or name a copy with --store",
                sqlite3.SQLITE_CANTOPEN: ": may it be read here, and its folder?",
                sqlite3.SQLITE_CORRUPT: ": put a backup in its place (see docs/backup.md)",
            }.get(kind, "")
            raise StoreError(f"{self._path}: {error}{advice}") from error


def _read(connection: sqlite3.Connection) -> None:
    """Reads something: only then does SQLite open the log and begin a transaction."""
    connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Turns on the write-ahead log. On a file system that does not support it, SQLite keeps its rollback journal."""
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:  # SQLite's own timeout does not apply here
        try:
            connection.execute("PRAGMA journal_mode = WAL").fetchone()
            return
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _status(path: str | Path) -> os.stat_result:
    """Returns the file's status, or all zeros if there is no file or it is not visible."""
    try:
        return os.stat(path)  # noqa: PTH116
    except OSError:
        return os.stat_result([0] * 10)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
