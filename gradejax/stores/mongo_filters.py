"""MongoDB's filters for queries and ids."""

from collections.abc import Iterable
from typing import Any

from bson import ObjectId

from gradejax.drawings import is_object_id, utc_milliseconds
from gradejax.ids import from_text
from gradejax.stores.store import Query, checked_id

IN_USE = {"$in": [None, False, 0]}
"""For the field `deleted`: drawings in use; None matches null and a missing field."""
EXCLUDED = {"$nin": IN_USE["$in"]}
"""For the field `deleted`: excluded drawings."""


def matching(query: Query) -> dict[str, Any]:
    """Returns MongoDB's filter for `query`. `$eq` takes its operand as a value, never as an operator."""
    conditions: dict[str, Any] = {}
    if query.deleted is not None:
        conditions["deleted"] = EXCLUDED if query.deleted else IN_USE
    if query.tags:
        conditions["tags"] = {"$in": list(query.tags)}
    one_tag = {"$eq": query.with_tag, "$ne": query.without_tag}
    if of_tag := [{"tags": {operator: tag}} for operator, tag in one_tag.items() if tag is not None]:
        conditions["$and"] = of_tag
    if query.label is not None:
        conditions["label"] = {"$eq": query.label}
    if query.writer is not None:
        conditions["writer"] = {"$eq": query.writer}
    bounds = {"$gte": query.since, "$lt": query.until}
    if dates := {operator: utc_milliseconds(date) for operator, date in bounds.items() if date is not None}:
        conditions["date"] = dates
    return conditions


def id_forms(id: str) -> list[Any]:
    """Returns the values `_id` may have for a drawing's id: another program may have written an ObjectId as text."""
    return [ObjectId(id), id] if is_object_id(checked_id(id)) else [from_text(id)]


def with_ids(ids: Iterable[str]) -> dict[str, Any]:
    return {"_id": {"$in": [form for id in ids for form in id_forms(id)]}}
