"""Looking for wrong labels, near-duplicates and other writers, and putting labels right."""

import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import cv2
import forked
import numpy as np
import pytest

from gradejax import audits, labels, similar, styles
from gradejax.data.__main__ import main
from gradejax.data.audit import audit
from gradejax.data.relabel import relabel
from gradejax.drawings import new_id
from gradejax.errors import UserError
from gradejax.hands.synthetic import write_drawings
from gradejax.ink import decode_ink, encode_png
from gradejax.scales import LETTERS
from gradejax.stores import open_store

GRADES = LETTERS.labels

WRONG = 12


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    """The folder of an audit of 900 drawings by 20 writers with 12 wrong labels, and one drawing saved twice.

    Returns:
        The folder, the right labels of the mislabelled drawings by id, the two ids, and what was printed.
    """
    folder = tmp_path_factory.mktemp("audit")
    drawings = list(write_drawings(900, writers=20))
    rng = np.random.default_rng(0)
    right = {}
    for index in rng.choice(len(drawings), WRONG, replace=False):
        drawing = drawings[index]
        right[drawing.id] = drawing.label
        other = GRADES[(GRADES.index(drawing.label) + rng.integers(1, len(GRADES))) % len(GRADES)]
        drawings[index] = replace(drawing, label=other)
    first = next(one for one in drawings if one.id not in right)
    moved = cv2.warpAffine(decode_ink(first.png), np.array([[1.0, 0, 9], [0, 1, -7]]), (280, 280))
    again = replace(first, id=new_id(), png=encode_png(moved))
    with closing(open_store(f"sqlite:///{folder}/grades.db")) as store:
        store.add([*drawings, again])
    done = forked.run(folder, "data", "audit", "--store=sqlite:///grades.db", "--out=suspects.ndjson", environment={})
    assert done.returncode == 0, done.stderr
    return folder, right, {first.id, again.id}, done.stdout


def lines_of(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "suspects.ndjson").read_text().splitlines()]


def id_of(value: str | dict) -> str:
    return value["$oid"] if isinstance(value, dict) else value


class TestAudit:
    def test_wrong_labels_come_first(self, audited):
        folder, right, _, printed = audited
        suspects = [line for line in lines_of(folder) if "kind" not in line]
        assert all(line.keys() == {"_id", "label", "guess", "score"} for line in suspects)
        first = {id_of(line["_id"]): line["guess"] for line in suspects[: 2 * WRONG]}
        assert len(first.keys() & right.keys()) >= 8
        assert sum(first.get(id) == label for id, label in right.items()) >= 6
        assert "901 drawings by 20 writers; about " in printed

    def test_the_picture_is_beside_the_file(self, audited):
        folder, _, _, printed = audited
        assert cv2.imread(str(folder / "suspects.png")) is not None
        assert "suspects.png" in printed

    def test_a_drawing_saved_twice(self, audited):
        folder, _, twice, printed = audited
        pairs = [{id_of(id) for id in line["ids"]} for line in lines_of(folder) if line.get("kind") == "duplicate"]
        assert twice in pairs
        assert "near-duplicates: " in printed

    def test_the_gallery_gets_the_confidences(self, audited):
        folder, right, _, _ = audited
        kept = audits.load("sqlite:///grades.db", folder / audits.FOLDER)
        assert len(kept.confidences) == 901 and right.keys() <= kept.confidences.keys()
        assert np.allclose([row.sum() for row in kept.confidences.values()], 1, atol=1e-3)
        assert audits.load("sqlite:///other.db", folder / audits.FOLDER) is None

    def test_a_store_that_is_too_small(self, tmp_path, monkeypatch, draw):
        monkeypatch.chdir(tmp_path)
        with closing(open_store("sqlite:///small.db")) as store:
            store.add([draw() for _ in range(20)])
        with pytest.raises(UserError, match="150 drawings or more, and here are 20"):
            audit("sqlite:///small.db", (), "")

    @pytest.mark.parametrize("out", ["grades.db", "missing/suspects.ndjson", "suspects.png", "folder"])
    def test_files_that_cannot_be_meant(self, out, tmp_path, monkeypatch, draw):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "folder").mkdir()
        with closing(open_store("sqlite:///grades.db")) as store:
            store.add([draw()])
        with pytest.raises(UserError, match=Path(out).name):
            audit("sqlite:///grades.db", (), out)


class TestRelabel:
    def test_the_suspects_are_put_right(self, audited, tmp_path, capsys):
        folder, right, _, _ = audited
        kept = [line for line in lines_of(folder) if "kind" in line or right.get(id_of(line["_id"])) == line["guess"]]
        n = sum("kind" not in line for line in kept)
        (tmp_path / "suspects.ndjson").write_text("".join(json.dumps(line) + "\n\n" for line in kept))
        uri = f"sqlite:///{folder}/grades.db"
        relabel(uri, str(tmp_path / "suspects.ndjson"))
        relabel(uri, str(tmp_path / "suspects.ndjson"))
        assert capsys.readouterr().out.splitlines() == [
            f"relabelled {n}, already so 0, gone or changed since 0",
            f"relabelled 0, already so {n}, gone or changed since 0",
        ]
        line = next(line for line in kept if "kind" not in line)
        with closing(open_store(uri)) as store:
            drawing = store.get(id_of(line["_id"]))
        assert drawing.label == line["guess"]
        assert [entry["label"] for entry in drawing.history] == [line["label"]]

    def test_what_has_changed_since_is_left(self, any_store_uri, store, draw, tmp_path, capsys):
        ids = [new_id() for _ in range(4)]
        store.add([draw(id=id, label=label) for id, label in zip(ids, ("A", "B", "C"), strict=False)])
        store.exclude(ids[2:3])
        file = tmp_path / "suspects.ndjson"
        file.write_text("".join(json.dumps({"_id": id, "label": "A", "guess": "D"}) + "\n" for id in ids))
        relabel(any_store_uri, str(file))
        assert capsys.readouterr().out == "relabelled 1, already so 0, gone or changed since 3\n"
        assert [store.get(id).label for id in ids[:3]] == ["D", "B", "C"]

    @pytest.mark.parametrize(
        ("line", "says"),
        [
            ("{", "line 2: not JSON"),
            ("[1]", "line 2: not an object with _id, label and guess"),
            ('{"_id": "b", "label": "A"}', "line 2: not an object with _id, label and guess"),
            ('{"_id": "b", "label": "A", "guess": "F"}', "line 2: unknown label 'F', a grade of us"),
            ('{"_id": null, "label": "A", "guess": "B"}', "line 2: _id is not text"),
            ('{"_id": "a", "label": "A", "guess": "C"}', "line 2: the same drawing as in line 1"),
        ],
    )
    def test_a_malformed_line_changes_nothing(self, line, says, draw, tmp_path):
        uri, file = f"sqlite:///{tmp_path}/grades.db", tmp_path / "suspects.ndjson"
        file.write_text('{"_id": "a", "label": "A", "guess": "B"}\n' + line)
        with closing(open_store(uri)) as store:
            store.add([draw(id="a", label="A")])
        with pytest.raises(UserError, match="nothing was changed") as raised:
            relabel(uri, str(file))
        assert says in str(raised.value)
        with closing(open_store(uri)) as store:
            assert store.get("a").label == "A"

    @pytest.mark.parametrize("content", [None, "", '{"kind": "writer", "id": "a"}\n'])
    def test_a_file_without_lines(self, content, tmp_path):
        file = tmp_path / "suspects.ndjson"
        if content is not None:
            file.write_text(content)
        with pytest.raises(UserError, match=r"suspects\.ndjson"):
            relabel(f"sqlite:///{tmp_path}/grades.db", str(file))

    def test_it_takes_no_other_flags(self):
        with pytest.raises(UserError, match="relabel FILE"):
            main(["relabel"])


class TestLabels:
    def test_confident_learning_counts_a_known_share(self):
        """With confidences as sure as they are right, the estimate is the number of changed labels."""
        rng = np.random.default_rng(0)
        right = np.repeat(np.arange(15), 100)
        given = right.copy()
        wrong = rng.choice(len(right), 75, replace=False)
        given[wrong] = (given[wrong] + rng.integers(1, 15, 75)) % 15
        confidences = rng.uniform(0, 0.01, (len(right), 15))
        confidences[np.arange(len(right)), right] = rng.uniform(0.8, 1, len(right))
        confidences /= confidences.sum(axis=1, keepdims=True)
        doubts = labels.doubts(confidences, given)
        assert set(doubts.order[:75]) == set(wrong)
        assert doubts.n_wrong == pytest.approx(75, abs=8)
        assert (doubts.guesses == right).all()

    def test_a_label_that_no_drawing_has(self):
        confidences = np.full((4, 15), 1 / 15)
        doubts = labels.doubts(confidences, np.zeros(4, int))
        assert sorted(doubts.order) == [0, 1, 2, 3] and 0 <= doubts.n_wrong <= 4


class TestLooks:
    def test_different_drawings_and_blank_ones_are_no_duplicates(self):
        ink = np.zeros((40, 28, 28), np.uint8)
        for index, drawing in enumerate(write_drawings(30, writers=2)):
            ink[index] = cv2.resize(decode_ink(drawing.png), (28, 28), interpolation=cv2.INTER_AREA)
        ink[30] = np.roll(ink[3], 1, axis=1)
        compared = []
        assert [pair[:2] for pair in similar.near_duplicates(ink, compared.append)] == [(3, 30)]
        assert sum(compared) == 31

    def test_a_drawing_by_another_hand(self):
        """One writer's thin, small lines among another's thick, large ones."""
        rng = np.random.default_rng(0)
        ink, writers = np.zeros((60, 28, 28), np.uint8), np.repeat([0, 1], 30)
        for index, writer in enumerate(writers):
            thick = writer if index else 1
            low = rng.integers(3, 6) + (0 if thick else 6)
            cv2.line(ink[index], (14, int(low)), (int(rng.integers(12, 17)), 26 - int(low)), 255, 1 + 2 * int(thick))
        found = styles.strangers(ink, np.zeros(60, int), writers)
        assert found and found[0].row == 0 and found[0].writer == 1
        assert styles.strangers(ink, np.zeros(60, int), np.zeros(60, int)) == []
