"""Decodes pictures into a dataset, and keeps the arrays on disk so that the next training need not.

A cache is a folder of four files: `ink` and `rows` (label and writer of each drawing) as raw arrays, `ids` with an id a
line, and `about.json`, which says what they were made from. It is used only where that agrees and the digest of the
files is right.
"""

import errno
import hashlib
import json
import logging
import math
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from gradejax.dataset import Dataset, Picture
from gradejax.errors import BadDrawing, UserError
from gradejax.ink_file import InkFile
from gradejax.progress import progress
from gradejax.resampling import resample
from gradejax.scales import LETTERS, Scale
from gradejax.threads import parallel_map

log = logging.getLogger(__name__)

FORMAT = 5
"""Raise it when decoding or resampling changes its results: caches of another format are rebuilt."""
_DIGITS = 16
_NAME = re.compile(f"[0-9a-f]{{{_DIGITS}}}[a-z0-9_]*")  # with what `mkdtemp` adds while it is written
_LARGE = 2**26
"""Bytes of ink. A smaller cache is read into memory."""
_DECODED_TOGETHER = 32
"""Pictures a thread takes at a time. Handing over each one alone would take a fifth of the time of decoding it."""


def decode(
    pictures: Callable[[], Iterator[Picture]],
    count: Callable[[], int],
    refused: Counter[str],
    size: int,
    resampling: str,
    source: dict,
    fingerprint: str,
    folder: Path | None,
    scale: Scale = LETTERS,
) -> Dataset:
    """Decodes pictures, or takes them from the cache where it holds the same ones.

    Args:
        pictures: called only when they must be decoded.
        count: how many pictures there are, for the progress bar.
        refused: gets the pictures that cannot be decoded, by reason; may hold others already.
        size: pixels a side of the ink.
        resampling: `area` or `point`; see `ink.resample`.
        source: plain facts that say which pictures these are. Each combination has a cache of its own.
        fingerprint: of the pictures' content; when it changes, the cache is rebuilt.
        folder: of all caches; None for no cache.
        scale: of the pictures' labels; those that it lacks show no grade. When it changes, so must `source` or
            `fingerprint`.

    Returns:
        The pictures in order; as an `InkFile` where they come from a large cache.

    Raises:
        UserError: when there is no room for temporary files.
    """
    about = {"format": FORMAT, "size": size, "resampling": resampling, **source}
    if folder is None:
        return _decode_in_memory(pictures, count, refused, about, scale)
    home = folder / hashlib.sha256(json.dumps(about).encode()).hexdigest()[:_DIGITS]
    about["fingerprint"] = fingerprint
    try:
        return _read(home, about, scale)
    except (OSError, ValueError, KeyError, TypeError) as error:
        if home.exists():
            log.info("the cache of decoded drawings is stale or damaged (%s): decoding again", error)
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        # Written elsewhere and renamed, so that a cache is whole or absent.
        temporary = Path(tempfile.mkdtemp(dir=home.parent, prefix=home.name))
        try:
            _decode_to(temporary, pictures(), count(), refused, about, scale)
            shutil.rmtree(home, ignore_errors=True)
            temporary.rename(home)
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:  # otherwise another training from the same store was quicker
                raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        log.warning(
            "cannot keep decoded drawings in %s: %s; name another folder with --config.data.cache=DIR",
            folder, error.strerror,
        )  # fmt: skip
        refused.clear()
        return _decode_in_memory(pictures, count, refused, about, scale)
    return _read(home, about, scale)


def erase(folder: Path, ids: Collection[str]) -> None:
    """Deletes the caches that hold one of the drawings, and those that do not say what they hold.

    Those are incomplete, or by an earlier version. A training that is writing an incomplete one decodes the drawings
    again, in memory.

    Args:
        folder: of all caches.
        ids: of the drawings.

    Raises:
        OSError: when a file cannot be deleted.
    """
    names = {id.encode() for id in ids}
    for home in folder.glob("*"):
        if not _NAME.fullmatch(home.name) or home.is_symlink() or not home.is_dir():
            continue
        is_listed = len(home.name) == _DIGITS and (home / "about.json").exists() and (home / "ids").exists()
        if not is_listed or not names.isdisjoint((home / "ids").read_bytes().split(b"\n")):
            shutil.rmtree(home)


def _decode_in_memory(
    pictures: Callable[[], Iterator[Picture]],
    count: Callable[[], int],
    refused: Counter[str],
    about: dict,
    scale: Scale,
) -> Dataset:
    try:
        with tempfile.TemporaryDirectory() as folder:
            _decode_to(Path(folder), pictures(), count(), refused, about, scale)
            return _read(Path(folder), about, scale, in_memory=True)
    except OSError as error:
        raise UserError(
            f"cannot write to the folder for temporary files: {error.strerror}; name another one with TMPDIR"
        ) from None


def _decode_to(
    folder: Path, pictures: Iterator[Picture], total: int, refused: Counter[str], about: dict, scale: Scale
) -> None:
    """Streams pictures into the files of a cache; `about.json`, written last, completes it."""
    writers: dict[str, int] = {}
    content = hashlib.sha256()

    def ink_or_reason(picture: Picture) -> np.ndarray | BadDrawing:
        try:
            return resample(picture.ink(), about["size"], about["resampling"])
        except BadDrawing as error:
            return error

    batches = iter(lambda: list(islice(pictures, _DECODED_TOGETHER)), [])
    with (
        (folder / "ink").open("wb") as ink_file,
        (folder / "rows").open("wb") as row_file,
        (folder / "ids").open("wb") as id_file,
        progress("decoding drawings", total, log) as advance,
    ):
        for batch, inks in parallel_map(lambda batch: list(map(ink_or_reason, batch)), batches):
            for (label, writer, _, id), ink in zip(batch, inks, strict=True):
                if isinstance(ink, BadDrawing):
                    refused[str(ink)] += 1
                    continue
                ink_file.write(ink)
                row = [scale.index.get(label, -1), writers.setdefault(writer, len(writers))]
                row_file.write(np.array(row, np.int32))
                id_file.write(id.encode() + b"\n")
                content.update(ink)
                content.update(f"{label} {writer};".encode())
            advance(len(batch))
    about = {**about, "writers": list(writers), "refused": refused, "digest": content.hexdigest()}
    about["files"] = _file_digest(folder)
    (folder / "about.json").write_text(json.dumps(about))


def _read(folder: Path, about: dict, scale: Scale, in_memory: bool = False) -> Dataset:
    """The arrays in a cache's files. Raises ValueError, KeyError or OSError unless they are whole and match `about`."""
    kept = json.loads((folder / "about.json").read_text())
    if any(kept[key] != value for key, value in about.items()):
        raise ValueError("the store has changed")
    if kept["files"] != _file_digest(folder):
        raise ValueError("its digest is wrong")
    rows = np.fromfile(folder / "rows", np.int32).reshape(-1, 2)
    shape = (len(rows), about["size"], about["size"])
    if in_memory or math.prod(shape) < _LARGE:
        ink = np.fromfile(folder / "ink", np.uint8).reshape(shape)
    else:
        ink = InkFile.open(folder / "ink", shape)
    labels, writers = np.ascontiguousarray(rows.T)
    ids = np.array((folder / "ids").read_bytes().split(b"\n")[:-1], dtype=np.bytes_)
    return Dataset(ink, labels, writers, tuple(kept["writers"]), kept["digest"], kept["refused"], ids, scale)


def _file_digest(folder: Path) -> str:
    whole = hashlib.sha256()
    for name in ("ink", "rows", "ids"):
        with (folder / name).open("rb") as file:
            while block := file.read(2**20):
                whole.update(block)
    return whole.hexdigest()
