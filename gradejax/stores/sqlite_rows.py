"""A SQLite store's rows: how a drawing becomes one and is read from one, and how a query selects them."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from gradejax.drawings import Drawing, utc_milliseconds
from gradejax.stores.store import Query

IS_DELETED = {False: "deleted IS NULL", True: "deleted IS NOT NULL", None: "TRUE"}
"""The condition of a query's `deleted`."""
INSERT = """
INSERT INTO drawing (id, label, date, writer, deleted, tags, history, strokes, png)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING
"""
"""Adds what `packed` returns."""
_COLUMNS = "seq, id, label, date, writer, deleted, tags, history, strokes, png"
_HAS_TAG = "seq IN (SELECT seq FROM tag WHERE tag = ?)"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Row = tuple[Any, ...]


def columns(pictures: bool = True, strokes: bool = True) -> str:
    """Returns the columns to read for `document`; those that are not wanted are NULL."""
    read = f"{'strokes' if pictures and strokes else 'NULL'}, {'png' if pictures else 'NULL'}"
    return _COLUMNS.replace("strokes, png", read)


def selected(query: Query, extra: Sequence[tuple[str, Any]] = ()) -> tuple[str, list[Any]]:
    """Returns a statement that selects the `seq` of each drawing in `query`, in any order, and its parameters."""
    conditions: list[tuple[Any, ...]] = [(IS_DELETED[query.deleted],), *extra]
    if query.label is not None:
        conditions.append(("label = ?", query.label))
    if query.writer is not None:
        conditions.append(("writer = ?", query.writer))
    if query.since is not None:
        conditions.append(("date >= ?", _milliseconds(query.since)))
    if query.until is not None:
        conditions.append(("date < ?", _milliseconds(query.until)))
    if query.with_tag is not None:
        conditions.append((_HAS_TAG, query.with_tag))
    if query.without_tag is not None:
        conditions.append((f"NOT {_HAS_TAG}", query.without_tag))
    select = "SELECT seq FROM drawing"
    if query.tags:
        select = "SELECT DISTINCT seq FROM tag CROSS JOIN drawing USING (seq)"
        conditions.append((f"tag IN ({', '.join('?' * len(query.tags))})", *query.tags))
    where = " AND ".join(condition for condition, *_ in conditions)
    return f"{select} WHERE {where}", [value for _, *values in conditions for value in values]


def packed(drawing: Drawing) -> Row:
    """Returns the row of a drawing, without its `seq`."""
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


def document(row: Row) -> dict[str, Any]:
    """Returns the document for `from_document`, with the PNG as bytes; accepts rows that other programs wrote."""
    _, id, label, date, writer, deleted, tags, history, strokes, png = row
    history = unpacked(history)
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
        "tags": unpacked(tags),
        "history": history,
        "strokes": unpacked(strokes),
        "data": png,
    }


def unpacked(text: Any) -> Any:
    """Reads JSON; returns what is none as it is."""
    try:
        return json.loads(text) if isinstance(text, str) else text
    except (ValueError, RecursionError):
        return text


def now() -> int:
    """Returns the time as it is stored."""
    return _milliseconds(datetime.now(UTC))


def _milliseconds(date: datetime) -> int:
    return (utc_milliseconds(date) - _EPOCH) // timedelta(milliseconds=1)


def _date(milliseconds: Any) -> Any:
    try:
        return _EPOCH + timedelta(milliseconds=milliseconds) if isinstance(milliseconds, int) else milliseconds
    except OverflowError:
        return milliseconds
