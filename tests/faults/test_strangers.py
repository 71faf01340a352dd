"""A run folder from a stranger opens, or is refused in one line: soon, in little memory, and nothing outside is read.

GRADEJAX_FAULTS=long tries each change that `strangers.changes` makes, the short form one in forty.
"""

import json
import os
import queue
import shutil
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest
import strangers

STEP = 1 if os.environ.get("GRADEJAX_FAULTS") == "long" else 40


class Reader:
    """`strangers.py`, asked for one folder after another."""

    def __init__(self):
        self._process = subprocess.Popen(
            [sys.executable, strangers.__file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, errors="surrogateescape",
        )  # fmt: skip
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=lambda: [*map(self._lines.put, self._process.stdout), self._lines.put("")]).start()

    def read(self, run: Path) -> dict:
        self._process.stdin.write(f"{run}\n")
        self._process.stdin.flush()
        answer = self._lines.get(timeout=120)
        assert answer, f"the process ended: {self._process.stderr.read()[-2000:]}"
        return json.loads(answer)

    def end(self) -> str:
        """What it said besides."""
        self._process.kill()
        return self._process.stderr.read()


@pytest.fixture(scope="module")
def reader():
    made = Reader()
    yield made
    made.end()


def test_whatever_is_wrong_with_a_run_folder(tmp_path, reader):
    run = strangers.save_model(tmp_path / "sound")
    elsewhere = strangers.save_model(tmp_path / "elsewhere", seed=1)
    before = {path: path.read_bytes() for path in elsewhere.rglob("*") if path.is_file()}
    as_it_was = reader.read(run)
    assert not as_it_was["outcome"]
    outcomes, seconds, megabytes = Counter(), [], []
    for name, change in list(strangers.changes(run))[::STEP]:
        shutil.copytree(run, tmp_path / "run")
        change(tmp_path / "run", elsewhere)
        found = reader.read(tmp_path / "run")
        assert found["outcome"] or found["guess"] == as_it_was["guess"] or name.startswith("facts"), name
        assert len(found["outcome"]) < 1000 and (found["outcome"] + " ").isprintable(), (name, found["outcome"])
        outcomes[bool(found["outcome"])] += 1
        seconds.append(found["seconds"])
        megabytes.append(found["megabytes"])
        assert found["megabytes"] < 500, name
        shutil.rmtree(tmp_path / "run")
    assert before == {path: path.read_bytes() for path in elsewhere.rglob("*") if path.is_file()}
    print(
        f"{outcomes.total()} changes, {outcomes[True]} refused, the others read right; "
        f"at most {max(seconds):.1f} s and {max(megabytes):.0f} MB"
    )
    assert outcomes[True] > outcomes.total() // 2
