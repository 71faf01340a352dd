"""Documents and pictures, good and bad: which become drawings, and for which reason the others are refused.

The PNGs are written from the specification (https://www.w3.org/TR/png-3/), without the library that decodes them.
"""

import base64
import struct
import time
import zlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from urllib.parse import quote

import cv2
import numpy as np
import pytest
from bson import ObjectId
from bson.int64 import Int64
from hypothesis import given
from hypothesis import strategies as st

from gradejax.drawings import Drawing, from_document, is_object_id, new_id, to_document
from gradejax.errors import BadDrawing
from gradejax.hands.synthetic import write_drawings
from gradejax.ink import decode_ink, encode_png
from gradejax.png import MAX_PNG_BYTES, stripped_png
from gradejax.resampling import resample
from gradejax.scales import LETTERS

GRADES = LETTERS.labels

GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGBA: 4}
SIGNATURE = b"\x89PNG\r\n\x1a\n"

# A ring, off the middle, on a picture that is neither square nor a multiple of eight wide: 0 ground, 1 ink.
ROWS, COLUMNS = np.mgrid[:30, :43]
RING = (np.abs(np.hypot(ROWS - 13, COLUMNS - 18) - 8) < 3).astype(np.uint8)


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def header(width, height, depth=8, colour=GREY, interlaced=0) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced))


def packed(samples: np.ndarray, depth: int) -> bytes:
    """Rows of samples `(height, width, channels)`, each with filter type 0, as a PNG stores them."""
    rows = samples.reshape(len(samples), -1)
    if depth == 16:
        content = rows.astype(">u2").view(np.uint8)
    elif depth == 8:
        content = rows.astype(np.uint8)
    else:
        bits = (rows[..., None] >> np.arange(depth - 1, -1, -1)) & 1
        content = np.packbits(bits.reshape(len(rows), -1).astype(np.uint8), axis=1)
    return b"".join(b"\0" + row.tobytes() for row in content)


def interlaced(samples: np.ndarray, depth: int) -> bytes:
    """The same in Adam7's seven passes."""
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    return b"".join(packed(samples[top::down, left::right], depth) for top, left, down, right in passes)


def make_png(samples, depth=8, colour=GREY, adam7=False, extra=b"") -> bytes:
    samples = samples.reshape(*samples.shape[:2], -1).astype(np.int64)
    assert samples.shape[2] == CHANNELS[colour]
    height, width, _ = samples.shape
    content = zlib.compress((interlaced if adam7 else packed)(samples, depth))
    head = header(width, height, depth, colour, int(adam7))
    # In two pieces: the data of a PNG may be cut anywhere.
    pieces = chunk(b"IDAT", content[:20]) + chunk(b"IDAT", content[20:])
    return SIGNATURE + head + extra + pieces + chunk(b"IEND", b"")


def document(**changes) -> dict:
    good = {
        "_id": ObjectId("65a000000000000000000001"),
        "tags": ["7b"],
        "label": "B+",
        "data": base64.b64encode(encode_png(RING * 255)).decode(),
        "date": datetime(2026, 11, 24, 10, 15, 0, 123456, timezone(timedelta(hours=1))),
    }
    return {name: value for name, value in {**good, **changes}.items() if value is not ...}


def reason(**changes) -> str:
    with pytest.raises(BadDrawing) as error:
        from_document(document(**changes))
    message = str(error.value)
    assert "\n" not in message and len(message) < 200
    message.encode()
    return message


def why_not(png: bytes) -> str:
    with pytest.raises(BadDrawing) as error:
        decode_ink(png)
    return str(error.value)


class TestDocuments:
    def test_the_four_fields_are_enough(self):
        drawing = from_document(document())
        date = datetime(2026, 11, 24, 9, 15, 0, 123000, UTC)
        assert drawing == Drawing("65a000000000000000000001", ("7b",), "B+", encode_png(RING * 255), date)
        assert drawing.date.tzinfo is UTC
        assert to_document(drawing) == document(date=date)

    def test_all_fields_there_and_back(self):
        date = datetime(2026, 11, 24, tzinfo=UTC)
        full = document(
            _id="made in a browser",
            tags=["a", "b"],
            date=date,
            writer="ann",
            strokes=[[{"x": 1, "y": 2.5, "t": 0.25, "pressure": 0.5}, {"x": 2, "y": 3}], []],
            history=[{"label": "A", "date": date}],
            deleted=date,
        )
        assert to_document(from_document(full)) == full

    def test_unknown_fields_are_ignored_and_null_ones_are_absent(self):
        others = dict.fromkeys(["writer", "strokes", "history", "deleted"])
        assert from_document(document(colour="red", added=ObjectId(), **others)) == from_document(document())

    def test_strokes_as_ferretdb_keeps_them(self):
        points = [{"x": Int64(1), "y": 2.0}]
        drawing = from_document(document(strokes=[{"points": points}]))
        assert drawing.strokes == from_document(document(strokes=[points])).strokes == [[{"x": 1, "y": 2.0}]]
        assert type(drawing.strokes[0][0]["x"]) is int

    @pytest.mark.parametrize(
        "name",
        [
            "کلاس\u200cها",
            "3\xa0a",
            "👩\u200d🏫",
            "a\xadb",
            "\u202eabc",
            "x" * 200,
            "🏫" * 200,
            "\ue000",
            " a ",
            "\ufeffa",
        ],
    )
    def test_names_are_kept_as_they_are(self, name):
        drawing = from_document(document(tags=[name], writer=name, _id=name))
        assert (drawing.tags, drawing.writer, drawing.id) == ((name,), name, name)

    @pytest.mark.parametrize(
        "written",
        [
            lambda text: f"data:image/png;base64,{text}",
            lambda text: f"DATA:image/PNG;charset=utf-8;base64,{text}",
            lambda text: f"data:image/png;name=a.png;charset=utf-8;base64,{quote(text)}",
            lambda text: "\r\n".join(text[n : n + 76] for n in range(0, len(text), 76)) + "\n",
            lambda text: text.replace("+", "-").replace("/", "_"),
            lambda text: text.rstrip("="),
        ],
    )
    def test_base64_as_others_write_it(self, written):
        # Pictures whose base64 has padding, and each character of the alphabet.
        for side in range(20, 26):
            png = encode_png(np.random.default_rng(side).integers(0, 256, (side, side), np.uint8))
            assert from_document(document(data=written(base64.b64encode(png).decode()))).png == png

    def test_a_picture_may_come_as_bytes(self):
        assert from_document(document(data=encode_png(RING * 255))) == from_document(document())

    def test_a_document_without_an_id_gets_a_new_one(self):
        one, other = from_document(document(_id=...)), from_document(document(_id=None))
        assert one.id != other.id
        assert is_object_id(one.id)
        assert one.id < new_id()

    def test_a_tag_given_twice_is_one(self):
        assert from_document(document(tags=["a", "b", "a"])).tags == ("a", "b")

    @pytest.mark.parametrize("value", [None, 5, "document", [], b""])
    def test_not_a_document(self, value):
        with pytest.raises(BadDrawing, match="not a document"):
            from_document(value)

    @pytest.mark.parametrize(
        ("changes", "expected"),
        [
            ({"label": "F"}, "unknown label 'F', a grade of us"),
            ({"label": "a+"}, "unknown label 'a+'"),
            ({"label": "\ud800"}, r"unknown label '\ud800'"),
            ({"label": "A\n" * 99}, r"unknown label 'A\nA\nA\nA\nA\nA\nA\nA\nA\nA\n'"),
            ({"label": ["A"]}, "unknown label \"['A']\""),
            ({"label": ...}, "no label"),
            ({"tags": ...}, "no tags"),
            ({"tags": []}, "no tags"),
            ({"tags": "7b"}, "tags are not a list"),
            ({"tags": {"$ne": None}}, "tags are not a list"),
            ({"tags": [["a"]]}, "a tag is not text"),
            ({"tags": ["a", ""]}, "a tag is not 1 to 200 printable characters"),
            ({"tags": ["\u200d\xad\xa0"]}, "a tag is not 1 to 200 printable characters"),
            ({"tags": ["a\u2028b"]}, "a tag is not 1 to 200 printable characters"),
            ({"tags": ["a\u2029b"]}, "a tag is not 1 to 200 printable characters"),
            ({"tags": ["a\x1b[2J"]}, "a tag is not 1 to 200 printable characters"),
            ({"tags": ["a\x00"]}, "a tag is not 1 to 200 printable characters"),
            ({"tags": ["\udc00"]}, "a tag is not 1 to 200 printable characters"),
            ({"tags": ["a" * 201]}, "a tag is not 1 to 200 printable characters"),
            ({"tags": list(map(str, range(33)))}, "more than 32 tags"),
            ({"data": ...}, "no data"),
            ({"data": 5}, "data is not text"),
            ({"data": "data:image/png;base64,AAAA"}, "not a PNG"),
            ({"data": "data:image/jpeg;base64,AAAA"}, "a picture of type 'image/jpeg', not a PNG"),
            ({"data": "data:\x1b[2J;base64,AAAA"}, r"a picture of type '\x1b[2J', not a PNG"),
            ({"data": "data:image/png,AAAA"}, "a data URL that is not base64"),
            ({"data": "A"}, "not base64"),
            ({"data": "AAA!"}, "not base64"),
            ({"data": "Ä" * 4}, "not base64"),
            ({"data": "\ud800" * 4}, "not base64"),
            ({"data": ""}, "not a PNG"),
            ({"data": base64.b64encode(b"GIF89a").decode()}, "not a PNG"),
            ({"data": "A" * (MAX_PNG_BYTES * 4 // 3 + 8)}, "image of more than 8 MB"),
            ({"data": b"A" * (MAX_PNG_BYTES + 1)}, "image of more than 8 MB"),
            ({"date": ...}, "no date"),
            ({"date": "2026-11-24"}, "date is not a date"),
            ({"date": 1700000000}, "date is not a date"),
            ({"date": datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14)))}, "date is out of range"),
            ({"_id": True}, "_id is not text, a number, a date or binary"),
            ({"_id": {"$ne": None}}, "_id is not text, a number, a date or binary"),
            ({"_id": " "}, "_id is not 1 to 200 printable characters"),
            ({"writer": 7}, "writer is not text"),
            ({"writer": ""}, "writer is not 1 to 200 printable characters"),
            ({"deleted": 2}, "deleted is not a date"),
            ({"strokes": {}}, "strokes are not a list"),
            ({"strokes": [5]}, "a stroke is not a list of points"),
            ({"strokes": [{"points": 5}]}, "a stroke is not a list of points"),
            ({"strokes": [[[1, 2]]]}, "a stroke's point is not {x, y, t, pressure}"),
            ({"strokes": [[{"x": 1}]]}, "a stroke's point is not {x, y, t, pressure}"),
            ({"strokes": [[{"x": 1, "y": 1, "z": 1}]]}, "a stroke's point is not {x, y, t, pressure}"),
            ({"strokes": [[{"x": 1, "y": float("nan")}]]}, "a stroke's point holds something that is not a number"),
            ({"strokes": [[{"x": 1, "y": float("-inf")}]]}, "a stroke's point holds something that is not a number"),
            ({"strokes": [[{"x": 1, "y": True}]]}, "a stroke's point holds something that is not a number"),
            ({"strokes": [[{"x": 1, "y": None}]]}, "a stroke's point holds something that is not a number"),
            ({"strokes": [[{"x": 1, "y": 10**400}]]}, "a stroke's point holds something that is not a number"),
            ({"strokes": [[{"x": 1, "y": 1}] * 30_000] * 2}, "strokes of more than 50000 points"),
            ({"history": {}}, "history is not a list of {label, date}"),
            ({"history": [5]}, "history is not a list of {label, date}"),
            ({"history": [{"label": 5}]}, "history is not a list of {label, date}"),
            ({"history": [{"label": "\ud800"}]}, "history is not a list of {label, date}"),
            ({"history": [{"label": "A"}]}, "no history date"),
        ],
    )
    def test_the_reason(self, changes, expected):
        assert reason(**changes) == expected

    ANYTHING = st.recursive(
        st.one_of(
            *(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.datetimes()),
            st.sampled_from([*GRADES, ObjectId(), Int64(3), document()["data"], encode_png(RING * 255)]),
        ),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
        max_leaves=12,
    )
    FIELDS = st.sampled_from([*document(), "writer", "strokes", "history", "deleted"])

    @given(st.dictionaries(FIELDS, ANYTHING, max_size=3), st.booleans())
    def test_anything_is_a_drawing_or_refused(self, changes, complete):
        try:
            drawing = from_document({**document(), **changes} if complete else changes)
        except BadDrawing as error:
            str(error).encode()
        else:
            assert from_document(to_document(drawing)) == drawing

    POINT = st.fixed_dictionaries(
        {"x": st.floats(-1e6, 1e6), "y": st.integers(-1000, 1000)}, optional={"t": st.floats(0, 1e9)}
    )

    @given(
        st.builds(
            Drawing,
            id=st.text("0123456789abcdef", min_size=24, max_size=24) | st.text("xyz-7", min_size=1),
            tags=st.lists(st.text("aä👋 $.", min_size=1).filter(str.strip), min_size=1, max_size=4, unique=True).map(
                tuple
            ),
            label=st.sampled_from(GRADES),
            png=st.just(encode_png(RING * 255)),
            date=st.datetimes(timezones=st.just(UTC)).map(lambda date: date.replace(microsecond=5000)),
            writer=st.none() | st.just("ann"),
            strokes=st.none() | st.lists(st.lists(POINT, max_size=3), max_size=3),
        )
    )
    def test_a_drawing_is_the_same_after_its_document(self, drawing):
        assert from_document(to_document(drawing)) == drawing


class TestInk:
    @pytest.mark.parametrize("adam7", [False, True])
    @pytest.mark.parametrize("dark", [True, False])
    @pytest.mark.parametrize(
        ("colour", "depth"), [(GREY, 1), (GREY, 2), (GREY, 4), (GREY, 8), (GREY, 16), (RGB, 8), (RGB, 16)]
    )
    def test_dark_on_light_and_light_on_dark(self, colour, depth, dark, adam7):
        samples = (1 - RING if dark else RING) * np.int64(2**depth - 1)
        samples = np.repeat(samples[..., None], CHANNELS[colour], axis=2)
        np.testing.assert_array_equal(decode_ink(make_png(samples, depth, colour, adam7)), RING * 255)

    @pytest.mark.parametrize("adam7", [False, True])
    @pytest.mark.parametrize(("colour", "depth"), [(GREY_ALPHA, 8), (GREY_ALPHA, 16), (RGBA, 8), (RGBA, 16)])
    def test_alpha_is_the_ink_whatever_the_colour(self, colour, depth, adam7):
        samples = np.random.default_rng(0).integers(0, 2**depth, (*RING.shape, CHANNELS[colour]))
        ink = np.where(RING, 255 - ROWS, COLUMNS).astype(np.uint8)
        samples[..., -1] = ink.astype(np.int64) * (257 if depth == 16 else 1)
        np.testing.assert_array_equal(decode_ink(make_png(samples, depth, colour, adam7)), ink)

    @pytest.mark.parametrize(("colour", "depth"), [(GREY_ALPHA, 8), (GREY_ALPHA, 16), (RGBA, 8), (RGBA, 16)])
    def test_a_fully_opaque_alpha_channel_is_ignored(self, colour, depth):
        samples = np.repeat((1 - RING)[..., None], CHANNELS[colour], axis=2) * np.int64(2**depth - 1)
        samples[..., -1] = 2**depth - 1
        np.testing.assert_array_equal(decode_ink(make_png(samples, depth, colour)), RING * 255)

    @pytest.mark.parametrize("depth", [1, 2, 4, 8])
    def test_a_palette(self, depth):
        colours = np.array([[255, 255, 255], [0, 0, 0]], np.uint8)
        extra = chunk(b"PLTE", colours.tobytes())
        np.testing.assert_array_equal(decode_ink(make_png(RING, depth, PALETTE, extra=extra)), RING * 255)

    @pytest.mark.parametrize("depth", [1, 8])
    def test_a_palette_with_transparency(self, depth):
        extra = chunk(b"PLTE", bytes([9, 9, 9, 200, 0, 0])) + chunk(b"tRNS", bytes([0, 240]))
        np.testing.assert_array_equal(decode_ink(make_png(RING, depth, PALETTE, extra=extra)), RING * 240)

    def test_grey_paper_leaves_no_ink(self):
        paper = np.where(RING, 40, 190)
        ink = decode_ink(make_png(paper))
        assert ink[RING == 0].max() == 0
        assert ink[RING == 1].min() == round((190 - 40) * 255 / 190)

    def test_other_chunks_do_not_matter(self):
        bomb = chunk(b"iCCP", b"name\0\0" + zlib.compress(bytes(2**24)))
        text = chunk(b"tEXt", b"Comment\0hello")[:-1] + b"!"  # not even its checksum
        png = encode_png(RING * 255)
        with_extras = png[:33] + bomb + text + chunk(b"acTL", bytes(8)) + png[33:]
        np.testing.assert_array_equal(decode_ink(with_extras + b"and more after the end"), RING * 255)

    def test_chunks_that_the_ink_does_not_need_are_stripped(self):
        png = encode_png(RING * 255)
        with_extras = png[:33] + chunk(b"tEXt", b"Comment\0hello") + chunk(b"pHYs", bytes(9)) + png[33:] + b"more"
        assert stripped_png(with_extras) == stripped_png(png) == png
        palette = chunk(b"PLTE", bytes([9, 9, 9, 200, 0, 0])) + chunk(b"tRNS", bytes([0, 240]))
        assert stripped_png(make_png(RING, 8, PALETTE, extra=palette)) == make_png(RING, 8, PALETTE, extra=palette)

    def test_one_pixel(self):
        for value in (0, 100, 255):
            assert decode_ink(make_png(np.array([[value]]))).tolist() == [[0]]

    @given(st.integers(1, 40), st.integers(1, 40), st.randoms(use_true_random=False))
    def test_ink_is_the_same_after_its_png(self, height, width, random):
        ink = np.frombuffer(random.randbytes(height * width), np.uint8).reshape(height, width).copy()
        ink[0, 0] = 7  # a fully solid picture does not tell ink from ground
        np.testing.assert_array_equal(decode_ink(encode_png(ink)), ink)

    def test_resampling_keeps_the_share_of_ink_and_the_shape(self):
        ink = np.zeros((280, 140), np.uint8)
        ink[70:210, 30:110] = 255
        small = resample(ink, 28)
        assert small.shape == (28, 28)
        assert small.mean() == pytest.approx(255 * 140 * 80 / 280**2, abs=0.5)
        rows, columns = np.nonzero(small > 127)
        assert np.ptp(rows) + 1 == 14 and np.ptp(columns) + 1 == 8
        assert rows.mean() == columns.mean() == 13.5


@pytest.fixture(scope="module")
def grades_ink() -> list[np.ndarray]:
    """The ink of a few grades at a canvas's size."""
    return [decode_ink(drawing.png) for drawing in write_drawings(15, seed=4, writers=5)]


def png_of(picture: np.ndarray) -> bytes:
    """Grey, BGR or BGRA, of numbers from 0 to 255."""
    return cv2.imencode(".png", np.clip(np.rint(picture), 0, 255).astype(np.uint8))[1].tobytes()


def drawn(ink: np.ndarray, paper: int | tuple, pen: int | tuple) -> np.ndarray:
    """BGR: `ink` in a pen's colour on paper."""
    share = ink[..., None] / 255
    return (1 - share) * np.broadcast_to(paper, (*ink.shape, 3)) + share * np.broadcast_to(pen, (*ink.shape, 3))


def with_alpha(colours: np.ndarray | int, alpha: np.ndarray | int, shape: tuple = (280, 280)) -> np.ndarray:
    return np.dstack([np.broadcast_to(colours, (*shape, 3)), np.broadcast_to(alpha, shape)])


def sheet(alpha_at_edge: int = 0, radius: int = 24) -> np.ndarray:
    """Alpha of a sheet with round corners."""
    inner = np.zeros((280, 280), np.uint8)
    inner[radius:-radius, radius:-radius] = 255
    grown = cv2.dilate(inner, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1)))
    return np.maximum(grown, alpha_at_edge)


def noise(sigma: float) -> np.ndarray:
    return np.random.default_rng(1).normal(0, sigma, (280, 280, 1))


def framed(picture: np.ndarray, shade: int) -> np.ndarray:
    return cv2.copyMakeBorder(picture[2:-2, 2:-2], 2, 2, 2, 2, cv2.BORDER_CONSTANT, value=(shade,) * 3)


def jpeg(picture: np.ndarray) -> np.ndarray:
    return cv2.imdecode(cv2.imencode(".jpg", picture.astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 30])[1], 1)


def one_pixel(alpha: int) -> np.ndarray:
    everywhere = np.full((280, 280), 255)
    everywhere[0, 0] = alpha
    return everywhere


ACROSS = np.mgrid[:280, :280].sum(axis=0)[..., None] / 560  # 0 at the top left, 1 at the bottom right
FROM_THE_MIDDLE = (np.square((np.mgrid[:280, :280] - 140) / 140).sum(axis=0) / 2)[..., None]
PICTURES = {
    "a canvas": lambda ink: with_alpha(0, ink),
    "a canvas, blue": lambda ink: with_alpha((200, 60, 20), ink),
    "a canvas, white": lambda ink: with_alpha(255, ink),
    "a canvas in two colours": lambda ink: with_alpha(np.where(ACROSS < 0.5, (200, 0, 0), (0, 0, 200)), ink),
    "one pixel of alpha 254": lambda ink: with_alpha(drawn(ink, 255, 0), one_pixel(254)),
    "one pixel of alpha 0, dark": lambda ink: with_alpha(drawn(ink, 0, 255), one_pixel(0)),
    "edges half transparent": lambda ink: with_alpha(
        drawn(ink, 255, 0), np.pad(np.full((278, 278), 255), 1, constant_values=128)
    ),
    "round corners": lambda ink: with_alpha(drawn(ink, 255, 0) * (sheet()[..., None] > 0), sheet()),
    "round corners, dark": lambda ink: with_alpha(drawn(ink, 20, 240) * (sheet()[..., None] > 0), sheet()),
    "alpha 128 everywhere": lambda ink: with_alpha(drawn(ink, 255, 0), 128),
    "on a layer of alpha 128": lambda ink: with_alpha(drawn(ink, 255, 0), 128 + ink * (127 / 255)),
    "white below the strokes": lambda ink: with_alpha(drawn(ink, 255, 0), cv2.dilate(ink, np.ones((15, 15)))),
    "dark on light": lambda ink: drawn(ink, 255, 0),
    "light on dark": lambda ink: drawn(ink, 0, 255),
    "dark mode": lambda ink: drawn(ink, 30, 220),
    "a green blackboard": lambda ink: drawn(ink, (60, 80, 40), (230, 235, 230)) + noise(4),
    "on middle grey": lambda ink: drawn(ink, 120, 0),
    "white on light grey": lambda ink: drawn(ink, 170, 255),
    "pencil": lambda ink: drawn(ink, 245, 170),
    "pencil and noise": lambda ink: drawn(ink, 245, 170) + noise(3),
    "hardly visible": lambda ink: drawn(ink, 240, 215),
    "uneven light": lambda ink: drawn(ink, 255, 20) * (1 - 0.48 * ACROSS),
    "uneven light, pencil, noise": lambda ink: drawn(ink, 245, 150) * (1 - 0.4 * ACROSS) + noise(3),
    "a lamp": lambda ink: drawn(ink, 240, 30) * (1 - 0.6 * FROM_THE_MIDDLE),
    "yellow on white": lambda ink: drawn(ink, 255, (0, 255, 255)),
    "red on white": lambda ink: drawn(ink, 255, (30, 30, 220)),
    "blue on yellow": lambda ink: drawn(ink, (140, 240, 250), (150, 50, 30)),
    "a frame": lambda ink: framed(drawn(ink, 255, 0), 0),
    "a frame, dark": lambda ink: framed(drawn(ink, 20, 230), 200),
    "JPEG": lambda ink: jpeg(drawn(ink, 255, 0)),
    "a photo": lambda ink: jpeg(
        (drawn(ink, (215, 220, 225), (110, 80, 70)) * (1 - 0.2 * ACROSS) + noise(4)).clip(0, 255)
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", PICTURES)
def test_the_same_ink_whatever_the_picture(grades_ink, kind):
    for ink in grades_ink[:3]:
        decoded = decode_ink(png_of(PICTURES[kind](ink)))
        error = np.square(decoded - ink.astype(float)).sum() / np.square(ink.astype(float)).sum()
        assert error < 0.15
        assert decoded[cv2.dilate(ink, np.ones((9, 9))) == 0].mean() < 3, "ink on bare ground"
        assert decoded[ink > 200].mean() > 150


@pytest.mark.parametrize("kind", ["a canvas", "a canvas, blue", "a canvas, white", "dark on light", "light on dark"])
def test_the_ink_of_a_clean_picture_is_exact(grades_ink, kind):
    for ink in grades_ink:
        np.testing.assert_array_equal(decode_ink(png_of(PICTURES[kind](ink))), ink)


def test_a_window_and_its_shadow(grades_ink):
    window = np.pad(np.full((280, 280), 255.0), 40)
    alpha = np.maximum(window, cv2.GaussianBlur(window / 2, (0, 0), 12))
    for ink in grades_ink[:3]:
        colours = np.pad(drawn(ink, 255, 0), ((40, 40), (40, 40), (0, 0)))
        np.testing.assert_array_equal(decode_ink(png_of(with_alpha(colours, alpha, (360, 360)))), np.pad(ink, 40))


@pytest.mark.parametrize(("colour", "paper"), [(GREY, [255]), (RGB, [255, 255, 255])])
def test_a_transparent_colour(colour, paper):
    """The chunk tRNS of a picture without an alpha channel names one colour."""
    samples = np.repeat((1 - RING)[..., None] * 255, CHANNELS[colour], axis=2)
    extra = chunk(b"tRNS", struct.pack(f">{len(paper)}H", *paper))
    np.testing.assert_array_equal(decode_ink(make_png(samples, 8, colour, extra=extra)), RING * 255)


EMPTY = np.zeros((280, 280), np.uint8)


@pytest.mark.parametrize(
    "picture",
    [*[PICTURES[kind](EMPTY) for kind in PICTURES], drawn(EMPTY, 180, 0) + noise(10), drawn(EMPTY, 30, 0) + noise(5),
     np.where(noise(1) > 0, 254, 255), np.where(noise(1) > 3, 235, 245), with_alpha(0, 255),
     with_alpha(0, one_pixel(254)), with_alpha(0, sheet()), with_alpha(180, 128), with_alpha(255, 0)],
)  # fmt: skip
def test_blank_paper_stays_blank(picture):
    assert decode_ink(png_of(picture)).max() <= 32


@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3, 4]), st.randoms(use_true_random=False))
def test_the_smallest_pictures_have_ink(height, width, channels, random):
    picture = np.frombuffer(random.randbytes(height * width * channels), np.uint8).reshape(height, width, channels)
    assert decode_ink(png_of(picture)).shape == (height, width)


class TestBadPictures:
    PNG = make_png(np.random.default_rng(0).integers(0, 256, (16, 16, 4)), 8, RGBA)

    @pytest.mark.parametrize("size", [(50_000, 50_000), (4097, 1), (1, 2**31 - 1), (0, 5), (5, 0)])
    def test_too_large_or_empty_by_its_header(self, size):
        width, height = size
        bomb = SIGNATURE + header(width, height) + chunk(b"IDAT", zlib.compress(bytes(10**6))) + chunk(b"IEND", b"")
        expected = f"image of {width} x {height} pixels; each side must be from 1 to 4096"
        assert why_not(bomb) == expected
        assert reason(data=base64.b64encode(bomb).decode()) == expected

    def test_as_large_as_allowed(self):
        assert decode_ink(make_png(np.zeros((1, 4096)))).shape == (1, 4096)
        assert decode_ink(make_png(np.zeros((4096, 1)))).shape == (4096, 1)

    def test_cut_anywhere(self):
        assert decode_ink(self.PNG).shape == (16, 16)
        for end in range(len(self.PNG)):
            assert why_not(self.PNG[:end]).startswith(("not a PNG", "damaged PNG"))

    def test_any_flipped_bit(self):
        for place in range(len(self.PNG)):
            for bit in (1, 128):
                flipped = bytearray(self.PNG)
                flipped[place] ^= bit
                assert why_not(bytes(flipped))

    @pytest.mark.parametrize(
        ("content", "what"),
        [
            (zlib.compress(packed(RING[..., None] * 255, 8))[:-4], "no checksum of the data"),
            (zlib.compress(packed(RING[..., None] * 255, 8))[:30], "data cut in the middle"),
            (zlib.compress(packed(RING[:20, :, None] * 255, 8)), "rows that are missing"),
            (b"", "no data"),
            (b"not deflated", "no deflate stream"),
            (zlib.compress(b"\x07" * (30 * 44)), "filters that do not exist"),
        ],
    )
    def test_invalid_data_in_whole_chunks(self, content, what):
        height, width = RING.shape
        png = SIGNATURE + header(width, height) + chunk(b"IDAT", content) + chunk(b"IEND", b"")
        assert why_not(png) == "damaged PNG: its pixels cannot be read", what

    @pytest.mark.parametrize("side", [4, 1000])
    def test_data_that_unpacks_to_more_than_the_picture_is_not_unpacked(self, side):
        deflate = zlib.compressobj()
        start = deflate.compress(bytes(2**20)) + deflate.flush(zlib.Z_FULL_FLUSH)
        # Blocks after a full flush can be repeated: 4 GB from 4 MB.
        more = deflate.compress(bytes(2**20)) + deflate.flush(zlib.Z_FULL_FLUSH)
        png = SIGNATURE + header(side, side) + chunk(b"IDAT", start + more * 4096) + chunk(b"IEND", b"")
        assert len(png) < MAX_PNG_BYTES
        began = time.process_time()
        assert why_not(png) == "damaged PNG: it has more data than pixels"
        assert time.process_time() - began < 0.5

    @pytest.mark.parametrize("adam7", [False, True])
    def test_a_large_picture_is_not_taken_for_a_bomb(self, adam7):
        noise = np.random.default_rng(0).integers(0, 256, (500, 333, 3))
        noise[[0, -1]] = 255
        assert decode_ink(make_png(noise, 8, RGB, adam7)).shape == (500, 333)

    @pytest.mark.parametrize(
        ("png", "expected"),
        [
            (SIGNATURE + header(4, 4) + header(4000, 4000) + TestInk.__name__.encode(), "two headers"),
            (SIGNATURE + header(4, 4, 3), "colour type 0 does not go with 3 bits"),
            (SIGNATURE + header(4, 4, 8, 5), "colour type 5 does not go with 8 bits"),
            (SIGNATURE + header(4, 4) + chunk(b"IEND", b""), "it has no pixels"),
            (SIGNATURE + header(4, 4, 8, PALETTE) + chunk(b"IDAT", zlib.compress(bytes(20))) + chunk(b"IEND", b""), ""),
            (SIGNATURE + b"\0\0\0\x0eIHDR" + bytes(30), "not a PNG"),
        ],
    )
    def test_chunks_that_do_not_make_a_picture(self, png, expected):
        assert expected in why_not(png)

    EDITS = st.lists(
        st.tuples(st.integers(0, len(PNG) - 1), st.integers(0, 12), st.binary(max_size=12)), min_size=1, max_size=4
    )

    @given(EDITS)
    def test_a_mangled_picture_is_ink_or_refused(self, edits):
        mangled = self.PNG
        for place, cut, inserted in edits:
            mangled = mangled[:place] + inserted + mangled[place + cut :]
        self.assert_ink_or_refused(mangled)

    @given(EDITS)
    def test_mangled_data_in_whole_chunks_is_ink_or_refused(self, edits):
        content = zlib.compress(packed(np.zeros((16, 16, 4)), 8))
        for place, cut, inserted in edits:
            place = min(place, len(content))
            content = content[:place] + inserted + content[place + cut :]
        png = SIGNATURE + header(16, 16, 8, RGBA) + chunk(b"IDAT", content) + chunk(b"IEND", b"")
        self.assert_ink_or_refused(png)

    @given(
        st.lists(st.sampled_from([b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"fdAT", b"acTL"]), max_size=6),
        st.data(),
    )
    def test_any_chunks_in_any_order_are_ink_or_refused(self, kinds, data):
        chunks = [chunk(kind, data.draw(st.binary(max_size=20))) for kind in kinds]
        colour, depth = data.draw(st.sampled_from([(GREY, 1), (PALETTE, 4), (RGB, 16), (RGBA, 8)]))
        self.assert_ink_or_refused(SIGNATURE + header(5, 3, depth, colour) + b"".join(chunks) + chunk(b"IEND", b""))

    def assert_ink_or_refused(self, png: bytes):
        try:
            ink = decode_ink(png)
        except BadDrawing as error:
            assert str(error).startswith(("not a PNG", "damaged PNG", "image of"))
        else:
            assert ink.dtype == np.uint8 and ink.ndim == 2


def test_a_drawing_cannot_be_changed_by_accident():
    with pytest.raises(AttributeError):
        from_document(document()).label = "A"
    assert replace(from_document(document()), label="A").label == "A"
