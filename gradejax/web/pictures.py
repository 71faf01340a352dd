"""The picture in a request: base64 of a PNG, and not a large one."""

import base64
import binascii
import struct

from gradejax.drawings import BadDrawing
from gradejax.ink import stripped_png

MAX_DRAWN_SIDE = 1024
"""Pixels; the pages send 280 x 280, and what takes long to decode would hold up everybody else."""
MAX_DRAWN_BYTES = 2**18
"""Of what is left when text, profiles and the like are gone; the pages send 10,000."""


def picture_from(data: str) -> bytes:
    """The PNG in `data`, stripped to what its ink needs, not yet decoded.

    Raises:
        BadDrawing: `not base64`, `not a PNG`, `damaged PNG`, or an image too large.
    """
    try:
        png = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise BadDrawing("not base64") from None
    png = stripped_png(png)
    width, height = size_of(png)
    if max(width, height) > MAX_DRAWN_SIDE:
        raise BadDrawing(f"image of {width} x {height} pixels; each side may have {MAX_DRAWN_SIDE}")
    if len(png) > MAX_DRAWN_BYTES:
        raise BadDrawing(f"image of {len(png):,} bytes; it may have {MAX_DRAWN_BYTES:,}")
    return png


def size_of(png: bytes) -> tuple[int, int]:
    """Width and height of a stripped PNG, in pixels."""
    return struct.unpack(">II", png[16:24])
