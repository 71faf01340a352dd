"""The texts of the documents in a file: NDJSON, JSON documents one after another, arrays; a few at a time."""

import codecs
import io
import json
import re
import zlib
from collections.abc import Iterator
from datetime import UTC
from itertools import chain
from typing import Any

from bson import json_util
from bson.codec_options import DatetimeConversion
from bson.errors import BSONError

from gradejax.errors import BadDrawing

MAX_DOCUMENT_BYTES = 32 * 2**20
"""A longer one is refused unread; MongoDB itself holds at most 16 MB."""
MAX_PARTS = 600_000
"""Lists, objects and their entries in a document, more or less: the longest strokes in canonical extended JSON have
450,000. `[[],[],…` of 16 MB would take 340 MB and two seconds to read."""

EXTENDED_JSON = json_util.JSONOptions(
    json_mode=json_util.JSONMode.RELAXED,
    tz_aware=True,
    tzinfo=UTC,
    datetime_conversion=DatetimeConversion.DATETIME_AUTO,
)
_SPACE = re.compile(rb"[ \t\r\n]*")
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_SCALAR = re.compile(_STRING.pattern + rb"|[^ \t\r\n,\[\]{}\"]*", re.DOTALL)
_BRACKET = re.compile(rb'(?:[^"\[\]{}]++|' + _STRING.pattern + rb")*+([\[\]{}])", re.DOTALL)
_GZIP = b"\x1f\x8b"
_MAX_RATIO = 250  # documents are packed to a fifth; a bomb to a thousandth


class BrokenOff(BadDrawing):
    """What follows in the file is lost, and not only one drawing."""


def texts(file: io.RawIOBase) -> Iterator[tuple[str, bytes | BrokenOff]]:
    """Each document's place, for people, and its text; or, where the file cannot be read on, why not.

    Args:
        file: open for reading bytes, unbuffered; gzipped or not, in UTF-8 or UTF-16.
    """
    broken: list[BrokenOff] = []
    pieces = _until_broken(_in_utf8(_unpacked(iter(lambda: file.read(2**16), b""))), broken)
    buffered = io.BufferedReader(_Stream(pieces), 2**16)
    number = 1
    while space := _SPACE.match(buffered.peek())[0]:
        number += buffered.read(len(space)).count(b"\n")
    yield from _entries(buffered) if buffered.peek(1).startswith(b"[") else _documents(_lines(buffered, number))
    if broken:
        yield "the rest", broken[0]


def parsed(text: bytes) -> Any:
    """What a document's text says, as extended JSON, canonical or relaxed. Raises BadDrawing where it is none."""
    if len(text) > MAX_DOCUMENT_BYTES:
        raise BadDrawing(f"a document of more than {MAX_DOCUMENT_BYTES // 2**20} MB")
    if _parts(text) > MAX_PARTS:
        raise BadDrawing(f"a document of more than {MAX_PARTS:,} parts")
    try:
        return json_util.loads(text.decode(), json_options=EXTENDED_JSON)
    except UnicodeDecodeError:
        raise BadDrawing("not UTF-8") from None
    except json.JSONDecodeError:
        raise BadDrawing("not JSON") from None
    except (BSONError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError):
        # json_util does not say which of these: {"$oid": 5}, {"$date": "soon"}, {"$numberDecimal": "x"}, …
        raise BadDrawing("not extended JSON") from None


def _parts(text: bytes) -> int:
    return sum(map(text.count, (b"{", b"[", b",")))


class _Stream(io.RawIOBase):
    """Pieces of bytes as a file to read."""

    def __init__(self, pieces: Iterator[bytes]):
        self._pieces = pieces
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:
        while not self._left:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._left = piece
        n = min(len(buffer), len(self._left))
        buffer[:n], self._left = self._left[:n], self._left[n:]
        return n


def _head(pieces: Iterator[bytes], length: int) -> tuple[bytes, Iterator[bytes]]:
    """The first few bytes, and all of them."""
    head = b""
    for piece in pieces:
        head += piece
        if len(head) >= length:
            break
    return head, chain([head], pieces)


def _unpacked(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """What is in a gzip file, in pieces; anything else as it is."""
    head, pieces = _head(pieces, len(_GZIP))
    if not head.startswith(_GZIP):
        yield from pieces
        return
    packed = unpacked = 0
    inflate = zlib.decompressobj(zlib.MAX_WBITS + 16)
    for piece in pieces:
        packed += len(piece)
        while piece:
            if inflate.eof:  # another member, as `cat a.gz b.gz` makes
                inflate = zlib.decompressobj(zlib.MAX_WBITS + 16)
            try:
                out = inflate.decompress(piece, 2**20)
            except zlib.error:
                raise BrokenOff("the gzip file is damaged") from None
            unpacked += len(out)
            if unpacked > 2**24 + _MAX_RATIO * packed:
                raise BrokenOff(f"the gzip file unpacks to more than {_MAX_RATIO} times its size")
            yield out
            piece = inflate.unused_data if inflate.eof else inflate.unconsumed_tail
    yield inflate.flush()
    if not inflate.eof:
        raise BrokenOff("the gzip file ends early")


def _in_utf8(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The same text in UTF-8, without a byte order mark."""
    head, pieces = _head(pieces, 4)
    encoding = json.detect_encoding(head)
    if encoding == "utf-8":
        yield from pieces
        return
    if encoding == "utf-8-sig":
        yield next(pieces)[len(codecs.BOM_UTF8) :]
        yield from pieces
        return
    decode = codecs.getincrementaldecoder(encoding)().decode
    try:
        for piece in pieces:
            yield decode(piece).encode()
        yield decode(b"", True).encode()
    except UnicodeDecodeError:
        raise BrokenOff(f"not {encoding.upper()}") from None


def _until_broken(pieces: Iterator[bytes], broken: list[BrokenOff]) -> Iterator[bytes]:
    """`pieces` as far as they can be had; why not farther is added to `broken`."""
    try:
        yield from pieces
    except BrokenOff as error:
        broken.append(error)


def _lines(file: io.BufferedReader, number: int) -> Iterator[tuple[int, bytes]]:
    while line := file.readline(MAX_DOCUMENT_BYTES + 1):
        rest = line
        while len(rest) > MAX_DOCUMENT_BYTES and not rest.endswith(b"\n"):
            rest = file.readline(MAX_DOCUMENT_BYTES + 1)
        yield number, line
        number += 1


def _documents(lines: Iterator[tuple[int, bytes]]) -> Iterator[tuple[str, bytes | BrokenOff]]:
    """Documents of a line each, or printed over several. A brace at the beginning of a line begins a document, whatever
    became of the one before."""
    begun, first, depth, size = [], 0, 0, 0
    for number, line in lines:
        if begun and line.startswith(b"{"):
            yield f"line {first}", b"".join(begun)
            begun = []
        text = line.strip()
        if not begun:
            if not text:
                continue
            if not text.startswith(b"{") or text.endswith(b"}"):
                ended = line.endswith(b"\n") or not text.startswith(b"{")
                yield f"line {number}", text if ended else _last(text)
                continue
            first, depth, size = number, 0, 0
        begun.append(line)
        size += len(line)
        if size <= MAX_DOCUMENT_BYTES:
            outside = _STRING.sub(b"", text)
            depth += outside.count(b"{") - outside.count(b"}")
        if depth <= 0 or size > MAX_DOCUMENT_BYTES:
            yield f"line {first}", b"".join(begun)
            begun = []
    if begun:
        yield f"line {first}", _last(b"".join(begun))


def _last(text: bytes) -> bytes | BrokenOff:
    """A document that the end of the file may have cut off: itself where it is whole."""
    try:
        parsed(text)
    except BadDrawing as error:
        return BrokenOff(f"{error}: the file ends early")
    return text


def _lost(text: bytes) -> BrokenOff:
    """Why an array cannot be read on."""
    try:
        parsed(text)
    except BadDrawing as error:
        return BrokenOff(str(error))
    return BrokenOff("not JSON")


def _entries(file: io.BufferedReader) -> Iterator[tuple[str, bytes | BrokenOff]]:
    """The texts of the entries of JSON arrays, one array after another.

    Only brackets are looked at here, and what stands between entries: whether an entry is JSON is seen later.
    """
    text, at, number = b"", 0, 1

    def more() -> bytes:
        # Ever larger pieces: a long entry is not gone through more often than it can double.
        nonlocal text, at
        piece = file.read(max(2**16, len(text) - at))
        text, at = text[at:] + piece, 0
        return piece

    def next_character() -> bytes:
        nonlocal at
        while (after := _SPACE.match(text, at).end()) == len(text):
            at = after
            if not more():
                return b""
        at = after
        return text[at : at + 1]

    def end_of_entry() -> int | None:
        """Where the entry that begins at `at` ends; None where it does not, or there is too much of it."""
        if text[at : at + 1] not in (b"{", b"["):
            while (end := _SCALAR.match(text, at).end()) == len(text) or (end == at and text[at : at + 1] == b'"'):
                if len(text) - at > MAX_DOCUMENT_BYTES or not more():
                    return None
            return end if end > at else None
        depth, parts, length = 0, 0, 0
        while parts <= MAX_PARTS and length <= MAX_DOCUMENT_BYTES:
            found = _BRACKET.match(text, at + length)
            if found is None:  # all that is there is one entry's, and it does not end before another bracket comes
                piece = b""
                while b"}" not in piece and b"]" not in piece:
                    if len(text) - at > MAX_DOCUMENT_BYTES or _parts(text) > MAX_PARTS or not (piece := more()):
                        return None
                continue
            length, parts = found.end() - at, parts + 1
            depth += 1 if found[1] in (b"{", b"[") else -1
            if depth == 0:
                return at + length
        return None

    def lost() -> BrokenOff:
        too_early = text[at : at + 1] in (b"", b"{", b"[", b'"') and len(text) - at <= MAX_DOCUMENT_BYTES
        if too_early and not file.peek(1):
            return BrokenOff("not JSON: the file ends early")
        return _lost(text[at : at + MAX_DOCUMENT_BYTES + 1])

    while (bracket := next_character()) == b"[":
        at += 1
        separator = b","
        if next_character() == b"]":
            at, separator = at + 1, b"]"
        while separator == b",":
            end = end_of_entry() if next_character() else None
            if end is None:
                yield f"entry {number} and all that follows", lost()
                return
            yield f"entry {number}", text[at:end]
            number, at = number + 1, end
            separator = next_character()
            if separator not in (b",", b"]"):
                yield f"entry {number} and all that follows", lost()
                return
            at += 1
    if bracket:
        yield "what follows the array", BrokenOff("it is not another array")
