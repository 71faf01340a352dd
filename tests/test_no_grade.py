"""Drawings that deliberately show no grade: stored, carried, trained on and held out, but never counted as grades."""

import csv
import json
import subprocess
import sys
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import forked
import numpy as np
import pytest
from bson import json_util
from hypothesis import given
from hypothesis import strategies as st

from gradejax import metrics, splits
from gradejax.dataset import Dataset, of_grades
from gradejax.drawings import Drawing, to_document
from gradejax.errors import UserError
from gradejax.hands.canvas import ink_strokes
from gradejax.hands.synthetic import write_drawings, written_others
from gradejax.ink import encode_png
from gradejax.prepare import prepare
from gradejax.recipe import base
from gradejax.scales import LETTERS, NO_GRADE
from gradejax.stores import Query, open_store

GRADES = LETTERS.labels

N_GRADES, N_OTHERS, N_WRITERS = 600, 300, 10
QUICK = ["--config=mlp", "--config.data.size=16", "--config.model.hidden=(64,)", "--config.model.dropout=(0.1,)"]
QUICK += ["--config.train.learning_rate=1e-2", "--config.train.epochs=30", "--config.train.checkpoint_every=30"]


def command(folder: Path, module: str, *arguments: str) -> str:
    done = forked.run(folder, module, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def others(n: int) -> list[dict]:
    """Documents of other letters, digits and marks by the writers of the grades, labelled as what they are."""
    written = written_others(n, writers=N_WRITERS)
    date = datetime(2026, 3, 1, tzinfo=UTC)
    return [
        to_document(
            Drawing(f"other-{i}", ("others",), one.name, encode_png(ink_strokes(one.strokes)), date, one.writer)
        )
        for i, one in enumerate(written)
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a store of grades and, imported from `others.ndjson`, of drawings of no grade."""
    folder = tmp_path_factory.mktemp("no-grade")
    (folder / "data").mkdir()
    with closing(open_store(f"sqlite:///{folder}/data/grades.db")) as store:
        store.add(write_drawings(N_GRADES, writers=N_WRITERS))
    (folder / "others.ndjson").write_text("\n".join(json_util.dumps(one) for one in others(N_OTHERS)))
    command(folder, "data", "import", "others.ndjson", "--as-no-grade")
    return folder


class TestCarried:
    def test_import_keeps_what_the_drawing_was(self, folder):
        with closing(open_store(f"sqlite:///{folder}/data/grades.db")) as store:
            drawings = list(store.find(Query(label=NO_GRADE)))
        assert len(drawings) == N_OTHERS
        imported = [json_util.loads(line) for line in (folder / "others.ndjson").read_text().splitlines()]
        assert [one.history[0]["label"] for one in drawings] == [one["label"] for one in imported]

    def test_export_and_import_carry_them(self, folder, any_store_uri, store):
        command(folder, "data", "export", "all.ndjson")
        command(folder, "data", "import", "all.ndjson", f"--store={any_store_uri}")
        with closing(open_store(f"sqlite:///{folder}/data/grades.db")) as original:
            assert list(store.find(Query(label=NO_GRADE))) == list(original.find(Query(label=NO_GRADE)))

    def test_stats_count_them(self, folder):
        head, *_, total = [
            line for line in command(folder, "data", "stats").splitlines() if "total" in line or "tag" in line
        ][:2]
        assert head.split()[-3:-1] == ["no", "grade"]
        assert total.split()[-2:] == [str(N_OTHERS), str(N_GRADES + N_OTHERS)]

    def test_without_the_flag_they_are_refused_with_advice(self, folder, tmp_path):
        done = subprocess.run(
            [sys.executable, "-m", "gradejax.data", "import", folder / "others.ndjson"],
            cwd=tmp_path, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 1
        assert "--as-no-grade" in done.stderr.splitlines()[-1]

    @pytest.mark.parametrize("name", ["no grade", "No-Grade", "no_grade", "nograde 2"])
    def test_a_folder_of_pictures(self, tmp_path, name):
        (tmp_path / name).mkdir()
        (tmp_path / name / "F+.png").write_bytes(encode_png(np.full((20, 20), 255, np.uint8)))
        command(tmp_path, "data", "import", ".", "--tags=7b", "--store=sqlite:///some.db")
        with closing(open_store(f"sqlite:///{tmp_path}/some.db")) as store:
            assert [one.label for one in store.find()] == [NO_GRADE]

    def test_both_stores_relabel_to_and_fro(self, store, draw):
        store.add([one := draw(label="A")])
        assert store.relabel([one.id], NO_GRADE) == 1
        assert store.relabel([one.id], "B") == 1
        assert [entry["label"] for entry in store.get(one.id).history] == ["A", NO_GRADE]


def dataset(labels: list[int], writers: list[int]) -> Dataset:
    n = len(labels)
    names = tuple(f"writer {i}" for i in range(max(writers) + 1))
    ids = np.array([b"%d" % i for i in range(n)])
    return Dataset(np.zeros((n, 8, 8), np.uint8), np.int32(labels), np.int32(writers), names, "digest", ids=ids)


@given(st.integers(0, 50), st.sampled_from(["writer", "random", "sequential"]), st.integers(0, 2**31))
def test_a_split_holds_them_out_with_their_writers(n_others, how, seed):
    rng = np.random.default_rng(seed)
    labels = rng.permutation([*np.arange(90) % 15, *[-1] * n_others])
    data = dataset(labels.tolist(), rng.integers(0, 6, len(labels)).tolist())
    test = 0.2 if how == "writer" else 0.0
    try:
        parts = [splits.split(data, how, 0.3, seed, test), *splits.folds(data, how, 3, seed, test)]
    except UserError as error:  # by chance a grade is missing, or a part has none
        assert "grade" in str(error) or "no drawing of" in str(error)
        return
    for part in parts:
        assert (data.labels[part.validation] >= 0).all()
        assert (data.labels[part.test] >= 0).all()
        assert (data.labels[part.others] < 0).all()
        rows = np.concatenate([part.train, part.validation, part.test, part.others])
        assert len(np.unique(rows)) == len(rows)
        unused = np.setdiff1d(np.arange(len(data)), rows)
        assert (data.labels[unused] < 0).all()
        others_people = set(data.writers[np.concatenate([part.train, part.validation, part.others])])
        assert not set(data.writers[unused]) & others_people
        if how == "writer":
            assert not set(data.writers[part.train]) & set(data.writers[part.others])
    held_out = np.concatenate([fold.others for fold in parts[1:]])
    assert len(np.unique(held_out)) == len(held_out)


def test_only_grades_are_audited():
    data = dataset([0, -1, 3], [0, 1, 0])
    assert of_grades(data).labels.tolist() == [0, 3]
    assert of_grades(data).ids.tolist() == [b"0", b"2"]


@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=40).map(np.array),
    st.lists(st.integers(0, 9), min_size=1, max_size=40).map(np.array),
)
def test_rejection_agrees_with_counting_pairs(grades, others):
    auroc, at_95, at_99 = metrics.rejection(grades / 10, others / 10)
    difference = grades[:, None] - others
    assert auroc == pytest.approx(((difference > 0) + 0.5 * (difference == 0)).mean())
    for kept, let_in in ((0.95, at_95), (0.99, at_99)):
        passing = [t for t in np.unique(grades) if (grades >= t).mean() >= kept]
        assert let_in == (others >= max(passing)).mean()


@pytest.fixture(scope="module", params=[(0, False), (4, True)], ids=str)
def run(request, folder):
    """A run on grades and others: by split without an output for no grade, and by folds with one."""
    folds, no_grade = request.param
    workdir = f"runs/{folds}-{no_grade}"
    options = [f"--config.data.folds={folds}", *["--config.model.no_grade=True"] * no_grade]
    command(folder, "main", *QUICK, *options, f"--workdir={workdir}")
    return folder / workdir


class TestTrained:
    def test_the_summary_says_how_many_are_rejected(self, run):
        summary = json.loads((run / "summary.json").read_text())
        rejection = summary["no_grade"]
        folds = summary["folds"]
        assert rejection["others"] == (N_OTHERS if folds else N_OTHERS // 5)
        assert summary["n_val"] == (N_GRADES if folds else N_GRADES // 5)
        assert summary["n_train"] == (N_GRADES + N_OTHERS) * (1 if folds else 4 / 5)
        assert 0 <= rejection["let_in_at_95"] <= rejection["let_in_at_99"] <= 1
        assert rejection["auroc"] > 0.6  # it has learnt to be unsure of them
        assert summary["val_accuracy"] > 0.5

    def test_they_are_listed(self, run):
        with (run / "drawings.csv").open(newline="") as file:
            lines = [line for line in csv.DictReader(file) if line["label"] == NO_GRADE]
        assert len(lines) == N_OTHERS
        folds = json.loads((run / "summary.json").read_text())["folds"]
        parts = Counter(line["part"] for line in lines)
        assert parts == ({"train": N_OTHERS} if folds else {"train": 240, "validation": 60})
        assert all(line["guess"] in GRADES for line in lines if folds or line["part"] == "validation")

    def test_evaluate_tells_them_apart(self, run, folder):
        printed = command(folder, "evaluate", f"--workdir={run}")
        scores = json.loads(printed.splitlines()[-1])
        assert (scores["n"], scores["no_grade"]["others"]) == (N_GRADES, N_OTHERS)
        assert "drawings of no grade: 300, rejected" in printed


def test_an_output_for_no_grade_needs_drawings_of_no_grade(tmp_path, monkeypatch):
    monkeypatch.setattr("gradejax.mixture._STRANGERS", 100)
    config = base()
    config.model.hidden, config.model.dropout, config.model.name, config.model.no_grade = (8,), (0.1,), "mlp", True
    config.data.cache = ""
    with closing(open_store(f"sqlite:///{tmp_path}/grades.db")) as store:
        store.add(write_drawings(60, writers=4))
        with pytest.raises(UserError, match="all drawings show grades: add synthetic ones"):
            prepare(config, store)
        config.data.others = 10
        assert len(prepare(config, store).strangers) == 100


def test_ablations_leave_them_out_of_accuracies(folder):
    (folder / "experiment.py").write_text(
        "from gradejax.recipe import base\n"
        "def get_config():\n"
        "    config = base()\n"
        "    config.model.name, config.model.hidden, config.model.dropout = 'mlp', (64,), (0.1,)\n"
        "    config.data.size = 16\n"
        "    config.train.epochs, config.data.folds, config.data.test_fraction = 3, 2, 0.2\n"
        "    return config\n"
        "def get_variants():\n"
        "    return {'one': {}, 'other': {'train.learning_rate': 1e-2}}\n"
    )
    command(folder, "ablate", "--experiment=experiment.py", "--seeds=1", "--workdir=runs/ablation")
    with (folder / "runs/ablation/results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["n_val"]) for row in rows] == [N_GRADES * 4 // 5 // 2] * 4
    assert [int(row["n_test"]) for row in rows] == [N_GRADES // 5] * 4
