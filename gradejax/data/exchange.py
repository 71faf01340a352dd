"""Drawings in and out: mongoexport's NDJSON and JSON; a few at a time, however many."""

import io
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from itertools import islice
from typing import BinaryIO, NoReturn

from bson import json_util

from gradejax import ids
from gradejax.data import documents
from gradejax.drawings import Drawing, from_document, to_document
from gradejax.errors import BadDrawing
from gradejax.ink import decode_ink
from gradejax.stores import Store
from gradejax.threads import parallel_map

_BATCH = 500  # drawings to a transaction

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
    for place, text in documents.texts(file):
        yield place, partial(refuse, text) if isinstance(text, documents.BrokenOff) else partial(_from_text, text, tags)


def refuse(reason: str | BadDrawing) -> NoReturn:
    """What reads a source that holds no drawing."""
    raise reason if isinstance(reason, BadDrawing) else BadDrawing(reason)


def load(store: Store, sources: Iterable[Source], outcome: Outcome) -> None:
    """Writes to `store` what `sources` hold and is sound to the last pixel; `outcome` is kept up to date meanwhile."""
    batch = []
    for (place, _), drawing in parallel_map(_examined, sources):
        if isinstance(drawing, Drawing):
            batch.append(drawing)
        else:
            outcome.refused[str(drawing)] += 1
            if isinstance(drawing, documents.BrokenOff):
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
        file.write(json_util.dumps(to_document(drawing), json_options=documents.EXTENDED_JSON).encode() + b"\n")
        n += 1
    return n


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
    document = documents.parsed(text)
    if isinstance(document, dict):
        if document.get("_id") is None:
            document["_id"] = sha256(text).hexdigest()[:24]
        elif type(document["_id"]) is str:
            document["_id"] = ids.to_text(document["_id"])
        if tags and isinstance(document.setdefault("tags", []), list):
            document["tags"] = [*document["tags"], *tags]
    return from_document(document)
