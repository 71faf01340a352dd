"""Drawings in and out: mongoexport's NDJSON and JSON; a few at a time, however many."""

import codecs
import io
import json
import os
import re
import zlib
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC
from functools import partial
from hashlib import sha256
from itertools import chain, islice
from typing import Any, BinaryIO, NoReturn, TypeVar

from bson import json_util
from bson.codec_options import DatetimeConversion
from bson.errors import BSONError

from gradejax import ids
from gradejax.drawings import Drawing, from_document, to_document
from gradejax.errors import BadDrawing
from gradejax.ink import decode_ink
from gradejax.stores import Store

MAX_DOCUMENT_BYTES = 32 * 2**20
"""A longer one is refused unread; MongoDB itself holds at most 16 MB."""
MAX_PARTS = 600_000
"""Lists, objects and their entries in a document, more or less: the longest strokes in canonical extended JSON have
450,000. `[[],[],…` of 16 MB would take 340 MB and two seconds to read."""

_BATCH = 500  # drawings to a transaction
_EXTENDED_JSON = json_util.JSONOptions(
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
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

Source = tuple[str, Callable[[], Drawing]]
"""Where a drawing comes from, for people (`line 7`, `A+/3.png`), and what reads it or raises BadDrawing."""


class BrokenOff(BadDrawing):
    """What follows in the file is lost, and not only one drawing."""


@dataclass
class Outcome:
    """What an import has done so far.

    Attributes:
        imported: how many drawings are in the store now that were not before.
        already_there: how many the store held already, by their ids.
        refused: how many were refused, by reason.
        first_refused: place and reason of the first few.
        broken_off: place and reason where the rest of a file is lost.
    """

    imported: int = 0
    already_there: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    first_refused: list[tuple[str, str]] = field(default_factory=list)
    broken_off: str = ""


def from_file(file: io.RawIOBase, tags: tuple[str, ...] = ()) -> Iterator[Source]:
    """The documents in a file: NDJSON, JSON documents one after another, or JSON arrays; extended JSON of each kind.

    Args:
        file: open for reading bytes, unbuffered; gzipped or not, in UTF-8 or UTF-16.
        tags: added to each drawing's own.

    A document without `_id` gets one made of its text, so that it is the same drawing when it is imported again. What
    is whole is read; where the file ends too early, or cannot be read on, the last one raises BrokenOff.
    """
    broken: list[BrokenOff] = []
    pieces = _until_broken(_in_utf8(_unpacked(iter(lambda: file.read(2**16), b""))), broken)
    buffered = io.BufferedReader(_Stream(pieces), 2**16)
    number = 1
    while space := _SPACE.match(buffered.peek())[0]:
        number += buffered.read(len(space)).count(b"\n")
    texts = _entries(buffered) if buffered.peek(1).startswith(b"[") else _documents(_lines(buffered, number))
    for place, text in texts:
        yield place, partial(refuse, text) if isinstance(text, BrokenOff) else partial(_from_text, text, tags)
    if broken:
        yield "the rest", partial(refuse, broken[0])


def refuse(reason: str | BadDrawing) -> NoReturn:
    """What reads a source that holds no drawing."""
    raise reason if isinstance(reason, BadDrawing) else BadDrawing(reason)


def load(store: Store, sources: Iterable[Source], outcome: Outcome) -> None:
    """Writes to `store` what `sources` hold and is sound to the last pixel; `outcome` is kept up to date meanwhile."""
    batch = []
    for (place, _), drawing in in_threads(_examined, sources):
        if isinstance(drawing, Drawing):
            batch.append(drawing)
        else:
            outcome.refused[str(drawing)] += 1
            if isinstance(drawing, BrokenOff):
                outcome.broken_off = f"{place}: {drawing}"
            if len(outcome.first_refused) < 10:
                outcome.first_refused.append((place, str(drawing)))
        if len(batch) == _BATCH:
            _write_batch(store, batch, outcome)
            batch = []
    _write_batch(store, batch, outcome)


def fill(store: Store, drawings: Iterable[Drawing]) -> int:
    """Adds any number of drawings, a transaction for every few hundred; how many were new."""
    drawings = iter(drawings)
    return sum(store.add(batch) for batch in iter(lambda: list(islice(drawings, _BATCH)), []))


def write(file: BinaryIO, drawings: Iterable[Drawing]) -> int:
    """Writes NDJSON (relaxed extended JSON, as mongoexport does) that reads back unchanged; how many lines."""
    n = 0
    for drawing in drawings:
        file.write(json_util.dumps(to_document(drawing), json_options=_EXTENDED_JSON).encode() + b"\n")
        n += 1
    return n


def in_threads(work: Callable[[_Item], _Result], items: Iterable[_Item]) -> Iterator[tuple[_Item, _Result]]:
    """Each item, in order, with what `work` makes of it in one of a few threads; only a few are ahead."""
    threads = os.cpu_count() or 1
    ahead: deque[tuple[_Item, Future[_Result]]] = deque()
    executor = ThreadPoolExecutor(threads)
    try:
        for item in items:
            ahead.append((item, executor.submit(work, item)))
            if len(ahead) > 4 * threads:
                item, result = ahead.popleft()
                yield item, result.result()
        for item, result in ahead:
            yield item, result.result()
    finally:
        executor.shutdown(cancel_futures=True)


def _write_batch(store: Store, batch: list[Drawing], outcome: Outcome) -> None:
    added = store.add(batch)
    outcome.imported += added
    outcome.already_there += len(batch) - added


def _examined(source: Source) -> Drawing | BadDrawing:
    _, read = source
    try:
        drawing = read()
        decode_ink(drawing.png)
    except BadDrawing as error:
        return error
    return drawing


def _from_text(text: bytes, tags: tuple[str, ...]) -> Drawing:
    document = _document(text)
    if isinstance(document, dict):
        if document.get("_id") is None:
            document["_id"] = sha256(text).hexdigest()[:24]
        elif type(document["_id"]) is str:
            document["_id"] = ids.to_text(document["_id"])
        if tags and isinstance(document.setdefault("tags", []), list):
            document["tags"] = [*document["tags"], *tags]
    return from_document(document)


def _document(text: bytes) -> Any:
    if len(text) > MAX_DOCUMENT_BYTES:
        raise BadDrawing(f"a document of more than {MAX_DOCUMENT_BYTES // 2**20} MB")
    if _parts(text) > MAX_PARTS:
        raise BadDrawing(f"a document of more than {MAX_PARTS:,} parts")
    try:
        return json_util.loads(text.decode(), json_options=_EXTENDED_JSON)
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
        _document(text)
    except BadDrawing as error:
        return BrokenOff(f"{error}: the file ends early")
    return text


def _lost(text: bytes) -> BrokenOff:
    """Why an array cannot be read on."""
    try:
        _document(text)
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
