"""`python -m gradejax.web` on the command line."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest

from gradejax.web.access import new_code


def fails(*flags: str, cwd: Path) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "gradejax.web", *flags], capture_output=True, text=True, cwd=cwd, timeout=60
    )
    assert done.stdout == ""
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("flags", "status", "reason"),
    [
        (["--port=eighty"], 2, "--port"),
        (["--prot=80"], 2, "prot"),
        (["draw"], 1, "draw"),
        (["--access-code=abcde"], 1, "--access-code"),
        (["--store=grades.db"], 1, "sqlite:///grades.db"),
        (["--workdir=nowhere"], 1, "gradejax.main"),
        (["--host=nowhere.invalid"], 1, "--host"),
        (["--host=..a"], 1, "--host"),
    ],
)
def test_a_mistake_is_reported_in_one_line(tmp_path: Path, flags: list[str], status: int, reason: str):
    code, error = fails(*flags, "--port=0" if "port" not in flags[0] else "--host=127.0.0.1", cwd=tmp_path)
    assert code == status
    assert reason in error
    assert error.startswith("error: ")
    assert error.count("\n") == 1


def test_a_port_that_is_taken(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        status, error = fails(f"--port={other.getsockname()[1]}", cwd=tmp_path)
    assert status == 1
    assert "--port" in error
    assert error.count("\n") == 1


def test_the_terminal_shows_a_code_and_the_log_does_not(tmp_path: Path):
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


@contextmanager
def started(folder: Path, *flags: str, **environment: str) -> Iterator[tuple[str, subprocess.Popen]]:
    """Runs a server on a free port; yields its URL and the process, the rest of its output unread."""
    command = [sys.executable, "-m", "gradejax.web", "--port=0", *flags]
    server = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=folder, env={**os.environ, **environment}
    )
    try:
        line = server.stdout.readline().decode()
        assert line.startswith("gradejax is at http"), server.stderr.read().decode()
        yield line.split()[-1], server
    finally:
        server.terminate()
        server.communicate(timeout=30)


def asked(url: str, host: str | None = None) -> int:
    """Returns the status of the first page, from `host` or the URL's own host."""
    address = urlsplit(url)
    at = host or address.netloc.rpartition(":")[0].strip("[]").replace("%25", "%")
    with socket.create_connection((at, address.port), timeout=30) as connection:
        connection.sendall(f"GET / HTTP/1.1\r\nHost: {address.netloc}\r\nConnection: close\r\n\r\n".encode())
        return int(connection.recv(100)[9:12])


def _ipv6() -> list[str]:
    """Returns this machine's IPv6 addresses; none without IPv6."""
    try:
        lines = Path("/proc/net/if_inet6").read_text().split("\n")
    except OSError:
        return []
    parts = [line.split() for line in lines if line]
    addresses = [(":".join(re.findall("....", line[0])), line[-1]) for line in parts]
    return [f"{address}%{name}" if address.startswith("fe80") else address for address, name in addresses]


@pytest.mark.skipif(not _ipv6(), reason="needs IPv6")
def test_both_kinds_of_addresses_reach_a_wildcard(tmp_path: Path):
    with started(tmp_path, "--host=::") as (url, _):
        assert asked(url) == 401
        assert asked(url, "127.0.0.1") == 401
        assert asked(url, "::1") == 401


@pytest.mark.skipif(not any("%" in address for address in _ipv6()), reason="needs a link-local IPv6 address")
def test_an_address_may_have_a_zone(tmp_path: Path):
    host = next(address for address in _ipv6() if "%" in address)
    with started(tmp_path, f"--host={host}") as (url, _):
        assert asked(url) == 401


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
def test_the_qr_code_can_be_scanned_in_any_encoding(tmp_path: Path, encoding: str):
    code = "7b+c&d%41#x"
    with started(tmp_path, PYTHONIOENCODING=encoding, PYTHONUTF8="0", GRADEJAX_ACCESS_CODE=code) as (url, server):
        assert server.stdout.readline().decode().rstrip() == f"access code: {code}"
        invitation = server.stdout.readline().decode().strip()
        assert asked(url) == 401
        server.terminate()
        picture = server.stdout.read().decode(encoding)
    read, _, _ = cv2.QRCodeDetector().detectAndDecode(seen(picture))
    assert read == invitation
    assert invitation == f"{url}#code=7b%2Bc%26d%2541%23x"


def seen(text: str) -> np.ndarray:
    """Renders a dark terminal at eight pixels a module, bright where it draws in its text colour."""
    rows = []
    for line in text.splitlines():
        if not line.strip():
            continue
        if "\x1b" in line:
            bright, row = 0, []
            for sign, spaces in re.findall("\x1b\\[(\\d+)m( *)", line):
                bright = 255 if sign == "7" else 0
                row += [bright] * (len(spaces) // 2)
            rows.append(row)
        else:
            rows.append([255 if sign in "▀█" else 0 for sign in line])
            rows.append([255 if sign in "▄█" else 0 for sign in line])
    width = max(map(len, rows))
    modules = np.array([row + [0] * (width - len(row)) for row in rows], np.uint8)
    return np.pad(modules.repeat(8, 0).repeat(8, 1), 32, constant_values=255 if modules[0].mean() > 127 else 0)


def test_no_server_starts_if_nobody_would_see_the_code(tmp_path: Path):
    command = f"exec {sys.executable} -m gradejax.web --port=0 --host=0.0.0.0"
    for closed in (">&-", ">/dev/full"):
        done = subprocess.run(["bash", "-c", f"{command} {closed}"], cwd=tmp_path, capture_output=True, timeout=60)
        assert done.returncode == 1
        *log, error = done.stderr.splitlines()
        assert error.startswith(b"error: ")
        assert all(line.startswith(b"using the recogniser") for line in log)


def test_sessions_survive_a_restart(tmp_path: Path):
    code = "seven-bees"

    def ask(url: str, method: str, path: str, body: str = "", cookie: str = "") -> bytes:
        address = urlsplit(url)
        head = f"{method} {path} HTTP/1.1\r\nHost: {address.netloc}\r\nConnection: close\r\nCookie: {cookie}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
            connection.sendall(head.encode())
            return connection.makefile("rb").read()

    def status(url: str) -> bytes:
        return ask(url, "GET", "/api/status", cookie=cookie)[9:12]

    with started(tmp_path, GRADEJAX_ACCESS_CODE=code) as (url, _):
        signed_in = ask(url, "POST", "/sign-in", f'{{"code": "{code}"}}')
        cookie = re.search(rb"(?i)set-cookie: ([^;]+)", signed_in)[1].decode()
        assert status(url) == b"200"
    assert (tmp_path / "data/grades.db-sessions").stat().st_mode & 0o777 == 0o600
    with started(tmp_path, f"--access-code={code}") as (url, _):
        assert status(url) == b"200"
    with started(tmp_path, "--access-code=eight-wasps") as (url, _):
        assert status(url) == b"401"


def test_codes_differ():
    assert len({new_code() for _ in range(1000)}) == 1000
