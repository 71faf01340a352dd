"""One drawing as a document: checked, decoded from PNG to ink, encoded back.

*Ink* is how much pen there is at a place: 0 is bare ground, 255 is solid stroke. A canvas saves it in the
alpha channel; a scan or a photo has it as dark on light, or the reverse.
"""

import base64
import binascii
import struct
import sys
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import cv2
import numpy as np
from bson import ObjectId
from jaxtyping import UInt8

from gradejax import ids
from gradejax.errors import UserError
from gradejax.grades import GRADE_INDEX

# What is wrong with a picture, BadDrawing says; OpenCV would say so, too, on standard error.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)

MAX_SIDE = 4096
"""Pixels; a larger picture is refused by its header, before anything is decoded."""
MAX_PNG_BYTES = 8 * 2**20
MAX_DEEP_PIXELS = MAX_SIDE**2 // 2
"""Of 16 bits a channel. OpenCV may need 16 bytes for each of them."""
MAX_TAGS = 32
MAX_NAME_LENGTH = 200
"""Characters in an id, a tag or a writer's name."""

MAX_POINTS = 50_000
"""In all strokes together: with the largest PNG they fit into MongoDB's 16 MB."""

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Deflate packs at most 1032 to 1 (https://zlib.net/zlib_tech.html): so many bytes unpack within half a second.
_HARMLESS_BYTES = 2**17
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}  # bits a channel
_MAX_CHUNKS = 2**14  # each of them costs time, even one that holds nothing; the largest PNG has 512 bytes in each
# What is needed to see the picture. Everything else (text, profiles, animation) is left out before decoding:
# it cannot change the ink, and some of it can be made to unpack to gigabytes.
_ONCE = {b"IHDR": "headers", b"PLTE": "palettes", b"tRNS": "transparencies"}
_CHUNKS_THAT_MATTER = frozenset({*_ONCE, b"IDAT", b"IEND"})


class BadDrawing(UserError):
    """A document or picture that is no drawing; `str()` is the reason, fit for a log or a web page."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """One drawing, as DESIGN's document with the PNG unpacked. Made by `from_document` from anything unknown.

    Attributes:
        id: 24 hex digits (an ObjectId in MongoDB), or any other string of at most 200 characters; `ids` tells numbers,
            UUIDs and dates as text.
        tags: names of teams, classes or sessions; at least one.
        label: one of the fifteen grades.
        png: the picture, a PNG file.
        date: when it was drawn; UTC, to the millisecond (what MongoDB keeps).
        writer: an anonymous id of the hand that drew it.
        strokes: the pen's path: per stroke a sequence of `{x, y, t, pressure}`.
        history: earlier labels, oldest first, each `{label, date}`.
        deleted: when it was put aside; never trained on, never lost.
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
    """An id nobody else has: 24 hex digits that rise with time."""
    return str(ObjectId())


def utc_milliseconds(date: datetime) -> datetime:
    """`date` in UTC (where naive: taken as UTC), cut to the millisecond, so that both stores keep it exactly."""
    date = date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)
    return date.replace(microsecond=date.microsecond // 1000 * 1000)


def from_document(document: Mapping[str, Any], *, pictures: bool = True) -> Drawing:
    """The drawing in a document of DESIGN's schema, checked field by field.

    The PNG is examined as far as its chunks' checksums; only `decode_ink` sees each pixel. Fields that the
    schema does not name are ignored. A document without `_id` gets a new one. Besides the schema's base64 `data` may be
    the PNG's bytes, and a stroke `{points: […]}`: so the stores keep them. `deleted` may be a date, or a flag: false
    and 0 are in use like null, true and 1 are put aside, as if on the day they were drawn.

    Args:
        pictures: False for a document without `data` and `strokes`; `png` is empty then.

    Raises:
        BadDrawing: with the reason: `no tags`, `unknown label 'F'`, `not base64`, `not a PNG`,
            `image of 50000 x 50000 pixels; each side must be from 1 to 4096`, …
    """
    if not isinstance(document, Mapping):
        raise BadDrawing("not a document")
    strokes = document.get("strokes")
    writer = document.get("writer")
    return Drawing(
        id=_checked_id(document.get("_id")),
        tags=_checked_tags(document.get("tags")),
        label=checked_label(document.get("label")),
        png=_checked_png(document.get("data")) if pictures else b"",
        date=_checked_date(document.get("date"), "date"),
        writer=None if writer is None else _checked_name(writer, "writer"),
        strokes=None if strokes is None else _checked_strokes(strokes),
        history=_checked_history(document.get("history")),
        deleted=_checked_deleted(document.get("deleted"), document["date"]),
    )


def to_document(drawing: Drawing) -> dict[str, Any]:
    """The inverse of `from_document`; optional fields are left out where they hold nothing."""
    document: dict[str, Any] = {
        "_id": ObjectId(drawing.id) if is_object_id(drawing.id) else ids.from_text(drawing.id),
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


def is_object_id(text: str) -> bool:
    """Whether `text` is how an ObjectId prints: 24 lower-case hex digits."""
    return len(text) == 24 and not set(text) - set("0123456789abcdef")


def decode_ink(png: bytes) -> UInt8[np.ndarray, "height width"]:
    """A PNG's ink at the picture's own size.

    Any PNG: grey, RGB or palette, 1 to 16 bits, interlaced or not. Where some pixel is not opaque the alpha
    channel is the ink; else the ink is how far the brightness is from the ground's, which is the median
    of the picture's border.

    Raises:
        BadDrawing: `not a PNG`, `damaged PNG`, or an image too large.
    """
    png = _without_extras(png)
    if len(png) > _HARMLESS_BYTES:
        _check_unpacked_size(png)
    picture = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    if picture is None:
        raise BadDrawing("damaged PNG: its pixels cannot be read")
    picture = _to_uint8(picture)
    has_alpha = picture.ndim == 3 and picture.shape[2] == 4
    if has_alpha and (alpha := cv2.extractChannel(picture, 3)).min() < 255:
        return alpha
    if picture.ndim == 3:
        picture = cv2.cvtColor(picture, cv2.COLOR_BGRA2GRAY if has_alpha else cv2.COLOR_BGR2GRAY)
    grey = picture
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    ground = round(float(np.median(border)))
    # Stretched so that the ground is 0 and the farthest possible ink 255: grey paper leaves no veil.
    if ground >= 128:
        table = (ground - np.arange(256)) * (255 / ground)
    else:
        table = (np.arange(256) - ground) * (255 / (255 - ground))
    return cv2.LUT(grey, np.clip(np.rint(table), 0, 255).astype(np.uint8))


def resample(ink: UInt8[np.ndarray, "height width"], size: int, how: str = "area") -> UInt8[np.ndarray, "size size"]:
    """Ink brought to `size` x `size` pixels; what is not square is centred on a square first.

    Arguments:
        how: `area`: a new pixel is the mean of those it covers. `point`: it is interpolated between the four nearest
            to its centre, whatever lies between those and the next.
    """
    height, width = ink.shape
    if height != width:
        side = max(height, width)
        top, left = (side - height) // 2, (side - width) // 2
        square = np.zeros((side, side), np.uint8)
        square[top : top + height, left : left + width] = ink
        ink = square
    # OpenCV's bilinear interpolation does not smooth first.
    interpolation = {"area": cv2.INTER_AREA, "point": cv2.INTER_LINEAR}[how]
    return cv2.resize(ink, (size, size), interpolation=interpolation)


def encode_png(ink: UInt8[np.ndarray, "height width"]) -> bytes:
    """Ink as a canvas saves it: a PNG of black pixels with the ink in the alpha channel."""
    picture = np.zeros((*ink.shape, 4), np.uint8)
    picture[..., 3] = ink
    return cv2.imencode(".png", picture)[1].tobytes()


def _to_uint8(picture: np.ndarray) -> np.ndarray:
    if picture.dtype == np.uint8:
        return picture
    # The high bytes of 16-bit numbers; shifting would take as much memory again.
    return np.ascontiguousarray(picture.view(np.uint8)[..., int(sys.byteorder == "little") :: 2])


def _without_extras(png: bytes) -> bytes:
    """`png` with only the chunks that its pixels need; raises BadDrawing where a chunk is not as it should be."""
    if not png.startswith(_SIGNATURE) or png[8:16] != b"\0\0\0\rIHDR" or len(png) < 33:
        raise BadDrawing("not a PNG")
    width, height, depth, colour = struct.unpack(">IIBB", png[16:26])
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
        raise BadDrawing(f"image of {width} x {height} pixels; each side must be from 1 to {MAX_SIDE}")
    if depth not in _DEPTHS.get(colour, ()):
        raise BadDrawing(f"damaged PNG: no picture is of colour type {colour} and {depth} bits")
    if depth == 16 and width * height > MAX_DEEP_PIXELS:
        raise BadDrawing(f"image of {width} x {height} pixels of 16 bits a channel; at most {MAX_DEEP_PIXELS:,} pixels")
    kept, kinds = [], set()
    start, kind, chunks = len(_SIGNATURE), b"", 0
    while kind != b"IEND":
        if start + 12 > len(png):
            raise BadDrawing("damaged PNG: it ends too early")
        (length,) = struct.unpack(">I", png[start : start + 4])
        kind, end = png[start + 4 : start + 8], start + 12 + length
        if end > len(png):
            raise BadDrawing("damaged PNG: it ends too early")
        chunks += 1
        if chunks > _MAX_CHUNKS:
            raise BadDrawing(f"damaged PNG: it has more than {_MAX_CHUNKS} chunks")
        if kind in _CHUNKS_THAT_MATTER:
            if zlib.crc32(png[start + 4 : end - 4]) != struct.unpack(">I", png[end - 4 : end])[0]:
                raise BadDrawing("damaged PNG: a checksum is wrong")
            if kind in kinds and kind != b"IDAT":
                # Of two palettes libpng would read each, and say on standard error what it thinks of it.
                raise BadDrawing(f"damaged PNG: it has two {_ONCE[kind]}")
            kinds.add(kind)
            kept.append(png[start:end])
        start = end
    return _SIGNATURE + b"".join(kept)


def _check_unpacked_size(png: bytes) -> None:
    """Refuses a picture whose data unpack to more than its pixels: libpng would unpack the rest all the same."""
    width, height, depth, colour = struct.unpack(">IIBB", png[16:26])
    # A row begins with a byte that names its filter. Interlacing makes up to 15 rows of 8, each in whole bytes.
    left = height * ((width * _CHANNELS[colour] * depth + 7) // 8 + 1) + 3 * height + 64
    inflate = zlib.decompressobj()
    start = len(_SIGNATURE)
    while start < len(png):
        (length,) = struct.unpack(">I", png[start : start + 4])
        packed = png[start + 8 : start + 8 + length] if png[start + 4 : start + 8] == b"IDAT" else b""
        while packed and left >= 0:
            try:
                left -= len(inflate.decompress(packed, 2**20))
            except zlib.error:
                raise BadDrawing("damaged PNG: its pixels cannot be read") from None
            packed = inflate.unconsumed_tail
        start += 12 + length
    if left < 0:
        raise BadDrawing("damaged PNG: its data are more than its pixels")


def _checked_id(value: Any) -> str:
    if value is None:
        return new_id()
    if type(value) is not str:
        value = ids.to_text(value)
        if value is None:
            raise BadDrawing("_id is not text, a number, a date or binary")
    return _checked_name(value, "_id")


def _checked_name(value: Any, field: str) -> str:
    if type(value) is not str:  # bson's Code is a kind of str, and no name
        raise BadDrawing(f"{field} is not text")
    if not value.strip() or len(value) > MAX_NAME_LENGTH or not value.isprintable():
        raise BadDrawing(f"{field} is not 1 to {MAX_NAME_LENGTH} printable characters")
    return value


def _checked_tags(value: Any) -> tuple[str, ...]:
    if value is None or value == []:
        raise BadDrawing("no tags")
    if not isinstance(value, list | tuple):
        raise BadDrawing("tags are not a list")
    if len(value) > MAX_TAGS:
        raise BadDrawing(f"more than {MAX_TAGS} tags")
    return tuple(dict.fromkeys(_checked_name(tag, "a tag") for tag in value))


def checked_label(value: Any) -> str:
    """`value` where it is one of the fifteen grades; raises BadDrawing where not."""
    if value is None:
        raise BadDrawing("no label")
    if type(value) is not str or value not in GRADE_INDEX:
        raise BadDrawing(f"unknown label {str(value)[:20]!r}")
    return value


def _checked_png(value: Any) -> bytes:
    if value is None:
        raise BadDrawing("no data")
    if not isinstance(value, str | bytes):
        raise BadDrawing("data is not text")
    if len(value) > (MAX_PNG_BYTES if isinstance(value, bytes) else MAX_PNG_BYTES * 4 // 3 + 4):
        raise BadDrawing(f"image of more than {MAX_PNG_BYTES // 2**20} MB")
    try:
        png = bytes(value) if isinstance(value, bytes) else base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise BadDrawing("not base64") from None
    _without_extras(png)
    return png


def _checked_date(value: Any, field: str) -> datetime:
    if not isinstance(value, datetime):
        raise BadDrawing(f"no {field}" if value is None else f"{field} is not a date")
    try:
        return utc_milliseconds(value)
    except OverflowError:
        raise BadDrawing(f"{field} is out of range") from None


def _checked_deleted(value: Any, drawn: datetime) -> datetime | None:
    if isinstance(value, bool | int | float) and value in (0, 1):
        value = drawn if value else None  # when it was put aside nobody knows
    return None if value is None else _checked_date(value, "deleted")


def _checked_strokes(value: Any) -> list[list[dict[str, float]]]:
    if not isinstance(value, list | tuple):
        raise BadDrawing("strokes are not a list")
    # FerretDB holds no lists in lists; its strokes are {points: […]}.
    strokes = [stroke.get("points") if isinstance(stroke, Mapping) else stroke for stroke in value]
    if not all(isinstance(stroke, list | tuple) for stroke in strokes):
        raise BadDrawing("a stroke is not a list of points")
    if sum(map(len, strokes)) > MAX_POINTS:
        raise BadDrawing(f"strokes of more than {MAX_POINTS} points")
    return [[_checked_point(point) for point in stroke] for stroke in strokes]


def _checked_point(value: Any) -> dict[str, float]:
    if not isinstance(value, Mapping) or not {"x", "y"} <= set(value) <= {"x", "y", "t", "pressure"}:
        raise BadDrawing("a stroke's point is not {x, y, t, pressure}")
    # Not 1e15 or more, and so neither infinite nor NaN: what every store and JSON keep exactly.
    if not all(isinstance(v, int | float) and not isinstance(v, bool) and abs(v) < 1e15 for v in value.values()):
        raise BadDrawing("a stroke's point holds something that is no number")
    return {axis: float(v) if isinstance(v, float) else int(v) for axis, v in value.items()}


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
    # It may be one that was no grade: that is what the relabelling mended. But no half of a surrogate pair.
    if type(value) is not str or not value.encode(errors="replace").decode() == value:
        raise BadDrawing("history is not a list of {label, date}")
    return value
