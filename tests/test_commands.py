"""The commands as a user gives them: real processes, real files, one clear line for each mistake."""

import csv
import json
import os
import pty
import re
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import forked
import numpy as np
import pytest

import gradejax
from gradejax import runs
from gradejax.errors import UserError
from gradejax.hands.synthetic import write_drawings
from gradejax.ink import encode_png
from gradejax.stores import open_store

ROOT = Path(__file__).parent.parent
QUICK = [
    "--config.data.size=16", "--config.model.hidden=(64,)", "--config.model.dropout=(0.1,)",
    "--config.train.learning_rate=1e-2", "--config.seed=3",
]  # fmt: skip
EPOCHS = 30

NOBODY_THERE = "mongodb://anna:secret@127.0.0.1:1/?serverSelectionTimeoutMS=200"


def start(folder: Path, module: str, *arguments: str) -> forked.Process:
    environment = {name: value for name, value in os.environ.items() if name != "GRADEJAX_STORE"}
    return forked.Process(folder, module, *arguments, environment=environment)


def command(folder: Path, module: str, *arguments: str) -> subprocess.CompletedProcess:
    process = start(folder, module, *arguments)
    out, err = process.communicate(timeout=180)
    return subprocess.CompletedProcess(process.args, process.returncode or 0, out, err)


def train_mlp(folder: Path, workdir: str, *more: str) -> subprocess.CompletedProcess:
    arguments = [f"--config={ROOT}/configs/mlp.py", *QUICK, f"--config.train.epochs={EPOCHS}"]
    return command(folder, "main", *arguments, "--store=sqlite:///some.db", f"--workdir={workdir}", *more)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with the store `some.db`, which holds a bad document, and the finished run `run`; and its output."""
    folder = tmp_path_factory.mktemp("commands")
    store = open_store(f"sqlite:///{folder}/some.db")
    store.add(write_drawings(901, writers=10))
    with sqlite3.connect(folder / "some.db") as connection:
        connection.execute("UPDATE drawing SET png = x'00' WHERE seq = 901")
    done = train_mlp(folder, "run")
    assert done.returncode == 0, done.stderr
    return folder, done


def fails(done: subprocess.CompletedProcess, reason: str) -> None:
    """Asserts that a mistake ends without a traceback, and with the reason in the last line."""
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert re.search(reason, last), last


def test_a_training_prints_its_model_and_its_accuracy(trained):
    _, done = trained
    assert "skipped 1 of the store's documents: not a PNG" in done.stderr
    assert "parameters" in done.stdout
    assert "most confused" in done.stdout or "no mistakes" in done.stdout
    assert re.search(r"validation accuracy \d+\.\d+% on \d+ drawings \(writer split\)", done.stdout)
    assert len(re.findall(rf"^epoch \d+/{EPOCHS} ", done.stderr, re.MULTILINE)) == EPOCHS


def test_a_run_folder_is_complete(trained):
    folder, _ = trained
    run = folder / "run"
    summary = json.loads((run / "summary.json").read_text())
    promised = {
        "val_accuracy", "best_val_accuracy", "best_epoch", "val_loss", "ece", "epochs", "n_train", "n_val", "split",
        "parameters", "images_per_second", "train_seconds", "wall_seconds", "device", "data_fingerprint", "versions",
        "ece_uncalibrated", "val_refused", "others_refused", "no_grade",
    }  # fmt: skip
    assert promised <= summary.keys()
    assert summary["n_train"] + summary["n_val"] == 900
    assert summary["refused"] == {"not a PNG": 1}
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == list(range(1, EPOCHS + 1))
    assert summary["val_accuracy"] == pytest.approx(rows[-1]["val_accuracy"])
    assert summary["best_val_accuracy"] == max(row["val_accuracy"] for row in rows)
    config = json.loads((run / "config.json").read_text())
    assert config["seed"] == 3
    assert config["train"]["epochs"] == EPOCHS
    for name in ("curves", "confusion", "reliability", "mistakes"):
        assert (run / "plots" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert any((run / "checkpoints").iterdir())
    assert list(run.glob("events.out.tfevents.*"))


def drawings_of(run: Path) -> list[dict]:
    with (run / "drawings.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_says_which_drawings_were_held_out(trained):
    folder, done = trained
    summary = json.loads((folder / "run" / "summary.json").read_text())
    listed = drawings_of(folder / "run")
    stored = [drawing for drawing in open_store(f"sqlite:///{folder}/some.db").find() if drawing.png != b"\0"]
    assert [line["id"] for line in listed] == [drawing.id for drawing in stored]
    assert [line["label"] for line in listed] == [drawing.label for drawing in stored]
    held_out = [line for line in listed if line["part"] == "validation"]
    people = {line["writer"] for line in held_out}
    assert summary["held_out"] == {"file": "drawings.csv", "drawings": len(held_out), "writers": len(people)}
    assert (summary["n_val"], summary["val_writers"], summary["folds"]) == (len(held_out), len(people), 0)
    assert not people & {line["writer"] for line in listed if line["part"] == "train"}
    assert np.mean([line["guess"] == line["label"] for line in held_out]) == pytest.approx(summary["val_accuracy"])
    assert not any(line["guess"] for line in listed if line["part"] == "train")
    low, high = summary["val_interval"]
    assert low < summary["val_accuracy"] < high
    assert f"{low:.2%} to {high:.2%} for unseen writers like these {len(people)}" in done.stdout
    assert f"95% interval: unseen writers like these {len(people)}" in done.stdout


def test_writers_are_numbers_in_a_run(trained):
    folder, _ = trained
    names = {drawing.writer for drawing in open_store(f"sqlite:///{folder}/some.db").find() if drawing.writer}
    assert len(names) == 10
    for file in (file for file in (folder / "run").rglob("*") if file.is_file()):
        assert not any(name.encode() in file.read_bytes() for name in names), file


def test_evaluate_scores_a_run_on_a_store(trained):
    folder, _ = trained
    done = command(folder, "evaluate", "--workdir=run", "--store=sqlite:///some.db", "--tags=synthetic")
    assert done.returncode == 0, done.stderr
    scores = json.loads(done.stdout.splitlines()[-1])
    assert (scores["n"], scores["writers"], scores["store"]) == (900, 10, "sqlite:///some.db")
    assert 0 <= scores["ece"] <= 1
    assert scores["accuracy"] > 0.5  # by chance: 0.07
    assert scores["refused"] < 0.1
    low, high = scores["interval"]
    assert low < scores["accuracy"] < high
    summary = json.loads((folder / "run" / "summary.json").read_text())
    assert scores["trained_on"] == summary["n_train"]
    assert scores["new"]["n"] == summary["n_val"]
    assert scores["new"]["accuracy"] == pytest.approx(summary["val_accuracy"])
    warning = (
        rf"the model was trained on {summary['n_train']} of the 900 drawings in sqlite:///some.db, which flatter it; "
        rf"its accuracy on the other {summary['n_val']} is {summary['val_accuracy']:.2%}"
    )
    assert warning in done.stderr.splitlines()
    assert re.search(rf"not trained on +│ +{summary['n_val']} ", done.stdout)
    assert "95% interval: writers trained on, like these 10" in done.stdout


def test_evaluate_compares_stores(trained):
    folder, _ = trained
    open_store(f"sqlite:///{folder}/new.db").add(write_drawings(60, seed=5, writers=4))
    open_store(f"sqlite:///{folder}/lonely.db").add(write_drawings(15, seed=6, writers=1))
    names = ["some.db", "lonely.db", "new.db"]
    several, single, nobody = (
        command(folder, "evaluate", *arguments)
        for arguments in (
            ["--workdir=run", *(f"--store=sqlite:///{name}" for name in names)],
            ["--workdir=run", "--store=sqlite:///new.db"],
            ["--workdir=run", "--store=sqlite:///new.db", f"--store={NOBODY_THERE}"],
        )
    )
    assert several.returncode == 0, several.stderr
    *table, some, lonely, new = several.stdout.splitlines()
    scores = [json.loads(line) for line in (some, lonely, new)]
    assert [each["store"] for each in scores] == [f"sqlite:///{name}" for name in names]
    assert [each["n"] for each in scores] == [900, 15, 60]
    assert scores[0]["trained_on"] > 0
    assert [each["trained_on"] for each in scores[1:]] == [0, 0]
    assert [each["new"] for each in scores[1:]] == [None, None]
    assert scores[1]["interval"] is None
    assert [line.split()[0] for line in table if ".db" in line] == names
    assert any(re.match(rf"new\.db +60 +4 +{scores[2]['accuracy']:.2%} +[\d.]+ to [\d.]+ ", line) for line in table)
    assert any(re.match(r"lonely\.db +15 +1 +[\d.]+% +– ", line) for line in table)
    assert json.loads(single.stdout.splitlines()[-1]) == scores[2]
    assert "trained on" not in single.stderr
    assert "95% interval: unseen writers like these 4" in single.stdout
    fails(nobody, r"127\.0\.0\.1")
    assert "secret" not in nobody.stdout + nobody.stderr


def test_evaluate_takes_a_run_without_a_list_of_its_drawings(trained):
    """An earlier gradejax wrote none."""
    folder, _ = trained
    shutil.copytree(folder / "run", folder / "earlier")
    (folder / "earlier" / "drawings.csv").unlink()
    summary = json.loads((folder / "earlier" / "summary.json").read_text())
    for key in ("held_out", "val_writers", "val_interval", "folds"):
        del summary[key]
    (folder / "earlier" / "summary.json").write_text(json.dumps(summary))
    shutil.copytree(folder / "run", folder / "broken")
    (folder / "broken" / "drawings.csv").write_bytes(b"id\0")
    open_store(f"sqlite:///{folder}/others.db").add(write_drawings(60, seed=7, writers=4))
    same, other, broken = (
        command(folder, "evaluate", *arguments)
        for arguments in (
            ["--workdir=earlier", "--store=sqlite:///some.db"],
            ["--workdir=earlier", "--store=sqlite:///others.db"],
            ["--workdir=broken", "--store=sqlite:///some.db"],
        )
    )
    assert (
        "trained on part of the drawings in sqlite:///some.db, which flatter it, and does not say which" in same.stderr
    )
    assert json.loads(same.stdout.splitlines()[-1])["trained_on"] is None
    assert other.returncode == 0
    assert "trained on" not in other.stderr
    fails(broken, r"broken/drawings\.csv is damaged")


FOLDED = [f"--config={ROOT}/configs/mlp.py", *QUICK, "--config.train.epochs=4", "--config.data.folds=3",
          "--config.data.synthetic=15", "--store=sqlite:///few.db"]  # fmt: skip


@pytest.fixture(scope="module")
def folded(tmp_path_factory):
    """A folder with the store `few.db` and the run `folded`, which has folds; and its output."""
    folder = tmp_path_factory.mktemp("folds")
    open_store(f"sqlite:///{folder}/few.db").add(write_drawings(300, writers=10))
    done = command(folder, "main", *FOLDED, "--workdir=folded")
    assert done.returncode == 0, done.stderr
    return folder, done


def test_with_folds_every_drawing_is_held_out_once(folded):
    folder, done = folded
    run = folder / "folded"
    summary = json.loads((run / "summary.json").read_text())
    assert (summary["n_val"], summary["n_train"], summary["folds"], summary["val_writers"]) == (300, 315, 3, 10)
    assert summary["held_out"] == {"file": "drawings.csv", "drawings": 300, "writers": 10}
    readers = "each drawing read by a network that has not seen its writer (3 folds)"
    assert readers in done.stdout.splitlines()[-1]
    assert "training on 315 drawings, validating on 300 (writer split, 3 folds)" in done.stderr
    listed = drawings_of(run)
    assert len(listed) == 300
    assert {line["part"] for line in listed} == {"train"}
    fold_of = {line["writer"]: line["fold"] for line in listed}
    assert set(fold_of.values()) == {"1", "2", "3"}
    assert all(line["fold"] == fold_of[line["writer"]] for line in listed)
    right = np.mean([line["guess"] == line["label"] for line in listed])
    assert right == pytest.approx(summary["val_accuracy"])
    assert right == pytest.approx(runs.read_history(run)[-1]["val_accuracy"])


def test_a_run_with_folds_predicts_and_warns(folded):
    folder, _ = folded
    done = command(folder, "predict", "--workdir=folded", f"{ROOT}/tests/b-minus.png")
    assert done.returncode == 0, done.stderr
    done = command(folder, "evaluate", "--workdir=folded", "--store=sqlite:///few.db")
    scores = json.loads(done.stdout.splitlines()[-1])
    assert (scores["trained_on"], scores["new"]) == (300, None)
    assert "the model was trained on 300 of the 300 drawings in sqlite:///few.db, which flatter it" in done.stderr


def test_a_run_that_is_cut_off_takes_the_folds_it_has(folded):
    folder, _ = folded
    process = start(folder, "main", *FOLDED, "--workdir=cut")
    deadline = time.monotonic() + 120
    while not (folder / "cut" / "out_of_sample.json").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert not (folder / "cut" / "summary.json").exists()
    done = command(folder, "main", *FOLDED, "--workdir=cut")
    assert done.returncode == 0, done.stderr
    assert "the 3 folds have been trained already" in done.stderr
    one, other = (json.loads((folder / name / "summary.json").read_text()) for name in ("folded", "cut"))
    assert all(one[name] == other[name] for name in ("val_accuracy", "val_loss", "ece", "val_interval", "held_out"))
    assert about_of(folder / "folded")["digests"] == about_of(folder / "cut")["digests"]
    assert drawings_of(folder / "folded") == drawings_of(folder / "cut")


def test_damaged_folds_are_one_line(folded):
    folder, _ = folded
    shutil.copytree(folder / "folded", folder / "damaged")
    path = folder / "damaged" / "out_of_sample.json"
    path.write_bytes(path.read_bytes()[:-100])
    done = command(folder, "main", *FOLDED, "--workdir=damaged")
    fails(done, r"damaged/out_of_sample\.json is damaged: delete it to train the folds again")


def test_predict_reads_pictures_and_names_other_files(trained, tmp_path):
    folder, _ = trained
    drawings = list(write_drawings(20, writers=10))
    for number, drawing in enumerate(drawings):
        (tmp_path / f"{number}.png").write_bytes(drawing.png)
    (tmp_path / "none.png").write_text("not a picture")
    files = [str(tmp_path / f"{number}.png") for number in range(20)]
    done = command(folder, "predict", "--workdir=run", *files)
    assert done.returncode == 0, done.stderr
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert [row[0] for row in rows] == files
    right = np.mean([row[1] == drawing.label for row, drawing in zip(rows, drawings, strict=True)])
    assert right > 0.5
    done = command(folder, "predict", "--workdir=run", "--json", files[0], str(tmp_path / "none.png"))
    assert done.returncode == 1
    assert done.stderr.strip() == f"error: {tmp_path}/none.png: not a PNG"
    guess = json.loads(done.stdout)
    assert guess["grade"] == rows[0][1] == max(guess["confidences"], key=guess["confidences"].get)
    assert sum(guess["confidences"].values()) == pytest.approx(1, abs=1e-4)


def test_blank_paper_is_no_grade(trained, tmp_path):
    folder, _ = trained
    png = tmp_path / "blank.png"
    png.write_bytes(encode_png(np.zeros((280, 280), np.uint8)))
    done = command(folder, "predict", "--workdir=run", str(png))
    assert done.returncode == 0, done.stderr
    path, grade, confidence = done.stdout.strip().split("\t")
    assert (path, grade) == (str(png), "no grade")
    done = command(folder, "predict", "--workdir=run", "--json", str(png))
    assert done.returncode == 0, done.stderr
    guess = json.loads(done.stdout)
    assert guess["grade"] is None
    assert guess["confidence"] == max(guess["confidences"].values()) == pytest.approx(float(confidence), abs=1e-3)


def test_without_workdir_the_newest_finished_run_is_used(trained, tmp_path):
    folder, _ = trained
    png = tmp_path / "a.png"
    png.write_bytes(next(write_drawings(1)).png)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "newest").symlink_to(folder / "run")
    done = command(tmp_path, "predict", str(png))
    assert (done.returncode, done.stderr) == (0, "using the model in runs/newest\n")


def test_a_finished_run_is_not_trained_again(trained):
    folder, _ = trained
    before = (folder / "run" / "metrics.jsonl").read_text()
    done = train_mlp(folder, "run")
    assert done.returncode == 0, done.stderr
    assert f"epoch 1/{EPOCHS}" not in done.stderr
    assert (folder / "run" / "metrics.jsonl").read_text() == before


OFTEN = [f"--config={ROOT}/configs/mlp.py", *QUICK, f"--config.train.epochs={EPOCHS}",
         "--config.train.checkpoint_every=2", "--store=sqlite:///some.db"]  # fmt: skip


@pytest.fixture(scope="module")
def on_a_terminal(trained) -> str:
    """What a terminal of 100 columns shows while the run `whole` trains."""
    folder, _ = trained
    ours, its = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "gradejax.main", *OFTEN, "--workdir=whole"],
        cwd=folder, env={**os.environ, "COLUMNS": "100", "TERM": "xterm"}, stdout=subprocess.DEVNULL, stderr=its,
    )  # fmt: skip
    os.close(its)
    seen = b""
    with suppress(OSError):  # raised when the other end closes
        while piece := os.read(ours, 65536):
            seen += piece
    os.close(ours)
    assert process.wait(60) == 0, seen
    return seen.decode()


def test_a_bar_shows_how_far_a_training_is(on_a_terminal):
    bar = rf"epoch \d+/{EPOCHS} loss \d\.\d+ acc \d+\.\d% val \d+\.\d% [\d,]+ images/s .*\d:\d\d:\d\d"
    assert re.search(bar, on_a_terminal)


def test_a_killed_run_goes_on_and_ends_the_same(trained, on_a_terminal):
    """SIGKILL in the middle, the same command again: the same model and metrics, bit for bit."""
    folder, _ = trained
    process = start(folder, "main", *OFTEN, "--workdir=cut")
    deadline = time.monotonic() + 120
    while not checkpoints_of(folder / "cut") and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (folder / "cut" / "summary.json").exists()
    resumed = command(folder, "main", *OFTEN, "--workdir=cut")
    assert resumed.returncode == 0, resumed.stderr
    assert f"epoch 1/{EPOCHS}" not in resumed.stderr
    one, other = (json.loads((folder / name / "summary.json").read_text()) for name in ("whole", "cut"))
    assert all(one[name] == other[name] for name in ("val_accuracy", "val_loss", "ece", "best_epoch", "epochs"))
    digests = [about_of(folder / name)["digests"] for name in ("whole", "cut")]
    assert digests[0] == digests[1]


def checkpoints_of(workdir: Path) -> list[Path]:
    """The complete ones, oldest first; one that is being written has a longer name."""
    return sorted(
        [path for path in (workdir / "checkpoints").glob("*") if path.name.isdigit()], key=lambda path: int(path.name)
    )


def about_of(workdir: Path) -> dict:
    return json.loads((checkpoints_of(workdir)[-1] / "about" / "metadata").read_text())


def test_the_first_run_fills_the_default_store_and_says_so(tmp_path):
    done = command(tmp_path, "main", f"--config={ROOT}/configs/mlp.py", *QUICK, "--config.train.epochs=1")
    assert done.returncode == 0, done.stderr
    assert "filling it with 2,250 synthetic drawings by 30 synthetic writers" in done.stderr
    store = open_store(f"sqlite:///{tmp_path}/data/grades.db")
    assert store.count() == 2250
    (tags,) = {tags for tags, _ in store.summary()}
    assert tags == ("synthetic",)
    assert set(store.summary().values()) == {150}
    (run,) = (tmp_path / "runs").iterdir()
    assert re.fullmatch(r"mlp-\d{8}-\d{6}", run.name)


MISTAKES = [
    ([], "which recipe"),
    (["--config=missing.py"], r"no config missing\.py: name a file, or .*best, cnn, fast, mlp"),
    (["--config=broken.py"], r"broken\.py, line 1: SyntaxError"),
    (["--config=CONFIG", "--config.train.epoch=3"], 'has no key epoch Did you mean "epochs"'),
    (["--config=CONFIG", "--config.train.epochs=many"], "many"),
    (["--config=CONFIG", "--config.train.epochs=0"], r"train\.epochs is 0"),
    (["--config=CONFIG", "--config.seed=-1"], "seed is -1: it must be between 0 and"),
    (["--config=CONFIG", "--config.model.name=rnn"], "no model is called 'rnn'"),
    (["--config=CONFIG", "--config.model.hidden=(10,)"], r"model\.hidden has 1 layers and model\.dropout 2 rates"),
    (["--config=CONFIG", "--config.data.split=fair"], "no split is called 'fair'"),
    (["--config=CONFIG", "--config.data.tags=3b,3c"], "no drawings tagged 3b, 3c .* the tags there: synthetic"),
    (["--config=CONFIG", "--store=sqlite:///empty.db"], r"no drawings in sqlite:///empty\.db: import some"),
    (["--config=CONFIG", "--store=ftp://host"], "sqlite:///"),
    (
        ["--config=CONFIG", "--store=mongodb://user:secret@127.0.0.1:1/?serverSelectionTimeoutMS=200"],
        r"127\.0\.0\.1",
    ),
    (["--config=CONFIG", "--store=sqlite:///one.db"], "two writers or more"),
    (["--config=CONFIG", "--config.data.folds=1"], r"data\.folds is 1: it must be 2 or more, or 0"),
    (["--config=CONFIG", "--config.data.folds=11"], "11 folds need as many writers, and here are 10: lower data.folds"),
    (["--config=CONFIG", "--workdir=some.db/run"], r"cannot write to the workdir some\.db/run"),
    (["--config=CONFIG", "--workdir=/proc/run"], "cannot write to the workdir /proc/run"),
    (["--config=CONFIG", "--workdir=run"], r"run of another config \(.*model\.hidden"),
    (["epochs=3"], "what is 'epochs=3'"),
]


def test_a_mistake_is_one_line(trained):
    folder, _ = trained
    (folder / "broken.py").write_text("def get_config(:")
    one = open_store(f"sqlite:///{folder}/one.db")
    one.add(list(write_drawings(30, writers=1)))
    calls = []
    for arguments, _ in MISTAKES:
        call = [argument.replace("CONFIG", f"{ROOT}/configs/mlp.py") for argument in arguments]
        stored = any(argument.startswith("--store") for argument in call)
        calls.append(call if stored else [*call, "--store=sqlite:///some.db"])
    for call, (_, reason) in zip(calls, MISTAKES, strict=True):
        done = command(folder, "main", *call)
        fails(done, reason)
        assert "secret" not in done.stderr + done.stdout


def test_a_folder_of_another_recipe_is_refused_before_a_drawing_is_read(trained, monkeypatch):
    folder, _ = trained
    monkeypatch.chdir(folder)
    with closing(open_store("sqlite:///some.db")) as store:
        monkeypatch.setattr(store, "find", lambda *_, **__: pytest.fail("a drawing is read"))
        with pytest.raises(UserError, match="run of another config"):
            gradejax.train(store, recipe="mlp", workdir="run")


CONFIG_MISTAKES = {
    "config.train.epoch = 3": "sets 'train.epoch', which does not exist: did you mean 'train.epochs'",
    "config.data.validation_fractoin = 0.5": "did you mean 'data.validation_fraction'",
    "config.sed = 1": "sets 'sed', which does not exist: did you mean 'seed'",
    "config.model.hiden = (3,)": "sets 'model.hiden', which does not exist: did you mean 'model.hidden'",
    "config.model.channels = (3,)": "sets 'model.channels', which does not exist",
    "config.nothing_like_it = 3": r"gradejax/recipe\.py lists the keys",
    'config.train.epochs = "3"': r"line 4, `config.train.epochs = \"3\"`: this is str and must be int",
    "config.train.epochs = 1e3": "this is float and must be int",
    "config.train.learning_rate = [1e-3]": "this is list and must be float",
    'config.data.tags = ("3a",)': "this is tuple and must be str",
    "config.train = 3": "`config.train = 3`: this is int and must be ConfigDict",
    "config.train.epochs = None": "train.epochs is None: it must be a whole number, such as 40",
    "config.train.epochs = True": "train.epochs is True: it must be a whole number",
    "config.data.split = None": "data.split is None: it must be text",
    "config.train = None": "train is None: it must be a group of keys",
    "config.train = {'epochs': 3}": "the config has no 'train.adam_epsilon'",
    "del config.train.epochs": r"the config has no 'train.epochs': begin it with `config = gradejax.recipe.base\(\)`",
    "config.train.epochs = placeholder(int)": "train.epochs is None: it must be a whole number",
    "config.train[3] = 4": "keys that are not text",
    'config.train.learning_rate = float("nan")': "train.learning_rate is nan: it must be between 0 and",
    'config.train.weight_decay = float("inf")': "train.weight_decay is inf: it must be between 0 and",
    'config.data.validation_fraction = float("nan")': "data.validation_fraction is nan: it must be between 0 and 1",
    'config.model.hidden = (8, "9")': "model.hidden is .*: it must be a tuple, each value a whole number",
    "config.model.dropout = (0.1, None)": "model.dropout is .*: it must be a tuple, each value a number",
    "config.model.hidden = (True, 8)": "model.hidden is .*: it must be a tuple, each value a whole number",
    "return 3": r"get_config\(\) returns 3",
    "return {}": r"get_config\(\) returns {}",
    "1 / 0": r"made\d+\.py, line 4, `1 / 0`: ZeroDivisionError: division by zero",
    "raise SystemExit(0)": "SystemExit",
    "import nothing_like_it": "No module named 'nothing_like_it'",
}


def test_a_mistake_in_a_config_file_is_named(tmp_path):
    calls = []
    for number, line in enumerate(CONFIG_MISTAKES):
        (tmp_path / f"made{number}.py").write_text(
            "from ml_collections.config_dict import placeholder\n"
            f"def get_config():\n    config = base()\n    {line}\n    return config\n"
            "from gradejax.recipe import base as _base\ndef base():\n    config = _base()\n"
            "    config.model.name, config.model.hidden, config.model.dropout = 'mlp', (8, 8), (0.1, 0.1)\n"
            "    return config\n"
        )
        calls.append([f"--config=made{number}.py", "--store=sqlite:///none.db"])
    for call, reason in zip(calls, CONFIG_MISTAKES.values(), strict=True):
        fails(command(tmp_path, "main", *call), reason)
    assert not (tmp_path / "none.db").exists()


def test_a_config_may_refer_to_its_own_keys_and_use_whole_numbers_as_floats(trained):
    folder, _ = trained
    (folder / "own.py").write_text(
        "from gradejax.recipe import base\n"
        "def get_config():\n    config = base()\n"
        "    config.model.name, config.model.hidden, config.model.dropout = 'mlp', [8], [0]\n"
        "    config.train.epochs = config.get_ref('seed') + 1\n    config.augment.rotation = 5\n    return config\n"
    )
    arguments = ["--config=own.py", "--config.data.size=16", "--store=sqlite:///some.db", "--workdir=own"]
    done = command(folder, "main", *arguments)
    assert done.returncode == 0, done.stderr
    assert json.loads((folder / "own" / "config.json").read_text())["train"]["epochs"] == 1


def test_an_empty_mongodb_is_not_filled_unasked(tmp_path, mongodb_uri):
    done = command(tmp_path, "main", f"--config={ROOT}/configs/mlp.py", *QUICK, f"--store={mongodb_uri}")
    fails(done, r"no drawings in mongodb://.*: import some .*, or make some \(`python -m gradejax\.data generate")
    assert open_store(mongodb_uri).count() == 0


def test_a_grade_nobody_drew_is_named(tmp_path):
    store = open_store(f"sqlite:///{tmp_path}/some.db")
    store.add([drawing for drawing in write_drawings(300, writers=10) if drawing.label not in ("C", "E-")])
    fails(train_mlp(tmp_path, "run"), "no drawing of C, E- among the")


def test_a_damaged_model_is_named(trained, tmp_path):
    folder, _ = trained
    copy = tmp_path / "run"
    subprocess.run(["cp", "-r", folder / "run", copy], check=True)
    for file in copy.glob("checkpoints/*/model/**/*"):
        if file.is_file():
            file.write_bytes(file.read_bytes()[:-1])
    png = tmp_path / "a.png"
    png.write_bytes(next(write_drawings(1)).png)
    fails(command(folder, "predict", f"--workdir={copy}", str(png)), r"checkpoints/\d+ is damaged .* train anew")


@pytest.mark.parametrize(
    ("module", "arguments", "reason"),
    [
        ("predict", [], "which drawings"),
        ("predict", ["--workdir=missing", "a.png"], "no run in missing: train one with"),
        ("evaluate", ["--workdir=missing"], "no run in missing"),
        ("evaluate", ["--workdir=run", "--store=sqlite:///some.db", "--tags=x"], "no drawings tagged x"),
        ("predict", ["--wrkdir=x"], "wrkdir"),
    ],
)
def test_a_mistake_with_a_model_is_one_line(trained, module, arguments, reason):
    fails(command(trained[0], module, *arguments), reason)


@pytest.mark.parametrize("module", ["main", "evaluate", "predict"])
def test_help_shows_the_command(tmp_path, module):
    done = command(tmp_path, module, "--help")
    assert done.returncode == 0
    assert f"python -m gradejax.{module}" in done.stdout
    assert "--workdir" in done.stdout
    assert not done.stderr


def test_no_password_is_written_down(trained):
    """The log and a run's files name the store without its credentials."""
    folder, _ = trained
    done = train_mlp(folder, "secretive", f"--store={NOBODY_THERE}")
    fails(done, r"127\.0\.0\.1")
    assert "secret" not in done.stdout + done.stderr
    for file in (folder / "secretive").rglob("*") if (folder / "secretive").exists() else ():
        assert b"secret" not in file.read_bytes()


def test_output_that_cannot_be_written_is_a_failure_in_one_line(tmp_path):
    calls = [
        (">/dev/full", "", 1, "error: standard output: No space left on device; make room"),
        (">/dev/full", "1", 1, "error: standard output: No space left on device; make room"),
        (">&-", "", 1, "error: standard output is closed: send it to a file, or to /dev/null"),
        ("2>/dev/full", "", 0, ""),
        ("2>&-", "", 0, ""),
        (">&- 2>&-", "", 1, ""),
        ("| true", "", 1, ""),
    ]
    for redirected, unbuffered, status, said in calls:
        line = f"{sys.executable} -m gradejax.data --help {redirected}; exit ${{PIPESTATUS[0]}}"
        environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
        done = subprocess.run(["bash", "-c", line], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.stderr.startswith(said) if said else not done.stderr, redirected
        assert done.stderr.count("\n") == bool(said), redirected
        assert done.returncode == status, redirected


def test_characters_outside_the_encoding_are_shown_as_escapes(trained):
    """Also without docstrings, which -OO drops."""
    folder, _ = trained
    open_store(f"sqlite:///{folder}/small.db").add(write_drawings(30, writers=2))
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    for arguments in (["main", "--help"], ["evaluate", "--workdir=run", "--store=sqlite:///small.db"]):
        module = f"gradejax.{arguments[0]}"
        done = subprocess.run(
            [sys.executable, "-OO", "-m", module, *arguments[1:]],
            cwd=folder, env=environment, capture_output=True, text=True, timeout=180,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "python -m gradejax.main --config=" in done.stdout or json.loads(done.stdout.splitlines()[-1])["n"] == 30


def test_missing_devices_are_named(trained):
    folder, _ = trained
    done = subprocess.run(
        [sys.executable, "-m", "gradejax.predict", "--workdir=run", f"{ROOT}/tests/b-minus.png"],
        cwd=folder, env={**os.environ, "JAX_PLATFORMS": "cuda"}, capture_output=True, text=True, timeout=180,
    )  # fmt: skip
    fails(done, "JAX_PLATFORMS is 'cuda', and JAX has no such devices here: unset it")


def test_too_little_memory_is_one_line(trained):
    folder, _ = trained
    write_little(folder)
    arguments = [*LITTLE, "--config.data.size=24", "--config.train.batch_size=1000000", "--workdir=large"]
    done = subprocess.run(
        [sys.executable, "-m", "gradejax.main", *arguments], cwd=folder, capture_output=True, text=True, timeout=240,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (3 * 10**9, 3 * 10**9)),
    )  # fmt: skip
    fails(done, "there is not enough memory for this; a smaller train.batch_size, .* needs less")


@pytest.mark.parametrize("imported", ["gradejax", "numpy", "jax"])
def test_ctrl_c_in_the_first_seconds(tmp_path, imported):
    """While a command is still importing, right after one of the modules."""
    process = subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", "gradejax.main", "--config=cnn"],
        cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, preexec_fn=unignored,
    )  # fmt: skip
    for line in process.stderr:
        if re.search(rf"\| +{imported}$", line):
            process.send_signal(signal.SIGINT)
            break
    _, rest = process.communicate(timeout=60)
    assert process.returncode == 130
    assert rest.splitlines()[-1] == "error: interrupted"
    assert "Traceback" not in rest


def unignored() -> None:
    """Undoes a shell's habit of letting background processes ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


LITTLE = ["--config=little.py", "--store=sqlite:///some.db", "--config.train.checkpoint_every=1000000"]


def write_little(folder: Path) -> None:
    (folder / "little.py").write_text(
        "from gradejax.recipe import base\n"
        "def get_config():\n    config = base()\n    config.data.size, config.train.epochs = 8, 1\n"
        "    config.model.name, config.model.hidden, config.model.dropout = 'mlp', (8,), (0.1,)\n    return config\n"
    )


def test_a_run_folder_has_one_writer_and_a_failed_start_does_not_lock_it(trained):
    folder, _ = trained
    write_little(folder)
    first = start(folder, "main", *LITTLE, "--workdir=one", "--config.train.epochs=1000000")
    deadline = time.monotonic() + 120
    while not (folder / "one" / "metrics.jsonl").exists():
        assert first.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    second = command(folder, "main", *LITTLE, "--workdir=one", "--config.train.epochs=1000000")
    fails(second, rf"another command is writing to one \(process {first.pid} on .*\): wait until it has ended, or use")
    first.kill()
    first.communicate()
    assert not checkpoints_of(folder / "one")
    corrected = command(folder, "main", *LITTLE, "--workdir=one")
    assert corrected.returncode == 0, corrected.stderr
    assert len((folder / "one" / "metrics.jsonl").read_text().splitlines()) == 1
    assert json.loads((folder / "one" / "config.json").read_text())["train"]["epochs"] == 1


def test_a_run_writes_through_no_link_and_survives_a_failed_plot(trained):
    folder, _ = trained
    write_little(folder)
    (folder / "elsewhere").mkdir()
    (folder / "target").write_text("mine")
    links = {
        "metrics.jsonl.part": "target", "metrics.jsonl": "target", "config.json": "target", ".lock": "target",
        "plots": "elsewhere", "checkpoints": "elsewhere", "checkpoints/9": "elsewhere", "plots/curves.png": "target",
    }  # fmt: skip
    calls = []
    for number, (name, target) in enumerate(links.items()):
        link = folder / f"linked{number}" / name
        link.parent.mkdir(parents=True)
        link.symlink_to(folder / target)
        calls.append([*LITTLE, f"--workdir=linked{number}"])
    os.mkfifo(folder / "elsewhere" / "config.json")
    (folder / "pictureless" / "plots" / "curves.png").mkdir(parents=True)
    calls += [[*LITTLE, "--workdir=elsewhere"], [*LITTLE, "--workdir=pictureless"]]
    *refused, piped, pictureless = (command(folder, "main", *call) for call in calls)
    for number, (done, name) in enumerate(zip(refused, links, strict=True)):
        fails(done, f"linked{number}/{name} is a link or a device: remove it")
    fails(piped, "elsewhere/config.json is a link or a device")
    assert (folder / "target").read_text() == "mine"
    assert [path.name for path in (folder / "elsewhere").iterdir()] == ["config.json"]
    fails(pictureless, "curves.png: Is a directory")
    assert json.loads((folder / "pictureless" / "summary.json").read_text())["epochs"] == 1


def test_runs_begun_in_the_same_second_have_folders_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        workdirs = list(pool.map(lambda _: runs.new_workdir("cnn"), range(24)))
    assert len(set(workdirs)) == 24
    assert all(workdir.is_dir() and re.fullmatch(r"cnn-\d{8}-\d{6}(-\d+)?", workdir.name) for workdir in workdirs)
