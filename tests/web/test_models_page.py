"""The Models page: trainings that survive, the choice of what guesses, and the test set."""

import json
import os
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import forked
import jax
import numpy as np
import pytest
from conftest import Server, serve
from playwright.sync_api import Page, expect
from starlette.testclient import TestClient
from waiting import wait_until

from gradejax import checkpoints, choice, forward, models, prepare, recipe, recogniser, results
from gradejax.dataset import TEST_TAG
from gradejax.drawings import Drawing, new_id
from gradejax.errors import UserError
from gradejax.hands.synthetic import write_drawings
from gradejax.scales import LETTERS
from gradejax.stores import Query, Store, open_store
from gradejax.web.app import create_app
from gradejax.web.model import Model
from gradejax.web.models import router
from gradejax.web.roles import TEACHER_ONLY

GRADES = LETTERS.labels

OPTIONS = {"name": "mlp", "hidden": [8], "dropout": [0.1]}
PATIENCE = 300  # seconds: the training gives way to every other program
# Looking for it every moment would take time from it.
wait_for_training = partial(wait_until, seconds=PATIENCE, pause=0.3)


def save_run(name: str, accuracy: float | None, age: int = 0, split: str = "writer") -> Path:
    """A finished run of a network that has seen nothing, and says it is so accurate."""
    workdir = Path("runs", name)
    about = {"labels": GRADES, "size": 8, "model": OPTIONS}
    with checkpoints.open_manager(workdir) as manager:
        variables = forward.variables_of(models.build(size=8, seed=0, **OPTIONS))
        checkpoints.save(manager, 1, variables, {"step": jax.numpy.int32(1)}, about)
    summary: dict[str, Any] = {}
    if accuracy is not None:
        summary = {
            "val_accuracy": accuracy, "val_interval": [accuracy - 0.01, accuracy + 0.005], "ece": 0.01, "n_val": 440,
            "n_train": 1700, "val_writers": 11, "split": split, "epochs": 1, "train_seconds": 1.5,
            "parameters": 1000,
        }  # fmt: skip
    file = workdir / "summary.json"
    file.write_text(json.dumps(summary))
    seconds = time.time() - age
    os.utime(file, (seconds, seconds))
    return workdir


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("gradejax.web.model._LOOK_SECONDS", 0.0)
    return tmp_path


# Which run guesses.


def test_a_worse_run_never_takes_the_place_of_a_better_one(folder: Path, store: Store):
    model = Model(None)
    client = TestClient(create_app(store, model=model), base_url="http://localhost")
    assert model.get().name == "shipped"
    save_run("first", 0.971, age=30)
    assert model.get().name == "first"
    save_run("worse", 0.95, age=20)
    assert model.get().name == "first"
    answer = client.get("/api/models").json()
    assert answer["note"] == "A newer run, worse, is worse (95.0% against 97.1%), so it is not used."
    assert [(run["name"], run["in_use"]) for run in answer["runs"]] == [
        ("worse", False), ("first", True), ("shipped", False),
    ]  # fmt: skip
    save_run("flattered", 0.999, age=15, split="random")
    assert model.get().name == "first"
    save_run("as-good", 0.971, age=10)
    assert model.get().name == "as-good"
    save_run("mute", None)
    assert model.get().name == "as-good"
    assert Model(None).get().name == "as-good"  # after a restart
    assert (
        client.get("/api/status").json()["about"] == "as-good, 97.1% (96.1 to 97.6%) on 440 drawings of unseen writers"
    )


def test_the_choice_holds_for_everybody_and_after_a_restart(folder: Path, client: TestClient):
    for i, accuracy in enumerate((0.9, 0.95)):
        save_run(f"run{i}", accuracy, age=10 - i)
    assert client.get("/api/status").json()["model"] == "run1"
    answer = client.post("/api/models/use", json={"name": "run0"})
    assert answer.status_code == 200
    assert answer.json()["about"].startswith("run0, 90.0%")
    assert "run1, reads 95.0%" in answer.json()["note"]
    assert client.get("/api/status").json()["model"] == "run0"
    assert Model(None).get().name == "run0"
    assert recogniser.load_chosen(None).name == "run0"  # as the commands do
    save_run("run2", 0.99)
    assert Model(None).get().name == client.get("/api/status").json()["model"] == "run0"
    # The command line has the last word, and then the page cannot change it.
    fixed = Model(Path("runs/run1"))
    assert fixed.get().name == "run1"
    with pytest.raises(UserError, match="--workdir"):
        fixed.use("run2")
    assert client.post("/api/models/use", json={"name": "shipped"}).json()["runs"][-1]["in_use"]
    assert Model(None).get().name == recogniser.load_chosen(None).name == "shipped"


def test_a_chosen_run_that_is_gone_is_not_missed(folder: Path, caplog: pytest.LogCaptureFixture):
    save_run("kept", 0.9)
    shutil.copytree("runs/kept", "runs/gone")
    choice.choose("gone")
    shutil.rmtree("runs/gone")
    assert Model(None).get().name == recogniser.load_chosen(None).name == "kept"
    assert "no run in runs/gone" in caplog.text


@pytest.mark.parametrize("name", ["nowhere", "..", "../runs/kept", "", "/"])
def test_only_a_finished_run_can_be_chosen(folder: Path, client: TestClient, name: str):
    save_run("kept", 0.9)
    assert client.post("/api/models/use", json={"name": name}).status_code in (404, 422)
    assert client.get("/api/models/run", params={"name": name}).status_code in (404, 422)
    assert choice.chosen() is None
    Path("runs/.chosen").write_text(f"{name}\n")
    assert Model(None).get().name == "kept"


def test_a_strange_summary_says_nothing(folder: Path, client: TestClient):
    strange = ["[]", "{", '{"val_accuracy": 7}', '{"val_accuracy": "a", "ece": null}', '{"val_interval": 3}', "null"]
    for i, text in enumerate(strange):
        (save_run(f"strange{i}", 0.9) / "summary.json").write_text(text)
        (Path("runs", f"strange{i}") / "config.json").write_text(text)
        (Path("runs", f"strange{i}") / "metrics.jsonl").write_text('{"loss": "x"}\n')
        assert results.read(Path("runs", f"strange{i}")) is None
        detail = client.get("/api/models/run", params={"name": f"strange{i}"})
        assert detail.status_code == 200
        assert detail.json()["history"] == []
    assert [run["accuracy"] for run in client.get("/api/models").json()["runs"]] == [None] * (len(strange) + 1)


def test_pupils_may_not(client: TestClient):
    assert TEACHER_ONLY in router.dependencies
    paths = [path for path in client.get("/openapi.json").json()["paths"] if path.startswith("/api/models")]
    assert len(paths) == 7


# The test set.


def test_a_test_set_is_not_trained_on(folder: Path, store: Store, caplog: pytest.LogCaptureFixture):
    """The dataset is, bit for bit, that of a store without it."""
    drawings = list(write_drawings(60, seed=5, writers=6))
    config = recipe.base()
    store.add(drawings[10:])
    before = prepare.dataset(config, store)
    assert "kept out" not in caplog.text
    mixed = open_store(f"sqlite:///{folder}/mixed.db")
    caplog.set_level("INFO", "gradejax")
    mixed.add([*drawings[10:30], *(replace(one, tags=("7b", TEST_TAG)) for one in drawings[:10]), *drawings[30:]])
    after = prepare.dataset(config, mixed)
    for name in ("ink", "labels", "writers", "ids"):
        np.testing.assert_array_equal(getattr(before, name), getattr(after, name))
    assert (before.digest, before.writer_names) == (after.digest, after.writer_names)
    assert "10 drawings tagged test-set are kept out of training" in caplog.text
    config.data.tags = TEST_TAG
    with pytest.raises(UserError, match="keeps them out of training"):
        prepare.dataset(config, mixed)
    mixed.close()


def test_runs_are_scored_on_the_test_set(folder: Path, store: Store, client: TestClient, run: Path):
    (folder / "runs").mkdir()
    shutil.copytree(run, "runs/mine")
    assert client.post("/api/models/test", json={"name": "mine"}).status_code == 404
    trained_on = next(write_drawings(600, seed=1, writers=8))
    store.add([replace(trained_on, tags=(TEST_TAG,))])
    store.add(replace(one, tags=(TEST_TAG,)) for one in write_drawings(45, seed=7, writers=3))
    score = client.post("/api/models/test", json={"name": "mine"}).json()
    assert score["n"] + score["trained_on"] == 46
    drawings = [one for one in store.find(Query(tags=(TEST_TAG,))) if one.id != trained_on.id]
    model = recogniser.load(run)
    guesses = model.probabilities([one.png for one in drawings]).argmax(axis=1)
    if score["n"] == 45:
        expected = np.mean([model.labels[i] == one.label for i, one in zip(guesses, drawings, strict=True)])
        assert score["accuracy"] == pytest.approx(expected)
    low, high = score["interval"]
    assert low < score["accuracy"] < high
    # Remembered until the test set changes.
    assert client.get("/api/models").json()["runs"][0]["test"] == score
    store.exclude([drawings[0].id])
    answer = client.get("/api/models").json()
    assert (answer["runs"][0]["test"], answer["n_test"]) == (None, 45)
    shipped = client.post("/api/models/test", json={"name": "shipped"}).json()
    assert shipped["n"] == 45
    assert client.get("/api/models").json()["runs"][-1]["test"] == shipped


def test_the_draw_page_takes_its_tags_from_the_address(server: Server, open_page: Callable[..., Page]):
    page = open_page(f"{server.url}/?tags=test-set")
    expect(page.locator("#tags")).to_have_value("test-set")
    page.goto(f"{server.url}/")
    expect(page.locator("#tags")).to_have_value("")


# Trainings, in processes of their own.


@pytest.fixture(scope="module")
def drawings() -> list[Drawing]:
    return list(write_drawings(300, seed=2, writers=10))


@pytest.fixture
def classroom(tmp_path: Path, drawings: list[Drawing]) -> Path:
    """A folder with a store of these drawings."""
    store = open_store(f"sqlite:///{tmp_path}/grades.db")
    store.add(drawings)
    store.close()
    return tmp_path


def trainers(folder: Path) -> list[int]:
    """The processes that train in a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if b"gradejax.web.trainer" in (process / "cmdline").read_bytes() and (process / "cwd").resolve() == folder:
                found.append(int(process.name))
        except OSError:
            continue
    return found


def order(page: Page, recipe: str) -> str:
    """Begins a training on the page; returns the run's name."""
    page.locator("[name=recipe]").select_option(recipe)
    page.get_by_role("button", name="Train", exact=True).click()
    what = page.locator("#training-what")
    expect(what).to_contain_text(f"Training {recipe}-")
    return what.inner_text().split()[1]


def test_train_follow_reload_and_use(classroom: Path, open_page: Callable[..., Page]):
    with serve(classroom) as server:
        page = open_page(f"{server.url}/models")
        expect(page.locator("#about")).to_contain_text("the recogniser that comes with gradejax")
        name = order(page, "mlp")
        expect(page.locator("#training-when")).to_contain_text(
            re.compile("epoch [0-9]+ of 200"), timeout=1000 * PATIENCE
        )
        page.reload()
        expect(page.locator("#training-what")).to_contain_text(name)
        expect(page.locator("#training-curves polyline").first).to_be_visible(timeout=1000 * PATIENCE)
        expect(page.locator("#order")).to_be_hidden()
        expect(page.locator("#note")).to_have_text(f"{name} is trained.", timeout=1000 * PATIENCE)
        # The first run takes the place of the shipped recogniser, and the page shows it in detail.
        expect(page.locator("#about")).to_contain_text(name)
        expect(page.locator("#runs tbody tr").first).to_contain_text("in use")
        expect(page.locator("#detail-heading")).to_have_text(name)
        cell = page.locator(".confusion a.right").first
        expect(cell).to_have_attribute("href", re.compile(r"^browse\?label=A%2B&guess=A%2B&by=disagreement"))
        assert not trainers(classroom)
        assert not (classroom / "runs/.training.json").exists()

        guess = open_page(f"{server.url}/guess")
        expect(guess.locator("#source")).to_contain_text(f"These guesses are by {name}, ")
        page.get_by_role("button", name="Use this one: shipped").click()
        expect(page.locator("#note")).to_have_text("shipped guesses from now on, for everybody.")
        guess.reload()
        expect(guess.locator("#source")).to_contain_text("the model that comes with gradejax")
        # A mistake is said in one line.
        page.locator("[name=tags]").fill("9z")
        order(page, "mlp")
        expect(page.locator("#note")).to_contain_text("no drawings tagged 9z", timeout=1000 * PATIENCE)


@contextmanager
def killable(folder: Path) -> Iterator[tuple[str, forked.Process]]:
    process = forked.Process(folder, "web", "--port=0", f"--store=sqlite:///{folder}/grades.db")
    try:
        yield process.lines(1)[0].split()[-1].rstrip("/"), process
    finally:
        process.terminate()
        process.wait(timeout=30)


def test_a_training_goes_on_after_a_restart_and_can_be_cancelled(
    classroom: Path, open_page: Callable[..., Page], drawings: list[Drawing]
):
    """It ends with the server. If other drawings are there afterwards, it begins anew: a run has one dataset."""

    def epochs() -> list[str]:
        file = classroom / "runs" / name / "metrics.jsonl"
        return file.read_text().splitlines() if file.exists() else []

    def end(process: forked.Process, how: signal.Signals) -> list[str]:
        process.send_signal(how)
        wait_for_training(lambda: process.poll() is not None)
        wait_for_training(lambda: not trainers(classroom))
        return epochs()

    with killable(classroom) as (url, process):
        name = order(open_page(f"{url}/models"), "cnn")
        checkpoint = classroom / "runs" / name / "checkpoints"
        wait_for_training(lambda: any(checkpoint.glob("[0-9]*/commit_success.txt")))
        before = end(process, signal.SIGTERM)
    first = before[0]
    for how in (signal.SIGKILL, signal.SIGTERM):
        with killable(classroom) as (url, process):
            expect(open_page(f"{url}/models").locator("#training-what")).to_contain_text(name)
            wait_for_training(lambda before=before: len(epochs()) > len(before))
            before = end(process, how)
            assert before[0] == first

    one = drawings[0]
    store = open_store(f"sqlite:///{classroom}/grades.db")
    store.exclude([one.id])
    store.add([replace(one, id=new_id(), png=drawings[1].png)])  # as many, for which the same programs are compiled
    store.close()
    with killable(classroom) as (url, _):
        page = open_page(f"{url}/models")
        expect(page.locator("#training-what")).to_contain_text(name)
        wait_for_training(lambda: epochs() and epochs()[0] != first)
        assert len(trainers(classroom)) == 1
        expect(page.locator("#training-when")).to_contain_text(re.compile("epoch [0-9]+ of 40"))
        page.locator("#cancel").click()
        expect(page.locator("#cancel")).to_have_text("Cancel this training?")
        page.locator("#cancel").click()
        expect(page.locator("#note")).to_have_text("The training was cancelled.")
        expect(page.locator("#order")).to_be_visible()
        assert not trainers(classroom)
        assert not (classroom / "runs" / name).exists()
