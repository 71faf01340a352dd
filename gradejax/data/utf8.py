"""A file's bytes as UTF-8, read a little at a time: gunzipped, and decoded from UTF-16 or UTF-32."""

import codecs
import io
import json
import zlib
from collections.abc import Iterator
from itertools import chain

from gradejax.data.extended_json import BrokenOff

_GZIP = b"\x1f\x8b"
_MAX_RATIO = 250  # documents compress to a fifth; a bomb to a thousandth


def open_utf8(file: io.RawIOBase | io.BufferedIOBase) -> tuple[io.BufferedReader, list[BrokenOff]]:
    """Opens the text of a file.

    Args:
        file: open for reading bytes; unbuffered if it is a stream; gzipped or not, in any UTF.

    Returns:
        The text as UTF-8 without a byte order mark, and a list that is empty until the text has been read to its end:
        then it holds the reason if the rest of the file is lost.
    """
    broken: list[BrokenOff] = []
    pieces = _until_broken(_in_utf8(_unzipped(iter(lambda: file.read(2**16) or b"", b""))), broken)
    return io.BufferedReader(_Stream(pieces), 2**16), broken


class _Stream(io.RawIOBase):
    """Pieces of bytes as a file."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        while not self._left:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._left = piece
        n = min(len(buffer), len(self._left))
        buffer[:n], self._left = self._left[:n], self._left[n:]
        return n


def _head(pieces: Iterator[bytes], length: int) -> tuple[bytes, Iterator[bytes]]:
    """Returns the first bytes, at least `length` if there are as many, and all pieces including them."""
    head = b""
    for piece in pieces:
        head += piece
        if len(head) >= length:
            break
    return head, chain([head], pieces)


def _unzipped(pieces: Iterator[bytes]) -> Iterator[bytes]:
    head, pieces = _head(pieces, len(_GZIP))
    if not head.startswith(_GZIP):
        yield from pieces
        return
    packed = unpacked = 0
    inflate = zlib.decompressobj(zlib.MAX_WBITS + 16)
    for piece in pieces:
        packed += len(piece)
        while piece:
            if inflate.eof:  # another member, as in `cat a.gz b.gz`
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
    try:
        yield from pieces
    except BrokenOff as error:
        broken.append(error)
