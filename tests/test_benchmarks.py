"""`python -m benchmarks.run` measures the rows it is asked for and says which it cannot."""

import json
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from gradejax.data import ndjson
from gradejax.hands.synthetic import write_drawings

ROOT = Path(__file__).parent.parent


def benchmark(*arguments: str, module: str = "benchmarks.run") -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", module, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120
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
    _, _, _, augmentation, _, cold, cached = out["rows"]
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


@pytest.mark.parametrize(("store", "sizes"), [("sqlite", [20, 40]), ("ferretdb", [20])])
def test_stores_and_pages_of_any_size(tmp_path, store, sizes):
    if store == "ferretdb" and not (shutil.which("ferretdb") or (ROOT / "tests/ferretdb/ferretdb").exists()):
        pytest.skip("no FerretDB: in tests/ferretdb run go build -tags ferretdb_no_postgresql -o ferretdb .")
    done = benchmark(
        f"--store={store}", f"--sizes={','.join(map(str, sizes))}", f"--folder={tmp_path}",
        f"--json={tmp_path}/out.json", module="benchmarks.million",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    head, _, *lines = done.stdout.splitlines()
    assert head == f"| | {' | '.join(map(str, sizes))} | growth |"
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("|")]
    assert {len(row) for row in rows} == {len(sizes) + 2}
    names = {name for name, *_ in rows}
    assert names >= {"import", "check", "fingerprint", "newest first", "a class and a grade", "first ranking"}
    out = json.loads((tmp_path / "out.json").read_text())
    assert list(out) == list(map(str, sizes))
    assert all(seconds > 0 for of_size in out.values() for group in of_size.values() for seconds in group.values())
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]


def test_a_size_that_is_none():
    done = benchmark("--sizes=2000,many", module="benchmarks.million")
    assert done.returncode == 1
    assert done.stderr.strip().startswith("error: write the sizes")
