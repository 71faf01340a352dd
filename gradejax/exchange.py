"""Drawings in and out: mongoexport's NDJSON, JSON arrays, folders of PNG files; a few at a time, however many."""

import codecs
import io
import json
import os
import re
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from itertools import count, islice
from pathlib import Path
from typing import BinaryIO, TypeVar

from bson import json_util
from bson.codec_options import DatetimeConversion
from bson.errors import BSONError

from gradejax.drawings import Drawing, from_document, to_document
from gradejax.errors import BadDrawing
from gradejax.ink import MAX_PNG_BYTES, decode_ink
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
# What a grade may look like at the beginning of a name. A hyphen before a digit could be either: `A-1`.
_GRADE = re.compile(
    r"(?P<letter>[a-e])((?P<plus>\+|[ _-]?plus)|(?P<minus>[-−–](?!\d)|[ _-]?minus))?(\d*|[ _.(].*)",
    re.IGNORECASE | re.DOTALL,
)
_SPACE = re.compile(r"[ \t\r\n]*")
_CLOSING = {"{": "}", "[": "]"}
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

Source = tuple[str, Callable[[], Drawing]]
"""Where a drawing comes from, for people (`line 7`, `A+/3.png`), and what reads it or raises BadDrawing."""


@dataclass
class Outcome:
    """What an import has done so far.

    Attributes:
        imported: how many drawings are in the store now that were not before.
        already_there: how many the store held already, by their ids.
        refused: how many were refused, by reason.
        first_refused: place and reason of the first few.
    """

    imported: int = 0
    already_there: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    first_refused: list[tuple[str, str]] = field(default_factory=list)


def from_file(file: io.RawIOBase, tags: tuple[str, ...] = ()) -> Iterator[Source]:
    """The documents in a file of NDJSON or one JSON array (extended JSON, canonical or relaxed).

    Args:
        file: open for reading bytes, unbuffered.
        tags: added to each drawing's own.

    A document without `_id` gets one made of its text, so that it is the same drawing when it is imported again.
    """
    buffered = io.BufferedReader(file)
    if buffered.peek().startswith(codecs.BOM_UTF8):
        buffered.read(len(codecs.BOM_UTF8))
    texts = _entries(buffered) if buffered.peek().lstrip().startswith(b"[") else _lines(buffered)
    for place, text in texts:
        yield place, partial(_from_text, text, tags)


def from_folder(folder: Path, tags: tuple[str, ...]) -> list[Source]:
    """The PNG files anywhere below `folder`.

    The grade is in the nearest folder's name that holds one (`A+`, `Aplus`, `a_plus`, `A-minus`, …), else at the
    beginning of the file's own (`A+_0017.png`, `Bminus (3).png`). The id is made of the picture and its grade, the
    date is the file's.
    """
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() == ".png" and path.is_file())
    return [(str(path.relative_to(folder)), partial(_from_picture, path, folder, tags)) for path in paths]


def grade_in(name: str) -> str | None:
    """The grade that a file's or folder's name begins with; None where there is none."""
    match = _GRADE.fullmatch(name)
    if match is None:
        return None
    sign = "+" if match["plus"] else "-" if match["minus"] else ""
    return match["letter"].upper() + sign


def load(store: Store, sources: Iterable[Source], outcome: Outcome) -> None:
    """Writes to `store` what `sources` hold and is sound to the last pixel; `outcome` is kept up to date meanwhile."""
    batch = []
    for (place, _), drawing in in_threads(_examined, sources):
        if isinstance(drawing, Drawing):
            batch.append(drawing)
        else:
            outcome.refused[str(drawing)] += 1
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
    if len(text) > MAX_DOCUMENT_BYTES:
        raise BadDrawing(f"a document of more than {MAX_DOCUMENT_BYTES // 2**20} MB")
    if _parts(text) > MAX_PARTS:
        raise BadDrawing(f"a document of more than {MAX_PARTS:,} parts")
    try:
        document = json_util.loads(text.decode(), json_options=_EXTENDED_JSON)
    except UnicodeDecodeError:
        raise BadDrawing("not UTF-8") from None
    except json.JSONDecodeError:
        raise BadDrawing("not JSON") from None
    except (BSONError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError):
        # json_util does not say which of these: {"$oid": 5}, {"$date": "soon"}, {"$numberDecimal": "x"}, …
        raise BadDrawing("not extended JSON") from None
    if isinstance(document, dict):
        if document.get("_id") is None:
            document["_id"] = sha256(text).hexdigest()[:24]
        if tags and isinstance(document.setdefault("tags", []), list):
            document["tags"] = [*document["tags"], *tags]
    return from_document(document)


def _parts(text: bytes) -> int:
    return sum(map(text.count, (b"{", b"[", b",")))


def _from_picture(path: Path, folder: Path, tags: tuple[str, ...]) -> Drawing:
    within = path.relative_to(folder)
    names = [*reversed(within.parent.parts), folder.resolve().name, path.stem]
    label = next(filter(None, map(grade_in, names)), None)
    if label is None:
        raise BadDrawing("no grade in the name of the file or its folder")
    try:
        # A little more than is allowed, so that what is too large is refused, not cut.
        with path.open("rb") as file:
            png = file.read(MAX_PNG_BYTES + 1)
        date = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except OSError as error:
        raise BadDrawing(f"cannot be read: {error.strerror}") from None
    id = sha256(label.encode() + b"\0" + png).hexdigest()[:24]
    return from_document({"_id": id, "tags": list(tags), "label": label, "data": png, "date": date})


def _lines(file: BinaryIO) -> Iterator[tuple[str, bytes]]:
    for number in count(1):
        line = rest = file.readline(MAX_DOCUMENT_BYTES + 1)
        while len(rest) > MAX_DOCUMENT_BYTES and not rest.endswith(b"\n"):
            rest = file.readline(MAX_DOCUMENT_BYTES + 1)
        if not line:
            return
        if line.strip():
            yield f"line {number}", line.strip()


def _entries(file: BinaryIO) -> Iterator[tuple[str, bytes]]:
    """The texts of a JSON array's entries. Where an entry is not JSON, its end and all that follows are unknown."""
    decode = codecs.getincrementaldecoder("utf-8")("surrogateescape").decode
    find_end = json.JSONDecoder().raw_decode
    text, position, separator, number = "", 0, "[", 1
    while True:
        begin = position
        try:
            begin = _SPACE.match(text, position).end()
            if text[begin] == "]" and separator == ",":
                return
            if text[begin] == separator:
                begin = _SPACE.match(text, begin + 1).end()
                if text[begin] == "]" and separator == "[":
                    return
                _, end = find_end(text, begin)
                text[_SPACE.match(text, end).end()]  # or the entry could go on: 1, 12, 123
                yield f"entry {number}", text[begin:end].encode(errors="surrogateescape")
                position, separator, number = end, ",", number + 1
                continue
        except (IndexError, ValueError, RecursionError) as error:
            # An entry that has not ended does not before its kind of bracket is closed.
            closing = "" if isinstance(error, IndexError) else _CLOSING.get(text[begin], "")
            text, begin, position = text[position:], begin - position, 0
            # Ever larger pieces: a long entry is not gone through more often than it can double. What is there
            # already is all one entry's.
            while len(text) <= MAX_DOCUMENT_BYTES and _parts(text.encode(errors="surrogateescape")) <= MAX_PARTS:
                piece = decode(file.read(max(2**16, len(text))))
                text += piece
                if not piece or closing in piece:
                    break
            else:
                piece = ""
            if piece:
                continue
        yield f"entry {number} and all that follows", text[begin:].encode(errors="surrogateescape")
        return
