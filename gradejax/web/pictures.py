"""The picture in a request: a PNG as base64, and not a large one."""

import struct

from gradejax.drawings import png_from_base64
from gradejax.errors import BadDrawing
from gradejax.png import stripped_png

MAX_DRAWN_SIDE = 1024
"""Pixels. The pages send 280 x 280; a picture that is slow to decode would hold up everybody else."""
MAX_DRAWN_BYTES = 2**18
"""After text, profiles and the like are removed. The pages send about 10,000."""


def picture_from(data: str) -> bytes:
    """Decodes the base64 in `data` to a PNG with only what its ink needs; its pixels are not decoded.

    Raises:
        BadDrawing: `not base64`, `not a PNG`, `damaged PNG`, or an image too large.
    """
    png = stripped_png(png_from_base64(data))
    width, height = size_of(png)
    if max(width, height) > MAX_DRAWN_SIDE:
        raise BadDrawing(f"image of {width} x {height} pixels; each side may have at most {MAX_DRAWN_SIDE}")
    if len(png) > MAX_DRAWN_BYTES:
        raise BadDrawing(f"image of {len(png):,} bytes; at most {MAX_DRAWN_BYTES:,} are allowed")
    return png


def size_of(png: bytes) -> tuple[int, int]:
    """Returns the width and height of a stripped PNG, in pixels."""
    return struct.unpack(">II", png[16:24])
