"""`python -m benchmarks.reproduce`: two processes decode, order, distort and train bit for bit the same."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import reproduce as benchmark
from gradejax.errors import UserError

ROOT = Path(__file__).parent.parent


def reproduce(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.reproduce", *arguments],
        cwd=ROOT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


def test_a_training_can_be_repeated_here_and_compared_elsewhere(tmp_path):
    short = ("--recipes=mlp", "--epochs=2", f"--out={tmp_path}/kept")
    done = reproduce(*short, "--only=again")
    assert done.returncode == 0, done.stderr
    first, again = json.loads((tmp_path / "kept" / "table.json").read_text())["tables"]["mlp"]
    compared = ("drawings", "order", "batches", "parameters", "accuracy")
    assert [first[name] for name in compared] == [again[name] for name in compared]
    assert set(again["largest"].values()) == {0} and again["other_guesses"] == 0
    done = reproduce(f"--against={tmp_path}/kept", *short)
    assert done.returncode == 0, done.stderr
    there, here = json.loads((tmp_path / "kept" / "table.json").read_text())["tables"]["mlp"]
    assert there["parameters"] == here["parameters"] == first["parameters"]


def test_an_unknown_row():
    benchmark._FLAGS(["benchmarks.reproduce", "--only=moon"])
    with pytest.raises(UserError, match="no row is called 'moon': --only takes any of again, "):
        benchmark.main([])
