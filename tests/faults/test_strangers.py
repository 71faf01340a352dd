"""A stranger's run folder opens or is refused in one line: quickly, in little memory, without reading other files.

Tries every fortieth of `strangers.changes`; GRADEJAX_FAULTS=long tries all.
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
    """Runs `strangers.py` and passes it one folder after another."""

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
        """Ends the process; returns its standard error."""
        self._process.kill()
        return self._process.stderr.read()


@pytest.fixture(scope="module")
def reader():
    process = Reader()
    yield process
    process.end()


def test_corrupt_run_folders(tmp_path, reader):
    run = strangers.save_model(tmp_path / "valid")
    elsewhere = strangers.save_model(tmp_path / "elsewhere", seed=1)
    before = {path: path.read_bytes() for path in elsewhere.rglob("*") if path.is_file()}
    unchanged = reader.read(run)
    assert not unchanged["outcome"]
    outcomes, seconds, megabytes = Counter(), [], []
    for name, change in list(strangers.changes(run))[::STEP]:
        shutil.copytree(run, tmp_path / "run")
        change(tmp_path / "run", elsewhere)
        answer = reader.read(tmp_path / "run")
        assert answer["outcome"] or answer["guess"] == unchanged["guess"] or name.startswith("metadata"), name
        assert len(answer["outcome"]) < 1000 and (answer["outcome"] + " ").isprintable(), (name, answer["outcome"])
        outcomes[bool(answer["outcome"])] += 1
        seconds.append(answer["seconds"])
        megabytes.append(answer["megabytes"])
        assert answer["megabytes"] < 500, name
        shutil.rmtree(tmp_path / "run")
    assert before == {path: path.read_bytes() for path in elsewhere.rglob("*") if path.is_file()}
    print(
        f"{outcomes.total()} changes, {outcomes[True]} refused, the others loaded correctly; "
        f"at most {max(seconds):.1f} s and {max(megabytes):.0f} MB"
    )
    assert outcomes[True] > outcomes.total() // 2
