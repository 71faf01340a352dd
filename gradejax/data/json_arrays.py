"""Splits JSON arrays into the texts of their entries, without parsing or loading a whole array."""

import io
import re
from collections.abc import Iterator

from gradejax.data.extended_json import MAX_DOCUMENT_BYTES, MAX_PARTS, BrokenOff, count_parts, parsed
from gradejax.errors import BadDrawing

SPACE = re.compile(rb"[ \t\r\n]*")
STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_SCALAR = re.compile(STRING.pattern + rb"|[^ \t\r\n,\[\]{}\"]*", re.DOTALL)
_BRACKET = re.compile(rb'(?:[^"\[\]{}]++|' + STRING.pattern + rb")*+([\[\]{}])", re.DOTALL)


class ArrayReader:
    """Reads arrays that follow one another. It sees brackets and separators only: `parsed` validates each entry."""

    def __init__(self, file: io.BufferedReader) -> None:
        self._file = file
        self._text = b""  # what has been read and not yet dropped
        self._at = 0  # where in `_text` the next entry begins

    def entries(self) -> Iterator[tuple[str, bytes | BrokenOff]]:
        """Yields each entry's place, for people, and its text; if the rest cannot be read, the reason comes last."""
        number = 1
        while (bracket := self._next_character()) == b"[":
            self._at += 1
            if self._next_character() == b"]":
                self._at += 1
                continue
            separator = b","
            while separator == b",":
                end = self._end_of_entry() if self._next_character() else None
                if end is None:
                    yield f"entry {number} and all that follows", self._reason()
                    return
                yield f"entry {number}", self._text[self._at : end]
                number, self._at = number + 1, end
                separator = self._next_character()
                if separator not in (b",", b"]"):
                    yield f"entry {number} and all that follows", self._reason()
                    return
                self._at += 1
        if bracket:
            yield "the text after the array", BrokenOff("it is not another array")

    def _read_more(self) -> bytes:
        # Ever larger pieces, so that a long entry is scanned again only each time it doubles.
        piece = self._file.read(max(2**16, len(self._text) - self._at))
        self._text, self._at = self._text[self._at :] + piece, 0
        return piece

    def _next_character(self) -> bytes:
        """Skips space; returns b"" at the end of the file."""
        while (after := _end_of(SPACE, self._text, self._at)) == len(self._text):
            self._at = after
            if not self._read_more():
                return b""
        self._at = after
        return self._text[after : after + 1]

    def _end_of_entry(self) -> int | None:
        """Returns where the entry at `_at` ends; None if it does not end, or is too large."""
        if self._text[self._at : self._at + 1] in (b"{", b"["):
            return self._end_of_container()
        while (end := _end_of(_SCALAR, self._text, self._at)) == len(self._text) or (
            end == self._at and self._text[self._at : self._at + 1] == b'"'
        ):
            if len(self._text) - self._at > MAX_DOCUMENT_BYTES or not self._read_more():
                return None
        return end if end > self._at else None

    def _end_of_container(self) -> int | None:
        depth, parts, length = 0, 0, 0
        while parts <= MAX_PARTS and length <= MAX_DOCUMENT_BYTES:
            match = _BRACKET.match(self._text, self._at + length)
            if match is None:
                if not self._read_to_bracket():
                    return None
                continue
            length, parts = match.end() - self._at, parts + 1
            depth += 1 if match[1] in (b"{", b"[") else -1
            if depth == 0:
                return self._at + length
        return None

    def _read_to_bracket(self) -> bool:
        """Reads on until a bracket that closes; False if there is none, or the entry gets too large."""
        piece = b""
        while b"}" not in piece and b"]" not in piece:
            if len(self._text) - self._at > MAX_DOCUMENT_BYTES or count_parts(self._text) > MAX_PARTS:
                return False
            if not (piece := self._read_more()):
                return False
        return True

    def _reason(self) -> BrokenOff:
        """Returns why the array cannot be read any further."""
        text = self._text[self._at : self._at + MAX_DOCUMENT_BYTES + 1]
        too_early = text[:1] in (b"", b"{", b"[", b'"') and len(text) <= MAX_DOCUMENT_BYTES
        if too_early and not self._file.peek(1):
            return BrokenOff("not JSON: the file ends early")
        try:
            parsed(text)
        except BadDrawing as error:
            return BrokenOff(str(error))
        return BrokenOff("not JSON")


def _end_of(pattern: re.Pattern[bytes], text: bytes, start: int) -> int:
    match = pattern.match(text, start)
    return match.end() if match else start
