"""Folders of PNG files, with the grade in the name of the folder or of the file."""

import os
import re
import stat
import unicodedata
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from pathlib import Path

from gradejax.drawings import Drawing, from_document
from gradejax.errors import BadDrawing
from gradejax.data.exchange import Source, refuse
from gradejax.ink import MAX_PNG_BYTES

_OTHER_PICTURES = {".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".heic", ".tif", ".tiff"}
_SIGNS = str.maketrans("‐‑‒–—―−➖➕", "--------+")
_COPY = "(copy|copie|kopie|kopia|copia)"
_REST = rf"([ _.-]*(\d+|\(\d+\)|{_COPY}|\({_COPY}\)|img|dsc[nf]?|pxl|scan|image|photo)(?![a-z]))*[ _]*"
_PLUS, _MINUS = r"[ _-]*plus|[ _]*\+", r"[ _-]*minus|-(?![a-z\d])|[ _]-$"
# Without a sign no hyphen follows, but that of Windows: `A - Copy`.
_GRADE = re.compile(
    rf"(?P<letter>[a-e])((?P<plus>{_PLUS})|(?P<minus>{_MINUS})|(?![ _]*-)|(?= - {_COPY})){_REST}", re.IGNORECASE
)
# A letter and a sign, and the rest says neither that it is a grade nor that it is none: A-1, B+ Anna, A++.
_DOUBTFUL = re.compile(r"[a-e][ _]*([+-]|(plus|minus)(?![a-z]))", re.IGNORECASE)


def from_folder(folder: Path, tags: tuple[str, ...]) -> list[Source]:
    """The PNG files anywhere below `folder`; what is hidden, and macOS's `__MACOSX`, is passed over.

    The grade is in the nearest folder's name that holds one (`A+`, `Aplus`, `a_plus`, `A-minus`, …), or in the file's
    own (`A+_0017.png`, `Bminus (3).png`). Where the two are not the same the file is refused. The id is made of the
    picture and its grade, the date is the file's.
    """
    return [(str(path.relative_to(folder)), read) for path, read in _walk(folder, folder, tags, set())]


def grade_in(name: str) -> str | None:
    """The grade that is a file's or folder's name, but for a number or a mark of a copy; None where there is none.

    Raises:
        BadDrawing: where it could be a grade, and could be another.
    """
    plain = unicodedata.normalize("NFKC", name).translate(_SIGNS).strip()
    match = _GRADE.fullmatch(plain)
    if match is None:
        if _DOUBTFUL.match(plain):
            raise BadDrawing(f"{name!r} may be a grade and may be none: write it as A+ or A+_01")
        return None
    return match["letter"].upper() + ("+" if match["plus"] else "-" if match["minus"] else "")


def _walk(
    top: Path, folder: Path, tags: tuple[str, ...], seen: set[tuple[int, int]]
) -> Iterator[tuple[Path, Callable[[], Drawing]]]:
    try:
        own = folder.stat()
        if (own.st_dev, own.st_ino) in seen:  # a link may lead to a folder that it lies in
            yield folder, partial(refuse, "a link to a folder that is read already")
            return
        seen.add((own.st_dev, own.st_ino))
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
    of_folder = next(filter(None, map(grade_in, folders)), None)
    of_file = grade_in(path.stem)
    if of_folder and of_file and of_folder != of_file:
        raise BadDrawing(f"its folder says {of_folder} and its name {of_file}")
    label = of_folder or of_file
    if label is None:
        raise BadDrawing("no grade in the name of the file or its folder")
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise BadDrawing("not a file")
        # A little more than is allowed, so that what is too large is refused, not cut.
        with path.open("rb") as file:
            png = file.read(MAX_PNG_BYTES + 1)
        date = datetime.fromtimestamp(status.st_mtime, UTC)
    except OSError as error:
        raise BadDrawing(f"cannot be read: {os.strerror(error.errno or 0)}") from None
    id = sha256(label.encode() + b"\0" + png).hexdigest()[:24]
    return from_document({"_id": id, "tags": list(tags), "label": label, "data": png, "date": date})
