"""A training that is killed, whenever that is, goes on and ends bit for bit as one that never was.

GRADEJAX_FAULTS=long kills it twenty times, and harms each file of a checkpoint at many places.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import jax.numpy as jnp
import pytest

from gradejax import checkpoints, runs
from gradejax.hands.synthetic import write_drawings
from gradejax.stores import open_store

LONG = os.environ.get("GRADEJAX_FAULTS") == "long"
ROOT = Path(__file__).parents[2]
EPOCHS = 60
OPTIONS = ["--config.data.size=16", "--config.model.hidden=(64,)", "--config.model.dropout=(0.1,)",
           f"--config.train.epochs={EPOCHS}", "--config.train.checkpoint_every=1"]  # fmt: skip


def start(folder: Path, workdir: Path) -> subprocess.Popen:
    with (folder / f"{workdir.name}.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "gradejax.main", f"--config={ROOT}/configs/mlp.py", *OPTIONS,
             "--store=sqlite:///some.db", f"--workdir={workdir}"],
            cwd=folder, stdout=subprocess.DEVNULL, stderr=log,
        )  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[Path, Path, float]:
    """A folder with a store, the run there that nobody disturbed, and how many seconds it took."""
    folder = tmp_path_factory.mktemp("kills")
    open_store(f"sqlite:///{folder}/some.db").add(write_drawings(300, writers=10))
    began = time.monotonic()
    assert start(folder, folder / "whole").wait(300) == 0, (folder / "whole.log").read_text()
    return folder, folder / "whole", time.monotonic() - began


def being_written(workdir: Path) -> bool:
    return any("tmp" in path.name for path in (workdir / "checkpoints").glob("*"))


def wait_for_the_moment(
    kind: str, process: subprocess.Popen, workdir: Path, rng: random.Random, seconds: float
) -> None:
    """Returns when it is time to kill, or the process has ended; a few epochs further on at the latest."""
    deadline = time.monotonic() + rng.uniform(0, seconds)
    history = workdir / "metrics.jsonl"
    target = len(runs.read_history(workdir)) + rng.randint(1, 8)
    while process.poll() is None:
        lines = history.read_text().count("\n") if history.exists() else 0
        if kind == "any time" and time.monotonic() > deadline:
            return
        if kind == "a checkpoint" and lines >= target and being_written(workdir):
            time.sleep(rng.uniform(0, 0.02))
            return
        if lines >= target + (4 if kind == "a checkpoint" else 0):
            time.sleep(rng.uniform(0, 0.05))
            return
        time.sleep(0.0005)


def figures(workdir: Path) -> list[dict]:
    """What each epoch's line says apart from time."""
    times = ("seconds", "elapsed", "images_per_second")
    return [{name: value for name, value in row.items() if name not in times} for row in runs.read_history(workdir)]


def assert_the_same(workdir: Path, other: Path) -> None:
    for part in ("training", "model"):
        one, two = checkpoints.restore(workdir, part), checkpoints.restore(other, part)
        assert one.epoch == two.epoch == EPOCHS
        assert checkpoints.digest(one.arrays) == checkpoints.digest(two.arrays)
    assert figures(workdir) == figures(other)
    assert not being_written(workdir)
    timeless = ("val_accuracy", "val_loss", "ece", "best_epoch", "data_fingerprint", "parameters", "n_train", "n_val")
    one, two = (runs.read_json(each / "summary.json") for each in (workdir, other))
    assert [one[name] for name in timeless] == [two[name] for name in timeless]


@pytest.mark.parametrize("number", range(5 if LONG else 1))
def test_killed_four_times(whole, number):
    """At any time of the process, after any epoch, and twice while a checkpoint is written."""
    folder, undisturbed, seconds = whole
    rng = random.Random(number)
    workdir = folder / f"killed-{number}"
    kinds = ["any time", "an epoch", "a checkpoint", "a checkpoint"]
    rng.shuffle(kinds)
    left = []
    for kind in kinds:
        process = start(folder, workdir)
        wait_for_the_moment(kind, process, workdir, rng, seconds)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "it ended before it was killed"
        left.append(f"{len(figures(workdir))} epochs{' and half a checkpoint' if being_written(workdir) else ''}")
    assert start(folder, workdir).wait(300) == 0, (folder / f"{workdir.name}.log").read_text()
    print(f"killed at {kinds}, which left {left}")
    assert_the_same(workdir, undisturbed)


@pytest.mark.parametrize("epoch", [EPOCHS // 2, EPOCHS])
def test_killed_and_its_newest_checkpoint_damaged(whole, epoch):
    """It goes on from the one before, and the damaged one is written anew."""
    folder, undisturbed, _ = whole
    workdir = folder / f"damaged-{epoch}"
    process = start(folder, workdir)
    while process.poll() is None and not (workdir / "checkpoints" / str(epoch)).exists():
        time.sleep(0.0005)
    process.kill()
    process.wait()
    checkpoint = max(int(path.name) for path in (workdir / "checkpoints").iterdir() if path.name.isdigit())
    newest = workdir / "checkpoints" / str(checkpoint)
    for file in (path for path in (newest / "training").rglob("*") if path.is_file()):
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    assert start(folder, workdir).wait(300) == 0
    assert f"checkpoint {newest} is damaged" in (folder / f"{workdir.name}.log").read_text()
    assert_the_same(workdir, undisturbed)


def test_a_disk_that_fills_up(whole, small_disk):
    """One line that names the folder; once there is room the same command ends as a run that always had it."""
    folder, undisturbed, _ = whole
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
    assert_the_same(workdir, undisturbed)


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_a_checkpoint_harmed_anywhere(tmp_path, caplog):
    """Each file, at random places: what is read is what was written, or the one before it and the harm is named."""
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
            for how in ("flipped", "cut"):
                place = rng.randrange(max(1, len(content)))
                harmed = bytearray(content)
                if how == "cut":
                    del harmed[place:]
                elif content:
                    harmed[place] ^= 1 << rng.randrange(8)
                file.write_bytes(harmed)
                caplog.clear()
                for part in ("model", "training"):
                    found = checkpoints.restore(tmp_path, part)
                    expected = checkpoints.flat(
                        trees[found.epoch - 1] if part == "model" else {"state": trees[found.epoch - 1]}
                    )
                    assert checkpoints.digest(found.arrays) == checkpoints.digest(expected), (file, how, place)
                    noticed[found.epoch == 1] += 1
                    assert found.epoch == 2 or f"checkpoint {newest} is damaged" in caplog.text
        file.write_bytes(content)
    print(f"{len(files)} files, {noticed.total()} readings, {noticed[True]} of them of the checkpoint before")
    assert noticed[True] > noticed.total() // 10
