"""PNG bytes to ink and back: the one place that examines and decodes a picture.

*Ink* is how much pen there is at a place: 0 is bare ground, 255 is solid stroke. A canvas saves it in the
alpha channel; a scan or a photo has it as dark on light, or the reverse.
"""

import struct
import sys
import zlib

import cv2
import numpy as np
from jaxtyping import UInt8

from gradejax.errors import BadDrawing

# What is wrong with a picture, BadDrawing says; OpenCV would say so, too, on standard error.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)

MAX_SIDE = 4096
"""Pixels; a larger picture is refused by its header, before anything is decoded."""
MAX_PNG_BYTES = 8 * 2**20
MAX_DEEP_PIXELS = MAX_SIDE**2 // 2
"""Of 16 bits a channel. OpenCV may need 16 bytes for each of them."""

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


def decode_ink(png: bytes) -> UInt8[np.ndarray, "height width"]:
    """A PNG's ink at the picture's own size.

    Any PNG: grey, RGB or palette, 1 to 16 bits, interlaced or not. Where some pixel is not opaque the alpha
    channel is the ink; else the ink is how far the brightness is from the ground's, which is the median
    of the picture's border.

    Raises:
        BadDrawing: `not a PNG`, `damaged PNG`, or an image too large.
    """
    png = stripped_png(png)
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


def stripped_png(png: bytes) -> bytes:
    """`png` with only the chunks that its ink needs: IHDR, PLTE, tRNS, IDAT and IEND.

    Its chunks are examined, not its pixels: that is `decode_ink`'s.

    Raises:
        BadDrawing: `not a PNG`, `damaged PNG`, or an image too large.
    """
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
    if b"IDAT" not in kinds:
        raise BadDrawing("damaged PNG: it has no pixels")
    return _SIGNATURE + b"".join(kept)


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
