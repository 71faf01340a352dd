"""Pictures that a canvas has saved are read fast, and exactly as OpenCV reads them."""

import struct
import tracemalloc
import zlib
from collections.abc import Sequence

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gradejax.ink import decode_ink, encode_png
from gradejax.png import alpha_of_canvas, stripped_png

SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 9))
ALPHAS = SHAPES.flatmap(lambda shape: arrays(np.uint8, shape))


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_of(rows: bytes, shape: tuple[int, int], cut: int = 5) -> bytes:
    """A PNG of rows that are filtered already; its data are cut into two chunks."""
    data = zlib.compress(rows)
    head = struct.pack(">IIBBBBB", shape[1], shape[0], 8, 6, 0, 0, 0)
    chunks = (b"IHDR", head), (b"IDAT", data[:cut]), (b"IDAT", data[cut:]), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*one) for one in chunks)


def filtered(alpha: np.ndarray, filters: Sequence[int]) -> bytes:
    """The rows of a black picture, each with its filter: https://www.w3.org/TR/png-3/#9Filters"""
    pixels = np.zeros((*alpha.shape, 4), np.uint8)
    pixels[..., 3] = alpha
    left, above, corner = (np.zeros(pixels.shape, int) for _ in range(3))
    left[:, 1:], above[1:], corner[1:, 1:] = pixels[:, :-1], pixels[:-1], pixels[:-1, :-1]
    neighbours = np.stack([left, above, corner])
    nearest = np.abs(neighbours - (left + above - corner)).argmin(axis=0)
    paeth = np.take_along_axis(neighbours, nearest[None], axis=0)[0]
    predictions = [each.astype(np.uint8) for each in (np.zeros_like(left), left, above, (left + above) // 2, paeth)]
    rows = [bytes([kind]) + (pixels[y] - predictions[kind][y]).tobytes() for y, kind in enumerate(filters)]
    return b"".join(rows)


def canvas_alpha(png: bytes) -> np.ndarray | None:
    grey = alpha_of_canvas(png)
    return None if grey is None else opencvs(grey)


def opencvs(png: bytes) -> np.ndarray:
    picture = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    assert picture is not None
    return picture


@given(ALPHAS, st.data())
def test_a_canvas_is_read_as_it_was_drawn(alpha: np.ndarray, data: st.DataObject):
    height = len(alpha)
    filters = data.draw(st.lists(st.integers(0, 4), min_size=height, max_size=height))
    png = png_of(filtered(alpha, filters), alpha.shape)
    assert np.array_equal(opencvs(png)[..., 3], alpha)
    fast = canvas_alpha(png)
    assert fast is not None
    assert np.array_equal(fast, alpha)


@given(SHAPES, st.data())
def test_other_pictures_are_left_to_opencv(shape: tuple[int, int], data: st.DataObject):
    """Any bytes are pixels, of colours that a canvas does not use."""
    height, width = shape
    pixels = data.draw(arrays(np.uint8, (height, 4 * width)))
    filters = data.draw(arrays(np.uint8, (height, 1), elements=st.integers(0, 4)))
    png = png_of(np.hstack([filters, pixels]).tobytes(), shape)
    alpha, picture = canvas_alpha(png), opencvs(png)
    if alpha is None:
        assert picture[..., :3].any()
    else:
        assert np.array_equal(picture[..., 3], alpha)
        assert not picture[..., :3].any()


@given(ALPHAS, st.integers(0, 10_000), st.integers(1, 255))
def test_damaged_data_are_never_read_as_something_else(alpha: np.ndarray, place: int, change: int):
    rows = filtered(alpha, [1] * len(alpha))
    data = bytearray(zlib.compress(rows))
    data[place % len(data)] ^= change
    head = png_of(rows, alpha.shape)[:33]
    png = head + chunk(b"IDAT", bytes(data)) + chunk(b"IEND", b"")
    fast = canvas_alpha(png)
    assert fast is None or np.array_equal(fast, opencvs(png)[..., 3])


@pytest.mark.parametrize("change", [-1, 1, 1000])
def test_data_that_are_not_as_long_as_the_picture_are_left_to_opencv(change: int):
    rows = filtered(np.full((20, 20), 7, np.uint8), [1] * 20)
    assert canvas_alpha(png_of(rows[:change] if change < 0 else rows + bytes(change), (20, 20))) is None


def test_no_data_are_unpacked_beyond_the_picture():
    """A megabyte can unpack to a gigabyte."""
    bomb = png_of(bytes(2**28), (20, 20))
    tracemalloc.start()
    try:
        assert canvas_alpha(bomb) is None
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_large_pictures_are_read_alike():
    alpha = np.zeros((2000, 600), np.uint8)
    cv2.line(alpha, (50, 60), (400, 1900), 200, 14)
    png = stripped_png(encode_png(alpha))
    assert canvas_alpha(png) is None
    assert np.array_equal(decode_ink(png), alpha)
