"""`python -m benchmarks.run` measures what it is asked to and says what it cannot."""

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


def test_some_rows_are_measured_and_a_row_without_its_peer_is_skipped_with_a_word(tmp_path):
    with (tmp_path / "some.ndjson").open("wb") as file:
        ndjson.write(file, write_drawings(60, writers=4))
    done = benchmark(
        f"--drawings={tmp_path}/some.ndjson", "--only=mlp,augmentation,loading", "--rounds=1",
        f"--out={tmp_path}/out.json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "out.json").read_text())
    assert found["drawings"].startswith("60 drawings")
    _, _, augmentation, _, cold, cached = found["rows"]
    if find_spec("keras") and find_spec("tensorflow"):
        assert augmentation["ratio"] > 0
    else:
        assert "pip install" in augmentation["verdict"]
        assert "skipped: no" in done.stdout
    [epochs] = found["samples"]["ours epochs mlp"]
    assert epochs["parameters"] == 235_791
    [loading] = found["samples"]["ours loading"]
    assert len(loading["one_by_one"]) == len(loading["cold"]) == 3
    assert cold["ratio"] > 0 and cached["ratio"] > 0
    assert {cold["verdict"], cached["verdict"]} <= {"met", "MISSED"}


def test_a_row_that_does_not_exist_is_told():
    done = benchmark("--only=speed")
    assert done.returncode == 1
    assert done.stderr.strip().startswith("error: no row is called 'speed'")
