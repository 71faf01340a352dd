"""`python -m gradejax.web` on the command line."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import cv2
import forked
import numpy as np
import pytest

from gradejax.web.access import new_code

STARTING = "gradejax is starting\n"


def fails(*flags: str, cwd: Path) -> tuple[int, str]:
    done = forked.run(cwd, "web", *flags)
    assert done.stdout == ""
    return done.returncode, done.stderr.removeprefix(STARTING)


@pytest.mark.parametrize(
    ("flags", "status", "reason"),
    [
        (["--port=eighty"], 2, "--port"),
        (["--prot=80"], 2, "prot"),
        (["draw"], 1, "draw"),
        (["--access-code=abcde"], 1, "--access-code"),
        (["--access-code=1234567"], 1, "8 digits"),
        (["--teacher-code=abcde"], 1, "--teacher-code"),
        (["--access-code=seven-bees", "--teacher-code=Seven-Bees"], 1, "must differ"),
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
    code = re.fullmatch(r"access code for pupils: (\w{8})\n", server.stdout.readline())[1]
    teachers_code = re.fullmatch(r"teacher's code: (\w{8})\n", server.stdout.readline())[1]
    invitation = f"{address}#code={code}"
    assert server.stdout.readline() == f"for pupils' phones: {invitation}\n"
    server.stdout.readline()
    picture = [server.stdout.readline() for _ in range(15)]
    assert len(set(map(len, picture))) == 1  # a square of blocks
    port = int(address.rstrip("/").rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(f"GET /?code={code} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 401 ")
    server.terminate()
    # Not `communicate`, which forgets what `readline` read ahead.
    assert scanned("".join([*picture, *server.stdout])) == invitation
    log = server.stderr.read()
    server.wait(20)
    assert code not in log and teachers_code not in log and code != teachers_code


@contextmanager
def started(folder: Path, *flags: str, **environment: str) -> Iterator[tuple[str, forked.Process]]:
    """Runs a server on a free port; yields its URL and the process."""
    server = forked.Process(folder, "web", "--port=0", *flags, environment={**os.environ, **environment})
    try:
        (line,) = server.lines(1)
        assert line.startswith("gradejax is at http")
        yield line.split()[-1], server
    finally:
        server.terminate()
        server.wait(timeout=30)


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


def test_the_qr_code_can_be_scanned_in_an_encoding_without_blocks(tmp_path: Path):
    code = "7b+c&d%41#x"
    server = subprocess.Popen(
        [sys.executable, "-m", "gradejax.web", "--port=0"],
        stdout=subprocess.PIPE,
        cwd=tmp_path,
        env={**os.environ, "PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0", "GRADEJAX_ACCESS_CODE": code},
    )
    url = server.stdout.readline().decode().split()[-1]
    assert server.stdout.readline().decode().rstrip() == f"access code for pupils: {code}"
    server.stdout.readline()
    invitation = server.stdout.readline().decode().split()[-1]
    assert asked(url) == 401
    server.terminate()
    picture = server.stdout.read().decode("cp1252")  # not `communicate`, which forgets what `readline` read ahead
    server.wait(30)
    assert scanned(picture) == invitation
    assert invitation == f"{url}#code=7b%2Bc%26d%2541%23x"


def scanned(text: str) -> str:
    """What a phone reads in a QR code on a terminal."""
    read, _, _ = cv2.QRCodeDetector().detectAndDecode(seen(text))
    return read


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
        assert all(line.startswith((b"gradejax is starting", b"using the recogniser")) for line in log)


def ask(url: str, method: str, path: str, body: str = "", cookie: str = "") -> bytes:
    """Returns all bytes of the answer."""
    address = urlsplit(url)
    head = f"{method} {path} HTTP/1.1\r\nHost: {address.netloc}\r\nConnection: close\r\nCookie: {cookie}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
        connection.sendall(head.encode())
        return connection.makefile("rb").read()


def cookie_for(url: str, code: str) -> str:
    signed_in = ask(url, "POST", "/sign-in", f'{{"code": "{code}"}}')
    return re.search(rb"(?i)set-cookie: ([^;]+)", signed_in)[1].decode()


def test_sessions_survive_a_restart_with_the_same_code(tmp_path: Path):
    pupils, teachers = "seven-bees", "three-wise-owls"
    environment = {"GRADEJAX_ACCESS_CODE": pupils, "GRADEJAX_TEACHER_CODE": teachers}

    def statuses(url: str) -> list[bytes]:
        return [ask(url, "GET", "/api/counts", cookie=cookie)[9:12] for cookie in cookies]

    with started(tmp_path, **environment) as (url, _):
        cookies = [cookie_for(url, pupils), cookie_for(url, teachers)]
        assert statuses(url) == [b"403", b"200"]
    assert (tmp_path / "data/grades.db-sessions").stat().st_mode & 0o777 == 0o600
    with started(tmp_path, f"--access-code={pupils}", f"--teacher-code={teachers}") as (url, _):
        assert statuses(url) == [b"403", b"200"]
    with started(tmp_path, "--access-code=eight-wasps", **environment) as (url, _):
        assert statuses(url) == [b"401", b"200"]
    with started(tmp_path, f"--access-code={pupils}") as (url, _):  # the teacher's is generated
        assert statuses(url) == [b"403", b"401"]


def test_a_teachers_code_that_was_given_is_not_printed(tmp_path: Path):
    """The terminal may be projected, with the QR code on it."""
    code = "three-wise-owls"
    with started(tmp_path, f"--teacher-code={code}") as (url, server):
        assert asked(url) == 401  # so even on loopback pupils need theirs
        assert ask(url, "GET", "/browse", cookie=cookie_for(url, code))[9:12] == b"200"
        server.terminate()
        output, log = server.communicate(timeout=30)
    assert "access code for pupils: " in output
    assert code not in output + log


def test_the_first_line_comes_before_the_server_is_loaded(tmp_path: Path):
    """On a busy machine that takes long."""
    command = [sys.executable, "-X", "importtime", "-m", "gradejax.web", "--port=0", "--workdir=nowhere"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60)
    before, said, after = done.stderr.partition(STARTING)
    assert said
    for module in ("jax", "numpy", "fastapi", "uvicorn"):
        assert not re.search(rf"\| +{module}$", before, re.MULTILINE)
        assert re.search(rf"\| +{module}$", after, re.MULTILINE)


def test_ctrl_c_while_the_server_is_loaded(tmp_path: Path):
    command = [sys.executable, "-X", "importtime", "-m", "gradejax.web", "--port=0"]
    server = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=tmp_path, preexec_fn=unignored
    )
    for line in server.stderr:
        if re.search(r"\| +numpy$", line):
            server.send_signal(signal.SIGINT)
            break
    output, rest = server.communicate(timeout=60)
    assert (server.returncode, output) == (130, "")
    assert rest.splitlines()[-1] == "error: interrupted"
    assert "Traceback" not in rest


def unignored() -> None:
    """Undoes a shell's habit of letting background processes ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_codes_differ():
    assert len({new_code() for _ in range(1000)}) == 1000


def test_a_process_that_ends_while_a_model_is_compiled_does_not_crash(tmp_path: Path):
    # As where an application is served from a thread that ends with the process: a notebook, a test.
    program = """if True:
        from threading import Thread
        from gradejax.web.model import Model
        asking = Thread(target=Model(None).get, daemon=True)
        asking.start()
        asking.join()
    """
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
