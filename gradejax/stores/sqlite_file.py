"""The file of a SQLite store: made, opened, watched, copied, and left whole.

What is written last lies in a log beside it, `grades.db-wal`, until SQLite brings it into `grades.db`: now and then,
and when the last program that has the store open closes it. When somebody moves, deletes or replaces these files,
SQLite goes on writing to what nobody finds (https://www.sqlite.org/howtocorrupt.html). So after each use they are
compared with those that were opened.

A store that may only be read is opened for each use. Where it has no log SQLite must take it for a file that never
changes, because it could not make the file that its locks need; whether it has changed is looked at after each use.
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

logger = logging.getLogger(__name__)

_BUSY_SECONDS = 30.0  # how long a write waits for another program's
_CLOSING_SECONDS = 1.0  # how long a program that ends waits for others that read
_LARGEST_LOG = 4 * 2**20  # bytes; a longer one is cut as soon as all of it is in the file
_PAGES = 1000  # copied at a time


class SqliteFile:
    """Connections to one SQLite file, for all threads of a program."""

    def __init__(self, path: Path, prepare: Callable[[sqlite3.Connection, bool], None]) -> None:
        """Opens the file. What is missing is made, the folder too, for its owner only.

        Args:
            path: an error names it as it is given.
            prepare: called once, with a connection and whether it may write.
        """
        self._path = path
        self._place = path.absolute()  # also when the program goes to another folder
        self._lock = threading.Lock()  # for all that follows
        self._idle: deque[sqlite3.Connection] = deque()
        self._in_use = 0
        # Open all the time: or another program could be the last to close, and remove the log.
        self._anchor: sqlite3.Connection | None = None
        try:
            if not self._place.exists():
                self._make()
            elif not self._place.is_file():
                raise StoreError(f"{path} is not a regular file: name one with --store=sqlite:///FILE")
            self._real = self._place.resolve()  # beside which SQLite puts the log
            self._file = _identity(self._place.stat())
            if not os.access(self._real, os.R_OK):
                raise StoreError(f"{path} may not be read by you: ask its owner, or name another with --store")
        except OSError as error:
            raise StoreError(f"cannot open {path}: {error.strerror}") from error
        self._writable = os.access(self._real, os.W_OK) and os.access(self._real.parent, os.W_OK | os.X_OK)
        if self._writable:
            with self._lock, self._errors():
                self._attach(lambda connection: prepare(connection, True))
        else:
            with self.connection() as connection:
                prepare(connection, False)

    @contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """A connection that no other thread uses meanwhile; one that met an error is not used again.

        Raises:
            StoreError: for what SQLite raises; and where the files are no longer those that were opened, although the
                work is done: who wrote something must not take it for saved.
        """
        with self._errors(), self._borrowed() if self._writable else self._opened_to_read() as connection:
            yield connection

    def copy_to(self, target: Path, announce: Callable[[int, int], None]) -> None:
        """Writes all that the store holds at this moment to the new file `target`; see `copy`."""
        with self.connection() as connection:
            copy(connection, target, announce)

    def damage(self) -> list[str]:
        """What SQLite itself finds wrong with the file, the first ten; empty where it is sound."""
        with self.connection() as connection:
            found = [" ".join(line.split()) for (line,) in connection.execute("PRAGMA integrity_check(10)")]
        return [] if found == ["ok"] else found

    def close(self) -> None:
        """Leaves one whole file behind; if another program has it open, that one does when it ends."""
        with self._lock:
            self._let_go()

    @contextmanager
    def _borrowed(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            if self._anchor is None and not self._in_use and _identity(_status(self._place)) == self._file:
                self._attach()
            connection = self._idle.pop() if self._idle else None
            self._in_use += 1
        whole = False
        try:
            self._check()  # before another file is opened: closing it would bring this one's log in there
            connection = connection or self._connect("mode=rw")
            self._check()
            yield connection
            self._check()
            whole = True
        finally:
            with self._lock:
                self._in_use -= 1
                if whole and self._anchor is not None:
                    self._idle.append(connection)
                elif connection is not None:
                    connection.close()

    @contextmanager
    def _opened_to_read(self) -> Iterator[sqlite3.Connection]:
        beside = [Path(f"{self._real}{end}") for end in ("-wal", "-journal")]
        unfinished = [file for file in beside if file.exists() and file.stat().st_size]
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

    def _connect(self, how: str) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"{self._place.as_uri()}?{how}",
            uri=True,
            timeout=_BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            # A commit is on the disk before it returns, also without a log: what was saved survives a power cut.
            connection.execute("PRAGMA synchronous = EXTRA")
            connection.execute("PRAGMA fullfsync = ON")
            connection.execute(f"PRAGMA journal_size_limit = {_LARGEST_LOG}")
            # Text that another program wrote wrongly spoils its own drawing only.
            connection.text_factory = lambda text: text.decode(errors="replace")
            _read(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _make(self) -> None:
        try:
            self._place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"cannot make the folder of {self._path}: {error.strerror}") from error
        # SQLite makes the file with this one's permissions, and with the file's own those that it puts beside it.
        with self._errors(), NamedTemporaryFile(dir=self._place.parent, prefix=".gradejax-") as private:
            sqlite3.connect(f"{self._place.as_uri()}?mode=rwc&modeof={quote(private.name)}", uri=True).close()

    def _attach(self, prepare: Callable[[sqlite3.Connection], None] = lambda connection: None) -> None:
        connection = self._connect("mode=rw")
        try:
            prepare(connection)
            _keep_a_log(connection)
            _read(connection)
            self._anchor, (self._files, self._size) = connection, self._seen()
        except BaseException:
            connection.close()
            raise

    def _check(self) -> None:
        """Raises StoreError unless the files are those that were opened; then lets go of those."""
        files, size = self._seen()
        if self._anchor is None or files != self._files:
            with self._lock:
                self._let_go()
            raise self._gone()
        if size < self._size:
            raise StoreAway(
                f"{self._path} was overwritten while in use: stop this program, then put there what it is to be"
            )
        self._size = size

    def _let_go(self) -> None:
        """Closes what nobody uses; those in use are closed after it. The last to be closed brings the log in."""
        anchor, self._anchor = self._anchor, None
        if anchor is None:
            return
        while self._idle:
            self._idle.pop().close()
        try:
            # Where another program has the file open SQLite would leave this to that one.
            anchor.execute(f"PRAGMA busy_timeout = {_CLOSING_SECONDS * 1000:.0f}")
            anchor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            logger.warning("%s: %s; what was saved last is in %s-wal: keep it beside", self._path, error, self._path)
        anchor.close()

    def _seen(self) -> tuple[list[tuple[int, int]], int]:
        """Which files are at the store's place now; and the size of the first, which with a log can only grow."""
        file, log, index = _status(self._place), _status(f"{self._real}-wal"), _status(f"{self._real}-shm")
        return [_identity(file), _identity(log), _identity(index)], file.st_size if log.st_ino else 0

    def _gone(self) -> StoreError:
        if _identity(_status(self._place)) == self._file:
            return StoreAway(f"{self._path}-wal or -shm was deleted or replaced while in use: try again")
        return StoreAway(
            f"{self._path} was moved, deleted or replaced while in use: put it back, or start this program again"
        )

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """SQLite's errors in one line that says what to do, where something can be done."""
        try:
            yield
        except sqlite3.Error as error:
            kind = getattr(error, "sqlite_errorcode", 0) & 0xFF  # without what makes it an extended code
            if kind == sqlite3.SQLITE_FULL:
                raise StoreFull(f"{self._path}: {error}") from error
            advice = {
                sqlite3.SQLITE_READONLY: ": make it and its folder writable, or name a copy with --store",
                sqlite3.SQLITE_CANTOPEN: ": may it be read here, and its folder?",
                sqlite3.SQLITE_CORRUPT: ": put a backup in its place (see docs/backup.md)",
            }.get(kind, "")
            raise StoreError(f"{self._path}: {error}{advice}") from error


def copy(source: sqlite3.Connection, target: Path, announce: Callable[[int, int], None]) -> None:
    """Writes all that `source` holds at this moment to a new file that only its owner may read.

    It is on the disk and sound when this returns. Others may write to the source meanwhile.

    Args:
        announce: called now and then with how many pages are written, and of how many.

    Raises:
        StoreError: where the disk is full, or what is copied is damaged.
        OSError: where there is such a file already, or none can be made.
    """
    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    with closing(sqlite3.connect(target.absolute().as_uri(), uri=True)) as copied:
        source.execute("BEGIN")
        try:
            # From here on the source is read as it is now, and is not begun again whenever somebody writes.
            _read(source)
            source.backup(copied, pages=_PAGES, progress=lambda _, left, total: announce(total - left, total))
            (found,) = copied.execute("PRAGMA quick_check(1)").fetchone()
        except sqlite3.Error as error:
            raise StoreError(f"cannot copy the store to {target}: {error}") from error
        finally:
            source.execute("COMMIT")
    if found != "ok":
        raise StoreError(f"the store is damaged, and not copied: {' '.join(found.split())}")


def _read(connection: sqlite3.Connection) -> None:
    """Reads something: before that SQLite has opened no log, and a transaction has not begun."""
    connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()


def _keep_a_log(connection: sqlite3.Connection) -> None:
    """Turns the write-ahead log on. On a file system that cannot have one, SQLite keeps its rollback journal."""
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:  # SQLite does not itself wait for another program here
        try:
            connection.execute("PRAGMA journal_mode = WAL").fetchone()
            return
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _status(path: str | Path) -> os.stat_result:
    """That of the file there; all zeros where there is none to be seen."""
    try:
        return os.stat(path)  # noqa: PTH116
    except OSError:
        return os.stat_result([0] * 10)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
