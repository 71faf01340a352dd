"""PNG bytes to ink and back: the one place that examines and decodes a picture.

*Ink* is how much pen there is at a place: 0 is bare ground, 255 is solid stroke. A canvas saves it in the
alpha channel; a scan or a photo has it as dark on light, or the reverse.
"""

import struct
import sys
import zlib
from collections.abc import Sequence

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
# What is needed to tell ink from ground.
_SHEET = 0.9  # of a picture, in one colour: that is paper, no stroke
_SHEET_AND_CORNERS = 0.95
_FILLED = 0.7  # of its bounding box: paper, with round corners or a little turned; letters fill less
_CONTRAST = 12  # of 255: less is not seen
_FAINT = 128  # ink that is nowhere stronger is stretched

_CHUNKS_THAT_MATTER = frozenset({*_ONCE, b"IDAT", b"IEND"})


def decode_ink(png: bytes) -> UInt8[np.ndarray, "height width"]:
    """A PNG's ink at the picture's own size.

    Any PNG: grey, RGB or palette, 1 to 16 bits, interlaced or not. Where the alpha channel has the shape of the
    strokes, as a canvas saves them, it is the ink as it is. Where what is visible is a sheet of paper with something
    on it, the ink is how far a pixel's colour is from the paper's, dark on light or light on dark: stretched where it
    is faint, and without uneven light, noise, and a frame round the picture's edge.

    Raises:
        BadDrawing: `not a PNG`, `damaged PNG`, or an image too large.
    """
    png = stripped_png(png)
    if len(png) > _HARMLESS_BYTES:
        _check_unpacked_size(png)
    picture = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    if picture is None:
        raise BadDrawing("damaged PNG: its pixels cannot be read")
    picture = _to_uint8(picture)  # and the deep one is given up
    return _ink_of(picture)


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


def _ink_of(picture: np.ndarray) -> np.ndarray:
    if picture.ndim == 2 or picture.shape[2] == 3:
        return _ink_on_paper(picture)
    alpha, colours = cv2.extractChannel(picture, 3), cv2.cvtColor(picture, cv2.COLOR_BGRA2BGR)
    if not colours.any():  # nearly every canvas
        return alpha if cv2.mean(alpha)[0] < _SHEET * 255 else np.zeros_like(alpha)
    top = int(alpha.max())
    if alpha.min() == top:
        return _ink_on_paper(colours) if top else alpha

    seen = (alpha > top // 4).view(np.uint8)
    if seen.mean() < _SHEET_AND_CORNERS:  # a window's shadow is no part of it
        seen = (alpha > top * 3 // 4).view(np.uint8)
    step = _step(alpha)
    shades = colours[::step, ::step][seen[::step, ::step] > 0].astype(np.int16)
    if not len(shades):
        return alpha
    paper = np.median(shades, axis=0)
    if (np.abs(shades - paper).max(axis=1) > _CONTRAST).mean() < 1e-3:  # one colour
        return alpha if seen.mean() < _SHEET else np.zeros_like(alpha)
    left, top_row, width, height = cv2.boundingRect(seen)
    box = np.s_[top_row : top_row + height, left : left + width]
    if seen[box].mean() > _FILLED:
        ink = np.zeros_like(alpha)
        ink[box] = _ink_on_paper(_laid_on(paper, colours[box], alpha[box]))
        return ink
    white, dark = (shades.min(axis=1) > 230).mean(), (shades.min(axis=1) < 128).mean()
    if white > 0.05 and dark > 0.01 and white + dark > 0.7:  # white below the strokes, or painted over some
        return _ink_on_paper(_laid_on((255, 255, 255), colours, alpha))
    return alpha


def _laid_on(paper: Sequence[float], colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    top = int(alpha.max())
    through = np.uint8(top) - alpha
    layers = []
    for channel, shade in enumerate(paper):
        own = cv2.multiply(cv2.extractChannel(colours, channel), alpha, scale=1 / top)
        layers.append(cv2.add(own, cv2.convertScaleAbs(through, alpha=shade / top)))
    return cv2.merge(layers)


def _ink_on_paper(colours: np.ndarray) -> np.ndarray:
    """How far each pixel is from the paper, in the channel where it is farthest: yellow is as bright as paper."""
    step = _step(colours)
    sample = np.atleast_3d(colours[::step, ::step])
    ground = _ground(sample)
    beyond = sample - ground
    noise = 4 * np.median(np.abs(beyond[_band(sample)]), axis=0)  # three of a normal distribution's sigma, nearly
    darker, lighter = (np.square(np.maximum(side * beyond - noise, 0)).sum() for side in (-1, 1))

    ink = reach = None
    for channel in range(sample.shape[2]):
        shade = cv2.extractChannel(colours, channel)
        paper = cv2.resize(np.rint(ground[..., channel]).astype(np.uint8), shade.shape[::-1])
        if darker < lighter:  # a blackboard
            shade, paper = cv2.bitwise_not(shade), cv2.bitwise_not(paper)
        away = cv2.subtract(paper, shade)
        away -= np.minimum(away, np.uint8(np.rint(noise[channel]).clip(0, 255)))
        ink, reach = (away, paper) if ink is None else (cv2.max(ink, away), cv2.max(reach, paper))
    # The farthest possible is 255: grey paper leaves no veil, and a shadow no weaker strokes.
    reach = np.maximum(reach, 64)
    farthest = float(np.median(reach[::step, ::step]))
    if reach.min() == reach.max():
        ink = cv2.LUT(ink, np.clip(np.rint(np.arange(256) * (255 / farthest)), 0, 255).astype(np.uint8))
    else:
        ink = cv2.divide(ink, reach, scale=255)
    strongest = np.percentile(ink[::step, ::step], 99.8)
    if _CONTRAST * 255 / farthest <= strongest < _FAINT:
        ink = cv2.convertScaleAbs(ink, alpha=255 / strongest)
    return _without_frame(ink)


def _band(sample: np.ndarray) -> np.ndarray:
    """Where the ground is looked for: along the border, and so wide that a frame is less than half of it."""
    height, width = sample.shape[:2]
    band = np.ones((height, width), bool)
    margin = max(3, min(height, width) // 10)
    band[margin : height - margin, margin : width - margin] = False
    return band


def _ground(sample: np.ndarray) -> np.ndarray:
    """The paper's colour at each place. Where most of the border is of one colour that is it everywhere; else light
    falls unevenly, and a surface of the second degree is laid through what is no ink."""
    height, width, _ = sample.shape
    border = sample[_band(sample)]
    paper = np.rint(np.median(border, axis=0))
    ground = np.broadcast_to(paper, sample.shape).astype(np.float32)
    if not np.median(np.abs(border - paper), axis=0).any():
        return ground
    y, x = (axis.ravel() for axis in np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j])
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1)
    values = sample.reshape(height * width, -1).astype(np.float64)
    near = np.ones(len(values), bool)
    for _ in range(8):
        few = terms[near].T
        surface = terms @ np.linalg.lstsq(few @ few.T, few @ values[near], rcond=None)[0]
        away = np.abs(values - surface).max(axis=1)
        near = away <= 2.5 * np.median(away[near]) + 1
    return surface.reshape(sample.shape).clip(0, 255).astype(np.float32)


def _without_frame(ink: np.ndarray) -> np.ndarray:
    """`ink` without the lines along all four edges of the picture, where there are such lines."""
    for depth in range(min(ink.shape) // 20 + 1):
        edges = ink[depth], ink[-1 - depth], ink[:, depth], ink[:, -1 - depth]
        if not all((edge > _FAINT / 2).mean() > 0.95 for edge in edges):
            break
        for edge in edges:
            edge[:] = 0
    return ink


def _step(picture: np.ndarray) -> int:
    """Each how many rows and columns there is one to judge by: more than 128 tell nothing new."""
    return max(1, max(picture.shape[:2]) // 128)


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
