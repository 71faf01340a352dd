"""PNGs of drawings in every format, and ways to damage them, all from a seeded generator."""

import random
import struct
import zlib
from contextlib import suppress
from math import isqrt

import cv2
import numpy as np

from gradejax.hands.synthetic import write_drawings
from gradejax.ink import decode_ink
from gradejax.png import MAX_DEEP_PIXELS, MAX_SIDE

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
DEPTHS = {0: (1, 8, 16), 2: (8, 16), 3: (1, 8), 4: (8, 16), 6: (8, 16)}
EXTRA_KINDS = [b"iCCP", b"zTXt", b"iTXt", b"gAMA", b"acTL", b"fcTL", b"fdAT", b"eXIf"]
KINDS = [b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", *EXTRA_KINDS]
NUMBERS = [0, 1, 7, 8, 255, 256, MAX_SIDE, MAX_SIDE + 1, 2**16, 2**31 - 1, 2**31, 2**32 - 1]
Chunk = tuple[bytes, bytes]
"""Kind and content."""


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def header(width: int, height: int, colour: int, depth: int, interlaced: int = 0) -> Chunk:
    return b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)


def assembled(chunks: list[Chunk]) -> bytes:
    return SIGNATURE + b"".join(chunk(kind, content) for kind, content in chunks)


def taken_apart(png: bytes) -> list[Chunk]:
    """Returns the chunks of a valid PNG."""
    chunks, start = [], len(SIGNATURE)
    while start < len(png):
        (length,) = struct.unpack(">I", png[start : start + 4])
        chunks.append((png[start + 4 : start + 8], png[start + 8 : start + 8 + length]))
        start += 12 + length
    return chunks


def real_pngs(n: int) -> list[bytes]:
    """Synthetic drawings as a canvas saves them, and as PNGs of every colour type and depth, interlaced or not."""
    pngs = []
    for drawing in write_drawings(n, seed=7):
        pngs.append(drawing.png)
        ink = cv2.resize(decode_ink(drawing.png), (56, 56), interpolation=cv2.INTER_AREA)
        for colour, depths in DEPTHS.items():
            for depth in depths:
                pngs += [_png(ink, colour, depth, interlaced) for interlaced in (0, 1)]
    return pngs


def _png(ink: np.ndarray, colour: int, depth: int, interlaced: int) -> bytes:
    top = 2**depth - 1
    paper = np.rint((255 - ink) / 255 * top).astype(np.uint16)[..., None]
    samples = np.repeat(paper, CHANNELS[colour], axis=2)
    if colour in (4, 6):
        samples[..., -1] = top - paper[..., 0]
    passes = [(0, 0, 1, 1)]
    if interlaced:  # Adam7
        passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    rows = [_packed(row, depth) for y, x, down, right in passes for row in samples[y::down, x::right]]
    palette = np.repeat(np.arange(top + 1)[:, None] * (255 // max(top, 1)), 3, axis=1).astype(np.uint8)
    extra = [(b"PLTE", palette.tobytes()), (b"tRNS", bytes([255, 0]))] if colour == 3 else []
    content = zlib.compress(b"".join(b"\0" + row for row in rows))
    return assembled([header(*ink.shape[::-1], colour, depth, interlaced), *extra, (b"IDAT", content), (b"IEND", b"")])


def _packed(row: np.ndarray, depth: int) -> bytes:
    if depth == 16:
        return row.astype(">u2").tobytes()
    return (np.packbits(row.astype(np.uint8).ravel()) if depth == 1 else row.astype(np.uint8)).tobytes()


def mangled(png: bytes, rng: random.Random) -> bytes:
    """Damages `png` in one to three of the ways below, most of which correct the checksums afterwards."""
    for _ in range(rng.randint(1, 3)):
        # Earlier damage may have left nothing to take apart.
        with suppress(struct.error, zlib.error, IndexError, ValueError):
            png = rng.choice(_DAMAGES)(png, rng)
    return png


def edited(content: bytes, rng: random.Random) -> bytes:
    """Flips a bit, truncates, cuts out or repeats a piece, or inserts noise."""
    place = rng.randrange(len(content) + 1)
    edit = rng.randrange(5)
    if edit == 0 and content:
        place = rng.randrange(len(content))
        return content[:place] + bytes([content[place] ^ 1 << rng.randrange(8)]) + content[place + 1 :]
    if edit == 1:
        return content[:place]
    if edit == 2:
        return content[:place] + content[place + rng.randint(1, 20) :]
    if edit == 3:
        return content[:place] + content[max(0, place - rng.randint(1, 40)) :]
    return content[:place] + rng.randbytes(rng.randint(1, 20)) + content[place:]


def _any_chunk(png: bytes, rng: random.Random) -> bytes:
    chunks = taken_apart(png)
    n = rng.randrange(len(chunks))
    chunks[n] = (chunks[n][0], edited(chunks[n][1], rng))
    return assembled(chunks)


def _header(png: bytes, rng: random.Random) -> bytes:
    chunks = taken_apart(png)
    content = bytearray(chunks[0][1])
    if rng.random() < 0.5:
        struct.pack_into(">I", content, rng.choice((0, 4)), rng.choice(NUMBERS))
    else:
        content[rng.randrange(8, 13)] = rng.choice((0, 1, 2, 3, 4, 5, 6, 8, 16, 255))
    return assembled([(b"IHDR", bytes(content)), *chunks[1:]])


def _order(png: bytes, rng: random.Random) -> bytes:
    chunks = taken_apart(png)
    n, m = rng.randrange(len(chunks)), rng.randrange(len(chunks))
    edit = rng.randrange(3)
    if edit == 0:
        chunks[n], chunks[m] = chunks[m], chunks[n]
    elif edit == 1:
        del chunks[n]
    else:
        chunks.insert(m, chunks[n])
    return assembled(chunks)


_PACKED_ZEROS = zlib.compress(bytes(2**22))


def _extra(png: bytes, rng: random.Random) -> bytes:
    chunks = taken_apart(png)
    head = rng.choice((b"", b"\0", b"name\0\0", b"name\0\1\0\0\0"))
    content = head + rng.choice((b"", _PACKED_ZEROS, rng.randbytes(rng.randint(1, 800))))
    chunks.insert(rng.randrange(len(chunks) + 1), (rng.choice(KINDS), content))
    return assembled(chunks)


def _length(png: bytes, rng: random.Random) -> bytes:
    chunks = taken_apart(png)
    start = len(SIGNATURE) + sum(12 + len(content) for _, content in chunks[: rng.randrange(len(chunks))])
    return png[:start] + struct.pack(">I", rng.choice((*NUMBERS, rng.randrange(2000)))) + png[start + 4 :]


def _pixels(png: bytes, rng: random.Random) -> bytes:
    chunks = taken_apart(png)
    content = zlib.decompress(b"".join(content for kind, content in chunks if kind == b"IDAT"))
    content = zlib.compress(edited(content, rng) + bytes(rng.choice((0, 0, 1, 2**16))), rng.choice((0, 1, 9)))
    # More chunks than are allowed, but not millions, whose lists would take a gigabyte.
    size = max(rng.choice((1, 3, 100, len(content))), len(content) // 20_000)
    pieces = [(b"IDAT", content[n : n + size]) for n in range(0, len(content), size)]
    rest = [chunk for chunk in chunks if chunk[0] != b"IDAT"]
    return assembled([*rest[:-1], *pieces, *rest[-1:]])


def _bytes(png: bytes, rng: random.Random) -> bytes:
    return edited(png, rng)


_DAMAGES = (_any_chunk, _header, _order, _extra, _length, _pixels, _bytes)


def bombs() -> dict[str, bytes]:
    """Pictures crafted to cost a decoder as much time and memory as possible."""
    pngs = {}
    for colour, depths in DEPTHS.items():
        for depth in depths:
            for interlaced in (0, 1):
                pngs[f"{MAX_SIDE}² colour {colour} depth {depth} interlaced {interlaced}"] = _blank(
                    MAX_SIDE, MAX_SIDE, colour, depth, interlaced
                )
    widest = isqrt(MAX_DEEP_PIXELS)
    for colour in (0, 2):
        pngs[f"{widest}² colour {colour} depth 16, transparent"] = _blank(
            widest, widest, colour, 16, 0, extra=[(b"tRNS", bytes(CHANNELS[colour] * 2))]
        )
    pngs["largest of 64 bits, slow filter"] = _blank(widest, widest, 6, 16, 0, filter_kind=4)
    pngs["largest of 32 bits, slow filter"] = _blank(MAX_SIDE, MAX_SIDE, 6, 8, 0, filter_kind=4)
    pngs["a column"], pngs["a row"] = _blank(1, MAX_SIDE, 6, 16, 1), _blank(MAX_SIDE, 1, 6, 16, 1)
    deflate = zlib.compressobj()
    start = deflate.compress(bytes(2**20)) + deflate.flush(zlib.Z_FULL_FLUSH)
    # Blocks after a full flush can be repeated: 4 GB from 4 MB.
    more = deflate.compress(bytes(2**20)) + deflate.flush(zlib.Z_FULL_FLUSH)
    for side in (4, MAX_SIDE):
        pngs[f"4 GB in {side}²"] = assembled([header(side, side, 6, 8), (b"IDAT", start + more * 4096), (b"IEND", b"")])
    pixels = (b"IDAT", zlib.compress(bytes(20 * 21)))
    for kind in KINDS[1:]:
        chunks = [header(20, 20, 0, 8), pixels, (b"IEND", b"")]
        flood = chunk(kind, b"") * (8 * 2**20 // 12 - 20)
        pngs[f"8 MB of {kind.decode()}"] = assembled(chunks[:1]) + flood + assembled(chunks[1:])[len(SIGNATURE) :]
    noise = random.Random(0).randbytes(8 * 2**20 - 4000)
    for name, compressed in (("noise", noise), ("stored noise", zlib.compress(noise, 0))):
        pngs[name] = assembled([header(MAX_SIDE, 2047, 0, 8), (b"IDAT", compressed), (b"IEND", b"")])
    unpacks = zlib.compress(bytes(2**28))
    for kind, content in ((b"iCCP", b"p\0\0"), (b"zTXt", b"k\0\0"), (b"iTXt", b"k\0\1\0\0\0")):
        pngs[f"256 MB in {kind.decode()}"] = assembled(
            [header(20, 20, 0, 8), (kind, content + unpacks), pixels, (b"IEND", b"")]
        )
    return pngs


def _blank(width: int, height: int, colour: int, depth: int, interlaced: int, filter_kind: int = 0, extra=()) -> bytes:
    row = bytes([filter_kind]) + b"\1\2\3\4\5\6\7\x08" * (width * CHANNELS[colour] * depth // 64 + 1)
    row = row[: (width * CHANNELS[colour] * depth + 7) // 8 + 1]
    if interlaced:
        row = bytes(len(row))  # a valid filter byte wherever a pass's rows begin
    deflate = zlib.compressobj(1)
    content = b"".join(deflate.compress(row) for _ in range(height)) + deflate.compress(bytes(3 * height + 64))
    extra = [(b"PLTE", bytes(3 * min(256, 2**depth))), (b"tRNS", b"\0")] if colour == 3 else extra
    pixels = (b"IDAT", content + deflate.flush())
    return assembled([header(width, height, colour, depth, interlaced), *extra, pixels, (b"IEND", b"")])
