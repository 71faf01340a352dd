"""How a query selects the rows of a SQLite store, and the indexes that let it do so without reading them.

A row is large and fills a page of the file, so that a million of them take seconds to look at. The indexes hold all
that a query asks of a row. They are partial, so that each yields the drawings in use, or the excluded ones, by their
`seq`, without sorting.
"""

import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from gradejax.drawings import utc_milliseconds
from gradejax.stores.store import Query

_IN_USE, _EXCLUDED = "deleted IS NULL", "deleted IS NOT NULL"
IS_DELETED = {False: _IN_USE, True: _EXCLUDED, None: "TRUE"}
"""The condition of a query's `deleted`."""
_LISTED = "drawing_listed"
_INDEXES = {
    _LISTED: f"(seq, label, writer, date) WHERE {_IN_USE}",
    "drawing_excluded": f"(seq, label, writer, date) WHERE {_EXCLUDED}",
    "drawing_labelled": f"(label, seq, date) WHERE {_IN_USE}",
    "drawing_writer": f"(writer) WHERE {_IN_USE}",
    "drawing_date": f"(date) WHERE {_IN_USE}",
    "drawing_summary": f"(tags, label) WHERE {_IN_USE}",
}
_EARLIER = {"drawing_label", "drawing_aside"}
"""Indexes of earlier versions of gradejax, which work without them as well."""
_HAS_TAG = "seq IN (SELECT seq FROM tag WHERE tag = ?)"
_SHORT = timedelta(days=60)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_Condition = tuple[Any, ...]


def index(connection: sqlite3.Connection) -> None:
    """Creates the indexes that are missing, in a new store or one of an earlier version, and drops those replaced.

    Raises:
        sqlite3.Error: if that cannot be done; nothing has changed then.
    """
    existing = _index_names(connection)
    if existing >= _INDEXES.keys() and existing.isdisjoint(_EARLIER):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        for name, content in _INDEXES.items():
            connection.execute(f"CREATE INDEX IF NOT EXISTS {name} ON drawing {content}")
        for name in _EARLIER:
            connection.execute(f"DROP INDEX IF EXISTS {name}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def is_indexed(connection: sqlite3.Connection) -> bool:
    """Whether the indexes are there; they are not in a store of an earlier version that may only be read."""
    return _index_names(connection) >= _INDEXES.keys()


def selected(query: Query, extra: Sequence[tuple[str, Any]] = (), *, indexed: bool) -> tuple[str, list[Any]]:
    """Returns a statement that selects the `seq` of each drawing in `query`, in any order, and its parameters.

    Args:
        query: which drawings.
        extra: further conditions on `seq`, each with its parameter.
        indexed: what `is_indexed` says.
    """
    # Apart, because no partial index is used for both at once; SQLite merges what two indexes yield in order.
    parts = [False, True] if query.deleted is None else [query.deleted]
    selections = [_selected(query, extra, deleted=deleted, indexed=indexed) for deleted in parts]
    statement = " UNION ALL ".join(selection for selection, _ in selections)
    return statement, [value for _, values in selections for value in values]


def milliseconds(date: datetime) -> int:
    """Returns a time as it is stored."""
    return (utc_milliseconds(date) - EPOCH) // timedelta(milliseconds=1)


def _selected(query: Query, extra: Sequence[_Condition], *, deleted: bool, indexed: bool) -> tuple[str, list[Any]]:
    of_row = [(IS_DELETED[deleted],), *_of_row(query)]
    tags = query.tags or ((query.with_tag,) if deleted and query.with_tag is not None else ())
    conditions = [*extra, *_of_tags(query)]
    if not tags:
        select = "SELECT seq FROM drawing"
        conditions += of_row
    else:
        select = "SELECT seq FROM tag" if len(tags) == 1 else "SELECT DISTINCT seq FROM tag"
        conditions.append((f"tag IN ({', '.join('?' * len(tags))})", *tags))
        if len(of_row) == 1 and not deleted:
            conditions.append((f"seq NOT IN (SELECT seq FROM drawing WHERE {_EXCLUDED})",))
        elif deleted or query.label is not None or query.writer is not None or _is_short(query):
            # As a rule these are few, and looked up among those with the tag.
            condition, values = _joined(of_row)
            conditions.append((f"seq IN (SELECT seq FROM drawing WHERE {condition})", *values))
        else:  # those with the tag may be fewer
            by = f"INDEXED BY {_LISTED}" if indexed else ""
            select += f" CROSS JOIN drawing {by} USING (seq)"
            conditions += of_row
    condition, values = _joined(conditions)
    return f"{select} WHERE {condition}", values


def _is_short(query: Query) -> bool:
    """Whether a query asks for the drawings of a few weeks at most."""
    if query.since is None or query.until is None:
        return False
    return utc_milliseconds(query.until) - utc_milliseconds(query.since) < _SHORT


def _joined(conditions: Sequence[_Condition]) -> tuple[str, list[Any]]:
    """All conditions in one, and their parameters."""
    values = [value for _, *values in conditions for value in values]
    return " AND ".join(condition for condition, *_ in conditions), values


def _of_row(query: Query) -> list[_Condition]:
    """What a query asks of a row's own columns, which are in the indexes."""
    conditions: list[_Condition] = []
    if query.label is not None:
        # With a plus SQLite looks up the writer instead, who has fewer drawings than a grade.
        conditions.append(("label = ?" if query.writer is None else "+label = ?", query.label))
    if query.writer is not None:
        conditions.append(("writer = ?", query.writer))
    if query.since is not None:
        conditions.append(("date >= ?", milliseconds(query.since)))
    if query.until is not None:
        conditions.append(("date < ?", milliseconds(query.until)))
    return conditions


def _of_tags(query: Query) -> list[_Condition]:
    conditions: list[_Condition] = []
    if query.with_tag is not None:
        conditions.append((_HAS_TAG, query.with_tag))
    if query.without_tag is not None:
        conditions.append((f"NOT {_HAS_TAG}", query.without_tag))
    return conditions


def _index_names(connection: sqlite3.Connection) -> set[str]:
    return {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'index'")}
