"""Folders of PNG files, with the label in the name of the folder or of the file."""

import os
import re
import stat
import unicodedata
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import lru_cache, partial
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from gradejax.data.exchange import Source, refuse
from gradejax.drawings import Drawing, from_document
from gradejax.errors import BadDrawing
from gradejax.png import MAX_PNG_BYTES
from gradejax.scales import LETTERS, NO_GRADE, Scale, split_sign

_OTHER_PICTURES = {".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".heic", ".tif", ".tiff"}
_SIGNS = str.maketrans("‐‑‒–—―−➖➕", "--------+")
_COPY = "(copy|copie|kopie|kopia|copia)"
_REST = rf"([ _.-]*(\d+|\(\d+\)|{_COPY}|\({_COPY}\)|img|dsc[nf]?|pxl|scan|image|photo)(?![a-z]))*[ _]*"
_PLUS, _MINUS = r"[ _-]*plus|[ _]*\+", r"[ _-]*minus|-(?![a-z\d])|[ _]-$"
_NO_GRADE = re.compile(rf"no[ _-]*grade{_REST}", re.IGNORECASE)


class _Names(NamedTuple):
    """How the names of folders and files say a scale's grades.

    Attributes:
        stems: the labels without their signs, as they are found in names.
        grade: matches a name that says a grade, apart from a number or a copy mark.
        ambiguous: matches the beginning of a name with a grade and a sign, of which the rest makes neither a grade nor
            something else for sure: A-1, B+ Anna, A++.
    """

    stems: dict[str, str]
    grade: re.Pattern[str]
    ambiguous: re.Pattern[str]


@lru_cache(maxsize=8)
def _names(scale: Scale) -> _Names:
    written = {stem: _normalised(stem) for stem, _ in map(split_sign, scale.labels)}
    any_case = len({name.casefold() for name in written.values()}) == len(written)
    stems = {name.casefold() if any_case else name: stem for stem, name in written.items()}
    # The longest first, and no digit after a digit: 1.5 is not a 1, nor is 10.
    any_of = "|".join(
        re.escape(stem) + (r"(?![.,]?\d)" if stem[-1].isdigit() else "")
        for stem in sorted(stems, key=len, reverse=True)
    )
    if not any_case:
        any_of = f"(?-i:{any_of})"
    # Without a sign no hyphen follows, except in Windows's `A - Copy`.
    grade = rf"(?P<stem>{any_of})((?P<plus>{_PLUS})|(?P<minus>{_MINUS})|(?![ _]*-)|(?= - {_COPY})){_REST}"
    ambiguous = rf"({any_of})[ _]*([+-]|(plus|minus)(?![a-z]))"
    return _Names(stems, re.compile(grade, re.IGNORECASE), re.compile(ambiguous, re.IGNORECASE))


def from_folder(folder: Path, tags: tuple[str, ...], scale: Scale = LETTERS) -> list[Source]:
    """Lists the PNG files anywhere below `folder`, except hidden ones and those in macOS's `__MACOSX`.

    The grade is in the nearest folder's name that holds one (`A+`, `Aplus`, `a_plus`, `A-minus`, …), or in the file's
    own (`A+_0017.png`, `Bminus (3).png`); `no grade` is for drawings that deliberately show none. If the folder's label
    and the file's differ, the file is refused. The id derives from the picture and its label; the date is the file's.
    """
    return [(str(path.relative_to(folder)), read) for path, read in _walk(folder, folder, tags, scale, set())]


def label_in(name: str, scale: Scale = LETTERS) -> str | None:
    """Returns the label of a scale that names a file or folder, apart from a number or a copy mark; None if none does.

    Raises:
        BadDrawing: if the name is ambiguous.
    """
    plain = _normalised(name).strip()
    stems, grade, ambiguous = _names(scale)
    if _NO_GRADE.fullmatch(plain):
        return NO_GRADE
    match = grade.fullmatch(plain)
    if match is None:
        if ambiguous.match(plain):
            first = scale.labels[0]
            raise BadDrawing(f"{name!r} may or may not be a grade: write it as {first} or {first}_01")
        return None
    stem = stems[match["stem"] if match["stem"] in stems else match["stem"].casefold()]
    label = stem + ("+" if match["plus"] else "-" if match["minus"] else "")
    return label if label in scale.index else None


def _normalised(name: str) -> str:
    return unicodedata.normalize("NFKC", name).translate(_SIGNS)


def _walk(
    top: Path, folder: Path, tags: tuple[str, ...], scale: Scale, seen: set[tuple[int, int]]
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
            yield from _walk(top, path, tags, scale, seen)
        elif path.suffix.lower() in _OTHER_PICTURES:
            yield path, partial(refuse, "only PNG is read: save it as PNG")
        elif path.suffix.lower() == ".png":
            yield path, partial(_from_picture, path, top, tags, scale)


def _from_picture(path: Path, top: Path, tags: tuple[str, ...], scale: Scale) -> Drawing:
    folders = [*reversed(path.relative_to(top).parent.parts), top.resolve().name]
    of_folder = next(filter(None, (label_in(name, scale) for name in folders)), None)
    of_file = label_in(path.stem, scale)
    is_counter = path.stem.isdecimal()  # 3.png in the folder 7 is its third
    if of_folder and of_file and of_folder != of_file and not is_counter:
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
    return from_document({"_id": id, "tags": list(tags), "label": label, "data": png, "date": date}, scale=scale)
