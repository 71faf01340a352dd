"""The last audit of a store, kept for the gallery: each drawing as networks read it that were not trained on it."""

import hashlib
import json
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from gradejax import regular, runs
from gradejax.errors import UserError
from gradejax.scales import LETTERS, Scale

FOLDER = Path(".cache/audits")
PICTURE = Path("audit.png")
"""Of the most suspect drawings, unless `data audit --out` names another."""
_MAX_BYTES = 2**28  # a drawing takes 200
_DECIMALS = 4
_UNREADABLE = (OSError, regular.Irregular, AttributeError, KeyError, TypeError, ValueError, RecursionError)


class Audit(NamedTuple):
    """What is kept of an audit.

    Attributes:
        date: when it was made, ISO 8601, UTC.
        confidences: of each drawing by its id, out of sample; rows sum to one, but for rounding.
    """

    date: str
    confidences: dict[str, Float[np.ndarray, " grades"]]


def save(
    uri: str,
    ids: Sequence[str],
    confidences: Float[np.ndarray, "n grades"],
    folder: Path = FOLDER,
    scale: Scale = LETTERS,
) -> None:
    """Keeps an audit of the store `uri`, in the place of an earlier one.

    Raises:
        UserError: when it cannot be written.
    """
    path = _path(uri, folder)
    drawings = dict(zip(ids, confidences.round(_DECIMALS).tolist(), strict=True))
    content = {"date": datetime.now(UTC).isoformat(timespec="seconds"), "grades": scale.labels, "drawings": drawings}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        runs.write_text(path, json.dumps(content))
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from None


def load(uri: str, folder: Path = FOLDER, scale: Scale = LETTERS) -> Audit | None:
    """The last audit of the store `uri` with this scale; None if there is none, or it cannot be read."""
    try:
        content = json.loads(regular.read(_path(uri, folder), _MAX_BYTES))
        if content["grades"] != list(scale.labels):
            return None
        confidences = {id: np.array(row, np.float64) for id, row in content["drawings"].items()}
        if all(row.shape == (len(scale.labels),) for row in confidences.values()):
            return Audit(datetime.fromisoformat(content["date"]).isoformat(timespec="seconds"), confidences)
    except _UNREADABLE:
        pass
    return None


def names_any(uri: str, ids: Collection[str], folder: Path = FOLDER) -> bool:
    """Whether the last audit of the store `uri` read one of these drawings."""
    try:
        return not json.loads(regular.read(_path(uri, folder), _MAX_BYTES))["drawings"].keys().isdisjoint(ids)
    except _UNREADABLE:
        return False


def erase(uri: str, ids: Collection[str], folder: Path = FOLDER) -> None:
    """Removes drawings from the audit kept of the store `uri`. Raises OSError when it cannot be written."""
    path = _path(uri, folder)
    content = json.loads(regular.read(path, _MAX_BYTES))
    content["drawings"] = {id: row for id, row in content["drawings"].items() if id not in ids}
    runs.write_text(path, json.dumps(content))


def _path(uri: str, folder: Path) -> Path:
    return folder / f"{hashlib.sha256(uri.encode()).hexdigest()[:16]}.json"
