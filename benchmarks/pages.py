"""How long the pages' requests take on a store of any size, for `benchmarks.million`: from a server of its own."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.client import HTTPConnection
from pathlib import Path
from statistics import median
from typing import NamedTuple
from urllib.parse import urlencode

from benchmarks import many
from benchmarks.workers import ROOT
from gradejax.errors import UserError
from gradejax.scales import NO_GRADE

PAGE_SIZE = 120
"""Drawings on a page of the gallery."""
_ROUNDS, _ENOUGH_SECONDS = 5, 1.0
_POLL = 0.5  # seconds between two requests of a page that waits for a ranking


class Pages(NamedTuple):
    """What was measured.

    Attributes:
        seconds: of each page, the median of a few requests, by its name.
        ranking_seconds: until the first ranking of all drawings was there.
        peak_gb: the most memory the server had.
    """

    seconds: dict[str, float]
    ranking_seconds: float
    peak_gb: float


def measure(uri: str, n: int, folder: Path) -> Pages:
    """Measures the pages on the store `uri`, which has `n` drawings of `many`; the server runs in `folder`."""
    with _server(uri, folder) as (process, connection):
        ask = _Asker(connection)
        seconds = {name: ask.median_seconds(path) for name, path in requests(n).items()}
        relabel = {"ids": [many.id_of(n - 1)], "label": "A"}
        edits: list[float] = []
        counts: list[float] = []
        for label in ("A", "B", "A", "B", "A"):  # the counts are kept for a while, unless something changes
            edits.append(ask.seconds("/api/drawings/relabel", {**relabel, "label": label}))
            counts.append(ask.seconds("/api/counts"))
        seconds |= {"relabel a drawing": median(edits), "counts after a change": median(counts)}
        ranking, during = _rank(ask)
        seconds["newest, while it is ranked"] = during
        seconds |= {name: ask.median_seconds(path) for name, path in ranked_requests(n).items()}
        edits = [ask.seconds("/api/drawings/relabel", {**relabel, "label": label}) for label in ("C", "D", "C")]
        seconds |= {
            "relabel a ranked drawing": median(edits),
            "most doubtful, after a change": ask.seconds(_gallery(by="disagreement")),
        }
        return Pages(seconds, ranking, peak_gb(process.pid))


def peak_gb(pid: int) -> float:
    """The most memory that a process has had so far, in GB; 0 if it has ended."""
    # Not from wait4: that begins with what the process had that started this one.
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) * 1024 / 1e9 for line in lines if line.startswith("VmHWM:")), 0.0)


def requests(n: int) -> dict[str, str]:
    """The pages that need no ranking, and their addresses."""
    old, middle = many.FIRST_DATE + n // 10 * many.INTERVAL, many.FIRST_DATE + n // 2 * many.INTERVAL
    day = {"since": old.isoformat(), "until": (old + timedelta(days=1)).isoformat()}
    a_class, writer = many.class_of(n // 2), many.writer_of(n // 2)
    return {
        "newest first": _gallery(),
        "newest first, page in the middle": _gallery(after=many.id_of(n // 2 + 1)),
        "a class": _gallery(tag=a_class),
        "a tag of a quarter": _gallery(tag=many.COMMON_TAG),
        "a grade": _gallery(label="B+"),
        "no grade": _gallery(label=NO_GRADE),
        "a writer": _gallery(writer=writer),
        "the second half": _gallery(since=middle.isoformat()),
        "the first half": _gallery(until=middle.isoformat()),
        "an early day": _gallery(**day),
        "excluded": _gallery(aside="true"),
        "in quarantine": _gallery(aside="quarantine"),
        "a class and a grade": _gallery(tag=a_class, label="B+"),
        "a common tag and a grade": _gallery(tag=many.COMMON_TAG, label="B+"),
        "a grade in the first half": _gallery(label="B+", until=middle.isoformat()),
        "a grade on an early day": _gallery(label="B+", **day),
        "a class, excluded": _gallery(tag=a_class, aside="true"),
        "a grade, excluded": _gallery(label="B+", aside="true"),
        "a writer, excluded": _gallery(writer=writer, aside="true"),
        "a writer, excluded or not": _gallery(writer=writer, aside="both"),
        "a writer and a grade": _gallery(writer=writer, label="B+"),
        "a common tag on an early day": _gallery(tag=many.COMMON_TAG, **day),
        "a writer who is not there": _gallery(writer="nobody"),
        "ids of all, a part": "/api/drawings/ids",
        "counts": "/api/counts",
        "a picture": f"/api/picture?id={many.id_of(n // 2)}",
        "a writer's download": f"/api/export?{urlencode({'writer': writer})}",
    }


def ranked_requests(n: int) -> dict[str, str]:
    """The pages of a ranking of all drawings."""
    return {
        "most doubtful": _gallery(by="disagreement"),
        "taken for a grade": _gallery(guess="B+"),
        "taken for a grade, page in the middle": _gallery(guess="B+", after=many.id_of(n // 2 + 1)),
    }


def _gallery(**filters: str) -> str:
    return f"/api/drawings?{urlencode({**filters, 'limit': PAGE_SIZE})}"


class _Asker:
    """One browser."""

    def __init__(self, connection: HTTPConnection) -> None:
        self._connection = connection

    def get(self, path: str, message: dict | None = None) -> bytes:
        body = None if message is None else json.dumps(message)
        self._connection.request("POST" if body else "GET", path, body, {"Content-Type": "application/json"})
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise UserError(f"{path} is answered by {answer.status}: {content[:200].decode()}")
        return content

    def seconds(self, path: str, message: dict | None = None) -> float:
        began = time.perf_counter()
        self.get(path, message)
        return time.perf_counter() - began

    def median_seconds(self, path: str) -> float:
        """The median of a few requests; of one, if that takes long."""
        seconds = [self.seconds(path)]
        while len(seconds) < _ROUNDS and sum(seconds) < _ENOUGH_SECONDS:
            seconds.append(self.seconds(path))
        return median(seconds)


def _rank(ask: _Asker) -> tuple[float, float]:
    """The seconds of the first ranking, and of the gallery's first page meanwhile."""
    began, during = time.perf_counter(), []
    while json.loads(ask.get(_gallery(by="disagreement")))["done"] is not None:
        during.append(ask.seconds(_gallery()))
        time.sleep(_POLL)
    return time.perf_counter() - began, median(during or [0.0])


@contextmanager
def _server(uri: str, folder: Path) -> Iterator[tuple[subprocess.Popen, HTTPConnection]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "gradejax.web", "--port=0", f"--store={uri}"],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        address = process.stdout.readline().split()
        if not address:
            raise UserError("the server did not start")
        yield process, HTTPConnection(address[-1].split("/")[2], timeout=600)
    finally:
        process.terminate()
        process.wait()
