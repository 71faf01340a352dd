"""Scales of grades: parsed, kept by stores, imported, written by synthetic hands, and drawn in tables."""

import json
import sqlite3
from collections import Counter
from contextlib import closing
from io import BytesIO
from itertools import islice

import cv2
import forked
import numpy as np
import pymongo
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradejax import held_out, recogniser, runs, scales
from gradejax.data import exchange, folders, ndjson
from gradejax.drawings import from_document, to_document
from gradejax.errors import BadDrawing, StoreError, UserError
from gradejax.hands.allographs import MORE
from gradejax.hands.canvas import ink_strokes
from gradejax.hands.synthetic import write_drawings, written_grades, written_others
from gradejax.scales import LETTERS, NAMED, NO_GRADE
from gradejax.stores import Query, open_store

OWN = scales.parse("poor,fair,good,3½,-1")
GERMAN, FRENCH, SWISS, DANISH = (NAMED[name] for name in ("german", "french", "swiss", "danish"))
LABELS = st.lists(st.text("AZaz09+-.½,", min_size=1, max_size=4), min_size=2, max_size=9, unique=True)


def digest(drawings):
    return [to_document(drawing) for drawing in drawings]


@given(LABELS.filter(lambda labels: all(label.strip(".,") for label in labels)))
def test_a_list_of_labels_is_the_scale_that_its_name_lists(labels):
    scale = scales.of_labels(labels)
    assert sorted(scale.labels) == sorted(labels)
    assert scales.parse(scale.name) == scale
    assert [scale.index[label] for label in scale.labels] == list(range(len(labels)))
    assert sorted(index for _, indices in scale.parts() for index in indices) == list(range(len(labels)))
    signed = [index for _, indices in scale.signs() for index in indices]
    assert not signed or sorted(signed) == list(range(len(labels)))


@given(st.text(max_size=30))
def test_any_text_is_a_scale_or_a_mistake_in_one_line(text):
    try:
        assert scales.parse(text).labels
    except UserError as error:
        assert "letters, us, german, french, spanish, swiss, danish, ib" in str(error)
        assert str(error).isprintable()


@pytest.mark.parametrize("scale", NAMED.values(), ids=str)
def test_a_named_scale_is_found_by_its_name_and_by_its_labels(scale):
    assert scales.parse(scale.name) is scale
    assert scales.parse(",".join(scale.labels)) is scale
    assert scales.of_labels(scale.labels[::-1]) is scale
    assert NO_GRADE not in scale.index
    assert scale.all_labels[-1] == NO_GRADE


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("bavarian", "no scale is called 'bavarian'"),
        ("", "no scale is called ''"),
        ("good,,bad", "'' is no label of 1 to 4"),
        ("good,better", "'better' is no label of 1 to 4"),
        ("ä,ö", "'ä' is no label"),
        ("..,a", "'..' is no label"),
        ("a,b,a", "the label a is there twice"),
        (",".join(f"a{n}" for n in range(101)), "a scale has 2 to 100 labels, and here are 101"),
    ],
)
def test_what_is_no_scale(text, reason):
    with pytest.raises(UserError) as raised:
        scales.parse(text)
    assert str(raised.value).startswith(reason)


def test_a_decimal_comma_needs_semicolons():
    scale = scales.parse("1; 1,5; 2")
    assert scale.labels == ("1", "1,5", "2")
    assert scale.name == "1;1,5;2"


def test_grades_are_grouped_as_the_scale_says():
    assert [name for name, _ in LETTERS.parts()] == list("ABCDE")
    assert LETTERS.signs() == [("+", [*range(0, 15, 3)]), ("", [*range(1, 15, 3)]), ("-", [*range(2, 15, 3)])]
    assert [name for name, _ in GERMAN.parts()] == list("123456")
    assert FRENCH.parts() == [("0 to 4", range(5)), ("5 to 9", range(5, 10)), ("10 to 14", range(10, 15)),
                              ("15 to 20", range(15, 21))]  # fmt: skip
    assert [name for name, _ in NAMED["ib"].parts()] == list("1234567")
    assert DANISH.signs() == []  # the minus of -3 is none
    assert [name for name, _ in scales.parse("A+,A,B").parts()] == ["A", "B"]
    assert [name for name, _ in OWN.parts()] == list(OWN.labels)


class TestStores:
    def test_a_store_is_for_letters_until_another_scale_is_set(self, any_store_uri):
        with closing(open_store(any_store_uri)) as store:
            assert store.scale == LETTERS
            store.set_scale(GERMAN)
            assert store.scale == GERMAN
        with closing(open_store(any_store_uri)) as store:
            assert store.scale == GERMAN
        with closing(open_store(any_store_uri, scale="french")) as store:
            assert store.scale == FRENCH
            store.set_scale(OWN)
            store.set_scale(LETTERS)
            assert store.scale == LETTERS

    def test_drawings_come_back_in_their_scale(self, store):
        store.set_scale(OWN)
        drawings = list(write_drawings(5, scale=OWN))
        assert store.add(drawings) == 5
        assert list(store.find()) == drawings
        assert store.get(drawings[3].id) == drawings[3]
        assert store.get_many([drawings[0].id]) == {drawings[0].id: drawings[0]}
        assert store.summary() == Counter((("synthetic",), label) for label in OWN.labels)
        assert store.relabel([drawings[0].id], "good") == 1
        assert store.count(Query(label="good")) == 2

    def test_what_is_outside_the_scale_is_refused_with_the_scales_that_have_it(self, store):
        store.set_scale(GERMAN)
        (drawing,) = write_drawings(1, scale=GERMAN)
        with pytest.raises(BadDrawing, match=r"unknown label 'A\+', a grade of letters, us"):
            store.add([drawing, *write_drawings(1, seed=1)])
        assert store.count() == 0
        store.add([drawing])
        with pytest.raises(BadDrawing, match="unknown label '7', a grade of french, spanish, danish, ib"):
            store.relabel([drawing.id], "7")
        assert store.relabel([drawing.id], NO_GRADE) == 1

    def test_a_scale_is_not_changed_while_drawings_are_outside_the_new_one(self, store, draw):
        store.add([draw(label="A"), draw(label="E-"), draw(label=NO_GRADE), excluded := draw(label="B")])
        store.exclude([excluded.id])
        with pytest.raises(UserError, match=r"drawings of A, B, E-, which the scale german lacks: it keeps .* letters"):
            store.set_scale(GERMAN)
        with pytest.raises(UserError, match="drawings of E-, which the scale us lacks"):
            store.set_scale(NAMED["us"])
        assert store.scale == LETTERS
        store.erase([drawing.id for drawing in store.find(Query(label="E-"))])
        store.set_scale(NAMED["us"])
        assert store.scale == NAMED["us"]

    def test_the_fingerprint_changes_with_the_scale(self, store, draw):
        store.add([draw(label="A")])
        before = store.fingerprint()
        store.set_scale(NAMED["us"])
        assert store.fingerprint() != before

    def test_another_program_s_change_is_noticed(self, any_store_uri):
        with closing(open_store(any_store_uri)) as first:
            with closing(open_store(any_store_uri, scale=DANISH)) as second:
                second.add(write_drawings(1, scale=DANISH))
            with closing(open_store(any_store_uri)) as third:
                assert third.scale == DANISH
            assert first.count() == 1

    def test_a_file_from_before_there_were_scales_is_not_rewritten(self, tmp_path, draw):
        path = tmp_path / "grades.db"
        with closing(open_store(f"sqlite:///{path}")) as store:
            store.add([draw()])
        before = path.read_bytes()
        with closing(open_store(f"sqlite:///{path}", scale=LETTERS)) as store:
            assert store.scale == LETTERS
            assert store.count() == 1
        assert path.read_bytes() == before

    def test_a_scale_of_a_later_version_is_a_reason_to_update(self, tmp_path):
        uri = f"sqlite:///{tmp_path}/grades.db"
        open_store(uri, scale=GERMAN).close()
        with closing(sqlite3.connect(tmp_path / "grades.db")) as connection, connection:
            connection.execute("UPDATE scale SET name = 'martian'")
        with pytest.raises(StoreError, match=r"'martian', .* update gradejax"):
            open_store(uri)

    def test_erasing_leaves_the_scale(self, store):
        store.set_scale(DANISH)
        store.add(drawings := list(write_drawings(2, scale=DANISH)))
        assert store.erase([drawing.id for drawing in drawings]) == 2
        assert store.scale == DANISH

    def test_a_collection_of_another_program_is_read_with_its_scale(self, mongodb_uri, draw):
        with closing(open_store(mongodb_uri, scale=DANISH)) as store:
            store.add(drawings := list(write_drawings(7, scale=DANISH)))
        with pymongo.MongoClient(mongodb_uri) as other_program:
            other_program.get_default_database()["grades.scale"].drop()
        with closing(open_store(mongodb_uri)) as store:
            assert list(store.find()) == [] and store.count() == 7
        with closing(open_store(mongodb_uri, scale="danish")) as store:
            assert list(store.find()) == drawings


class TestImports:
    def test_ndjson_of_another_scale(self, tmp_path):
        drawings = list(write_drawings(21, scale=FRENCH))
        file = BytesIO()
        ndjson.write(file, drawings)
        for scale, imported in ((FRENCH, 21), (LETTERS, 0)):
            outcome = exchange.Outcome()
            with closing(open_store(f"sqlite:///{tmp_path}/{scale.name}.db", scale=scale)) as store:
                exchange.load(store, exchange.from_file(BytesIO(file.getvalue()), scale=scale), outcome)
                assert outcome.imported == imported
                assert list(store.find()) == drawings[:imported]
        assert outcome.refused["unknown label '14', a grade of french"] == 1

    @pytest.mark.parametrize(
        ("name", "scale", "label"),
        [
            ("1plus", GERMAN, "1+"), ("1+_0017", GERMAN, "1+"), ("6", GERMAN, "6"), ("6+", GERMAN, None),
            ("12", FRENCH, "12"), ("12_3", FRENCH, "12"), ("120", FRENCH, None), ("21", FRENCH, None),
            ("1.5", SWISS, "1.5"), ("1.7", SWISS, None), ("5.5 (2)", SWISS, "5.5"), ("5", SWISS, "5"),
            ("-3", DANISH, "-3"), ("02", DANISH, "02"), ("2", DANISH, None), ("no grade", DANISH, NO_GRADE),
            ("POOR", OWN, "poor"), ("3½", OWN, "3½"), ("good_2", OWN, "good"), ("goods", OWN, None),
            ("a", scales.parse("a,A"), "a"), ("A2", scales.parse("a,A"), "A"), ("b", NAMED["us"], "B"),
        ],
    )  # fmt: skip
    def test_names_of_folders(self, name, scale, label):
        assert folders.label_in(name, scale) == label

    def test_a_number_in_a_folder_of_a_grade_counts(self, tmp_path):
        (drawing,) = write_drawings(1, scale=FRENCH)
        for name in ("12/3.png", "12/x.png"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_bytes(drawing.png)
        assert [read().label for _, read in folders.from_folder(tmp_path, ("7b",), FRENCH)] == ["12", "12"]


@pytest.mark.parametrize("scale", [*NAMED.values(), OWN], ids=str)
class TestHands:
    def test_everyone_writes_every_grade(self, scale):
        n = len(scale.labels)
        drawings = list(write_drawings(4 * n, seed=2, writers=4, scale=scale))
        assert Counter(drawing.label for drawing in drawings) == dict.fromkeys(scale.labels, 4)
        assert digest(drawings[:3]) == digest(write_drawings(3, seed=2, writers=4, scale=scale))
        for drawing in drawings:
            assert from_document(to_document(drawing), scale=scale) == drawing

    def test_the_ink_is_on_the_canvas(self, scale):
        for written in written_grades(2 * len(scale.labels), seed=3, writers=2, scale=scale):
            ink = ink_strokes(written.strokes)
            assert ink.any()
            assert not any(edge.any() for edge in (ink[:2], ink[-2:], ink[:, :2], ink[:, -2:]))

    def test_others_are_no_grades(self, scale):
        names = {written.name for written in written_others(150, seed=3, writers=20, scale=scale)}
        assert not names & {*scale.labels}
        assert len(names) > 40


def test_a_word_is_in_one_hand(draw):
    """The digits of 11 are as like each other as a writer's are, and stand beside each other."""
    heights = []
    for written in written_grades(21 * 10, seed=1, writers=10, scale=FRENCH):
        if written.name == "11":
            ink = ink_strokes(written.strokes)
            n, _, stats, _ = cv2.connectedComponentsWithStats((ink > 127).astype(np.uint8))
            if n == 3:
                first, second = stats[1:3, cv2.CC_STAT_HEIGHT]
                heights.append(first / second)
    assert len(heights) > 3
    assert 0.75 < np.median(heights) < 1.33


def test_digits_touch_now_and_then_and_points_never():
    def parts(written) -> int:
        return cv2.connectedComponents((ink_strokes(written.strokes) > 127).astype(np.uint8))[0] - 1

    tens = [parts(one) for one in written_grades(21 * 40, writers=40, scale=FRENCH) if one.name == "10"]
    assert 0.05 < np.mean([n == 1 for n in tens]) < 0.6
    halves = [parts(one) for one in written_grades(11 * 40, writers=40, scale=SWISS) if one.name == "2.5"]
    assert np.mean([n >= 2 for n in halves]) > 0.9


def test_letters_are_written_as_if_there_were_no_other_scale():
    """What other scales need changes nothing in a writer's other habits."""
    assert {character for label in LETTERS.labels for character in label}.isdisjoint(MORE)
    ours = {one.label: one for one in write_drawings(13, seed=4, writers=1, scale=NAMED["us"])}
    theirs = {one.label: one for one in write_drawings(13, seed=4, writers=1)}
    assert all(ours[label].strokes == theirs[label].strokes for label in LETTERS.labels[:12])


def test_near_misses_are_written_where_grades_are_words():
    def numbers(scale):
        others = written_others(300, writers=20, scale=scale)
        return {one.name for one in others if one.name.isdecimal() and len(one.name) > 1}

    assert numbers(FRENCH) and not numbers(FRENCH) & {*FRENCH.labels}
    assert not numbers(GERMAN)


class TestCommands:
    """On a store with the scale yes, no, 1½: at the place of the default one, or the training would not fill it."""

    @pytest.fixture(scope="class")
    def folder(self, tmp_path_factory):
        folder = tmp_path_factory.mktemp("scales")
        done = forked.run(folder, "main", "--config=mlp", "--scale=yes,no,1½", "--workdir=runs/own",
            "--config.train.epochs=2", "--config.model.hidden=(16,)", "--config.model.dropout=(0.0,)",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "filling it with 2,250 synthetic drawings" in done.stderr
        assert {"yes", "no", "1½"} <= set(done.stdout.split())
        return folder

    def test_the_run_remembers_the_scale(self, folder):
        assert json.loads((folder / "runs/own/config.json").read_text())["data"]["scale"] == "yes,no,1½"
        model = recogniser.load(folder / "runs/own")
        assert model.labels == ("yes", "no", "1½")
        assert model.scale == scales.parse("yes,no,1½") == runs.scale(folder / "runs/own")
        assert model.network.n_grades == 3
        assert held_out.readings(folder / "runs/own")

    def test_a_drawing_is_read(self, folder):
        (drawing,) = write_drawings(1, seed=9, scale=scales.parse("yes,no,1½"))
        (folder / "yes.png").write_bytes(drawing.png)
        done = forked.run(folder, "predict", "--json", "yes.png")
        assert list(json.loads(done.stdout)["confidences"]) == ["yes", "no", "1½"]

    def test_the_drawings_are_scored_and_counted(self, folder):
        done = forked.run(folder, "evaluate")
        assert json.loads(done.stdout.splitlines()[-1])["n"] == 2250
        assert forked.run(folder, "data", "stats").stdout.splitlines()[1].split() == ["tag", "yes", "no", "1½", "all"]

    def test_an_export_remembers_the_scale(self, folder):
        done = forked.run(folder, "export", "--to=page", "own.html")
        assert json.loads(done.stdout.splitlines()[-1])["labels"] == ["yes", "no", "1½"]
        assert '"labels":["yes","no","1\\u00bd"]' in (folder / "own.html").read_text()

    def test_another_scale_is_refused_in_one_line(self, folder):
        for arguments in (
            ("data", "generate", "10", "--scale=german"),
            ("main", "--config=mlp", "--scale=german"),
            ("web", "--scale=german", "--port=0"),
            ("data", "import", "--scale=german", "x.ndjson"),
        ):
            (folder / "x.ndjson").write_text("{}")
            done = forked.run(folder, *arguments)
            assert done.returncode == 1
            assert done.stderr.splitlines()[-1] == (
                "error: the store has drawings of yes, no, 1½, which the scale german lacks: it keeps the scale "
                "yes,no,1½; name another store with --store"
            )
        done = forked.run(folder, "data", "generate", "10", "--scale=bavarian", "--store=sqlite:///new.db")
        assert done.stderr.startswith("error: no scale is called 'bavarian': name one of letters, us, german")

    def test_a_training_does_not_start_from_another_scale(self, folder):
        done = forked.run(folder, "main", "--config=best", "--config.train.start_from=shipped")
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1] == (
            "error: the recogniser that comes with gradejax reads the scale letters, and these drawings have yes,no,1½:"
            " choose another train.start_from, or none"
        )

    def test_letters_are_not_guessed_where_the_store_has_another_scale(self, folder, tmp_path):
        store = f"--store=sqlite:///{folder}/data/grades.db"
        done = forked.run(tmp_path, "evaluate", store)
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1].startswith(
            "error: the recogniser that comes with gradejax reads the scale letters, and the store has yes,no,1½"
        )
        forked.run(tmp_path, "data", "generate", "30", "--store=sqlite:///letters.db")
        done = forked.run(folder, "evaluate", f"--store=sqlite:///{tmp_path}/letters.db", "--workdir=runs/own")
        assert "the model in runs/own reads the scale yes,no,1½, and the store has letters" in done.stderr

    def test_a_backup_has_the_scale_and_an_export_needs_it(self, folder):
        assert forked.run(folder, "data", "backup", "copy.db").returncode == 0
        with closing(open_store(f"sqlite:///{folder}/copy.db")) as store:
            assert store.scale == scales.parse("yes,no,1½")
        forked.run(folder, "data", "export", "all.ndjson")
        with (folder / "all.ndjson").open() as file:
            (folder / "some.ndjson").write_text("".join(islice(file, 100)))
        done = forked.run(folder, "data", "import", "some.ndjson", "--store=sqlite:///again.db")
        assert done.returncode == 1 and "--scale names the scale that they have" in done.stderr
        done = forked.run(folder, "data", "import", "some.ndjson", "--store=sqlite:///again.db", "--scale=yes,no,1½")
        assert done.stdout == "imported 100, already there 0, refused 0\n"
