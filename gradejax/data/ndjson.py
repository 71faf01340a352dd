"""Drawings as NDJSON, which import and mongoimport read."""

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

from bson import json_util

from gradejax.data.extended_json import EXTENDED_JSON
from gradejax.drawings import Drawing, to_document


@runtime_checkable
class BinaryWriter(Protocol):
    """A file to write bytes to."""

    def write(self, data: bytes, /) -> object: ...


def write(file: BinaryWriter, drawings: Iterable[Drawing]) -> int:
    """Writes NDJSON (relaxed extended JSON, as mongoexport does) that reads back unchanged; returns how many lines."""
    n = 0
    for drawing in drawings:
        file.write(json_util.dumps(to_document(drawing), json_options=EXTENDED_JSON).encode() + b"\n")
        n += 1
    return n
