"""PNG files, examined chunk by chunk before anything decodes them; and those of a canvas without their colours."""

import struct
import zlib
from collections.abc import Iterator

import numpy as np
from zlib_ng import zlib_ng

from gradejax.errors import BadDrawing

MAX_SIDE = 4096
"""Pixels; a larger picture is refused by its header, before decoding."""
MAX_PNG_BYTES = 8 * 2**20
MAX_DEEP_PIXELS = MAX_SIDE**2 // 2
"""Pixels of a picture with 16 bits a channel; OpenCV may need 16 bytes for each."""

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Deflate packs at most 1032 to 1 (https://zlib.net/zlib_tech.html), so this many bytes unpack within half a second.
_HARMLESS_BYTES = 2**17
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}  # bits a channel
_CANVAS_PIXELS = 2**20  # those of a larger one take three times as much memory as they do in OpenCV
_MAX_CHUNKS = 2**14  # each costs time, even an empty one; the largest PNG then has 512 bytes in each

# Only these chunks are decoded. The others (text, profiles, animation) cannot change the ink, and some can be crafted
# to unpack to gigabytes.
_AT_MOST_ONCE = {b"IHDR": "headers", b"PLTE": "palettes", b"tRNS": "transparencies"}
_NEEDED_CHUNKS = frozenset({*_AT_MOST_ONCE, b"IDAT", b"IEND"})


def stripped_png(png: bytes) -> bytes:
    """Returns `png` with only the chunks that its ink needs: IHDR, PLTE, tRNS, IDAT and IEND.

    Examines the chunks with their checksums; only `ink.decode_ink` reads the pixels.

    Raises:
        BadDrawing: `not a PNG`, `damaged PNG`, or an image too large.
    """
    if not png.startswith(_SIGNATURE) or png[8:16] != b"\0\0\0\rIHDR" or len(png) < 33:
        raise BadDrawing("not a PNG")
    width, height, depth, colour = struct.unpack(">IIBB", png[16:26])
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
        raise BadDrawing(f"image of {width} x {height} pixels; each side must be from 1 to {MAX_SIDE}")
    if depth not in _DEPTHS.get(colour, ()):
        raise BadDrawing(f"damaged PNG: colour type {colour} does not go with {depth} bits")
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
        if kind in _NEEDED_CHUNKS:
            if zlib.crc32(png[start + 4 : end - 4]) != struct.unpack(">I", png[end - 4 : end])[0]:
                raise BadDrawing("damaged PNG: a checksum is wrong")
            if kind in kinds and kind != b"IDAT":
                # libpng would read both, and complain on standard error.
                raise BadDrawing(f"damaged PNG: it has two {_AT_MOST_ONCE[kind]}")
            kinds.add(kind)
            kept.append(png[start:end])
        start = end
    if b"IDAT" not in kinds:
        raise BadDrawing("damaged PNG: it has no pixels")
    return _SIGNATURE + b"".join(kept)


def check_unpacked_size(png: bytes) -> None:
    """Refuses a stripped PNG whose data unpack to more than its pixels, because libpng would unpack the rest too.

    Raises:
        BadDrawing: `damaged PNG`.
    """
    if len(png) <= _HARMLESS_BYTES:
        return
    width, height, depth, colour = struct.unpack(">IIBB", png[16:26])
    # A row begins with a byte for its filter. Interlacing turns 8 rows into up to 15, each of whole bytes.
    left = height * ((width * _CHANNELS[colour] * depth + 7) // 8 + 1) + 3 * height + 64
    inflate = zlib.decompressobj()
    for _, packed in (chunk for chunk in _chunks(png) if chunk[0] == b"IDAT"):
        while packed and left >= 0:
            try:
                left -= len(inflate.decompress(packed, 2**20))
            except zlib.error:
                raise BadDrawing("damaged PNG: its pixels cannot be read") from None
            packed = inflate.unconsumed_tail
    if left < 0:
        raise BadDrawing("damaged PNG: it has more data than pixels")


def alpha_of_canvas(png: bytes) -> bytes | None:
    """Returns a grey PNG of the alpha channel of a stripped PNG as a canvas saves it: black, with eight bits a channel.

    OpenCV decodes that in a quarter of the time, this function included: its zlib, an old one, finds nothing to unpack,
    and there is a quarter of the bytes to filter.

    Returns:
        None for a PNG of another kind, and for a large or damaged one. The filters are not examined.
    """
    width, height, *kind = struct.unpack(">II5B", png[16:29])
    chunks = list(_chunks(png))
    is_canvas = kind == [8, 6, 0, 0, 0] and width * height <= _CANVAS_PIXELS
    if not is_canvas or {name for name, _ in chunks} != {b"IHDR", b"IDAT", b"IEND"}:
        return None
    size = height * (1 + 4 * width)
    inflate = zlib_ng.decompressobj()
    try:
        # One byte more, or the checksum behind the data would not be read.
        rows = inflate.decompress(b"".join(data for _, data in chunks[1:-1]), size + 1)
    except zlib_ng.error:  # pyright: ignore[reportGeneralTypeIssues]
        return None
    if len(rows) != size or not inflate.eof:
        return None
    rows = np.frombuffer(rows, np.uint8).reshape(height, -1)
    # Each row begins with its filter, which knows no other channel: https://www.w3.org/TR/png-3/#9Filters
    grey = rows[:, 0::4].copy()
    # Of black pixels, filtered or not, only the alpha channel is not zero.
    if np.count_nonzero(rows) > np.count_nonzero(grey):
        return None
    head = struct.pack(">II5B", width, height, 8, 0, 0, 0, 0)
    packed = zlib_ng.compress(grey, 0)
    return _SIGNATURE + b"".join(map(_chunk, (b"IHDR", b"IDAT", b"IEND"), (head, packed, b"")))


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib_ng.crc32(content, zlib_ng.crc32(kind))
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def _chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The names and data of a stripped PNG's chunks."""
    start = len(_SIGNATURE)
    while start < len(png):
        (length,) = struct.unpack(">I", png[start : start + 4])
        yield png[start + 4 : start + 8], png[start + 8 : start + 8 + length]
        start += 12 + length
