"""Drawings in one SQLite file: nothing to install, and safe to use from several threads and programs at once."""

import json
import threading
from array import array
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from hashlib import sha256
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path

from gradejax.drawings import Drawing, checked_label, checked_tags, from_document
from gradejax.errors import BadDrawing, StoreError
from gradejax.scales import Scale
from gradejax.stores import sqlite_erasing, sqlite_queries, sqlite_scale, sqlite_schema
from gradejax.stores.sqlite_file import SqliteFile
from gradejax.stores.sqlite_queries import IS_DELETED
from gradejax.stores.sqlite_rows import INSERT, Row, columns, document, now, packed
from gradejax.stores.store import IN_USE, Query, checked_id, from_json, labelled, retagged, tag_set, valid_drawings
from gradejax.traces import Trace

_PAGE = 100  # drawings read at a time
_NUMBERS = 50_000  # row numbers looked up at a time


class SqliteStore:
    """A `Store` in one SQLite file at `sqlite://` + `address`; see `open_store`."""

    def __init__(self, address: str) -> None:
        self.uri = f"sqlite://{address}"
        if not address.startswith("/") or address == "/" or "\0" in address:
            raise StoreError(f"{self.uri} names no file: write sqlite:///relative.db or sqlite:////absolute.db")
        self._path = Path(address[1:])
        self._writing = threading.Lock()
        # Batches of rows that wait to be written, each with a future of how many were new.
        self._waiting: deque[tuple[list[Row], Future[int]]] = deque()
        self.file = SqliteFile(
            self._path, lambda connection, writable: sqlite_schema.prepare(connection, self._path, writable)
        )
        self._connection = self.file.connection
        with self._connection() as connection:
            self._selected = partial(sqlite_queries.selected, indexed=sqlite_queries.is_indexed(connection))
        self._erasing = threading.Lock()
        self._is_erased = True  # whether no byte is left of what was erased here
        if self.file.writable:
            self._complete_erasure(seconds=0)
        self.scale = self._scale_now()

    def set_scale(self, scale: Scale) -> None:
        if scale != self._scale_now():
            with self._writing, self._connection() as connection:
                sqlite_scale.write(connection, scale)
            self.scale = scale

    def add(self, drawings: Iterable[Drawing]) -> int:
        # A commit costs a wait for the disk. Batches that arrive during one wait for the lock, and the first thread to
        # get it writes all of them in one transaction.
        added: Future[int] = Future()
        self._waiting.append((list(map(packed, labelled(drawings, self._scale_now()))), added))
        with self._writing:
            if not added.done():
                self._write_waiting()
        return added.result()

    def get(self, id: str) -> Drawing | None:
        with self._connection() as connection:
            row = connection.execute(f"SELECT {columns()} FROM drawing WHERE id = ?", (checked_id(id),)).fetchone()
            self.scale = sqlite_scale.read(connection)
        return None if row is None else from_document(document(row), scale=self.scale)

    def get_many(self, ids: Sequence[str], *, pictures: bool = True) -> dict[str, Drawing]:
        statement = f"SELECT {columns(pictures)} FROM drawing WHERE id IN (SELECT value FROM json_each(?))"
        by_id, scale = {}, self._scale_now()
        for start in range(0, len(ids), _PAGE):
            page = json.dumps([checked_id(id) for id in ids[start : start + _PAGE]])
            with self._connection() as connection:
                rows = connection.execute(statement, (page,)).fetchall()
            by_id |= {drawing.id: drawing for drawing in valid_drawings(map(document, rows), scale, None, pictures)}
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
        rows = self._rows(columns(pictures, strokes), query, order, after, batch_size)
        return islice(valid_drawings(map(document, rows), self._scale_now(), refused, pictures), limit)

    def count(self, query: Query = IN_USE) -> int:
        selection, values = self._selected(query)
        with self._connection() as connection:
            return connection.execute(f"SELECT count(*) FROM ({selection})", values).fetchone()[0]

    def summary(self) -> Counter[tuple[tuple[str, ...], str]]:
        with self._connection() as connection:
            self.scale = sqlite_scale.read(connection)
            rows = connection.execute(
                "SELECT tags, label, count(*) FROM drawing WHERE deleted IS NULL GROUP BY tags, label ORDER BY tags"
            ).fetchall()
        summary: Counter[tuple[tuple[str, ...], str]] = Counter()
        for tags, of_tags in groupby(rows, key=itemgetter(0)):
            names = tag_set(from_json(tags))
            for _, label, n in of_tags:
                summary[names, label] += n
        return summary

    def relabel(self, ids: Sequence[str], label: str) -> int:
        checked_label(label, self._scale_now())
        entry = "json_object('label', label, 'date', ?)"
        return self._change(
            f"UPDATE drawing SET history = json_insert(coalesce(history, '[]'), '$[#]', {entry}), label = ?"
            " WHERE id = ? AND label <> ?",
            [(now(), label, checked_id(id), label) for id in ids],
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
                changed = retagged(from_json(tags), added, remove)
                if changed is not None:
                    changes.append((json.dumps(changed, ensure_ascii=False), seq))
            connection.executemany("UPDATE drawing SET tags = ? WHERE seq = ?", changes)
            connection.execute("COMMIT")
        return len(changes)

    def exclude(self, ids: Sequence[str]) -> int:
        return self._change(
            "UPDATE drawing SET deleted = ? WHERE id = ? AND deleted IS NULL",
            [(now(), checked_id(id)) for id in ids],
        )

    def restore(self, ids: Sequence[str]) -> int:
        return self._change(
            "UPDATE drawing SET deleted = NULL WHERE id = ? AND deleted IS NOT NULL", [(checked_id(id),) for id in ids]
        )

    def erase(self, ids: Sequence[str]) -> int:
        chosen = [checked_id(id) for id in ids]
        with self._writing, self._connection() as connection:
            erased = sqlite_erasing.delete(connection, chosen)
        self._complete_erasure(sqlite_erasing.READER_SECONDS)
        return erased

    def remains(self) -> list[Trace]:
        return sqlite_erasing.remains(self._path, self._is_erased)

    def fingerprint(self, query: Query = IN_USE) -> str:
        with self._connection() as connection:
            (state,) = connection.execute("SELECT state FROM state").fetchone()
        return sha256(state + repr(query).encode()).hexdigest()[:16]

    def close(self) -> None:
        if not self._is_erased:
            with suppress(StoreError):
                self._complete_erasure(seconds=0)
        self.file.close()

    def _scale_now(self) -> Scale:
        with self._connection() as connection:
            self.scale = sqlite_scale.read(connection)
        return self.scale

    def _complete_erasure(self, seconds: float) -> None:
        # Those who erase at the same time share one rewriting of the file: the second one finds it done.
        with self._erasing, self._connection() as connection:
            self._is_erased = sqlite_erasing.complete(connection, self._path, seconds)

    def _write_waiting(self) -> None:
        batches = []
        try:
            while self._waiting:
                batches.append(self._waiting.popleft())
            with self._connection() as connection:
                connection.execute("BEGIN IMMEDIATE")
                counts = [connection.executemany(INSERT, rows).rowcount for rows, _ in batches]
                connection.execute("COMMIT")
        except BaseException as error:
            for _, added in batches:
                added.set_exception(error)
        else:
            for (_, added), count in zip(batches, counts, strict=True):
                added.set_result(count)

    def _change(self, statement: str, values: list[Row]) -> int:
        with self._writing, self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            changed = connection.executemany(statement, values).rowcount
            connection.execute("COMMIT")
        return changed

    def _rows(self, wanted: str, query: Query, order: str, after: str | None, batch_size: int) -> Iterator[Row]:
        """Yields the selected rows. Nothing stays open between two pages, because a reader may be slow."""
        in_page = f"seq IN (SELECT value FROM json_each(?)) AND {IS_DELETED[query.deleted]}"
        page = f"SELECT {wanted} FROM drawing WHERE {in_page}"
        last = None if after is None else self._sequence_number(after)
        numbers = None
        while numbers is None or len(numbers) == batch_size:
            beyond = [] if last is None else [("seq > ?" if order == "ASC" else "seq < ?", last)]
            selection, values = self._selected(query, beyond)
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
