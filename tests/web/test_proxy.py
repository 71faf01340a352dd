"""Behind a reverse proxy with HTTPS, below a path: a real server, a real proxy, a real browser."""

import asyncio
import http.client
import re
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest
from conftest import CODE, TEACHERS_CODE
from playwright.sync_api import Page, expect

from gradejax.web.connections import MAX_AHEAD
from gradejax.web.rates import STRANGERS_BURST

PREFIX = "/school/7b"
HOST = "class.test"


class Proxied(NamedTuple):
    """The first page's address at the proxy, and the server's own."""

    url: str
    behind: str


class Proxy:
    """A reverse proxy that ends TLS, takes PREFIX off the path, and forwards address and scheme: see docs/proxy.md.

    Each connection carries one request.
    """

    def __init__(self, certificate: Path):
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(certificate)
        self._ready = threading.Event()
        self.port = 0
        self.server_port = 0

    @contextmanager
    def running(self) -> Iterator[None]:
        thread = threading.Thread(target=lambda: asyncio.run(self._run()))  # the browser's loop has this one
        thread.start()
        self._ready.wait()
        try:
            yield
        finally:
            self._loop.call_soon_threadsafe(self._end.set)
            thread.join()

    async def _run(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        listener = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self.port = listener.sockets[0].getsockname()[1]
        self._ready.set()
        await self._end.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            method, path, version = head.partition(b"\r\n")[0].split(b" ")
            if not path.startswith(f"{PREFIX}/".encode()):
                return
            lines = [line for line in head.split(b"\r\n")[1:-2] if not line.lower().startswith(b"connection:")]
            lines += [b"X-Forwarded-For: 198.51.100.7", b"X-Forwarded-Proto: https", b"Connection: close"]
            first = b" ".join([method, path[len(PREFIX) :], version])
            from_server, to_server = await asyncio.open_connection("127.0.0.1", self.server_port)
            to_server.write(b"\r\n".join([first, *lines, b"", b""]))
            upward = asyncio.ensure_future(_pass_on(reader, to_server))
            await _pass_on(from_server, writer)
            upward.cancel()
            to_server.close()
        except (OSError, asyncio.IncompleteReadError):
            pass  # the browser has closed the connection
        finally:
            writer.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(2**16):
        writer.write(piece)
        await writer.drain()


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    folder = tmp_path_factory.mktemp("proxied")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    new = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={HOST}"]
    subprocess.run([*new, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    certificate.write_bytes(key.read_bytes() + certificate.read_bytes())
    proxy = Proxy(certificate)
    with proxy.running(), _behind(folder, f"https://{HOST}:{proxy.port}{PREFIX}/") as (server, lines):
        proxy.server_port = urlsplit(server).port
        assert lines[-1].endswith(f"https://{HOST}:{proxy.port}{PREFIX}/#code={CODE}"), "what the pupils are told"
        yield Proxied(f"https://{HOST}:{proxy.port}{PREFIX}/", server)


@contextmanager
def _behind(folder: Path, public_url: str, *flags: str) -> Iterator[tuple[str, list[str]]]:
    """Starts a server behind a proxy; yields its own address, and the lines that it prints."""
    codes = [f"--access-code={CODE}", f"--teacher-code={TEACHERS_CODE}"]
    command = [sys.executable, "-m", "gradejax.web", "--port=0", f"--public-url={public_url}", *codes, *flags]
    command.append(f"--store=sqlite:///{folder}/grades.db")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder) as process:
        try:
            lines = [process.stdout.readline().strip() for _ in range(4)]
            yield lines[0].split()[-1], lines
        finally:
            process.terminate()
            process.communicate(timeout=20)


@pytest.fixture
def draw(open_page: Callable[..., Page], proxied: Proxied) -> Page:
    """Draw, opened by a pupil who has scanned the code."""
    return open_page(f"{proxied.url}#code={CODE}", ignore_https_errors=True)


def test_the_pages_work_below_a_path(draw: Page, proxied: Proxied):
    expect(draw.locator("#prompt strong")).to_be_visible()
    box = draw.locator("#paper").bounding_box()
    draw.mouse.move(box["x"] + 40, box["y"] + 40)
    draw.mouse.down()
    draw.mouse.move(box["x"] + 90, box["y"] + 120, steps=5)
    draw.mouse.up()
    draw.get_by_role("button", name="Save").click()
    expect(draw.locator("#mine")).to_have_text("1")
    draw.get_by_role("link", name="Guess").click()
    expect(draw).to_have_url(f"{proxied.url}guess")
    expect(draw.get_by_role("button", name="Undo")).to_be_visible()
    draw.get_by_role("button", name="Sign out").click()
    expect(draw.get_by_label("Access code")).to_be_visible()


def test_the_teachers_pages_are_live_below_a_path(open_page: Callable[..., Page], proxied: Proxied):
    page = open_page(f"{proxied.url}browse", ignore_https_errors=True)
    page.get_by_label("Access code").fill(TEACHERS_CODE)
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("#heading")).to_have_text(re.compile("[0-9] drawing"))
    for name in ("Models", "Class"):
        page.get_by_role("link", name=name, exact=True).click()
        expect(page).to_have_url(f"{proxied.url}{name.lower()}")
    expect(page.locator("#qr")).to_be_visible()
    expect(page.locator("#address")).to_have_text(proxied.url.rstrip("/"))
    expect(page.locator("#devices")).to_have_text(re.compile("[0-9]"))  # comes over the live connection


def test_the_cookie_is_for_https_and_the_path_alone(draw: Page):
    expect(draw.locator("#prompt strong")).to_be_visible()
    (cookie,) = draw.context.cookies()
    assert cookie["secure"] and cookie["httpOnly"]
    assert (cookie["path"], cookie["sameSite"]) == (f"{PREFIX}/", "Strict")


def test_another_origin_is_refused(proxied: Proxied):
    assert _status(proxied.behind, {"Origin": "https://elsewhere.example"}, "POST") == 403
    own = proxied.url.removesuffix(f"{PREFIX}/")
    assert _status(proxied.behind, {"Origin": own}, "POST") == 401, "also from a proxy that names itself as the host"


def test_forwarded_addresses_are_counted_apart_if_the_proxy_is_trusted(tmp_path: Path):
    """Who floods the server keeps others out only if the proxy is not trusted; what a client forges never counts."""
    flood, forged = "203.0.113.9, 198.51.100.7", "192.0.2.44, 198.51.100.7"
    with _behind(tmp_path, "https://school.example/") as (server, _):
        assert _are_refused(server, flood, forged)
        assert not _are_refused(server, flood, "198.51.100.8")
    with _behind(tmp_path, "https://school.example/", "--trusted-proxies=192.0.2.0/24") as (server, _):
        assert _are_refused(server, flood, "198.51.100.8")


def test_a_server_without_codes_refuses_a_proxy(client):
    assert client.get("/").status_code == 200
    for name in ("X-Forwarded-For", "Forwarded"):
        answer = client.get("/", headers={name: "for=198.51.100.7"})
        assert answer.status_code == 421 and "--public-url" in answer.json()["detail"]


@pytest.mark.parametrize(
    "flag",
    [
        "--public-url=school.example",
        "--public-url=ftp://school.example/",
        "--public-url=https://school.example/?a=b",
        "--public-url=https://user@school.example/",
        "--public-url=https://school.example:port/",
        "--trusted-proxies=proxy.example",
        "--trusted-proxies=*",
        "--trusted-proxies=",
    ],
)
def test_a_flag_that_makes_no_sense_is_refused(tmp_path: Path, flag: str):
    command = [sys.executable, "-m", "gradejax.web", "--port=0", flag]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert done.returncode
    (line,) = done.stderr.strip().splitlines()[-1:]
    assert flag.partition("=")[0] in line and "Traceback" not in done.stderr


def _status(server: str, headers: dict[str, str], method: str = "GET") -> int:
    address = urlsplit(server)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=20)
    connection.request(method, "/api/status", headers=headers)
    status = connection.getresponse().status
    connection.close()
    return status


def _are_refused(server: str, flood: str, other: str) -> bool:
    """Whether requests forwarded for `other` are ever refused while those forwarded for `flood` come too fast."""
    address = urlsplit(server)
    with socket.create_connection((address.hostname, address.port), 20) as connection:

        def statuses(forwarded: str) -> list[bytes]:
            """Sends as many requests at once as a connection may."""
            request = f"GET /api/status HTTP/1.1\r\nHost: school.example\r\nX-Forwarded-For: {forwarded}\r\n\r\n"
            connection.sendall(MAX_AHEAD * request.encode())
            answers = b""
            while answers.count(b"}") < MAX_AHEAD:
                answers += connection.recv(2**16)
            return re.findall(rb"HTTP/1.1 (\d+)", answers)

        for _ in range(2 * STRANGERS_BURST // MAX_AHEAD):
            if b"429" in statuses(flood):
                break
        else:
            pytest.fail("nobody is stopped")
        return any(b"429" in statuses(flood) and b"429" in statuses(other) for _ in range(200))
