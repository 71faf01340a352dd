"""One drawing as a document, validated field by field."""

import base64
import binascii
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

from bson import ObjectId

from gradejax import ids
from gradejax.errors import BadDrawing
from gradejax.png import MAX_PNG_BYTES, stripped_png
from gradejax.scales import LETTERS, Scale, with_label

MAX_TAGS = 32
MAX_NAME_LENGTH = 200
"""Characters in an id, a tag or a writer's name. The pages have the same rule: `static/drawings.js`."""
_NOT_IN_NAMES = {"Cc", "Cs", "Zl", "Zp"}  # controls, lone surrogates, line and paragraph separators

MAX_POINTS = 50_000
"""In all strokes together: with the largest PNG they fit into MongoDB's 16 MB a document."""

_DATA_URL = re.compile(r"data:(?P<type>[^;,]{0,200})(;[^;,]{0,200}){0,9}?;\s*base64\s*,", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Drawing:
    """One drawing. `from_document` makes it from untrusted input.

    Attributes:
        id: 24 hex digits (an ObjectId in MongoDB), or another string of at most 200 characters; `ids` writes numbers,
            UUIDs and dates as text.
        tags: names of teams, classes or sessions; at least one.
        label: a grade of the store's scale, or `no grade` for a drawing that deliberately shows none.
        png: the picture, a PNG file.
        date: when it was drawn; UTC, to the millisecond (MongoDB's precision).
        writer: an anonymous id of the person who drew it.
        strokes: the pen's path: per stroke a sequence of `{x, y, t, pressure}`.
        history: earlier labels, oldest first, each `{label, date}`.
        deleted: when it was excluded, if it was; such a drawing is never trained on and never lost.
    """

    id: str
    tags: tuple[str, ...]
    label: str
    png: bytes
    date: datetime
    writer: str | None = None
    strokes: Sequence[Sequence[Mapping[str, float]]] | None = None
    history: Sequence[Mapping[str, Any]] = ()
    deleted: datetime | None = None


def new_id() -> str:
    """Returns a unique id: 24 hex digits that increase with time."""
    return str(ObjectId())


def printable(text: str) -> str:
    """Escapes control characters and line ends in text that people wrote, so that it prints as one line."""
    return "".join(ascii(c)[1:-1] if unicodedata.category(c) in _NOT_IN_NAMES else c for c in text)


def utc_milliseconds(date: datetime) -> datetime:
    """Converts to UTC (a naive date is taken as UTC), truncated to milliseconds, which both stores keep exactly."""
    date = date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)
    return date.replace(microsecond=date.microsecond // 1000 * 1000)


def from_document(document: Any, *, scale: Scale = LETTERS, pictures: bool = True) -> Drawing:
    """Validates a document and returns its drawing.

    The PNG is examined down to its chunks' checksums; only `decode_ink` reads the pixels.

    Args:
        document: the fields of `Drawing`, with `_id` for `id` and the PNG in `data`, as base64 or bytes. Unknown fields
            are ignored, and a missing `_id` is replaced by a new one. A stroke may also be `{points: […]}`, as
            earlier versions stored it in FerretDB. `deleted` may be a flag instead of a date: false and 0 mean in use,
            true and 1 mean excluded since the day it was drawn.
        scale: the label is a grade of it, or `no grade`.
        pictures: False for a document without `data` and `strokes`; `png` is then empty.

    Raises:
        BadDrawing: with the reason: `no tags`, `unknown label 'X'`, `not base64`, `not a PNG`,
            `image of 50000 x 50000 pixels; each side must be from 1 to 4096`, …
    """
    if not isinstance(document, Mapping):
        raise BadDrawing("not a document")
    strokes = document.get("strokes")
    writer = document.get("writer")
    return Drawing(
        id=_checked_id(document.get("_id")),
        tags=checked_tags(document.get("tags")),
        label=checked_label(document.get("label"), scale),
        png=_checked_png(document.get("data")) if pictures else b"",
        date=_checked_date(document.get("date"), "date"),
        writer=None if writer is None else _checked_name(writer, "writer"),
        strokes=None if strokes is None else _checked_strokes(strokes),
        history=_checked_history(document.get("history")),
        deleted=_checked_deleted(document.get("deleted"), document["date"]),
    )


def to_document(drawing: Drawing) -> dict[str, Any]:
    """Returns the document of a drawing, for `from_document`, without empty optional fields."""
    document: dict[str, Any] = {
        "_id": stored_id(drawing.id),
        "tags": list(drawing.tags),
        "label": drawing.label,
        "data": base64.b64encode(drawing.png).decode("ascii"),
        "date": drawing.date,
    }
    if drawing.writer is not None:
        document["writer"] = drawing.writer
    if drawing.strokes is not None:
        document["strokes"] = [[dict(point) for point in stroke] for stroke in drawing.strokes]
    if drawing.history:
        document["history"] = [dict(entry) for entry in drawing.history]
    if drawing.deleted is not None:
        document["deleted"] = drawing.deleted
    return document


def stored_id(id: str) -> Any:
    """The `_id` that a document has in MongoDB and in NDJSON, of a drawing's id."""
    return ObjectId(id) if is_object_id(id) else ids.from_text(id)


def is_object_id(text: str) -> bool:
    """Whether `text` is an ObjectId's: 24 lower-case hex digits."""
    return len(text) == 24 and not set(text) - set("0123456789abcdef")


def _checked_id(value: Any) -> str:
    if value is None:
        return new_id()
    if type(value) is not str:
        value = ids.to_text(value)
        if value is None:
            raise BadDrawing("_id is not text, a number, a date or binary")
    return _checked_name(value, "_id")


def _checked_name(value: Any, field: str) -> str:
    if type(value) is not str:  # bson's Code is a subclass of str
        raise BadDrawing(f"{field} is not text")
    if value.isascii() and value.isprintable() and value.strip() and len(value) <= MAX_NAME_LENGTH:
        return value  # nearly every name; what follows takes ten times as long
    kinds = set(map(unicodedata.category, value[: MAX_NAME_LENGTH + 1]))
    invisible = all(kind in ("Cc", "Cf") or kind.startswith("Z") for kind in kinds)
    if len(value) > MAX_NAME_LENGTH or kinds & _NOT_IN_NAMES or invisible:
        raise BadDrawing(f"{field} is not 1 to {MAX_NAME_LENGTH} printable characters")
    return value


def checked_tags(value: Any) -> tuple[str, ...]:
    """Returns a document's tags; raises BadDrawing if there are none, too many, or one is not a name."""
    if value is None or value == []:
        raise BadDrawing("no tags")
    if not isinstance(value, list | tuple):
        raise BadDrawing("tags are not a list")
    if len(value) > MAX_TAGS:
        raise BadDrawing(f"more than {MAX_TAGS} tags")
    return tuple(dict.fromkeys(_checked_name(tag, "a tag") for tag in value))


def checked_label(value: Any, scale: Scale = LETTERS) -> str:
    """Returns `value` if it is a grade of a scale or `no grade`; else raises BadDrawing, which names other scales."""
    if value is None:
        raise BadDrawing("no label")
    if type(value) is str and value in scale.all_labels:
        return value
    scales = with_label(value) if type(value) is str else []
    raise BadDrawing(f"unknown label {str(value)[:20]!r}" + (f", a grade of {', '.join(scales)}" if scales else ""))


def _checked_png(value: Any) -> bytes:
    if value is None:
        raise BadDrawing("no data")
    if not isinstance(value, str | bytes):
        raise BadDrawing("data is not text")
    if len(value) > (MAX_PNG_BYTES if isinstance(value, bytes) else MAX_PNG_BYTES * 3 // 2):
        raise BadDrawing(f"image of more than {MAX_PNG_BYTES // 2**20} MB")
    png = bytes(value) if isinstance(value, bytes) else png_from_base64(value)
    if len(png) > MAX_PNG_BYTES:
        raise BadDrawing(f"image of more than {MAX_PNG_BYTES // 2**20} MB")
    stripped_png(png)
    return png


def png_from_base64(text: str) -> bytes:
    """Decodes base64: with or without padding and line breaks, in the URL alphabet too, after `data:image/png;base64,`.

    Raises:
        BadDrawing: if it is not base64, or a data URL of another type.
    """
    if text[:5].lower() == "data:":
        url = _DATA_URL.match(text)
        if url is None:
            raise BadDrawing("a data URL that is not base64")
        if url["type"].lower() != "image/png":
            raise BadDrawing(f"a picture of type {url['type'][:40]!r}, not a PNG")
        text = unquote(text[url.end() :])
    text = "".join(text.split()).rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise BadDrawing("not base64") from None


def _checked_date(value: Any, field: str) -> datetime:
    if not isinstance(value, datetime):
        raise BadDrawing(f"no {field}" if value is None else f"{field} is not a date")
    try:
        return utc_milliseconds(value)
    except OverflowError:
        raise BadDrawing(f"{field} is out of range") from None


def _checked_deleted(value: Any, drawn: datetime) -> datetime | None:
    if isinstance(value, bool | int | float) and value in (0, 1):
        value = drawn if value else None  # nobody knows when it was excluded
    return None if value is None else _checked_date(value, "deleted")


def _checked_strokes(value: Any) -> list[list[dict[str, float]]]:
    if not isinstance(value, list | tuple):
        raise BadDrawing("strokes are not a list")
    # FerretDB cannot nest lists; earlier versions stored {points: […]} there.
    strokes: list[Any] = [stroke.get("points") if isinstance(stroke, Mapping) else stroke for stroke in value]
    if not all(isinstance(stroke, list | tuple) for stroke in strokes):
        raise BadDrawing("a stroke is not a list of points")
    if sum(map(len, strokes)) > MAX_POINTS:
        raise BadDrawing(f"strokes of more than {MAX_POINTS} points")
    return [[_checked_point(point) for point in stroke] for stroke in strokes]


def _checked_point(value: Any) -> dict[str, float]:
    if not isinstance(value, Mapping) or not {"x", "y"} <= value.keys() <= {"x", "y", "t", "pressure"}:
        raise BadDrawing("a stroke's point is not {x, y, t, pressure}")
    point = {}
    for axis, v in value.items():
        # Below 1e15, and so neither infinite nor NaN: every store and JSON keep such numbers exactly.
        if isinstance(v, bool) or not isinstance(v, (int, float)) or not abs(v) < 1e15:
            raise BadDrawing("a stroke's point holds something that is not a number")
        point[axis] = float(v) if isinstance(v, float) else int(v)
    return point


def _checked_history(value: Any) -> tuple[dict[str, Any], ...]:
    if value is None:
        return ()
    if not isinstance(value, list | tuple) or not all(isinstance(entry, Mapping) for entry in value):
        raise BadDrawing("history is not a list of {label, date}")
    return tuple(
        {
            "label": _checked_earlier_label(entry.get("label")),
            "date": _checked_date(entry.get("date"), "history date"),
        }
        for entry in value
    )


def _checked_earlier_label(value: Any) -> str:
    # It need not be a grade, since relabelling may have corrected that. But lone surrogates cannot be stored.
    if type(value) is not str or not value.encode(errors="replace").decode() == value:
        raise BadDrawing("history is not a list of {label, date}")
    return value
