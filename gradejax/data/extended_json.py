"""One document as MongoDB's extended JSON, within limits that keep a hostile file from exhausting the machine."""

import json
from datetime import UTC
from typing import Any

from bson import json_util
from bson.codec_options import DatetimeConversion
from bson.errors import BSONError

from gradejax.errors import BadDrawing

MAX_DOCUMENT_BYTES = 32 * 2**20
"""A longer document is refused unread; MongoDB itself holds at most 16 MB."""
MAX_PARTS = 600_000
"""Lists, objects and their entries in a document, roughly: the longest strokes in canonical extended JSON have 450,000.
`[[],[],…` of 16 MB would take 340 MB and two seconds to parse."""

EXTENDED_JSON = json_util.JSONOptions(
    json_mode=json_util.JSONMode.RELAXED,
    tz_aware=True,
    tzinfo=UTC,
    datetime_conversion=DatetimeConversion.DATETIME_AUTO,
)


class BrokenOff(BadDrawing):
    """The rest of the file is lost, not just one drawing."""


def parsed(text: bytes) -> Any:
    """Parses a document's text, canonical or relaxed.

    Raises:
        BadDrawing: if it is not extended JSON, or too large.
    """
    if len(text) > MAX_DOCUMENT_BYTES:
        raise BadDrawing(f"a document of more than {MAX_DOCUMENT_BYTES // 2**20} MB")
    if count_parts(text) > MAX_PARTS:
        raise BadDrawing(f"a document of more than {MAX_PARTS:,} parts")
    try:
        return json_util.loads(text.decode(), json_options=EXTENDED_JSON)
    except UnicodeDecodeError:
        raise BadDrawing("not UTF-8") from None
    except json.JSONDecodeError:
        raise BadDrawing("not JSON") from None
    except (BSONError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError):
        # json_util raises any of these: {"$oid": 5}, {"$date": "soon"}, {"$numberDecimal": "x"}, …
        raise BadDrawing("not extended JSON") from None


def count_parts(text: bytes) -> int:
    """Counts what MAX_PARTS limits."""
    return sum(map(text.count, (b"{", b"[", b",")))
