"""Any number of drawings for `benchmarks.million`, quick to make: a few hundred synthetic ones over and over.

Each has its own id, its own picture (a number in its last row), a writer of 40 drawings, the tag of a class of 1,000
and a date half a minute after the previous one. Every fourth has strokes, every 50th is excluded, every 1,000th is in
quarantine, and every 32nd shows no grade.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
from jaxtyping import UInt8

from gradejax.dataset import QUARANTINE_TAG
from gradejax.drawings import Drawing
from gradejax.hands.synthetic import write_drawings
from gradejax.ink import decode_ink
from gradejax.scales import NO_GRADE

PICTURES = 300
PER_WRITER, PER_CLASS = 40, 1000
COMMON_TAG = "exam"
"""Of every fourth drawing."""
FIRST_DATE, INTERVAL = datetime(2024, 1, 1, 8, tzinfo=UTC), timedelta(seconds=30)
_NUMBER_BITS = 24


def drawings(n: int) -> Iterator[Drawing]:
    """Makes `n` drawings."""
    models = list(write_drawings(PICTURES))
    pictures = [_Numbered(decode_ink(model.png)) for model in models]
    for number in range(n):
        model, date = models[number % PICTURES], FIRST_DATE + number * INTERVAL
        waits, aside = number % 1000 == 500, number % 50 == 7
        tags = [class_of(number), *([COMMON_TAG] if number % 4 == 1 else []), *([QUARANTINE_TAG] if waits else [])]
        yield replace(
            model,
            id=id_of(number),
            tags=tuple(tags),
            label=NO_GRADE if number % 32 == 9 else model.label,
            png=pictures[number % PICTURES].png(number),
            date=date,
            writer=writer_of(number),
            strokes=model.strokes if number % 4 == 0 else None,
            deleted=date if waits or aside else None,
        )


def id_of(number: int) -> str:
    """The id of a drawing by its number; one that MongoDB stores as ObjectId."""
    return f"{number:024x}"


def writer_of(number: int) -> str:
    """The writer of a drawing."""
    return f"writer-{number // PER_WRITER}"


def class_of(number: int) -> str:
    """The tag of a drawing's class."""
    return f"class-{number // PER_CLASS}"


class _Numbered:
    """One picture as often as wanted, each time with another number in the last row."""

    def __init__(self, ink: UInt8[np.ndarray, "height width"]) -> None:
        rgba = np.zeros((*ink.shape, 4), np.uint8)
        rgba[..., 3] = ink
        height, self._width = ink.shape
        self._header = struct.pack(">2I5B", self._width, height, 8, 6, 0, 0, 0)
        self._compressor = zlib.compressobj(6, zlib.DEFLATED)
        self._begun = self._compressor.compress(b"".join(b"\0" + row.tobytes() for row in rgba[:-1]))

    def png(self, number: int) -> bytes:
        row = np.zeros((self._width, 4), np.uint8)
        row[:_NUMBER_BITS, 3] = 255 * (number >> np.arange(_NUMBER_BITS) & 1)
        compressor = self._compressor.copy()
        pixels = self._begun + compressor.compress(b"\0" + row.tobytes()) + compressor.flush()
        chunks = ((b"IHDR", self._header), (b"IDAT", pixels), (b"IEND", b""))
        return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in chunks)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
