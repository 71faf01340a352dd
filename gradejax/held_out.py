"""`drawings.csv` in a run's folder: which drawings were trained on, which were held out, and what was made of those.

A line for each drawing of the store, in order of insertion; synthetic drawings that were mixed in have none. Columns:

- `id`: in the store.
- `part`: `train` if the run's network was trained on it, `validation`, `test`, or `unused` because of
  `data.train_drawings`, or because it shows no grade and its writer is a test writer.
- `fold`: with `data.folds`, the one that held it out: 1, 2, …
- `writer`: a number for each writer, in this run only. Their names stay in the store.
- `label`: in the store.
- `guess`: what a network that was not trained on the drawing read: the fold's, else the run's. Empty for the others.
- `confidence`: in the guess, calibrated on other drawings.
- `ink`: the first 16 hexadecimal digits of the SHA-256 of its ink at the network's size.
"""

import csv
import hashlib
import io
import logging
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from jaxtyping import Bool, UInt8, UInt64

from gradejax import regular, runs
from gradejax.errors import UserError
from gradejax.evaluation import Evaluation
from gradejax.prepare import Prepared
from gradejax.progress import progress
from gradejax.scales import Scale

log = logging.getLogger(__name__)

FILE = "drawings.csv"
_COLUMNS = ["id", "part", "fold", "writer", "label", "guess", "confidence", "ink"]
_PARTS = ("unused", "train", "validation", "test")
_ROWS_TOGETHER = 10_000
_MAX_BYTES = 2**29  # a drawing takes about 80

T = TypeVar("T")
Digests = UInt64[np.ndarray, " digests"]


def write(workdir: Path, prepared: Prepared, evaluation: Evaluation) -> dict[str, Any]:
    """Writes `drawings.csv` to a run's folder, atomically and some drawings at a time.

    Args:
        workdir: the run's folder.
        prepared: what the run was trained from.
        evaluation: of its model.

    Returns:
        What `summary.json` says of it: the `file`, and how many `drawings` by how many `writers` were held out.
    """
    data, split, folds = prepared.dataset, prepared.split, prepared.folds
    grades, labels = data.scale.labels, data.scale.all_labels
    n = int(np.count_nonzero(data.ids))  # those mixed in have no id, and come last
    part, fold = np.zeros(n, np.int8), np.zeros(n, np.int16)
    guess, confidence = np.full(n, -1, np.int8), np.zeros(n, np.float32)
    held_out = (
        ("validation", split.validation, evaluation.predictions),
        ("validation", split.others, evaluation.others),
        ("test", split.test, evaluation.test),
    )
    for name, rows, predictions in held_out:
        part[rows] = _PARTS.index(name)
        if predictions:
            guess[rows], confidence[rows] = predictions.guesses(), predictions.certainty()
    part[split.train[split.train < n]] = _PARTS.index("train")  # with folds, this has the last word
    for number, each in enumerate(folds, 1):
        fold[each.validation] = fold[each.others] = number

    def lines(rows: slice) -> Iterator[tuple[Any, ...]]:
        columns = data.ids, part, fold, data.writers, data.labels, guess, confidence
        values = zip(*(column[rows].tolist() for column in columns), ink_digests(data.ink[rows]), strict=True)
        for id, in_part, in_fold, writer, label, guessed, certainty, ink in values:
            seen = (grades[guessed], f"{certainty:.4f}") if guessed >= 0 else ("", "")
            yield id.decode(), _PARTS[in_part], in_fold or "", writer, labels[label], *seen, f"{ink:016x}"

    with runs.writing(workdir / FILE) as file, progress(f"writing {FILE}", n, log) as advance:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for start in range(0, n, _ROWS_TOGETHER):
            rows = slice(start, min(start + _ROWS_TOGETHER, n))
            writer.writerows(lines(rows))
            advance(rows.stop - rows.start)
    all_rows = np.concatenate([rows for _, rows, _ in held_out])
    return {"file": FILE, "drawings": len(all_rows), "writers": len(np.unique(data.writers[all_rows]))}


def ink_digests(ink: UInt8[np.ndarray, "n size size"]) -> list[int]:
    """The first 64 bits of the SHA-256 of each drawing's ink."""
    return [int.from_bytes(hashlib.sha256(each).digest()[:8]) for each in np.ascontiguousarray(ink)]


class Reading(NamedTuple):
    """What a network that was not trained on a drawing read.

    Attributes:
        id: of the drawing in the store.
        writer: as in `drawings.csv`.
        label: in the store; a grade.
        guess: what was read.
        confidence: in the guess.
    """

    id: str
    writer: str
    label: str
    guess: str
    confidence: float


def readings(workdir: Path) -> list[Reading] | None:
    """What was read of the validation drawings that show a grade; None if the run does not list its drawings.

    Raises:
        UserError: when the list cannot be read, or is damaged.
    """
    scale = runs.scale(workdir)
    return _from_lines(workdir, lambda lines: list(_readings(lines, scale)))


def misread(workdir: Path) -> set[str] | None:
    """The ids of the drawings that were read wrongly; None if the run does not list its drawings.

    Raises:
        UserError: when the list cannot be read, or is damaged.
    """
    return _from_lines(
        workdir, lambda lines: {id for id, _, _, _, label, guess, *_ in lines if guess not in ("", label)}
    )


def erase(workdir: Path, ids: Collection[str]) -> None:
    """Removes drawings from a run's list. It has its name when it is complete.

    Raises:
        UserError: when the list cannot be read, or is damaged.
        OSError: when it cannot be written.
    """
    lines = _from_lines(workdir, list) or []
    kept = [line for line in lines if line[0] not in ids]
    if len(kept) < len(lines):
        with runs.writing(workdir / FILE) as file:
            csv.writer(file, lineterminator="\n").writerows([_COLUMNS, *kept])


def trained_on(workdir: Path) -> Digests | None:
    """The digests of the drawings that a run's network was trained on, sorted; None if the run does not list them.

    Raises:
        UserError: when the list cannot be read, or is damaged.
    """
    return _from_lines(workdir, lambda lines: np.sort(np.fromiter(_trained_digests(lines), np.uint64)))


def _from_lines(workdir: Path, read: Callable[[Iterator[list[str]]], T]) -> T | None:
    """What `read` makes of the lines of `drawings.csv`; None if there is no such file."""
    path = workdir / FILE
    try:
        lines = csv.reader(
            io.TextIOWrapper(io.BytesIO(regular.read(path, _MAX_BYTES)), "utf-8", newline=""), strict=True
        )
        if next(lines, None) == _COLUMNS:
            return read(lines)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    except (regular.Irregular, csv.Error, ValueError):
        pass
    raise UserError(f"{path} is damaged: without it nobody can say which drawings were trained on; delete it to go on")


def _readings(lines: Iterator[list[str]], scale: Scale) -> Iterator[Reading]:
    """Raises ValueError for a line that is not whole."""
    for id, part, _, writer, label, guess, confidence, _ in lines:
        # With folds, the run's own network has been trained on a drawing that another one read.
        if label in scale.index and guess and part in ("validation", "train"):
            if guess not in scale.index:
                raise ValueError(guess)
            yield Reading(id, writer, label, guess, min(max(float(confidence), 0.0), 1.0))


def _trained_digests(lines: Iterator[list[str]]) -> Iterator[int]:
    """Those in the lines of the training part. Raises ValueError for a line that is not whole."""
    for _, part, _, _, _, _, _, ink in lines:
        digest = bytes.fromhex(ink)
        if part not in _PARTS or len(digest) != 8:
            raise ValueError(part)
        if part == "train":
            yield int.from_bytes(digest)


def seen(digests: Digests, ink: UInt8[np.ndarray, "n size size"]) -> Bool[np.ndarray, " n"]:
    """Which drawings are among those with these digests."""
    return np.isin(np.array(ink_digests(ink), np.uint64), digests)
