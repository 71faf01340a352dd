"""A SQLite store's rows: how a drawing becomes one and is read from one."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from gradejax.drawings import Drawing
from gradejax.stores.sqlite_queries import EPOCH, milliseconds
from gradejax.stores.store import from_json

INSERT = """
INSERT INTO drawing (id, label, date, writer, deleted, tags, history, strokes, png)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING
"""
"""Adds what `packed` returns."""
_COLUMNS = "seq, id, label, date, writer, deleted, tags, history, strokes, png"

Row = tuple[Any, ...]


def columns(pictures: bool = True, strokes: bool = True) -> str:
    """Returns the columns to read for `document`; those that are not wanted are NULL."""
    read = f"{'strokes' if pictures and strokes else 'NULL'}, {'png' if pictures else 'NULL'}"
    return _COLUMNS.replace("strokes, png", read)


def packed(drawing: Drawing) -> Row:
    """Returns the row of a drawing, without its `seq`."""
    history = [{**entry, "date": milliseconds(entry["date"])} for entry in drawing.history]
    return (
        drawing.id,
        drawing.label,
        milliseconds(drawing.date),
        drawing.writer,
        None if drawing.deleted is None else milliseconds(drawing.deleted),
        json.dumps(drawing.tags, ensure_ascii=False),
        json.dumps(history) if history else None,
        None if drawing.strokes is None else json.dumps(drawing.strokes, default=dict),
        drawing.png,
    )


def document(row: Row) -> dict[str, Any]:
    """Returns the document for `from_document`, with the PNG as bytes; accepts rows that other programs wrote."""
    _, id, label, date, writer, deleted, tags, history, strokes, png = row
    history = from_json(history)
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
        "tags": from_json(tags),
        "history": history,
        "strokes": from_json(strokes),
        "data": png,
    }


def now() -> int:
    """Returns the time as it is stored."""
    return milliseconds(datetime.now(UTC))


def _date(milliseconds: Any) -> Any:
    try:
        return EPOCH + timedelta(milliseconds=milliseconds) if isinstance(milliseconds, int) else milliseconds
    except OverflowError:
        return milliseconds
