"""What the processes that `benchmarks.run` starts have in common: what they are given and how they answer."""

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


def recipe(model: str) -> ConfigDict:
    """`configs/MODEL.py`."""
    return importlib.import_module(f"configs.{model}").get_config()


def read_drawings(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The ink of all drawings, their labels, and the rows to train on."""
    return tuple(np.load(folder / f"{name}.npy") for name in ("ink", "labels", "rows"))


def on_one_core() -> None:
    """Keeps this process on one of its cores, so that a figure is one thread's."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def ask(module: str, what: str, folder: Path, *more: str, **environment: str) -> dict:
    """The answer of `python -m benchmarks.MODULE WHAT FOLDER ...`. Raises UserError when there is none."""
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{module}", what, str(folder), *more],
        cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
        raise UserError(f"benchmarks.{module} {what} {' '.join(more)} failed: {last}")
    return json.loads(done.stdout.splitlines()[-1])


def answer(tasks: Mapping[str, Callable[..., dict]], arguments: list[str]) -> None:
    """Does the task that a command line from `ask` names and prints what it returns."""
    _, what, folder, *more = arguments
    print(json.dumps(tasks[what](Path(folder), *more)))
