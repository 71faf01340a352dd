"""How long the training command takes to 98.9% on unseen writers, from typing it to its last epoch."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.rows import Row, Samples, median, not_installed
from benchmarks.workers import ROOT
from gradejax import recipe
from gradejax.errors import UserError

RECIPE, ACCURACY, SEEDS, KERAS_EPOCHS = "fast", 0.989, range(10), 30
MAX_SECONDS = {"cold": 8.0, "warm": 5.0}


class Trained(NamedTuple):
    """Seconds from starting the command to the end of its last epoch, and the validation accuracy after that."""

    seconds: float
    accuracy: float


def measure(folder: Path, say: Callable[[str], None]) -> dict[str, list[Trained]]:
    """Trains once for each seed; each holds out other writers.

    Args:
        folder: has the drawings in `grades.db`.
        say: called with what is being measured.

    Returns:
        For `cold`, in a folder where the command has never run, and `warm`, in one where it has.
    """
    trained: dict[str, list[Trained]] = {"cold": [], "warm": []}
    for seed in SEEDS:
        with tempfile.TemporaryDirectory(dir=folder) as home:
            for when, of_seeds in trained.items():
                say(f"the recipe {RECIPE}, seed {seed}, {when}")
                of_seeds.append(_trained(folder / "grades.db", Path(home), when, seed))
    return trained


def rows(trained: dict[str, list[Trained]], samples: Samples) -> list[Row]:
    """The median time of the seeds: against its target, and against the time of `KERAS_EPOCHS` epochs of Keras."""
    reason = not_installed("keras_peer")
    lines = []
    for when, of_seeds in trained.items():
        middle = float(np.median([one.seconds for one in of_seeds]))
        accuracy = float(np.mean([one.accuracy for one in of_seeds]))
        title = f"{RECIPE} to {accuracy:.2%} on unseen writers, mean of {len(of_seeds)} seeds, {when}"
        reached = middle if accuracy >= ACCURACY else float("inf")
        lines.append(Row(title, f"{middle:.1f} s", "", reached, "<=", MAX_SECONDS[when]))
        if reason:
            lines.append(Row(f"{title}, {KERAS_EPOCHS} epochs of Keras", skipped=reason))
        else:
            theirs = KERAS_EPOCHS * median(samples["keras_peer epochs cnn"], "seconds")
            lines.append(
                Row(f"the same, {KERAS_EPOCHS} epochs of Keras", "", f"{theirs:.1f} s", theirs / reached, ">=", 1.0)
            )
    return lines


def _trained(store: Path, home: Path, name: str, seed: int) -> Trained:
    """Starts the command in the folder `home`, which has caches of its own, and waits for its last epoch."""
    unset = ("GRADEJAX_STORE", "JAX_COMPILATION_CACHE_DIR", "PYTHONPATH")
    environment = {key: value for key, value in os.environ.items() if key not in unset}
    arguments = [f"--config={ROOT}/configs/{RECIPE}.py", f"--store=sqlite:///{store}", f"--workdir={name}"]
    history, epochs = home / name / "metrics.jsonl", recipe.load(RECIPE).train.epochs
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
            lines = history.read_text().split("\n")[:-1] if history.exists() else []
            if len(lines) == epochs:
                return Trained(now - began, json.loads(lines[-1])["val_accuracy"])
            if ended:
                raise UserError(f"`python -m gradejax.main {' '.join(arguments)}` failed")
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()
