"""A training that is killed at any time resumes and ends bit for bit like one that was not.

GRADEJAX_FAULTS=long kills twenty times and damages each file of a checkpoint in many places.
"""

import os
import random
import signal
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import forked
import jax.numpy as jnp
import pytest

from gradejax import checkpoints, runs
from gradejax.hands.synthetic import write_drawings
from gradejax.stores import open_store

LONG = os.environ.get("GRADEJAX_FAULTS") == "long"
ROOT = Path(__file__).parents[2]
EPOCHS = 60 if LONG else 24
OPTIONS = ["--config.data.size=16", "--config.model.hidden=(64,)", "--config.model.dropout=(0.1,)",
           f"--config.train.epochs={EPOCHS}", "--config.train.checkpoint_every=1",
           "--config.evaluate.mistakes=1"]  # fmt: skip


def start(folder: Path, workdir: Path) -> forked.Process:
    arguments = [f"--config={ROOT}/configs/mlp.py", *OPTIONS, "--store=sqlite:///some.db", f"--workdir={workdir}"]
    return forked.Process(folder, "main", *arguments, log=folder / f"{workdir.name}.log")


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> tuple[Path, Path, float]:
    """A folder with a store, an uninterrupted run there, and how many seconds it took."""
    folder = tmp_path_factory.mktemp("kills")
    open_store(f"sqlite:///{folder}/some.db").add(write_drawings(300, writers=10))
    began = time.monotonic()
    assert start(folder, folder / "uninterrupted").wait(300) == 0, (folder / "uninterrupted.log").read_text()
    return folder, folder / "uninterrupted", time.monotonic() - began


def is_saving(workdir: Path) -> bool:
    return any("tmp" in path.name for path in (workdir / "checkpoints").glob("*"))


def wait_until(kind: str, process: forked.Process, workdir: Path, rng: random.Random, seconds: float) -> None:
    """Returns when it is time to kill, at the latest after a few more epochs, or when the process has ended."""
    deadline = time.monotonic() + rng.uniform(0, seconds)
    history = workdir / "metrics.jsonl"
    target = len(runs.read_history(workdir)) + rng.randint(1, EPOCHS // 8)
    while process.poll() is None:
        lines = history.read_text().count("\n") if history.exists() else 0
        if kind == "any time" and time.monotonic() > deadline:
            return
        if kind == "a checkpoint" and lines >= target and is_saving(workdir):
            time.sleep(rng.uniform(0, 0.02))
            return
        if lines >= target + (2 if kind == "a checkpoint" else 0):
            time.sleep(rng.uniform(0, 0.05))
            return
        time.sleep(0.0005)


def metrics(workdir: Path) -> list[dict]:
    """The lines of `metrics.jsonl` without times."""
    times = ("seconds", "elapsed", "images_per_second")
    return [{name: value for name, value in row.items() if name not in times} for row in runs.read_history(workdir)]


def assert_the_same(workdir: Path, other: Path) -> None:
    for part in ("training", "model"):
        one, two = checkpoints.restore(workdir, part), checkpoints.restore(other, part)
        assert one.epoch == two.epoch == EPOCHS
        assert checkpoints.digest(one.arrays) == checkpoints.digest(two.arrays)
    assert metrics(workdir) == metrics(other)
    assert not is_saving(workdir)
    timeless = ("val_accuracy", "val_loss", "ece", "best_epoch", "data_fingerprint", "parameters", "n_train", "n_val")
    one, two = (runs.read_json(run / "summary.json") for run in (workdir, other))
    assert [one[name] for name in timeless] == [two[name] for name in timeless]


@pytest.mark.parametrize("number", range(5 if LONG else 1))
def test_killed_four_times(uninterrupted, number):
    """At any time, after any epoch, and twice while a checkpoint is being written."""
    folder, expected, seconds = uninterrupted
    rng = random.Random(number)
    workdir = folder / f"killed-{number}"
    kinds = ["any time", "an epoch", "a checkpoint", "a checkpoint"]
    rng.shuffle(kinds)
    states = []
    for kind in kinds:
        process = start(folder, workdir)
        wait_until(kind, process, workdir, rng, seconds)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "it ended before it was killed"
        states.append(f"{len(metrics(workdir))} epochs{' and half a checkpoint' if is_saving(workdir) else ''}")
    assert start(folder, workdir).wait(300) == 0, (folder / f"{workdir.name}.log").read_text()
    print(f"killed at {kinds}, leaving {states}")
    assert_the_same(workdir, expected)


def test_killed_and_its_newest_checkpoint_damaged(uninterrupted):
    """It resumes from the checkpoint before, and replaces the damaged one: on its way, and once more at its end."""
    folder, expected, _ = uninterrupted
    workdir = folder / "damaged"
    process = start(folder, workdir)
    damaged = []
    for epoch in (EPOCHS // 2, EPOCHS):
        while process.poll() is None and not (workdir / "checkpoints" / str(epoch)).exists():
            time.sleep(0.0005)
        process.kill()
        process.wait()
        checkpoint = max(int(path.name) for path in (workdir / "checkpoints").iterdir() if path.name.isdigit())
        newest = workdir / "checkpoints" / str(checkpoint)
        for file in (path for path in (newest / "training").rglob("*") if path.is_file()):
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        damaged.append(newest)
        process = start(folder, workdir)
    assert process.wait(300) == 0
    log = (folder / f"{workdir.name}.log").read_text()
    assert all(f"checkpoint {newest} is damaged" in log for newest in damaged)
    assert_the_same(workdir, expected)


def test_a_disk_that_fills_up(uninterrupted, small_disk):
    """The error names the folder; once there is room, the same command ends like an uninterrupted run."""
    folder, expected, _ = uninterrupted
    workdir = small_disk / "full"
    process = start(folder, workdir)
    while process.poll() is None and not (workdir / "checkpoints" / "2").exists():
        time.sleep(0.0005)
    filler = small_disk / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while process.poll() is None:
            file.write(bytes(4096))
    assert process.wait(60) == 1
    log = folder / "full.log"
    assert "Traceback" not in log.read_text(), log.read_text()[-3000:]
    assert log.read_text().splitlines()[-1].startswith(f"error: {workdir}: No space left on device; make room there")
    before = len(runs.read_history(workdir))
    filler.unlink()
    assert start(folder, workdir).wait(300) == 0, log.read_text()
    print(f"full after {before} epochs")
    assert_the_same(workdir, expected)


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_a_checkpoint_damaged_anywhere(tmp_path, caplog):
    """Each file, at random places: reading returns what was saved, or the checkpoint before and logs the damage."""
    trees = [{"a": jnp.arange(3000.0) + epoch, "b": jnp.full((30, 40), epoch)} for epoch in (1, 2)]
    with checkpoints.open_manager(tmp_path) as manager:
        for epoch, tree in enumerate(trees, 1):
            checkpoints.save(manager, epoch, tree, {"state": tree}, {"size": 28})
    newest = tmp_path / "checkpoints" / "2"
    files = sorted(path for path in newest.rglob("*") if path.is_file())
    rng = random.Random(4)
    noticed = Counter()
    for file in files:
        content = file.read_bytes()
        for _ in range(10 if LONG else 1):
            for damage in ("flipped", "cut"):
                place = rng.randrange(max(1, len(content)))
                damaged = bytearray(content)
                if damage == "cut":
                    del damaged[place:]
                elif content:
                    damaged[place] ^= 1 << rng.randrange(8)
                file.write_bytes(damaged)
                caplog.clear()
                for part in ("model", "training"):
                    checkpoint = checkpoints.restore(tmp_path, part)
                    tree = trees[checkpoint.epoch - 1]
                    expected = checkpoints.flat(tree if part == "model" else {"state": tree})
                    assert checkpoints.digest(checkpoint.arrays) == checkpoints.digest(expected), (file, damage, place)
                    noticed[checkpoint.epoch == 1] += 1
                    assert checkpoint.epoch == 2 or f"checkpoint {newest} is damaged" in caplog.text
        file.write_bytes(content)
    print(f"{len(files)} files, {noticed.total()} readings, {noticed[True]} of them of the checkpoint before")
    assert noticed[True] > noticed.total() // 10
