"""`python -m gradejax.web`, as it is typed."""

import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from gradejax.web.access import new_code


def fails(*flags: str, cwd: Path) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "gradejax.web", *flags], capture_output=True, text=True, cwd=cwd, timeout=60
    )
    assert done.stdout == ""
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("flags", "status", "told"),
    [
        (["--port=eighty"], 2, "--port"),
        (["--prot=80"], 2, "prot"),
        (["draw"], 1, "draw"),
        (["--access-code=abc"], 1, "--access-code"),
        (["--store=grades.db"], 1, "sqlite:///grades.db"),
        (["--workdir=nowhere"], 1, "gradejax.main"),
        (["--host=nowhere.invalid"], 1, "--host"),
    ],
)
def test_a_mistake_is_told_in_one_line(tmp_path: Path, flags: list[str], status: int, told: str):
    code, error = fails(*flags, "--port=0" if "port" not in flags[0] else "--host=127.0.0.1", cwd=tmp_path)
    assert code == status
    assert told in error
    assert error.startswith("error: ")
    assert error.count("\n") == 1


def test_a_port_that_is_taken(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        status, error = fails(f"--port={other.getsockname()[1]}", cwd=tmp_path)
    assert status == 1
    assert "--port" in error
    assert error.count("\n") == 1


def test_a_class_is_shown_a_code_and_no_log_is(tmp_path: Path):
    command = [sys.executable, "-m", "gradejax.web", "--host=0.0.0.0", "--port=0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    address = server.stdout.readline().split()[-1]
    code = re.fullmatch(r"access code: (\w{8})\n", server.stdout.readline())[1]
    assert server.stdout.readline() == f"{address}#code={code}\n"
    server.stdout.readline()
    assert len({len(server.stdout.readline()) for _ in range(15)}) == 1  # a square of blocks
    port = int(address.rstrip("/").rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(f"GET /?code={code} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 401 ")
    server.terminate()
    _, log = server.communicate(timeout=20)
    assert code not in log


def test_codes_differ():
    assert len({new_code() for _ in range(1000)}) == 1000
