"""How `benchmarks.run` and the processes that it starts exchange drawings, tasks and answers."""

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from gradejax.errors import UserError

ROOT = Path(__file__).parent.parent
AUGMENTED_SECONDS = 2
"""How long augmentation is measured."""


def recipe(model: str) -> ConfigDict:
    """`configs/MODEL.py`."""
    return importlib.import_module(f"configs.{model}").get_config()


def read_drawings(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The ink of all drawings, their labels, and the rows to train on."""
    return np.load(folder / "ink.npy"), np.load(folder / "labels.npy"), np.load(folder / "rows.npy")


def on_one_core() -> None:
    """Pins this process to one core, to measure a single thread."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def ask(module: str, task: str, folder: Path, *more: str, **environment: str) -> dict:
    """Runs `python -m benchmarks.MODULE TASK FOLDER ...` and returns its answer. Raises UserError if it fails."""
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{module}", task, str(folder), *more],
        cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
        raise UserError(f"benchmarks.{module} {task} {' '.join(more)} failed: {last}")
    return json.loads(done.stdout.splitlines()[-1])


def answer(tasks: Mapping[str, Callable[..., dict]], arguments: list[str]) -> None:
    """Performs the task that `ask` put on the command line and prints its answer."""
    _, task, folder, *more = arguments
    print(json.dumps(tasks[task](Path(folder), *more)))
