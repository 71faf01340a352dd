"""`python -m benchmarks.run` measures the rows it is asked for and says which it cannot."""

import json
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks import million, run
from gradejax.data import ndjson
from gradejax.errors import UserError
from gradejax.hands.synthetic import write_drawings

ROOT = Path(__file__).parent.parent


def benchmark(module: str, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", module, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120
    )


def test_rows_are_measured_and_those_without_their_peer_are_skipped(tmp_path):
    with (tmp_path / "some.ndjson").open("wb") as file:
        ndjson.write(file, write_drawings(60, writers=4))
    done = benchmark(
        "benchmarks.run", f"--drawings={tmp_path}/some.ndjson", "--only=mlp,augmentation,loading", "--rounds=1",
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
    run._FLAGS(["benchmarks.run", "--only=speed"])
    with pytest.raises(UserError, match="no row is called 'speed'"):
        run.main([])


@pytest.mark.parametrize("store", ["sqlite", "ferretdb"])
def test_stores_and_pages_of_any_size(tmp_path, store):
    if store == "ferretdb" and not (shutil.which("ferretdb") or (ROOT / "tests/ferretdb/ferretdb").exists()):
        pytest.skip("no FerretDB: in tests/ferretdb run go build -tags ferretdb_no_postgresql -o ferretdb .")
    done = benchmark(
        "benchmarks.million", f"--store={store}", "--sizes=20", f"--folder={tmp_path}", f"--json={tmp_path}/out.json"
    )
    assert done.returncode == 0, done.stderr
    head, rows = cells_of(done.stdout)
    assert head == ["", "20", "growth"]
    assert {len(row) for row in rows} == {3}
    names = {name for name, *_ in rows}
    assert names >= {"import", "check", "fingerprint", "newest first", "a class and a grade", "first ranking"}
    out = json.loads((tmp_path / "out.json").read_text())
    assert list(out) == ["20"]
    assert all(seconds > 0 for of_size in out.values() for group in of_size.values() for seconds in group.values())
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]
    # A store twice as large that is as fast.
    head, rows = cells_of(million.table({20: out["20"], 40: out["20"]}))
    assert head == ["", "20", "40", "growth"]
    assert {len(row) for row in rows} == {4}
    assert {growth for *_, growth in rows} == {"", "0.50"}


def cells_of(table: str) -> tuple[list[str], list[list[str]]]:
    """The head and the rows of a table in Markdown, and nothing of what is below it."""
    head, _, *rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if "|" in line]
    return head, rows


def test_what_grows_faster_than_the_drawings_is_said():
    few = {"commands": {"import": 0.1}, "methods": {"count": 0.1}, "pages": {"newest first": 0.1}}
    more = {"commands": {"import": 0.2}, "methods": {"count": 0.4}, "pages": {"newest first": 0.4}}
    assert million.remarks({20: few, 40: more}) == [
        "worse than linear: count, 2.00",
        "worse than linear: newest first, 2.00",
        "over 300 ms at 40: newest first, 400 ms",
    ]


def test_a_size_that_is_none():
    million._FLAGS(["benchmarks.million", "--sizes=2000,many"])
    with pytest.raises(UserError, match="write the sizes"):
        million.main([])
