"""How long a command takes to answer: four that do little else than start."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from urllib.request import urlopen

import numpy as np

from benchmarks.rows import Row
from benchmarks.workers import ROOT

_ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def rows(folder: Path, rounds: int) -> list[Row]:
    """A row for each command: the median of its times, after a first one that reads everything from the disk.

    Args:
        folder: where the commands run; has `grades.db`.
        rounds: how often each command is measured.
    """
    store = f"--store=sqlite:///{folder}/grades.db"
    commands: dict[str, tuple[Callable[[], None], float]] = {
        "main --help": (partial(_run, ["gradejax.main", "--help"], folder), 0.5),
        "data stats": (partial(_run, ["gradejax.data", "stats", store], folder), 1.0),
        "predict, one PNG": (partial(_run, ["gradejax.predict", str(ROOT / "tests/b-minus.png")], folder), 3.0),
        "web, until its first page": (partial(_open_first_page, store, folder), 3.0),
    }
    table = []
    for name, (act, most) in commands.items():
        act()
        seconds = float(np.median([_timed(act) for _ in range(rounds)]))
        table.append(Row(f"start-up: {name}", f"{seconds:.2f} s", "", seconds, "<=", most))
    return table


def _timed(act: Callable[[], None]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def _run(command: Sequence[str], folder: Path) -> None:
    subprocess.run([sys.executable, "-m", *command], cwd=folder, env=_ENVIRONMENT, capture_output=True, check=True)


def _open_first_page(store: str, folder: Path) -> None:
    command = [sys.executable, "-m", "gradejax.web", "--port=0", store]
    server = subprocess.Popen(
        command, cwd=folder, env=_ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert server.stdout is not None
    with server.stdout as greeting, urlopen(greeting.readline().split()[-1]) as page:
        page.read()
    server.kill()
    server.wait()
