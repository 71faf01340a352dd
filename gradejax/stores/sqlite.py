"""Drawings in one SQLite file: nothing to install, and safe to use from several threads and programs at once."""

import json
import threading
from array import array
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

from gradejax.drawings import Drawing, checked_label, checked_tags, from_document, utc_milliseconds
from gradejax.errors import BadDrawing, StoreError
from gradejax.stores import sqlite_schema
from gradejax.stores.sqlite_file import SqliteFile
from gradejax.stores.store import IN_USE, Query, checked_id, retagged, tag_set, valid_drawings

_DELETED = {False: "deleted IS NULL", True: "deleted IS NOT NULL", None: "TRUE"}
_COLUMNS = "seq, id, label, date, writer, deleted, tags, history, strokes, png"
_INSERT = """
INSERT INTO drawing (id, label, date, writer, deleted, tags, history, strokes, png)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING
"""
_PAGE = 100  # drawings read at a time
_NUMBERS = 50_000  # row numbers looked up at a time
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_Row = tuple[Any, ...]


class SqliteStore:
    """A `Store` in one SQLite file at `sqlite://` + `address`; see `open_store`."""

    def __init__(self, address: str) -> None:
        self.uri = f"sqlite://{address}"
        if not address.startswith("/") or address == "/" or "\0" in address:
            raise StoreError(f"{self.uri} names no file: write sqlite:///relative.db or sqlite:////absolute.db")
        self._path = Path(address[1:])
        self._writing = threading.Lock()
        # Batches of rows that wait to be written, each with a future of how many were new.
        self._waiting: deque[tuple[list[_Row], Future[int]]] = deque()
        self.file = SqliteFile(
            self._path, lambda connection, writable: sqlite_schema.prepare(connection, self._path, writable)
        )
        self._connection = self.file.connection

    def add(self, drawings: Iterable[Drawing]) -> int:
        # A commit costs a wait for the disk. Batches that arrive during one wait for the lock, and the first thread to
        # get it writes all of them in one transaction.
        added: Future[int] = Future()
        self._waiting.append(([_row(drawing) for drawing in drawings], added))
        with self._writing:
            if not added.done():
                self._write_waiting()
        return added.result()

    def get(self, id: str) -> Drawing | None:
        with self._connection() as connection:
            row = connection.execute(f"SELECT {_COLUMNS} FROM drawing WHERE id = ?", (checked_id(id),)).fetchone()
        return None if row is None else from_document(_document(row))

    def get_many(self, ids: Sequence[str], *, pictures: bool = True) -> dict[str, Drawing]:
        statement = f"SELECT {_columns(pictures)} FROM drawing WHERE id IN (SELECT value FROM json_each(?))"
        by_id = {}
        for start in range(0, len(ids), _PAGE):
            page = json.dumps([checked_id(id) for id in ids[start : start + _PAGE]])
            with self._connection() as connection:
                rows = connection.execute(statement, (page,)).fetchall()
            by_id |= {drawing.id: drawing for drawing in valid_drawings(map(_document, rows), None, pictures)}
        return {id: by_id[id] for id in ids if id in by_id}

    def find(
        self,
        query: Query = IN_USE,
        *,
        newest_first: bool = False,
        after: str | None = None,
        limit: int | None = None,
        pictures: bool = True,
        strokes: bool = True,
        refused: Callable[[str, BadDrawing], None] | None = None,
    ) -> Iterator[Drawing]:
        order, batch_size = "DESC" if newest_first else "ASC", min(limit or _NUMBERS, _NUMBERS)
        rows = self._rows(_columns(pictures, strokes), query, order, after, batch_size)
        return islice(valid_drawings(map(_document, rows), refused, pictures), limit)

    def count(self, query: Query = IN_USE) -> int:
        selection, values = _selection(query)
        with self._connection() as connection:
            return connection.execute(f"SELECT count(*) FROM ({selection})", values).fetchone()[0]

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

    def retag(self, ids: Sequence[str], *, add: Sequence[str] = (), remove: Sequence[str] = ()) -> int:
        added = checked_tags(list(add)) if add else ()
        chosen = json.dumps([checked_id(id) for id in ids])
        changes = []
        with self._writing, self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            for seq, tags in connection.execute(
                "SELECT seq, tags FROM drawing WHERE id IN (SELECT value FROM json_each(?))", (chosen,)
            ):
                changed = retagged(_unpacked(tags), added, remove)
                if changed is not None:
                    changes.append((json.dumps(changed, ensure_ascii=False), seq))
            connection.executemany("UPDATE drawing SET tags = ? WHERE seq = ?", changes)
            connection.execute("COMMIT")
        return len(changes)

    def exclude(self, ids: Sequence[str]) -> int:
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
        self.file.close()

    def _write_waiting(self) -> None:
        batches = []
        try:
            while self._waiting:
                batches.append(self._waiting.popleft())
            with self._connection() as connection:
                connection.execute("BEGIN IMMEDIATE")
                counts = [connection.executemany(_INSERT, rows).rowcount for rows, _ in batches]
                connection.execute("COMMIT")
        except BaseException as error:
            for _, added in batches:
                added.set_exception(error)
        else:
            for (_, added), count in zip(batches, counts, strict=True):
                added.set_result(count)

    def _change(self, statement: str, values: list[_Row]) -> int:
        with self._writing, self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            changed = connection.executemany(statement, values).rowcount
            connection.execute("COMMIT")
        return changed

    def _rows(self, columns: str, query: Query, order: str, after: str | None, batch_size: int) -> Iterator[_Row]:
        """Yields the selected rows. Nothing stays open between two pages, because a reader may be slow."""
        page = (
            f"SELECT {columns} FROM drawing WHERE seq IN (SELECT value FROM json_each(?)) AND {_DELETED[query.deleted]}"
        )
        last = None if after is None else self._sequence_number(after)
        numbers = None
        while numbers is None or len(numbers) == batch_size:
            beyond = [] if last is None else [("seq > ?" if order == "ASC" else "seq < ?", last)]
            selection, values = _selection(query, beyond)
            with self._connection() as connection:
                cursor = connection.execute(f"{selection} ORDER BY seq {order} LIMIT ?", (*values, batch_size))
                numbers = array("q", (seq for (seq,) in cursor))
            for start in range(0, len(numbers), _PAGE):
                page_numbers = json.dumps(numbers[start : start + _PAGE].tolist())
                with self._connection() as connection:
                    rows = connection.execute(f"{page} ORDER BY seq {order}", (page_numbers,)).fetchall()
                yield from rows
            last = numbers[-1] if numbers else None

    def _sequence_number(self, id: str) -> int:
        with self._connection() as connection:
            row = connection.execute("SELECT seq FROM drawing WHERE id = ?", (checked_id(id),)).fetchone()
        if row is None:
            raise StoreError(f"{self._path} holds no drawing {id!r} to go on from")
        return row[0]


def _columns(pictures: bool, strokes: bool = True) -> str:
    read = f"{'strokes' if pictures and strokes else 'NULL'}, {'png' if pictures else 'NULL'}"
    return _COLUMNS.replace("strokes, png", read)


def _selection(query: Query, extra: Sequence[tuple[str, Any]] = ()) -> tuple[str, list[Any]]:
    """Returns a statement that selects the `seq` of each drawing in `query`, in any order, and its parameters."""
    conditions: list[tuple[Any, ...]] = [(_DELETED[query.deleted],), *extra]
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


def _row(drawing: Drawing) -> _Row:
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


def _document(row: _Row) -> dict[str, Any]:
    """Returns the document for `from_document`, with the PNG as bytes; accepts rows that other programs wrote."""
    _, id, label, date, writer, deleted, tags, history, strokes, png = row
    history = _unpacked(history)
    if isinstance(history, list):
        history = [
            {**entry, "date": _date(entry.get("date"))} if isinstance(entry, dict) else entry for entry in history
        ]
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
