"""Drawings in one SQLite file: nothing to install, and safe from several threads and programs at once."""

import json
import sqlite3
import threading
import time
from array import array
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

from gradejax.drawings import Drawing, checked_label, from_document, utc_milliseconds
from gradejax.errors import StoreError, StoreFull
from gradejax.stores import IN_USE, BadDrawing, Query, checked_id, readable, tag_set

SCHEMA_VERSION = 1
# Says in the file's header whose it is (https://www.sqlite.org/pragma.html#pragma_application_id).
_APPLICATION_ID = int.from_bytes(b"grad")
# The large columns come last: what precedes them is read without touching their pages. The tag table is an
# index of drawing.tags, and `state` a new random number after each change; triggers keep both, so that they
# are right whichever program writes.
_SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS drawing (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, -- the order of insertion
    id TEXT NOT NULL UNIQUE,
    label TEXT NOT NULL,
    date INTEGER NOT NULL,                 -- milliseconds since 1970, UTC
    writer TEXT,
    deleted INTEGER,                       -- milliseconds since 1970, UTC
    tags TEXT NOT NULL,                    -- JSON: ["a", "b"]
    history TEXT,                          -- JSON: [{{"label": "A+", "date": 1700000000000}}]
    strokes TEXT,                          -- JSON: [[{{"x": 1, "y": 2, "t": 0, "pressure": 0.5}}]]
    png BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS tag (tag TEXT NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (tag, seq)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS state (state BLOB NOT NULL);
INSERT INTO state SELECT randomblob(16) WHERE NOT EXISTS (SELECT 1 FROM state);
-- Partial, so that each gives the drawings in use by their seq, without sorting.
CREATE INDEX IF NOT EXISTS drawing_label ON drawing (label) WHERE deleted IS NULL;
CREATE INDEX IF NOT EXISTS drawing_writer ON drawing (writer) WHERE deleted IS NULL;
CREATE INDEX IF NOT EXISTS drawing_date ON drawing (date) WHERE deleted IS NULL;
CREATE INDEX IF NOT EXISTS drawing_summary ON drawing (tags, label) WHERE deleted IS NULL;
CREATE INDEX IF NOT EXISTS drawing_aside ON drawing (seq) WHERE deleted IS NOT NULL;
CREATE TRIGGER IF NOT EXISTS drawing_insert AFTER INSERT ON drawing BEGIN
    INSERT OR IGNORE INTO tag SELECT value, new.seq FROM json_each(new.tags);
    UPDATE state SET state = randomblob(16);
END;
CREATE TRIGGER IF NOT EXISTS drawing_delete AFTER DELETE ON drawing BEGIN
    DELETE FROM tag WHERE tag IN (SELECT value FROM json_each(old.tags)) AND seq = old.seq;
    UPDATE state SET state = randomblob(16);
END;
CREATE TRIGGER IF NOT EXISTS drawing_update AFTER UPDATE ON drawing BEGIN
    UPDATE state SET state = randomblob(16);
END;
CREATE TRIGGER IF NOT EXISTS drawing_tags AFTER UPDATE OF seq, tags ON drawing BEGIN
    DELETE FROM tag WHERE tag IN (SELECT value FROM json_each(old.tags)) AND seq = old.seq;
    INSERT OR IGNORE INTO tag SELECT value, new.seq FROM json_each(new.tags);
END;
PRAGMA application_id = {_APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
COMMIT;
"""
Migration = Callable[[sqlite3.Connection], None]
_MIGRATIONS: Sequence[Migration] = ()
"""From version 1 to 2, 2 to 3, …: each changes the tables inside the transaction it is called in."""
_ASIDE = {False: "deleted IS NULL", True: "deleted IS NOT NULL", None: "TRUE"}
_COLUMNS = "seq, id, label, date, writer, deleted, tags, history, strokes, png"
_INSERT = """
INSERT INTO drawing (id, label, date, writer, deleted, tags, history, strokes, png)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING
"""
_PAGE = 100  # drawings read at a time
_KEYS = 50_000  # row numbers looked up at a time
_BUSY_SECONDS = 30.0  # how long a write waits for another program's
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class SqliteStore:
    """A `Store` in one SQLite file at `sqlite://` + `address`; see `open_store`."""

    def __init__(self, address: str) -> None:
        self.uri = f"sqlite://{address}"
        if not address.startswith("/") or address == "/":
            raise StoreError(f"{self.uri} names no file: write sqlite:///relative.db or sqlite:////absolute.db")
        self._path = Path(address[1:])
        self._idle: deque[sqlite3.Connection] = deque()
        self._writing = threading.Lock()
        self._waiting: deque[tuple[list[tuple], Future[int]]] = deque()
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"cannot make the folder of {self._path}: {error.strerror}") from error
        with self._connection() as connection:
            self._prepare(connection)

    def add(self, drawings: Iterable[Drawing]) -> int:
        # What a commit costs is the wait for the disk. So those that come while one is written wait for the
        # lock, and whoever gets it first writes all of them in one transaction.
        written: Future[int] = Future()
        self._waiting.append(([_row(drawing) for drawing in drawings], written))
        with self._writing:
            if not written.done():
                self._write_waiting()
        return written.result()

    def get(self, id: str) -> Drawing | None:
        with self._connection() as connection:
            row = connection.execute(f"SELECT {_COLUMNS} FROM drawing WHERE id = ?", (checked_id(id),)).fetchone()
        return None if row is None else from_document(_document(row))

    def get_many(self, ids: Sequence[str], *, pictures: bool = True) -> dict[str, Drawing]:
        statement = f"SELECT {_columns(pictures)} FROM drawing WHERE id IN (SELECT value FROM json_each(?))"
        found = {}
        for start in range(0, len(ids), _PAGE):
            some = json.dumps([checked_id(id) for id in ids[start : start + _PAGE]])
            with self._connection() as connection:
                rows = connection.execute(statement, (some,)).fetchall()
            found |= {drawing.id: drawing for drawing in readable(map(_document, rows), None, pictures)}
        return {id: found[id] for id in ids if id in found}

    def find(
        self,
        query: Query = IN_USE,
        *,
        newest_first: bool = False,
        after: str | None = None,
        limit: int | None = None,
        pictures: bool = True,
        refused: Callable[[str, BadDrawing], None] | None = None,
    ) -> Iterator[Drawing]:
        order, at_once = "DESC" if newest_first else "ASC", min(limit or _KEYS, _KEYS)
        rows = self._rows(_columns(pictures), query, order, after, at_once)
        return islice(readable(map(_document, rows), refused, pictures), limit)

    def count(self, query: Query = IN_USE) -> int:
        keys, values = _keys(query)
        with self._connection() as connection:
            return connection.execute(f"SELECT count(*) FROM ({keys})", values).fetchone()[0]

    def summary(self) -> Counter[tuple[tuple[str, ...], str]]:
        with self._connection() as connection:
            rows = connection.execute(
                "SELECT tags, label, count(*) FROM drawing WHERE deleted IS NULL GROUP BY tags, label"
            ).fetchall()
        summary: Counter[tuple[tuple[str, ...], str]] = Counter()
        for tags, label, n in rows:
            summary[tag_set(_unpacked(tags)), label] += n
        return summary

    def relabel(self, ids: Sequence[str], label: str) -> int:
        entry = "json_object('label', label, 'date', ?)"
        return self._change(
            f"UPDATE drawing SET history = json_insert(coalesce(history, '[]'), '$[#]', {entry}), label = ?"
            " WHERE id = ? AND label <> ?",
            [(_now(), checked_label(label), checked_id(id), label) for id in ids],
        )

    def put_aside(self, ids: Sequence[str]) -> int:
        return self._change(
            "UPDATE drawing SET deleted = ? WHERE id = ? AND deleted IS NULL", [(_now(), checked_id(id)) for id in ids]
        )

    def restore(self, ids: Sequence[str]) -> int:
        return self._change(
            "UPDATE drawing SET deleted = NULL WHERE id = ? AND deleted IS NOT NULL", [(checked_id(id),) for id in ids]
        )

    def fingerprint(self, query: Query = IN_USE) -> str:
        with self._connection() as connection:
            (state,) = connection.execute("SELECT state FROM state").fetchone()
        return sha256(state + repr(query).encode()).hexdigest()[:16]

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """A connection that no other thread uses meanwhile; one that met an error is not used again."""
        connection = None
        try:
            try:
                connection = self._idle.pop()
            except IndexError:
                connection = self._connect()
            yield connection
        except BaseException as error:
            if connection is not None:
                connection.close()
            if isinstance(error, sqlite3.Error):
                full = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
                raise (StoreFull if full else StoreError)(f"{self._path}: {error}") from error
            raise
        self._idle.append(connection)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        # A commit is on the disk before it returns: what was saved survives a power cut.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA fullfsync = ON")
        # Text that another program wrote wrongly spoils its own drawing only.
        connection.text_factory = lambda text: text.decode(errors="replace")
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN")  # or another program could make the schema between two of these
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (owner,) = connection.execute("PRAGMA application_id").fetchone()
        (objects,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        connection.execute("COMMIT")
        if owner != _APPLICATION_ID and (version or objects):
            raise StoreError(f"{self._path} is a SQLite file of another program")
        if version > SCHEMA_VERSION:
            raise StoreError(
                f"{self._path} has schema version {version} and this gradejax knows {SCHEMA_VERSION}: update gradejax"
            )
        if version == 0:
            connection.executescript(_SCHEMA)
        elif version < SCHEMA_VERSION:
            migrate(connection, self._path, _MIGRATIONS)
        deadline = time.monotonic() + _BUSY_SECONDS
        while connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            # SQLite does not itself wait for another program here.
            try:
                connection.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def _write_waiting(self) -> None:
        batches = []
        try:
            while self._waiting:
                batches.append(self._waiting.popleft())
            with self._connection() as connection:
                connection.execute("BEGIN IMMEDIATE")
                added = [connection.executemany(_INSERT, rows).rowcount for rows, _ in batches]
                connection.execute("COMMIT")
        except BaseException as error:
            for _, written in batches:
                written.set_exception(error)
        else:
            for (_, written), n in zip(batches, added, strict=True):
                written.set_result(n)

    def _change(self, statement: str, values: list[tuple]) -> int:
        with self._writing, self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            changed = connection.executemany(statement, values).rowcount
            connection.execute("COMMIT")
        return changed

    def _rows(self, columns: str, query: Query, order: str, after: str | None, at_once: int) -> Iterator[tuple]:
        """The rows that `query` means. Nothing is held open between two pages, for a slow reader's sake."""
        aside = _ASIDE[query.deleted]
        page = f"SELECT {columns} FROM drawing WHERE seq IN (SELECT value FROM json_each(?)) AND {aside}"
        last = None if after is None else self._sequence_number(after)
        found = None
        while found is None or len(found) == at_once:
            behind = [] if last is None else [("seq > ?" if order == "ASC" else "seq < ?", last)]
            keys, values = _keys(query, behind)
            with self._connection() as connection:
                cursor = connection.execute(f"{keys} ORDER BY seq {order} LIMIT ?", (*values, at_once))
                found = array("q", (seq for (seq,) in cursor))
            for start in range(0, len(found), _PAGE):
                numbers = json.dumps(found[start : start + _PAGE].tolist())
                with self._connection() as connection:
                    rows = connection.execute(f"{page} ORDER BY seq {order}", (numbers,)).fetchall()
                yield from rows
            last = found[-1] if found else None

    def _sequence_number(self, id: str) -> int:
        with self._connection() as connection:
            row = connection.execute("SELECT seq FROM drawing WHERE id = ?", (checked_id(id),)).fetchone()
        if row is None:
            raise StoreError(f"{self._path} holds no drawing {id!r} to go on from")
        return row[0]


def migrate(connection: sqlite3.Connection, path: Path, migrations: Sequence[Migration]) -> None:
    """Brings a store to version `len(migrations) + 1`, all in one transaction, once whoever else opens it meanwhile.

    What it held before lies then in `grades.db.v1-backup` beside it, whole and on the disk before anything changes.

    Args:
        migrations: the first leads from version 1 to 2, and so on.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version <= len(migrations):
            backup = path.with_name(f"{path.name}.v{version}-backup")
            part = backup.with_name(f"{backup.name}.part")
            part.unlink(missing_ok=True)
            # By a connection of its own: BEGIN keeps others from writing, not from reading.
            with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(part)) as target:
                source.backup(target)
            part.replace(backup)
            for change in migrations[version - 1 :]:
                change(connection)
            connection.execute(f"PRAGMA user_version = {len(migrations) + 1}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _columns(pictures: bool) -> str:
    return _COLUMNS if pictures else _COLUMNS.replace("strokes, png", "NULL, NULL")


def _keys(query: Query, behind: Sequence[tuple[str, Any]] = ()) -> tuple[str, list[Any]]:
    """The statement that selects `seq` of what `query` means, without an order, and its parameters."""
    conditions = [(_ASIDE[query.deleted],), *behind]
    if query.label is not None:
        conditions.append(("label = ?", query.label))
    if query.writer is not None:
        conditions.append(("writer = ?", query.writer))
    if query.since is not None:
        conditions.append(("date >= ?", _milliseconds(query.since)))
    if query.until is not None:
        conditions.append(("date < ?", _milliseconds(query.until)))
    select = "SELECT seq FROM drawing"
    if query.tags:
        select = "SELECT DISTINCT seq FROM tag CROSS JOIN drawing USING (seq)"
        conditions.append((f"tag IN ({', '.join('?' * len(query.tags))})", *query.tags))
    where = " AND ".join(condition for condition, *_ in conditions)
    return f"{select} WHERE {where}", [value for _, *values in conditions for value in values]


def _row(drawing: Drawing) -> tuple:
    history = [{**entry, "date": _milliseconds(entry["date"])} for entry in drawing.history]
    return (
        drawing.id,
        drawing.label,
        _milliseconds(drawing.date),
        drawing.writer,
        None if drawing.deleted is None else _milliseconds(drawing.deleted),
        json.dumps(drawing.tags, ensure_ascii=False),
        json.dumps(history) if history else None,
        None if drawing.strokes is None else json.dumps(drawing.strokes, default=dict),
        drawing.png,
    )


def _document(row: tuple) -> dict[str, Any]:
    """The document that `from_document` checks, the PNG as bytes. Fits a row that another program wrote, too."""
    _, id, label, date, writer, deleted, tags, history, strokes, png = row
    history = _unpacked(history)
    if isinstance(history, list):
        history = [{**e, "date": _date(e.get("date"))} if isinstance(e, dict) else e for e in history]
    return {
        "_id": id,
        "label": label,
        "date": _date(date),
        "writer": writer,
        "deleted": _date(deleted),
        "tags": _unpacked(tags),
        "history": history,
        "strokes": _unpacked(strokes),
        "data": png,
    }


def _unpacked(text: Any) -> Any:
    try:
        return json.loads(text) if isinstance(text, str) else text
    except (ValueError, RecursionError):
        return text


def _now() -> int:
    return _milliseconds(datetime.now(UTC))


def _milliseconds(date: datetime) -> int:
    return (utc_milliseconds(date) - _EPOCH) // timedelta(milliseconds=1)


def _date(milliseconds: Any) -> Any:
    try:
        return _EPOCH + timedelta(milliseconds=milliseconds) if isinstance(milliseconds, int) else milliseconds
    except OverflowError:
        return milliseconds
