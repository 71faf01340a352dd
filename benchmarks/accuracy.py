"""How long the training command takes to reach 98.9% on unseen writers."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.rows import Row, Samples, median, not_installed
from benchmarks.workers import ROOT
from gradejax.errors import UserError

ACCURACY, SEEDS, KERAS_EPOCHS = 0.989, (0, 1, 2), 30


def measure(folder: Path, say: Callable[[str], None]) -> dict[str, list[float | None]]:
    """Seconds from starting the command to `ACCURACY` for each seed; None for a seed that does not reach it.

    Args:
        folder: has the drawings in `grades.db`.
        say: called with what is being measured.

    Returns:
        For `cold`, on a machine that has never run the command, and `warm`, on one that has.
    """
    seconds: dict[str, list[float | None]] = {"cold": [], "warm": []}
    for seed in SEEDS:
        with tempfile.TemporaryDirectory(dir=folder) as home:
            for when, of_seeds in seconds.items():
                say(f"to {ACCURACY:.1%} on unseen writers, seed {seed}, {when}")
                of_seeds.append(_seconds_to_accuracy(folder / "grades.db", Path(home), when, seed))
    return seconds


def rows(seconds: dict[str, list[float | None]], samples: Samples) -> list[Row]:
    """The median of the seeds, against the time of `KERAS_EPOCHS` epochs of Keras."""
    reason = not_installed("keras_peer")
    lines = []
    for when, of_seeds in seconds.items():
        title = f"command to {ACCURACY:.1%}, {when}, {KERAS_EPOCHS} epochs of Keras"
        middle = float(np.median([np.inf if one is None else one for one in of_seeds]))
        ours = f"{middle:.1f} s" if np.isfinite(middle) else "not reached"
        if reason:
            lines.append(Row(title, ours, skipped=reason))
        else:
            theirs = KERAS_EPOCHS * median(samples["keras_peer epochs cnn"], "seconds")
            lines.append(Row(title, ours, f"{theirs:.1f} s", theirs / middle, ">=", 1.0))
    return lines


def _seconds_to_accuracy(store: Path, home: Path, name: str, seed: int) -> float | None:
    """Starts the command in the folder `home`, which has caches of its own, and waits for the epoch."""
    unset = ("GRADEJAX_STORE", "JAX_COMPILATION_CACHE_DIR", "PYTHONPATH")
    environment = {key: value for key, value in os.environ.items() if key not in unset}
    arguments = [f"--config={ROOT}/configs/cnn.py", f"--store=sqlite:///{store}", f"--workdir={name}"]
    history, read = home / name / "metrics.jsonl", 0
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "gradejax.main", *arguments, f"--config.seed={seed}"], cwd=home,
        env={**environment, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(home), "JAX_PLATFORMS": "cpu"},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        while True:
            ended = process.poll() is not None
            now = time.perf_counter()
            text = history.read_text() if history.exists() else ""
            complete = text.rfind("\n") + 1
            if any(json.loads(line)["val_accuracy"] >= ACCURACY for line in text[read:complete].splitlines()):
                return now - began
            read = complete
            if ended:
                if process.returncode:
                    raise UserError(f"`python -m gradejax.main {' '.join(arguments)}` failed")
                return None
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()
