"""Folders of PNG files, with the label in the name of the folder or of the file."""

import os
import re
import stat
import unicodedata
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from pathlib import Path

from gradejax.data.exchange import Source, refuse
from gradejax.drawings import Drawing, from_document
from gradejax.errors import BadDrawing
from gradejax.grades import NO_GRADE
from gradejax.png import MAX_PNG_BYTES

_OTHER_PICTURES = {".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".heic", ".tif", ".tiff"}
_SIGNS = str.maketrans("‐‑‒–—―−➖➕", "--------+")
_COPY = "(copy|copie|kopie|kopia|copia)"
_REST = rf"([ _.-]*(\d+|\(\d+\)|{_COPY}|\({_COPY}\)|img|dsc[nf]?|pxl|scan|image|photo)(?![a-z]))*[ _]*"
_PLUS, _MINUS = r"[ _-]*plus|[ _]*\+", r"[ _-]*minus|-(?![a-z\d])|[ _]-$"
# Without a sign no hyphen follows, except in Windows's `A - Copy`.
_GRADE = re.compile(
    rf"(?P<letter>[a-e])((?P<plus>{_PLUS})|(?P<minus>{_MINUS})|(?![ _]*-)|(?= - {_COPY})){_REST}", re.IGNORECASE
)
_NO_GRADE = re.compile(rf"no[ _-]*grade{_REST}", re.IGNORECASE)
# A letter and a sign, but the rest makes it neither a grade nor something else for sure: A-1, B+ Anna, A++.
_AMBIGUOUS = re.compile(r"[a-e][ _]*([+-]|(plus|minus)(?![a-z]))", re.IGNORECASE)


def from_folder(folder: Path, tags: tuple[str, ...]) -> list[Source]:
    """Lists the PNG files anywhere below `folder`, except hidden ones and those in macOS's `__MACOSX`.

    The grade is in the nearest folder's name that holds one (`A+`, `Aplus`, `a_plus`, `A-minus`, …), or in the file's
    own (`A+_0017.png`, `Bminus (3).png`); `no grade` is for drawings that deliberately show none. If the folder's label
    and the file's differ, the file is refused. The id derives from the picture and its label; the date is the file's.
    """
    return [(str(path.relative_to(folder)), read) for path, read in _walk(folder, folder, tags, set())]


def label_in(name: str) -> str | None:
    """Returns the label that names a file or folder, apart from a number or a copy mark; None if none does.

    Raises:
        BadDrawing: if the name is ambiguous.
    """
    plain = unicodedata.normalize("NFKC", name).translate(_SIGNS).strip()
    if _NO_GRADE.fullmatch(plain):
        return NO_GRADE
    match = _GRADE.fullmatch(plain)
    if match is None:
        if _AMBIGUOUS.match(plain):
            raise BadDrawing(f"{name!r} may or may not be a grade: write it as A+ or A+_01")
        return None
    return match["letter"].upper() + ("+" if match["plus"] else "-" if match["minus"] else "")


def _walk(
    top: Path, folder: Path, tags: tuple[str, ...], seen: set[tuple[int, int]]
) -> Iterator[tuple[Path, Callable[[], Drawing]]]:
    try:
        status = folder.stat()
        if (status.st_dev, status.st_ino) in seen:  # a link may lead to a folder that contains it
            yield folder, partial(refuse, "a link to a folder that has already been read")
            return
        seen.add((status.st_dev, status.st_ino))
        paths = sorted(path for path in folder.iterdir() if not path.name.startswith((".", "__MACOSX")))
    except OSError as error:
        yield folder, partial(refuse, f"cannot be read: {error.strerror}")
        return
    for path in paths:
        if path.is_dir():
            yield from _walk(top, path, tags, seen)
        elif path.suffix.lower() in _OTHER_PICTURES:
            yield path, partial(refuse, "only PNG is read: save it as PNG")
        elif path.suffix.lower() == ".png":
            yield path, partial(_from_picture, path, top, tags)


def _from_picture(path: Path, top: Path, tags: tuple[str, ...]) -> Drawing:
    folders = [*reversed(path.relative_to(top).parent.parts), top.resolve().name]
    of_folder = next(filter(None, map(label_in, folders)), None)
    of_file = label_in(path.stem)
    if of_folder and of_file and of_folder != of_file:
        raise BadDrawing(f"its folder says {of_folder} and its name {of_file}")
    label = of_folder or of_file
    if label is None:
        raise BadDrawing("no grade in the name of the file or its folder")
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise BadDrawing("not a file")
        # One byte more than is allowed, so that a larger file is refused, not truncated.
        with path.open("rb") as file:
            png = file.read(MAX_PNG_BYTES + 1)
        date = datetime.fromtimestamp(status.st_mtime, UTC)
    except OSError as error:
        raise BadDrawing(f"cannot be read: {os.strerror(error.errno or 0)}") from None
    id = sha256(label.encode() + b"\0" + png).hexdigest()[:24]
    return from_document({"_id": id, "tags": list(tags), "label": label, "data": png, "date": date})
