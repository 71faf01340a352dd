"""Splits a file into its documents' texts, a few at a time: NDJSON, JSON documents one after another, or arrays."""

import io
from collections.abc import Iterator

from gradejax.data.extended_json import MAX_DOCUMENT_BYTES, BrokenOff, parsed
from gradejax.data.json_arrays import SPACE, STRING, ArrayReader
from gradejax.data.utf8 import open_utf8
from gradejax.errors import BadDrawing


def texts(file: io.RawIOBase | io.BufferedIOBase) -> Iterator[tuple[str, bytes | BrokenOff]]:
    """Yields each document's place, for people, and its text; if the rest cannot be read, the reason comes last.

    Args:
        file: open for reading bytes; unbuffered if it is a stream; gzipped or not, in UTF-8 or UTF-16.
    """
    text, broken = open_utf8(file)
    number = 1
    while (space := SPACE.match(text.peek())) and space[0]:
        number += text.read(len(space[0])).count(b"\n")
    yield from ArrayReader(text).entries() if text.peek(1).startswith(b"[") else _documents(_lines(text, number))
    if broken:
        yield "the rest", broken[0]


def _lines(file: io.BufferedReader, number: int) -> Iterator[tuple[int, bytes]]:
    """Yields numbered lines, the first of which is `number`; overlong ones are cut."""
    while line := file.readline(MAX_DOCUMENT_BYTES + 1):
        rest = line
        while len(rest) > MAX_DOCUMENT_BYTES and not rest.endswith(b"\n"):
            rest = file.readline(MAX_DOCUMENT_BYTES + 1)
        yield number, line
        number += 1


def _documents(lines: Iterator[tuple[int, bytes]]) -> Iterator[tuple[str, bytes | BrokenOff]]:
    """Yields documents of one line each, or printed over several.

    A brace at the beginning of a line begins a document, even if the previous one is unfinished.
    """
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
            outside = STRING.sub(b"", text)
            depth += outside.count(b"{") - outside.count(b"}")
        if depth <= 0 or size > MAX_DOCUMENT_BYTES:
            yield f"line {first}", b"".join(begun)
            begun = []
    if begun:
        yield f"line {first}", _last(b"".join(begun))


def _last(text: bytes) -> bytes | BrokenOff:
    """Returns the last document of a file, unless the end of the file has cut it off."""
    try:
        parsed(text)
    except BadDrawing as error:
        return BrokenOff(f"{error}: the file ends early")
    return text
