"""Drawings from NDJSON or JSON files into a store; a few at a time, however many."""

import io
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from itertools import islice
from typing import NoReturn

from gradejax import ids
from gradejax.data import documents
from gradejax.data.extended_json import BrokenOff, parsed
from gradejax.drawings import Drawing, from_document
from gradejax.errors import BadDrawing
from gradejax.ink import decode_ink
from gradejax.scales import LETTERS, NO_GRADE, Scale
from gradejax.stores import Store
from gradejax.threads import parallel_map

_BATCH = 500  # drawings to a transaction
_MOST_EXAMPLES = 10

Source = tuple[str, Callable[[], Drawing]]
"""Where a drawing comes from, for people (`line 7`, `A+/3.png`), and a function that reads it or raises BadDrawing."""


@dataclass
class Outcome:
    """What an import has done so far.

    Attributes:
        imported: how many drawings were new.
        already_there: how many the store already held, by their ids.
        refused: how many were refused, by reason.
        first_refused: place and reason of the first few.
        broken_off: place and reason if the rest of a file is lost.
    """

    imported: int = 0
    already_there: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    first_refused: list[tuple[str, str]] = field(default_factory=list)
    broken_off: str = ""


def from_file(
    file: io.RawIOBase | io.BufferedIOBase,
    tags: tuple[str, ...] = (),
    *,
    scale: Scale = LETTERS,
    as_no_grade: bool = False,
) -> Iterator[Source]:
    """Yields the documents in a file: NDJSON, JSON documents one after another, or JSON arrays; all extended JSON.

    A document without `_id` gets one derived from its text, so that importing it again adds nothing. If the file is
    truncated or damaged, everything before is read, and the last source raises BrokenOff.

    Args:
        file: open for reading bytes; unbuffered if it is a stream; gzipped or not, in UTF-8 or UTF-16.
        tags: added to each drawing's own.
        scale: of the grades.
        as_no_grade: whether a drawing of something else, such as `F` or `7+`, is taken as one of no grade. Its history
            then keeps what it was.
    """
    for place, text in documents.texts(file):
        yield (
            place,
            partial(refuse, text)
            if isinstance(text, BrokenOff)
            else partial(_from_text, text, tags, scale, as_no_grade),
        )


def refuse(reason: str | BadDrawing) -> NoReturn:
    """Raises BadDrawing: the second half of a Source that holds no drawing."""
    raise reason if isinstance(reason, BadDrawing) else BadDrawing(reason)


def load(store: Store, sources: Iterable[Source], outcome: Outcome) -> None:
    """Adds the drawings of `sources` that decode without error, and keeps `outcome` up to date."""
    batch = []
    for (place, _), drawing in parallel_map(_examined, sources):
        if isinstance(drawing, Drawing):
            batch.append(drawing)
        else:
            outcome.refused[str(drawing)] += 1
            if isinstance(drawing, BrokenOff):
                outcome.broken_off = f"{place}: {drawing}"
            if len(outcome.first_refused) < _MOST_EXAMPLES:
                outcome.first_refused.append((place, str(drawing)))
        if len(batch) == _BATCH:
            _add_batch(store, batch, outcome)
            batch = []
    _add_batch(store, batch, outcome)


def fill(store: Store, drawings: Iterable[Drawing]) -> int:
    """Adds any number of drawings, a few hundred to a transaction; returns how many were new."""
    drawings = iter(drawings)
    return sum(store.add(batch) for batch in iter(lambda: list(islice(drawings, _BATCH)), []))


def _add_batch(store: Store, batch: list[Drawing], outcome: Outcome) -> None:
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


def _from_text(text: bytes, tags: tuple[str, ...], scale: Scale, as_no_grade: bool) -> Drawing:
    document = parsed(text)
    if isinstance(document, dict):
        if document.get("_id") is None:
            document["_id"] = sha256(text).hexdigest()[:24]
        elif type(document["_id"]) is str:
            document["_id"] = ids.to_text(document["_id"])
        if tags and isinstance(document.setdefault("tags", []), list):
            document["tags"] = [*document["tags"], *tags]
        if as_no_grade and type(label := document.get("label")) is str and label not in scale.all_labels:
            earlier = document.get("history")
            entry = {"label": label, "date": document.get("date")}
            document |= {"label": NO_GRADE, "history": [*earlier, entry] if isinstance(earlier, list) else [entry]}
    return from_document(document, scale=scale)
