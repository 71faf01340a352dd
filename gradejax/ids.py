"""A document's `_id` as text, and back, because other programs use numbers or UUIDs as ids.

A number, a date or binary is written as canonical extended JSON, `{"$numberLong": "7"}`, which nobody chooses as
a name. A text that looks like that all the same is written as a JSON string, in quotes.
"""

import json
import math
from datetime import datetime
from typing import Any
from uuid import UUID

from bson import Binary, Decimal128, Int64, ObjectId, Timestamp, json_util
from bson.errors import BSONError

_CANONICAL = json_util.JSONOptions(json_mode=json_util.JSONMode.CANONICAL, tz_aware=True)
_MARKS = ('{"$', '"')
_MOST_CHARACTERS = 1000  # no id is longer


def to_text(value: Any) -> str | None:
    """Returns the text of an `_id` from a database or extended JSON; None if its type has none, such as a document."""
    if type(value) is str:
        return value if from_text(value) == value else json.dumps(value, ensure_ascii=False)
    if isinstance(value, ObjectId):
        return str(value)
    if isinstance(value, UUID):
        value = Binary.from_uuid(value)
    elif isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63:
        value = Int64(value)  # a number's width must not change its text
    return _dumps(value) if _is_scalar(value) else None


def from_text(text: str) -> Any:
    """Returns the `_id` that `to_text` writes as `text`, or `text` itself if there is none. ObjectIds stay text."""
    if not text.startswith(_MARKS) or len(text) > _MOST_CHARACTERS:
        return text
    try:
        value = json_util.loads(text, json_options=_CANONICAL)
    except (BSONError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError):
        return text  # json_util raises any of these
    if type(value) is str:
        return value if value.startswith(_MARKS) and to_text(value) == text else text
    return value if _is_scalar(value) and _dumps(value) == text else text


def _is_scalar(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, Decimal128):
        return value.to_decimal().is_finite()
    return isinstance(value, Int64 | bytes | datetime | Timestamp)


def _dumps(value: Any) -> str:
    return json_util.dumps(value, json_options=_CANONICAL)
