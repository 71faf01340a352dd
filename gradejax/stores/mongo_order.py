"""MongoDB's order of documents, so that a search can resume after any of them.

An `_id` may be of several types in one collection, and a comparison matches values of its own type only. So the
documents after one are those with a greater `_id` of the same type, and all with a later type in BSON's order.
"""

import math
from collections.abc import Iterable, Mapping
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
# MongoDB's name of each type and the Python types that pymongo reads it as, in BSON's order
# (https://www.mongodb.com/docs/manual/reference/bson-type-comparison-order/).
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


def following(last: Mapping[str, Any], direction: int, *, ferretdb: bool) -> dict[str, Any]:
    """Returns a filter for the documents after `last`, including those with the same `added`.

    Args:
        last: a document's `_id` and `added`.
        direction: 1 or -1.
        ferretdb: whether the server is FerretDB, which knows fewer types.
    """
    if isinstance(last.get("added"), ObjectId):
        if direction == 1:
            return {"added": {"$gte": last["added"]}}
        return {"$or": [{"added": {"$lte": last["added"]}}, {"added": None}]}
    id = last.get("_id")
    rank = next(rank for rank, (_, types) in enumerate(_TYPES) if type(id) in types)
    conditions: list[dict[str, Any]] = [{"_id": {"$gt" if direction == 1 else "$lt": id}}]
    if type(id) in _NUMBERS and not ferretdb:
        # Nothing is greater or less than NaN, which sorts before the other numbers. FerretDB cannot hold it.
        is_nan = str(id).lower() == "nan"
        if direction == 1 and is_nan:
            conditions.append({"_id": {"$gte": -math.inf, "$ne": math.nan}})
        elif direction == -1 and not is_nan:
            conditions.append({"_id": math.nan})
    if names := _names(_TYPES[rank + 1 :] if direction == 1 else _TYPES[:rank], ferretdb):
        conditions.append({"_id": {"$type": names}})
    if not is_strange(last):
        conditions = [{"added": None, **condition} for condition in conditions]
        if direction == 1:
            conditions.append({"added": {"$type": "objectId"}})
    return {"$or": conditions}


def strange(*, ferretdb: bool) -> dict[str, Any]:
    """Returns a filter for the documents that `is_strange` accepts, and perhaps a few more."""
    types = [entry for entry in _TYPES if not {NoneType, ObjectId} & {*entry[1]}]
    return {"added": {"$type": _names(types, ferretdb)}}


def is_strange(document: Mapping[str, Any]) -> bool:
    """Whether another program keeps something of its own in `added`."""
    return not isinstance(document.get("added"), ObjectId | None)


def identity(document: Mapping[str, Any]) -> tuple[type, Any]:
    """Returns `_id` with its type, because 1 == True in Python."""
    id = document.get("_id")
    return type(id), id


def _names(types: Iterable[tuple[tuple[str, ...], tuple[type, ...]]], ferretdb: bool) -> list[str]:
    return [name for names, _ in types for name in names if not (ferretdb and name in _NOT_IN_FERRETDB)]
