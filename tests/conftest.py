"""Shared fixtures: a MongoDB server, empty stores of both kinds, and drawings to put into them.

The server is the one at GRADEJAX_TEST_MONGODB_URI, else a `mongod` or `ferretdb` on the PATH, or the one built in
tests/ferretdb, started for the tests; otherwise the tests that need it are skipped. If the environment variable CI is
set, a skipped test fails.
"""

import atexit
import gc
import os
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import cv2
import jax
import numpy as np
import pymongo
import pytest
from hypothesis import HealthCheck, settings

from gradejax.drawings import Drawing, new_id, utc_milliseconds
from gradejax.ink import encode_png
from gradejax.stores import Store, open_store

# As in `gradejax.cli`: JAX, which pytest's plugins have imported, sets another level, which commands would inherit.
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
# Many tests and processes compile the same small networks. JAX has read its environment already, so that this process
# must be told, too.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parent.parent / ".cache" / "xla-tests"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
jax.config.update(
    "jax_persistent_cache_min_compile_time_secs", float(os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"])
)

# A slow machine must not fail a test.
settings.register_profile("gradejax", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("gradejax")

BUILT_SERVER = Path(__file__).parent / "ferretdb" / "ferretdb"


if os.environ.get("PYTEST_XDIST_WORKER"):
    # Runs before JAX's own, which would forget ten minutes' programs one by one, for ten seconds.
    atexit.register(os._exit, 0)


def pytest_collection() -> None:
    """What is there before the first test stays: garbage collection would walk through all of JAX and all tests."""
    gc.disable()


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    return _no_skip_in_ci((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    return _no_skip_in_ci((yield))


def _no_skip_in_ci(report):
    if os.environ.get("CI") and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI does not allow: {report.longrepr[-1]}"
    return report


@pytest.fixture(scope="session")
def mongodb() -> Iterator[str]:
    """The address of a MongoDB-protocol server, without a database."""
    uri = os.environ.get("GRADEJAX_TEST_MONGODB_URI")
    if uri:
        yield uri
        return
    with own_server() as server:
        yield server.uri


class MongoServer:
    """A MongoDB-protocol server that can be killed and restarted on the same port and data."""

    def __init__(self, program: str, folder: str):
        self._program = program
        self.folder = folder
        self._port = 0
        self.process = self.start()

    @property
    def uri(self) -> str:
        return f"mongodb://127.0.0.1:{self._port}/"

    def start(self) -> subprocess.Popen:
        """Starts it. Another program may take the first port before the server does; then another is tried."""
        for _ in range(5):
            port = self._port or _free_port()
            if Path(self._program).name == "mongod":
                arguments = ["--bind_ip=127.0.0.1", f"--port={port}", f"--dbpath={self.folder}", "--nounixsocket"]
            else:
                arguments = [f"-address=127.0.0.1:{port}", f"-dir={self.folder}"]
            with Path(self.folder, "log").open("ab") as log:
                self.process = subprocess.Popen([self._program, *arguments], stdout=log, stderr=log)
            deadline = time.monotonic() + 20
            while self.process.poll() is None and time.monotonic() < deadline:
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                except OSError:
                    time.sleep(0.05)
                else:
                    self._port = port
                    return self.process
            self.kill()
        raise RuntimeError(f"{self._program} does not start: {Path(self.folder, 'log').read_text()[-500:]}")

    def kill(self) -> None:
        """Kills it with SIGKILL."""
        self.process.kill()
        self.process.wait()


@contextmanager
def own_server() -> Iterator[MongoServer]:
    """A server of one's own."""
    program = shutil.which("mongod") or shutil.which("ferretdb") or (BUILT_SERVER.exists() and str(BUILT_SERVER))
    if not program:
        pytest.skip(
            "no MongoDB server: set GRADEJAX_TEST_MONGODB_URI, or in tests/ferretdb run"
            " go build -tags ferretdb_no_postgresql -o ferretdb ."
        )
    # Not in pytest's folder, whose path may be too long for a socket.
    with tempfile.TemporaryDirectory(prefix="gradejax-") as folder:
        server = MongoServer(program, folder)
        try:
            yield server
        finally:
            server.process.terminate()
            server.process.wait(timeout=20)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture
def mortal_mongodb() -> Iterator[MongoServer]:
    """A MongoDB-protocol server for one test, which may kill it."""
    with own_server() as server:
        yield server
        server.kill()  # otherwise it waits for its clients


@pytest.fixture
def mongodb_uri(mongodb: str) -> Iterator[str]:
    """The address of an empty database that is dropped after the test."""
    name = f"gradejax_{uuid.uuid4().hex[:12]}"
    yield urlsplit(mongodb)._replace(path=f"/{name}").geturl()
    with pymongo.MongoClient(mongodb) as client:
        client.drop_database(name)


@pytest.fixture(params=["sqlite", "mongodb"])
def any_store_uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty store, of each kind in turn."""
    if request.param == "mongodb":
        return request.getfixturevalue("mongodb_uri")
    return f"sqlite:///{tmp_path}/grades.db"


@pytest.fixture
def store(any_store_uri: str) -> Iterator[Store]:
    """An empty store, of each kind in turn."""
    opened = open_store(any_store_uri)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def draw() -> Callable[..., Drawing]:
    """Makes a drawing: `draw()`, `draw(label="B-", tags=("7b",), writer="ann")`; no two look the same."""
    random = np.random.default_rng(0)

    def one(**changes: object) -> Drawing:
        ink = np.zeros((56, 56), np.uint8)
        points = random.integers(4, 52, (5, 1, 2), dtype=np.int32)
        cv2.polylines(ink, [points], False, 255, 4, cv2.LINE_AA)
        default = {"id": new_id(), "tags": ("class",), "label": "A+", "png": encode_png(ink)}
        return Drawing(**{"date": utc_milliseconds(datetime.now(UTC)), **default, **changes})

    return one
