"""The picture in a request: base64 of a PNG, and not a large one."""

import base64
import binascii
import struct

from gradejax.errors import BadDrawing

MAX_DRAWN_SIDE = 1024
"""Pixels; the pages send 280 x 280, and what takes long to decode would hold up everybody else."""


def picture_from(data: str) -> bytes:
    """The PNG in `data`, not yet decoded. Raises BadDrawing: `not base64`, `not a PNG`, or an image too large."""
    try:
        png = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise BadDrawing("not base64") from None
    if not png.startswith(b"\x89PNG\r\n\x1a\n") or len(png) < 33:
        raise BadDrawing("not a PNG")
    width, height = struct.unpack(">II", png[16:24])
    if max(width, height) > MAX_DRAWN_SIDE:
        raise BadDrawing(f"image of {width} x {height} pixels; each side may have {MAX_DRAWN_SIDE}")
    return png
