"""How often faults are injected, and a real server to inject them into.

pytest tests/faults                        # the short form, as CI runs it
GRADEJAX_FAULTS=long pytest tests/faults   # the long one: make faults
"""

import base64
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

import forked
import pytest

from gradejax.drawings import Drawing


@dataclass(frozen=True)
class HowOften:
    """How much of each fault one form of the tests injects."""

    kills: int
    people: int
    outage_seconds: float
    connections: int
    examples: int
    drawings: int


@pytest.fixture(scope="session")
def how_often() -> HowOften:
    """The short form, or the long one if GRADEJAX_FAULTS is `long`."""
    if os.environ.get("GRADEJAX_FAULTS") == "long":
        return HowOften(kills=20, people=50, outage_seconds=30, connections=1000, examples=300, drawings=3000)
    return HowOften(kills=2, people=50, outage_seconds=1.2, connections=200, examples=5, drawings=2000)


class Web:
    """A `python -m gradejax.web` that can be killed and restarted on the same port."""

    def __init__(self, folder: Path, flags: tuple[str, ...], command: tuple[str, ...] = ()):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            self.port = taken.getsockname()[1]
        self._flags, self._command = [f"--port={self.port}", *flags], command
        self._folder = folder
        self.log = folder / "web.log"
        self.start()

    def start(self) -> None:
        """Starts the server; returns once it listens."""
        if self._command:
            program = [*self._command, sys.executable, "-m", "gradejax.web", *self._flags]
            with self.log.open("ab") as log:
                self.process = subprocess.Popen(
                    program, stdout=subprocess.PIPE, stderr=log, text=True, cwd=self._folder
                )
            assert self.process.stdout
            said = self.process.stdout.readline()
            assert said.startswith("gradejax is at "), self.log.read_text()
        else:
            self.process = forked.Process(self._folder, "web", *self._flags, log=self.log)
            assert self.process.lines(1)[0].startswith("gradejax is at ")

    def kill(self) -> None:
        """Kills the server with SIGKILL."""
        self.process.kill()
        self.process.wait()

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
        """Makes a request on a new connection; returns status, headers and body of the answer."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            data = None if body is None else json.dumps(body)
            connection.request(method, path, data, {"Content-Type": "application/json", **headers})
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Web]]:
    """Starts servers that end with the test, in its folder or in one below."""
    with ExitStack() as stack:

        def start(*flags: str, folder: str = ".", **options: tuple[str, ...]) -> Web:
            (tmp_path / folder).mkdir(exist_ok=True)
            web = Web(tmp_path / folder, flags, **options)
            stack.callback(web.kill)
            return web

        yield start


@pytest.fixture(scope="session")
def message() -> Callable[[Drawing], dict]:
    """A function that returns what a page sends to save a drawing."""

    def of(drawing: Drawing) -> dict:
        return {
            "id": drawing.id,
            "tags": list(drawing.tags),
            "label": drawing.label,
            "data": base64.b64encode(drawing.png).decode(),
            "date": drawing.date.isoformat(),
        }

    return of


@contextmanager
def _small_disk(folder: Path) -> Iterator[Path]:
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "gradejax", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"a small disk can be mounted by root only: {mounted.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of 2 MB."""
    with _small_disk(tmp_path / "disk") as folder:
        yield folder
