"""MongoDB's order of documents, so that a search can go on behind any of them: a comparison sees one type only."""

import math
from collections.abc import Iterable
from datetime import datetime
from types import NoneType
from typing import Any

from bson import (
    Binary,
    Code,
    DatetimeMS,
    DBRef,
    Decimal128,
    Int64,
    MaxKey,
    MinKey,
    ObjectId,
    Regex,
    Timestamp,
)

_NUMBERS = (int, Int64, float, Decimal128)
# What MongoDB calls each type and what pymongo reads it as, in BSON's order (https://www.mongodb.com/docs/manual/reference/
# bson-type-comparison-order/).
_TYPES: tuple[tuple[tuple[str, ...], tuple[type, ...]], ...] = (
    (("minKey",), (MinKey,)),
    (("null",), (NoneType,)),
    (("number",), _NUMBERS),
    (("string", "symbol"), (str,)),
    (("object",), (dict, DBRef)),
    (("array",), (list,)),
    (("binData",), (bytes, Binary)),
    (("objectId",), (ObjectId,)),
    (("bool",), (bool,)),
    (("date",), (datetime, DatetimeMS)),
    (("timestamp",), (Timestamp,)),
    (("regex",), (Regex,)),
    (("dbPointer", "javascript", "javascriptWithScope"), (Code,)),
    (("maxKey",), (MaxKey,)),
)
_NOT_IN_FERRETDB = frozenset({"minKey", "symbol", "dbPointer", "javascript", "javascriptWithScope", "maxKey"})


def behind(last: dict[str, Any], direction: int, *, ferretdb: bool) -> dict[str, Any]:
    """Matches what comes after `last`, and what was added in the same moment, also where `_id` has several types.

    Args:
        last: a document's `_id` and `added`.
        direction: 1 or -1.
    """
    if isinstance(last.get("added"), ObjectId):
        if direction == 1:
            return {"added": {"$gte": last["added"]}}
        return {"$or": [{"added": {"$lte": last["added"]}}, {"added": None}]}
    id = last.get("_id")
    kind = next(kind for kind, (_, types) in enumerate(_TYPES) if type(id) in types)
    later = [{"_id": {"$gt" if direction == 1 else "$lt": id}}]
    if type(id) in _NUMBERS and not ferretdb:
        # Nothing is greater or less than NaN, which comes before the other numbers. FerretDB has none.
        is_nan = str(id).lower() == "nan"
        if direction == 1 and is_nan:
            later.append({"_id": {"$gte": -math.inf, "$ne": math.nan}})
        elif direction == -1 and not is_nan:
            later.append({"_id": math.nan})
    if types := _names(_TYPES[kind + 1 :] if direction == 1 else _TYPES[:kind], ferretdb):
        later.append({"_id": {"$type": types}})
    if not is_strange(last):
        later = [{"added": None, **one} for one in later]
        if direction == 1:
            later.append({"added": {"$type": "objectId"}})
    return {"$or": later}


def strange(*, ferretdb: bool) -> dict[str, Any]:
    """Matches documents of which `is_strange` is true, and perhaps a few more."""
    others = [one for one in _TYPES if not {NoneType, ObjectId} & {*one[1]}]
    return {"added": {"$type": _names(others, ferretdb)}}


def is_strange(document: dict[str, Any]) -> bool:
    """Whether others keep something of their own in `added`."""
    return not isinstance(document.get("added"), ObjectId | None)


def identity(document: dict[str, Any]) -> tuple[type, Any]:
    id = document.get("_id")
    return type(id), id  # to Python 1 is True


def _names(among: Iterable[tuple[tuple[str, ...], tuple[type, ...]]], ferretdb: bool) -> list[str]:
    """The names of types that the server knows."""
    return [name for names, _ in among for name in names if not (ferretdb and name in _NOT_IN_FERRETDB)]
