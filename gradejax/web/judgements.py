"""What a recogniser said about each drawing of a store, kept on disk: after a restart no picture is judged again."""

import json
import logging
import struct
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Sequence
from hashlib import blake2b, sha256
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from gradejax import cache, regular
from gradejax.recogniser import Recogniser
from gradejax.web.model import Judgement

log = logging.getLogger(__name__)

FOLDER = Path(".cache/judgements")
_MAX_REMEMBERED = 200_000  # drawings; 500 bytes each in memory, 110 on disk
_MAX_BYTES = 2**27
_DIGEST_BYTES = 16


class _Entry(NamedTuple):
    digest: bytes
    judgement: Judgement


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
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._unchanged: set[str] = set()  # whose pictures were read when the store had this fingerprint
        self._erased: set[str] = set()

    def use(self, recogniser: Recogniser, fingerprint: str | None) -> None:
        """Chooses whose judgements these are, and says what the store is like now.

        Args:
            recogniser: if it is another than before, the judgements are those on disk, or none.
            fingerprint: of the whole store; None if it is not known, and so each picture must be read.
        """
        with self._lock:
            if recogniser is not self._recogniser:
                self._recogniser, self._model = recogniser, _digest(recogniser)
                about, self._entries, self._unchanged = _load(self._path)
                if about.get("model") != self._model:
                    self._entries, self._unchanged = OrderedDict(), set()
                self._fingerprint = about.get("fingerprint")
            if fingerprint is None or fingerprint != self._fingerprint:
                self._unchanged.clear()
            self._fingerprint = fingerprint

    def moved_on(self, before: str, after: str) -> None:
        """Says that the store's fingerprint changed from `before` to `after`, and no picture did."""
        with self._lock:
            if self._fingerprint == before:
                self._fingerprint = after

    def trusted(self, id: str) -> Judgement | None:
        """The judgement of the drawing `id`, if its picture cannot have changed since."""
        with self._lock:
            return self._entries[id].judgement if id in self._unchanged else None

    def of(self, id: str, png: bytes) -> Judgement | None:
        """The judgement of the drawing `id`, if it was made of the picture `png`."""
        digest = _picture_digest(png)
        with self._lock:
            entry = self._entries.get(id)
            if entry is None or entry.digest != digest:
                return None
            self._entries.move_to_end(id)
            self._unchanged.add(id)
            return entry.judgement

    def add(self, id: str, png: bytes, judgement: Judgement) -> None:
        """Remembers a judgement; the oldest ones are forgotten if there are too many."""
        entry = _Entry(_picture_digest(png), judgement)
        with self._lock:
            if id in self._erased:  # after its picture was read
                return
            self._entries[id] = entry
            self._entries.move_to_end(id)
            self._unchanged.add(id)
            while len(self._entries) > _MAX_REMEMBERED:
                oldest, _ = self._entries.popitem(last=False)
                self._unchanged.discard(oldest)

    def forget(self, ids: Collection[str]) -> bool:
        """Forgets drawings that are erased; returns whether the file, which may be written at this moment, has any."""
        with self._lock:
            self._erased.update(ids)
            self._unchanged.difference_update(ids)
            return sum(self._entries.pop(id, None) is not None for id in ids) > 0

    def keep(self, existing: Callable[[Sequence[str]], Collection[str]]) -> None:
        """Writes the file. What was erased from the store meanwhile is forgotten, here and there.

        Args:
            existing: returns those of some ids that the store still has.
        """
        with self._lock:
            unsure = [id for id in self._entries if id not in self._unchanged]
        still_there = existing(unsure) if unsure else ()
        with self._lock:
            for id in set(unsure).difference(still_there, self._unchanged):
                self._entries.pop(id, None)
            about = {"model": self._model, "fingerprint": self._fingerprint}
            entries, unchanged = dict(self._entries), set(self._unchanged)
        _write(self._path, about, entries, unchanged)


def erase(uri: str, ids: Iterable[str], folder: Path = FOLDER) -> None:
    """Removes drawings from the judgements kept of the store `uri`.

    Raises:
        OSError: when the file cannot be written.
    """
    path = _path(uri, folder)
    about, entries, unchanged = _load(path)
    if entries:
        for id in ids:
            entries.pop(id, None)
        _write(path, about, entries, unchanged & entries.keys())


def _path(uri: str, folder: Path) -> Path:
    return folder / f"{sha256(uri.encode()).hexdigest()[:16]}.safetensors"


def _picture_digest(png: bytes) -> bytes:
    return blake2b(png, digest_size=_DIGEST_BYTES).digest()


def _digest(recogniser: Recogniser) -> str:
    """A digest of all that a judgement depends on besides the picture."""
    digest = sha256(repr((cache.FORMAT, recogniser.size, recogniser.resampling, recogniser.labels)).encode())
    digest.update(repr(recogniser.calibration).encode())
    for path, array in jax.tree_util.tree_leaves_with_path(recogniser.variables):
        digest.update(repr(path).encode())
        digest.update(np.asarray(array).tobytes())
    return digest.hexdigest()


def _write(path: Path, about: dict, entries: dict[str, _Entry], unchanged: Collection[str]) -> None:
    """Writes a file that nobody else may read; it has its name when it is complete."""
    if not entries:
        path.unlink(missing_ok=True)
        return
    names = [id.encode() for id in entries]
    judgements = [entry.judgement for entry in entries.values()]
    digests = b"".join(entry.digest for entry in entries.values())
    arrays = {
        "about": np.frombuffer(json.dumps(about).encode(), np.uint8),
        "ids": np.frombuffer(b"".join(struct.pack("<H", len(name)) + name for name in names), np.uint8),
        "digests": np.frombuffer(digests, np.uint8).reshape(-1, _DIGEST_BYTES),
        "confidences": np.array([one.confidences for one in judgements], np.float32).reshape(len(names), -1),
        "are_grades": np.array([one.is_grade for one in judgements], bool),
        "are_unchanged": np.array([id in unchanged for id in entries], bool),
    }
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    content = save(arrays)
    with tempfile.NamedTemporaryFile(prefix=f"{path.name}.", dir=path.parent, delete=False) as file:  # mode 0600
        try:
            file.write(content)
        except OSError:  # the disk is full
            Path(file.name).unlink()
            raise
    Path(file.name).replace(path)


def _load(path: Path) -> tuple[dict, OrderedDict[str, _Entry], set[str]]:
    """What `_write` wrote; nothing if there is no such file, or it is damaged."""
    try:
        arrays = load(regular.read(path, _MAX_BYTES))
        about = json.loads(arrays["about"].tobytes())
        packed, ids, start = arrays["ids"].tobytes(), [], 0
        while start < len(packed):
            (length,) = struct.unpack_from("<H", packed, start)
            ids.append(packed[start + 2 : start + 2 + length].decode())
            start += 2 + length
        digests, confidences = arrays["digests"], arrays["confidences"].astype(np.float64)
        if digests.shape != (len(ids), _DIGEST_BYTES) or not np.isfinite(confidences).all():
            raise ValueError
        rows = zip(ids, digests, confidences, arrays["are_grades"].tolist(), strict=True)
        entries = OrderedDict(
            (id, _Entry(digest.tobytes(), Judgement(row, bool(is_grade)))) for id, digest, row, is_grade in rows
        )
        unchanged = {id for id, so in zip(ids, arrays["are_unchanged"].tolist(), strict=True) if so}
        return {"model": str(about["model"]), "fingerprint": about["fingerprint"]}, entries, unchanged
    except (OSError, regular.Irregular, SafetensorError, struct.error, KeyError, TypeError, ValueError, RecursionError):
        return {}, OrderedDict(), set()
