"""The command that reads files, whatever they are, and which run's model it takes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from gradejax import checkpoints, forward, models, recogniser
from gradejax.errors import UserError
from gradejax.ink import encode_png
from gradejax.scales import LETTERS

GRADES = LETTERS.labels

OPTIONS = {"name": "mlp", "hidden": [8], "dropout": [0.1]}


def save_run(workdir: Path, scale: float = 1, epoch: int = 1) -> Path:
    """A finished run of a network that has seen nothing."""
    variables = forward.variables_of(models.build(size=8, seed=0, **OPTIONS))
    variables = jax.tree.map(lambda leaf: scale * leaf, variables)
    about = {"labels": GRADES, "size": 8, "model": OPTIONS}
    with checkpoints.open_manager(workdir, done=epoch - 1) as manager:
        checkpoints.save(manager, epoch, variables, {"step": jax.numpy.int32(epoch)}, about)
    (workdir / "summary.json").write_text("{}")
    return workdir


def test_a_file_that_is_no_picture_is_named_and_the_others_are_read(tmp_path):
    picture = encode_png(np.full((8, 8), 255, np.uint8))
    (tmp_path / "good.png").write_bytes(picture)
    (tmp_path / "link.png").symlink_to("good.png")
    (tmp_path / os.fsdecode(b"\xff.png")).write_bytes(picture)
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    os.truncate(os.open(tmp_path / "sparse.png", os.O_CREAT | os.O_WRONLY), 10**10)
    bad = ["folder.png", "pipe.png", "sparse.png", "/dev/zero", "missing.png", "-"]
    run = save_run(tmp_path / "run")
    files = ["good.png", *bad, "link.png", b"\xff.png"]
    command = [sys.executable, "-m", "gradejax.predict", "--json", f"--workdir={run}", *files]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=300)
    assert done.returncode == 1
    guesses = [json.loads(line) for line in done.stdout.splitlines()]
    assert [guess["path"] for guess in guesses] == ["good.png", "link.png", os.fsdecode(b"\xff.png")]
    reasons = [line.split(": ", 2) for line in done.stderr.decode().splitlines()]
    assert [file for _, file, _ in reasons] == bad
    assert [reason for _, _, reason in reasons][:4] == [
        "a folder", "a pipe", "larger than 8,388,608 bytes", "a device or socket",
    ]  # fmt: skip


def test_a_broken_run_does_not_hide_an_older_one(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    caplog.set_level("INFO", "gradejax")
    assert recogniser.load_chosen(None)[::2] == ("shipped", None)
    runs = [save_run(Path("runs", name)) for name in ("old", "good", "strange", "broken")]
    (runs[2] / "checkpoints" / "1" / "about" / "metadata").write_text("{}")
    (runs[3] / "checkpoints" / "1").rename("elsewhere")
    for name in ("pipe", "dangling", "half"):
        Path("runs", name).mkdir()
    os.mkfifo("runs/pipe/summary.json")
    Path("runs/dangling/summary.json").symlink_to("nothing")
    for age, run in enumerate(runs):
        os.utime(run / "summary.json", (age, age))
    assert recogniser.load_chosen(None)[::2] == ("good", Path("runs/good"))
    assert logged(caplog)[1:] == [
        "no checkpoint in runs/broken: ", "checkpoint runs/strange/checkp", "using the model in runs/good",
    ]  # fmt: skip
    for run in runs[:2]:
        (run / "summary.json").unlink()
    caplog.clear()
    assert recogniser.load_chosen(None).name == "shipped"
    assert logged(caplog) == [
        "no checkpoint in runs/broken: ", "checkpoint runs/strange/checkp", "using the recogniser that come",
    ]  # fmt: skip


def logged(caplog) -> list[str]:
    """How the recogniser's lines in the log begin."""
    return [record.message[:30] for record in caplog.records if record.name == "gradejax.recogniser"]


def test_runs_of_one_recipe_are_compiled_once_and_keep_their_numbers(tmp_path):
    one, other = (recogniser.load(save_run(tmp_path / str(scale), scale=scale)) for scale in (1, 2))
    assert one.logits_of is other.logits_of
    assert not all(map(np.array_equal, jax.tree.leaves(one.variables), jax.tree.leaves(other.variables)))


@pytest.mark.parametrize("scale", [np.nan, np.inf, 1e30])
def test_numbers_that_lead_to_none_are_refused(tmp_path, scale):
    run = save_run(tmp_path / "run", scale=scale)
    with pytest.raises(UserError, match="numbers"):
        recogniser.load(run).confidences(np.full((1, 8, 8), 255, np.uint8))


@pytest.mark.parametrize(
    "about",
    [{"labels": [*GRADES[:-1], GRADES[0]]}, {"labels": dict.fromkeys(GRADES)}, {"labels": GRADES * 10**4}],
)
def test_labels_that_are_not_the_grades_are_refused(tmp_path, about):
    variables = forward.variables_of(models.build(size=8, seed=0, **OPTIONS))
    with checkpoints.open_manager(tmp_path) as manager:
        facts = {"labels": GRADES, "size": 8, "model": OPTIONS, **about}
        checkpoints.save(manager, 1, variables, {"step": jax.numpy.int32(1)}, facts)
    with pytest.raises(UserError, match="its labels are not the grades"):
        recogniser.load(tmp_path)
