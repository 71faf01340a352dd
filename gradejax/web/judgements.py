"""What a recogniser said about each drawing of a store, kept on disk: after a restart no picture is judged again."""

import json
import logging
import struct
import tempfile
import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from hashlib import blake2b, sha256
from pathlib import Path

import jax
import numpy as np
from jaxtyping import UInt8
from safetensors import SafetensorError
from safetensors.numpy import load, save

from gradejax import cache, regular
from gradejax.recogniser import Recogniser
from gradejax.web.judgement_table import DIGEST_BYTES, Arrays, Table
from gradejax.web.model import Judgement

log = logging.getLogger(__name__)

FOLDER = Path(".cache/judgements")
_MAX_REMEMBERED = 1_200_000  # drawings; 280 bytes each in memory, 110 on disk
_MAX_BYTES = 2**28


class Judgements:
    """One recogniser's judgements, by the drawing's id.

    A judgement holds for one picture, whose digest is kept with it. While the store's fingerprint stays as it was when
    the picture was last read, the picture need not be read to know that it is the same.

    The file has ids, digests and confidences, and nothing of the drawings themselves. Several threads may share one.
    """

    def __init__(self, uri: str, folder: Path = FOLDER):
        """Creates it; nothing is read yet.

        Args:
            uri: the store's address.
            folder: of the files of all stores.
        """
        self._path = _path(uri, folder)
        self._lock = threading.Lock()
        self._recogniser: Recogniser | None = None
        self._model = ""
        self._fingerprint: str | None = None
        self._table = Table(_MAX_REMEMBERED)
        self._erased: set[str] = set()

    def __len__(self) -> int:
        return len(self._table)

    def use(self, recogniser: Recogniser, fingerprint: str | None) -> None:
        """Chooses whose judgements these are, and says what the store is like now.

        Args:
            recogniser: if it is another than before, the judgements are those on disk, or none.
            fingerprint: of the whole store; None if it is not known, and so each picture must be read.
        """
        with self._lock:
            if recogniser is not self._recogniser:
                self._recogniser, self._model = recogniser, _digest(recogniser)
                about, self._table = _load(self._path)
                if about.get("model") != self._model:
                    self._table = Table(_MAX_REMEMBERED)
                self._fingerprint = about.get("fingerprint")
            if fingerprint is None or fingerprint != self._fingerprint:
                self._table.doubt_all()
            self._fingerprint = fingerprint

    def moved_on(self, before: str, after: str) -> None:
        """Says that the store's fingerprint changed from `before` to `after`, and no picture did."""
        with self._lock:
            if self._fingerprint == before:
                self._fingerprint = after

    def trusted(self, id: str) -> Judgement | None:
        """The judgement of the drawing `id`, if its picture cannot have changed since."""
        with self._lock:
            return self._table.judgement(id) if self._table.is_unchanged(id) else None

    def of(self, id: str, png: bytes) -> Judgement | None:
        """The judgement of the drawing `id`, if it was made of the picture `png`."""
        digest = _picture_digest(png)
        with self._lock:
            if self._table.digest(id) != digest:
                return None
            self._table.trust(id)
            return self._table.judgement(id)

    def add(self, id: str, png: bytes, judgement: Judgement) -> None:
        """Remembers a judgement; the oldest ones are forgotten if there are too many."""
        digest = _picture_digest(png)
        with self._lock:
            if id not in self._erased:  # after its picture was read
                self._table.put(id, digest, judgement)

    def forget(self, ids: Collection[str]) -> bool:
        """Forgets drawings that are erased; returns whether the file, which may be written at this moment, has any."""
        with self._lock:
            self._erased.update(ids)
            return self._table.remove(ids) > 0

    def keep(self, existing: Callable[[Sequence[str]], Collection[str]]) -> None:
        """Writes the file. What was erased from the store meanwhile is forgotten, here and there.

        Args:
            existing: returns those of some ids that the store still has.
        """
        with self._lock:
            unsure = self._table.doubted()
        still_there = existing(unsure) if unsure else ()
        with self._lock:
            self._table.remove(set(unsure).difference(still_there).intersection(self._table.doubted()))
            about = {"model": self._model, "fingerprint": self._fingerprint}
            arrays = self._table.arrays()
        _write(self._path, about, arrays)


def erase(uri: str, ids: Iterable[str], folder: Path = FOLDER) -> None:
    """Removes drawings from the judgements kept of the store `uri`.

    Raises:
        OSError: when the file cannot be written.
    """
    path = _path(uri, folder)
    about, table = _load(path)
    if len(table):
        table.remove(ids)
        _write(path, about, table.arrays())


def _path(uri: str, folder: Path) -> Path:
    return folder / f"{sha256(uri.encode()).hexdigest()[:16]}.safetensors"


def _picture_digest(png: bytes) -> bytes:
    return blake2b(png, digest_size=DIGEST_BYTES).digest()


def _digest(recogniser: Recogniser) -> str:
    """A digest of all that a judgement depends on besides the picture."""
    digest = sha256(repr((cache.FORMAT, recogniser.size, recogniser.resampling, recogniser.labels)).encode())
    digest.update(repr(recogniser.calibration).encode())
    for path, array in jax.tree_util.tree_leaves_with_path(recogniser.variables):
        digest.update(repr(path).encode())
        digest.update(np.asarray(array).tobytes())
    return digest.hexdigest()


def _write(path: Path, about: dict, arrays: Arrays) -> None:
    """Writes a file that nobody else may read; it has its name when it is complete."""
    if not len(arrays.names):
        path.unlink(missing_ok=True)
        return
    content = save(
        {
            "about": np.frombuffer(json.dumps(about).encode(), np.uint8),
            "ids": _packed(arrays.names),
            "digests": arrays.digests,
            "confidences": arrays.confidences,
            "are_grades": arrays.are_grades,
            "are_unchanged": arrays.are_unchanged,
        }
    )
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(prefix=f"{path.name}.", dir=path.parent, delete=False) as file:  # mode 0600
        try:
            file.write(content)
        except OSError:  # the disk is full
            Path(file.name).unlink()
            raise
    Path(file.name).replace(path)


def _load(path: Path) -> tuple[dict, Table]:
    """What `_write` wrote; nothing if there is no such file, or it is damaged."""
    try:
        arrays = load(regular.read(path, _MAX_BYTES))
        about = json.loads(arrays["about"].tobytes())
        names = _unpacked(arrays["ids"].tobytes())
        kept = Arrays(names, *(arrays[name] for name in ("digests", "confidences", "are_grades", "are_unchanged")))
        return {"model": str(about["model"]), "fingerprint": about["fingerprint"]}, Table(_MAX_REMEMBERED, kept)
    except (OSError, regular.Irregular, SafetensorError, struct.error, KeyError, TypeError, ValueError, RecursionError):
        return {}, Table(_MAX_REMEMBERED)


def _packed(names: Sequence[str]) -> UInt8[np.ndarray, " bytes"]:
    """Each name with its length before it."""
    encoded = [name.encode() for name in names]
    return np.frombuffer(b"".join(struct.pack("<H", len(name)) + name for name in encoded), np.uint8)


def _unpacked(packed: bytes) -> list[str]:
    """The names that `_packed` packed. Raises struct.error or ValueError if it did not."""
    names, start = [], 0
    while start < len(packed):
        (length,) = struct.unpack_from("<H", packed, start)
        names.append(packed[start + 2 : start + 2 + length].decode())
        start += 2 + length
    return names
