"""`python -m benchmarks.run` measures the rows it is asked for and says which it cannot."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from gradejax.data import ndjson
from gradejax.hands.synthetic import write_drawings

ROOT = Path(__file__).parent.parent


def benchmark(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.run", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120
    )


def test_rows_are_measured_and_those_without_their_peer_are_skipped(tmp_path):
    with (tmp_path / "some.ndjson").open("wb") as file:
        ndjson.write(file, write_drawings(60, writers=4))
    done = benchmark(
        f"--drawings={tmp_path}/some.ndjson", "--only=mlp,augmentation,loading", "--rounds=1",
        f"--out={tmp_path}/out.json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    out = json.loads((tmp_path / "out.json").read_text())
    assert out["drawings"].startswith("60 drawings")
    _, _, augmentation, _, cold, cached = out["rows"]
    if find_spec("keras") and find_spec("tensorflow"):
        assert augmentation["ratio"] > 0
    else:
        assert "pip install" in augmentation["verdict"]
        assert "skipped: no" in done.stdout
    [epochs] = out["samples"]["ours epochs mlp"]
    assert epochs["parameters"] == 235_791
    [loading] = out["samples"]["ours loading"]
    assert len(loading["one_by_one"]) == len(loading["cold"]) == 3
    assert cold["ratio"] > 0 and cached["ratio"] > 0
    assert {cold["verdict"], cached["verdict"]} <= {"met", "MISSED"}


def test_an_unknown_row():
    done = benchmark("--only=speed")
    assert done.returncode == 1
    assert done.stderr.strip().startswith("error: no row is called 'speed'")
