"""Behind nginx and Caddy, with HTTPS and below a path."""

import http.client
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import forked
import pytest
from conftest import CODE, TEACHERS_CODE
from playwright.sync_api import Page, expect

from gradejax.web.connections import MAX_AHEAD
from gradejax.web.rates import STRANGERS_BURST

PREFIX = "/gradejax"
HOST = "class.test"


class Proxied(NamedTuple):
    """The first page's address at the proxy, and the server's own."""

    url: str
    behind: str


@pytest.fixture(scope="module", params=["nginx", "caddy"])
def proxied(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    """The pages behind a proxy that is configured as docs/proxy.md says, with TLS."""
    if shutil.which(request.param) is None:
        if os.environ.get("CI"):
            pytest.fail(f"{request.param} is missing: apt-get install nginx-light caddy")
        pytest.skip(f"needs {request.param}: apt-get install nginx-light caddy")
    folder = tmp_path_factory.mktemp(request.param)
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    new = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={HOST}"]
    subprocess.run([*new, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"https://{HOST}:{port}{PREFIX}/"
    with _behind(folder, url) as (server, lines):
        assert lines[-1].endswith(f"{url}#code={CODE}"), "what the pupils are told"
        documented = _documented(request.param).replace("127.0.0.1:8000", urlsplit(server).netloc)
        start = {"nginx": _nginx, "caddy": _caddy}[request.param](folder, port, documented)
        with subprocess.Popen(start, cwd=folder, env={**os.environ, "HOME": str(folder)}) as proxy:
            try:
                _wait_for(port)
                yield Proxied(url, server)
            finally:
                proxy.terminate()


def _documented(language: str) -> str:
    """Returns the proxy's configuration in the documentation."""
    text = (Path(__file__).parents[2] / "docs/proxy.md").read_text("utf-8")
    return text.partition(f"```{language}\n")[2].partition("```")[0]


def _nginx(folder: Path, port: int, documented: str) -> list[str]:
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    folders = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    (folder / "nginx.conf").write_text(f"""
        daemon off; master_process off; pid {folder}/pid; events {{}}
        http {{
            access_log off; {folders}
            server {{
                listen 127.0.0.1:{port} ssl; server_name {HOST};
                ssl_certificate certificate.pem; ssl_certificate_key key.pem;
                {documented}
            }}
        }}""")
    return ["nginx", "-p", str(folder), "-c", f"{folder}/nginx.conf", "-e", f"{folder}/errors"]


def _caddy(folder: Path, port: int, documented: str) -> list[str]:
    site = f"https://{HOST}:{port} {{\nbind 127.0.0.1\ntls certificate.pem key.pem"
    options = "{\nadmin off\nauto_https disable_redirects\n}\n"
    (folder / "Caddyfile").write_text(options + documented.replace("school.example {", site))
    return ["caddy", "run", "--config", "Caddyfile", "--adapter", "caddyfile"]


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            assert time.monotonic() < deadline, "the proxy does not listen"
            time.sleep(0.05)


@contextmanager
def _behind(folder: Path, public_url: str, *flags: str) -> Iterator[tuple[str, list[str]]]:
    """Starts a server behind a proxy; yields its own address, and the lines that it prints."""
    codes = [f"--access-code={CODE}", f"--teacher-code={TEACHERS_CODE}"]
    store = f"--store=sqlite:///{folder}/grades.db"
    process = forked.Process(folder, "web", "--port=0", f"--public-url={public_url}", *codes, *flags, store)
    try:
        lines = [line.strip() for line in process.lines(4)]
        yield lines[0].split()[-1], lines
    finally:
        process.terminate()
        process.wait(timeout=20)


@pytest.fixture
def draw(open_page: Callable[..., Page], proxied: Proxied) -> Page:
    """Draw, opened by a pupil who has scanned the code."""
    return open_page(f"{proxied.url}#code={CODE}", ignore_https_errors=True)


def test_the_pages_work_below_a_path(draw: Page, proxied: Proxied):
    expect(draw.locator("#prompt strong")).to_be_visible()
    (cookie,) = draw.context.cookies()
    assert cookie["secure"] and cookie["httpOnly"]
    assert (cookie["path"], cookie["sameSite"]) == (f"{PREFIX}/", "Strict")
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
    done = forked.run(tmp_path, "web", "--port=0", flag)
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
