"""A run lists which drawings it was trained on, and what a network that was not made of the others."""

import csv
import hashlib
import os

import numpy as np
import pytest

from gradejax import held_out
from gradejax.dataset import Dataset
from gradejax.errors import UserError
from gradejax.evaluation import Evaluation, Predictions
from gradejax.models import build
from gradejax.prepare import Prepared
from gradejax.scales import LETTERS
from gradejax.splits import Split

GRADES = LETTERS.labels

INK = np.random.default_rng(0).integers(0, 256, (7, 8, 8), np.uint8)
LABELS = np.array([0, 1, 2, 3, 4, 5, -1], np.int32)
WRITERS = np.array([0, 1, 1, 2, 2, 3, 4], np.int32)
IDS = np.array([b"0", b'"quoted, ', "é\r\n".encode(), b"3", b"4", b"5", b""])
DATA = Dataset(INK, LABELS, WRITERS, tuple("abcde"), "", ids=IDS)
"""The last drawing is synthetic, by the writer e."""


def rows(*numbers: int) -> np.ndarray:
    return np.array(numbers, int)


def predictions(numbers: np.ndarray) -> Predictions:
    """Reads the grade after the right one, and is 60% sure."""
    confidences = np.full((len(numbers), 15), 0.4 / 14)
    confidences[np.arange(len(numbers)), LABELS[numbers] + 1] = 0.6
    likeness, are_grades = confidences.max(axis=1), np.ones(len(numbers), bool)
    return Predictions(INK[numbers], LABELS[numbers], confidences, likeness, are_grades, WRITERS[numbers])


def write(folder, split: Split, folds: tuple[Split, ...] = ()) -> tuple[dict, list[dict]]:
    """Writes the list; returns what the summary says of it, and its lines."""
    prepared = Prepared(DATA, split, build("mlp", size=8, seed=0), {}, folds)
    test = predictions(split.test) if len(split.test) else None
    about = held_out.write(folder, prepared, Evaluation(predictions(split.validation), np.zeros((1, 15)), 0.0, test))
    with (folder / "drawings.csv").open(newline="") as file:
        return about, list(csv.DictReader(file))


def column(lines: list[dict], name: str) -> list[str]:
    return [line[name] for line in lines]


def test_a_split(tmp_path):
    about, lines = write(tmp_path, Split(rows(0, 3, 6), rows(1, 2), rows(5)))
    assert about == {"file": "drawings.csv", "drawings": 3, "writers": 2}
    assert column(lines, "id") == [id.decode() for id in IDS[:6]]
    assert column(lines, "part") == ["train", "validation", "validation", "train", "unused", "test"]
    assert column(lines, "writer") == ["0", "1", "1", "2", "2", "3"]
    assert column(lines, "label") == list(GRADES[:6])
    assert column(lines, "guess") == ["", GRADES[2], GRADES[3], "", "", GRADES[6]]
    assert column(lines, "confidence") == ["", "0.6000", "0.6000", "", "", "0.6000"]
    assert set(column(lines, "fold")) == {""}
    assert column(lines, "ink") == [hashlib.sha256(ink.tobytes()).hexdigest()[:16] for ink in INK[:6]]
    assert list(tmp_path.iterdir()) == [tmp_path / "drawings.csv"]


def test_folds(tmp_path):
    folds = (Split(rows(1, 3, 6), rows(0, 2, 4), rows(5)), Split(rows(0, 2, 4, 6), rows(1, 3), rows(5)))
    about, lines = write(tmp_path, Split(rows(0, 1, 2, 3, 6), rows(0, 1, 2, 3, 4), rows(5)), folds)
    assert about == {"file": "drawings.csv", "drawings": 6, "writers": 4}
    assert column(lines, "part") == ["train"] * 4 + ["validation", "test"]
    assert column(lines, "fold") == ["1", "2", "1", "2", "1", ""]
    assert column(lines, "guess") == list(GRADES[1:7])


def test_drawings_that_were_trained_on_are_known_by_their_ink(tmp_path):
    assert held_out.trained_on(tmp_path) is None
    write(tmp_path, Split(rows(0, 3, 6), rows(1, 2), rows(5)))
    digests = held_out.trained_on(tmp_path)
    assert held_out.seen(digests, INK).tolist() == [True, False, False, True, False, False, False]
    assert held_out.seen(digests, INK[::-1] // 2).sum() == 0


def test_many_drawings_are_written_in_parts(tmp_path, monkeypatch):
    split = Split(rows(0, 3, 6), rows(1, 2), rows(5))
    whole = write(tmp_path, split)
    monkeypatch.setattr(held_out, "_ROWS_TOGETHER", 4)
    assert write(tmp_path, split) == whole


HEADER = b"id,part,fold,writer,label,guess,confidence,ink\n"
DAMAGES = {
    "empty": b"",
    "another header": b"id,part\n1,train\n",
    "a line that is cut": HEADER + b"1,train,,0,A,,,0123",
    "a missing column": HEADER + b"1,train,,0,A,,0123456789abcdef\n",
    "an unknown part": HEADER + b"1,trained,,0,A,,,0123456789abcdef\n",
    "no digest": HEADER + b"1,train,,0,A,,,0123456789abcdex\n",
    "a negative digest": HEADER + b"1,train,,0,A,,,-123456789abcdef\n",
    "no UTF-8": HEADER + b"\xff,train,,0,A,,,0123456789abcdef\n",
    "an open quote": HEADER + b'"1,train,,0,A,,,0123456789abcdef\n',
    "a long field": HEADER + b"1" * 200_000,
    "zeros": HEADER + bytes(100),
}


@pytest.mark.parametrize("content", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_list_is_one_line(tmp_path, content):
    (tmp_path / "drawings.csv").write_bytes(content)
    with pytest.raises(UserError, match=r"drawings\.csv is damaged: .*; delete it to go on") as caught:
        held_out.trained_on(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_strangers_list_is_no_link_pipe_or_giant(tmp_path):
    path = tmp_path / "drawings.csv"
    path.symlink_to("/dev/zero")
    with pytest.raises(UserError, match="damaged"):
        held_out.trained_on(tmp_path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(UserError, match="damaged"):
        held_out.trained_on(tmp_path)
    path.unlink()
    path.touch()
    os.truncate(path, 10**10)
    with pytest.raises(UserError, match="damaged"):
        held_out.trained_on(tmp_path)
    path.unlink()
    path.mkdir()
    with pytest.raises(UserError, match="damaged"):
        held_out.trained_on(tmp_path)
