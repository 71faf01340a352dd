"""Runs gradejax's commands in processes that share the seconds of importing.

Each process is forked from one that has imported what the commands need, and goes on as `python -m gradejax.NAME` does
once it has imported the same. A test of the start itself, or of a variable that JAX reads while it is imported
(JAX_PLATFORMS), starts an interpreter of its own instead.
"""

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path

IMPORTED = ["main", "terminal", "evaluate", "scoring", "predict", "recogniser", "ablate.__main__", "ablate.running",
            "data.__main__", "export.__main__", "web.__main__", "web.retention", "web.serving", "plots", "erasure",
            "data.audit", "export.page", "stores.sqlite", "stores.mongo"]  # fmt: skip

PARENT = """
import gc, importlib, json, os, socket, sys, traceback, warnings
from gradejax import cli
for name in sys.argv[2:]:
    importlib.import_module(f"gradejax.{name}")


def become(module, arguments, folder, environment, files):
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for stream, file in enumerate(files):
        os.dup2(file, stream)
        os.close(file)
    asked.close()
    command = importlib.import_module(f"gradejax.{module}")
    if hasattr(command, "__path__"):
        command = importlib.import_module(f"gradejax.{module}.__main__")
    sys.argv = [command.__file__, *arguments]
    cli.run(command.main, command._FLAGS)


gc.freeze()  # as the commands do once they have imported
asked = socket.socket(fileno=int(sys.argv[1]))
while True:
    message, files, _, _ = socket.recv_fds(asked, 1 << 20, 3)
    if not message:
        break
    request = json.loads(message)
    if "reap" in request:
        answer = os.waitstatus_to_exitcode(os.waitpid(request["reap"], 0)[1])
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # JAX warns of threads, which it starts with its first computation
            answer = os.fork()
        if not answer:
            status = 1
            try:
                become(**request, files=files)
            except SystemExit as exit:
                status = exit.code or 0
                if not isinstance(status, int):
                    print(status, file=sys.stderr, flush=True)
                    status = 1
            except BaseException:
                traceback.print_exc()
            os._exit(status)  # without the half second that taking JAX down takes
        for file in files:
            os.close(file)
    asked.send(json.dumps(answer).encode())
"""


class _Parent:
    """The process that the others are forked from."""

    def __init__(self) -> None:
        self._socket, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        subprocess.Popen([sys.executable, "-c", PARENT, str(its.fileno()), *IMPORTED], pass_fds=[its.fileno()])
        its.close()
        atexit.register(self._socket.close)  # which ends it

    def ask(self, files: tuple[int, ...] = (), **request: object) -> int:
        socket.send_fds(self._socket, [json.dumps(request).encode()], files)
        return json.loads(self._socket.recv(100))


_parent = cache(_Parent)


class Process:
    """A running command, with the part of `subprocess.Popen` that tests use; its output is text.

    Args:
        folder: where it runs.
        module: its name below gradejax, such as `main` or `web`.
        arguments: its command line.
        environment: its environment; by default this process's.
        log: its standard error is added to this file.
        said: what its standard input holds.
    """

    def __init__(
        self,
        folder: Path,
        module: str,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        log: Path | None = None,
        said: str = "",
    ):
        self.args = [module, *arguments]
        self.returncode: int | None = None
        self._out = tempfile.TemporaryFile("w+b")  # noqa: SIM115
        self._err = log.open("a+b") if log else tempfile.TemporaryFile("w+b")  # noqa: SIM115
        with tempfile.TemporaryFile("w+b") as read:
            read.write(said.encode())
            read.seek(0)
            self.pid = _parent().ask(
                (read.fileno(), self._out.fileno(), self._err.fileno()),
                module=module,
                arguments=arguments,
                folder=str(folder),
                environment=dict(os.environ if environment is None else environment),
            )
        self._ended = os.pidfd_open(self.pid)

    def poll(self) -> int | None:
        """Its exit status; None while it runs."""
        return self._reap(0)

    def wait(self, timeout: float = 300) -> int:
        """Its exit status, once it has ended.

        Raises:
            subprocess.TimeoutExpired: if it still runs after so many seconds.
        """
        status = self._reap(timeout)
        if status is None:
            raise subprocess.TimeoutExpired(self.args, timeout)
        return status

    def _reap(self, timeout: float) -> int | None:
        if self.returncode is None and select.select([self._ended], [], [], timeout)[0]:
            self.returncode = _parent().ask(reap=self.pid)
            os.close(self._ended)
        return self.returncode

    def communicate(self, timeout: float = 180) -> tuple[str, str]:
        """What it has written to its standard output and error, once it has ended."""
        self.wait(timeout)
        return self._read(self._out), self._read(self._err)

    def lines(self, count: int, timeout: float = 60) -> list[str]:
        """The first lines of its standard output, once there are so many."""
        deadline = time.monotonic() + timeout
        while (said := self._read(self._out)).count("\n") < count:
            assert self.poll() is None and time.monotonic() < deadline, self._read(self._err)
            time.sleep(0.01)
        return said.splitlines()[:count]

    def _read(self, file) -> str:
        return os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0).decode()

    def send_signal(self, number: int) -> None:
        """Sends it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ends it with SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Ends it with SIGKILL."""
        self.send_signal(signal.SIGKILL)


def run(
    folder: Path, module: str, *arguments: str, environment: Mapping[str, str] | None = None, said: str = ""
) -> subprocess.CompletedProcess:
    """Runs a command to its end; arguments as of `Process`."""
    process = Process(folder, module, *arguments, environment=environment, said=said)
    out, err = process.communicate()
    return subprocess.CompletedProcess(process.args, process.returncode or 0, out, err)
