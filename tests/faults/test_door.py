"""Bad requests, slow clients and strangers: none gets in, and none blocks the others."""

import json
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from urllib.parse import quote

import forked
import httpx2 as httpx
import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from starlette.testclient import TestClient
from waiting import wait_until

from gradejax.drawings import Drawing, new_id
from gradejax.hands.synthetic import write_drawings
from gradejax.stores import Query, open_store
from gradejax.web import access, connections, crowd, guard, locks, rates
from gradejax.web.access import Access
from gradejax.web.app import create_app
from gradejax.web.connections import Connection
from gradejax.web.crowd import Crowd
from gradejax.web.guard import source
from gradejax.web.model import Model
from gradejax.web.pages import PAGES
from gradejax.web.rates import Allowances
from gradejax.web.roles import Role

CODE = "seven-planted-bees"
TEACHERS_CODE = "three-planted-owls"
PASSWORD = "planted-pa55word"


def connect(port: int, sent: bytes = b"", address: str = "127.0.0.1") -> socket.socket:
    """Opens a connection from `address` and sends something on it.

    Its receive buffer is small. Left alone, Linux may enlarge it until it holds a whole download that nobody has read.
    """
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**16)
    connection.settimeout(60)
    connection.bind((address, 0))
    connection.connect(("127.0.0.1", port))
    connection.sendall(sent)
    return connection


def request(path: str, body: bytes = b"", **headers: str) -> bytes:
    """Returns the bytes of a POST, or of a GET if there is no body."""
    lines = [f"{'POST' if body else 'GET'} {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}"]
    lines += ["Content-Type: application/json", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


def answer(connection: socket.socket) -> tuple[int, bytes]:
    """Reads until the connection ends; returns the status, 0 if nothing arrived, and all bytes."""
    received = b""
    try:
        while piece := connection.recv(65536):
            received += piece
    except ConnectionResetError:
        pass
    return int(received[9:12] or 0), received


@contextmanager
def served(app, most: int = 6144) -> Iterator[int]:
    """Serves the application in this process, with the connections of `python -m gradejax.web`; yields the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        http = partial(Connection, crowd=Crowd(most))
        config = uvicorn.Config(app, http=http, ws="none", log_level="error", access_log=False)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(timeout=30)


def in_class(store, sessions_file: Path | None = None):
    """Returns the application, with a code for the pupils and one for the teacher."""
    return create_app(store, model=Model(None), access=Access(CODE, TEACHERS_CODE, sessions_file))


@pytest.fixture(scope="module")
def written() -> list[Drawing]:
    return list(write_drawings(60, seed=2))


def more_than_buffers_hold(written: list[Drawing]) -> Iterator[Drawing]:
    """Drawings whose download is larger than what sockets take before anybody reads."""
    return (replace(drawing, id=new_id()) for _ in range(25) for drawing in written)


@pytest.fixture
def store(tmp_path: Path, written) -> Iterator:
    with_drawings = open_store(f"sqlite:///{tmp_path}/grades.db")
    with_drawings.add(written)
    yield with_drawings
    with_drawings.close()


@pytest.fixture(scope="module")
def class_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a class's server for tests that change nothing in it."""
    store = open_store(f"sqlite:///{tmp_path_factory.mktemp('class')}/grades.db")
    with served(in_class(store)) as port:  # closes its store
        yield port


# Slow, half and idle.


def test_idle_and_half_finished_connections_block_nobody(serve, how_often, message, draw, written, tmp_path):
    """Among idle connections, half heads, half bodies and unread answers, a class saves."""
    # With fewer files than connections here, the default of many systems.
    web = serve(f"--store=sqlite:///{tmp_path}/grades.db", command=("bash", "-c", 'ulimit -Sn 128; exec "$@"', "bash"))
    store = open_store(f"sqlite:///{tmp_path}/grades.db")
    store.add(more_than_buffers_hold(written))
    half_body = request("/api/drawings", b'{"id": "' + b"a" * 1000 + b'"}')[:-500]
    kinds = {
        "idle": b"",
        "half a head": b"POST /api/drawings HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-",
        "half a body": half_body,
        "unread": request("/api/export"),
    }
    with ExitStack() as stack:
        for kind, sent in kinds.items():
            for _ in range(how_often.connections if kind == "idle" else how_often.connections // 10):
                stack.enter_context(connect(web.port, sent))
        drawings = [draw() for _ in range(200)]
        begun = time.monotonic()
        with ThreadPoolExecutor(20) as class_of_20:
            saves = list(class_of_20.map(lambda one: web.ask("POST", "/api/drawings", message(one))[0], drawings))
        took = time.monotonic() - begun
        assert saves == [201] * len(drawings)
        for path in [*PAGES, "/api/status", "/static/draw.js"]:
            assert web.ask("GET", path)[0] == 200
    kept = {drawing.id: drawing.png for drawing in store.find(Query(tags=("class",), deleted=None))}
    assert kept == {drawing.id: drawing.png for drawing in drawings}
    store.close()
    n = how_often.connections
    print(f"{n} idle, {n // 10} half heads, half bodies and unread answers each: 200 saves, 0 refused, in {took:.1f} s")


def test_slow_clients_are_cut_off(store, written, monkeypatch):
    monkeypatch.setattr(connections, "HEAD_SECONDS", 1.0)
    monkeypatch.setattr(connections, "READ_SECONDS", 1.0)
    monkeypatch.setattr(guard, "BODY_SECONDS", 1.0)
    store.add(more_than_buffers_hold(written))
    ports_cut_off, cut_off = [], Connection.cut_off

    def noting(connection: Connection) -> None:
        ports_cut_off.append(connection.transport.get_extra_info("peername")[1])
        cut_off(connection)

    monkeypatch.setattr(Connection, "cut_off", noting)
    body = request("/api/drawings", b'{"id": "' + b"a" * 1000 + b'"}')
    with served(create_app(store, model=Model(None))) as port:
        idle = connect(port)
        head = connect(port, body[:30])
        # After an answer: the rest of an unread body, and half another head.
        leftover = connect(port, request("/api/status").replace(b"Length: 0", b"Length: 9") + b"x")
        second = connect(port, request("/api/status"))
        assert second.recv(12, socket.MSG_PEEK) == b"HTTP/1.1 200"
        second.sendall(b"GET / HT")
        half = connect(port, body[:-500])
        unread = connect(port, request("/api/export"))
        trickle = connect(port, body[:-500])
        with ThreadPoolExecutor(1) as other:
            end = time.monotonic() + 20

            def drip() -> None:
                try:
                    while time.monotonic() < end:
                        trickle.send(b"a")
                        time.sleep(0.1)
                except OSError:
                    pass

            dripping = other.submit(drip)
            assert answer(idle) == (0, b"")
            assert answer(head) == (0, b"")
            assert answer(leftover)[0] == 200
            assert answer(second)[1].endswith(b"}")
            status, text = answer(half)
            assert (status, b"The body took over" in text) == (408, True)
            assert answer(trickle)[0] in (0, 408)  # 0: bytes that arrive after the answer reset the connection
            end = 0.0
            dripping.result()
        # A busy server takes its time to write more than the sockets' buffers hold.
        patience = time.monotonic() + 60
        while unread.getsockname()[1] not in ports_cut_off and time.monotonic() < patience:
            time.sleep(0.1)
        _, received = answer(unread)
        assert not received.endswith(b"0\r\n\r\n")  # it was cut off, for it was not read in time
        assert httpx.get(f"http://127.0.0.1:{port}/api/status").status_code == 200


def test_an_endless_head_is_cut_off(store):
    with served(create_app(store, model=Model(None))) as port:
        endless = connect(port, b"GET / HTTP/1.1\r\n")
        sent = 0
        with pytest.raises(OSError):
            while sent < 2**24:
                endless.sendall(b"X-Filler: " + b"a" * 4000 + b"\r\n")
                sent += 4012
        assert sent < 2**24
        assert httpx.get(f"http://127.0.0.1:{port}/").status_code == 200


# Too much.

CHUNKED = b"POST /api/drawings HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("begin", "more"),
    [
        (CHUNKED + b"0\r\n", b"X-Filler: " + b"a" * 1000 + b"\r\n"),
        (CHUNKED + b"0\r\nX-Filler: ", b"a" * 1000),
        (CHUNKED + b"3;name=", b"a" * 1000),
        (CHUNKED, b"0" * 1000),
        (CHUNKED, b"1\r\na\r\n" * 200),
        (request("/api/status").replace(b"Length: 0", b"Length: 99999999999"), b"a" * 1000),
        (b"", b"\r\n" * 500),
        (b"GET /", b"a" * 1000),
        (b"GET / HTTP/1.1\r\n", b"a:\r\n" * 200),
        (b"", request("/api/status") * 20),
        (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", b"a" * 1000),
        (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", b"a" * 1000),
        (b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n", b"a" * 1000),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"a" * 1000),
    ],
    ids=[
        *("trailers", "a trailer", "chunk extension", "chunk size", "small chunks", "body nobody reads"),
        *("blank lines", "target", "fields", "requests ahead", "h2c", "websocket", "tunnel", "http2"),
    ],
)
def test_endless_requests_are_cut_off(class_port: int, begin: bytes, more: bytes):
    """Before, between, in or after bodies, from clients without the code."""
    with connect(class_port, begin) as endless:
        sent = 0
        with pytest.raises(OSError):  # the connection is cut, and the answers fill its buffers
            endless.settimeout(20)
            while sent < 2**24:
                endless.sendall(more * 10)
                sent += len(more) * 10
        assert sent < 2**24
    assert httpx.get(f"http://127.0.0.1:{class_port}/").status_code == 401


def test_a_strangers_large_body_is_refused(class_port: int):
    """Signing in takes a hundred bytes; a megabyte from each stranger would exhaust the memory."""
    head = request("/sign-in", b"{}").replace(b"Length: 2", b"Length: 1048576").removesuffix(b"{}")
    status, text = answer(connect(class_port, head + b"a" * 5000))
    assert (status, b"over 4 kB" in text) == (413, True)
    chunks = CHUNKED.replace(b"/api/drawings", b"/sign-in") + b"1000\r\n" + b"a" * 4096 + b"\r\n"
    assert answer(connect(class_port, chunks + b"1000\r\n" + b"a" * 4096))[0] == 413


def test_strangers_cannot_crowd_out_the_signed_in(store, monkeypatch):
    """However many there are, at one address or many, and whatever they have begun to send."""
    monkeypatch.setattr(crowd, "STRANGERS_PER_ADDRESS", 50)
    half = request("/sign-in", b'{"code": "').replace(b"Length: 10", b"Length: 100")
    with (
        served(in_class(store), most=200) as port,
        ExitStack() as stack,
    ):
        _, cookie = try_code(port, CODE, "127.0.0.2")
        status = request("/api/status", Cookie=cookie)
        inside = stack.enter_context(connect(port, status, "127.0.0.2"))
        inside.recv(65536)
        others = [f"127.0.3.{n % 100}" for n in range(150)] + ["127.0.0.9"] * 150
        crowded = [stack.enter_context(connect(port, half if n % 2 else b"GET", a)) for n, a in enumerate(others)]
        # An open connection with a session still works, and others can still sign in.
        inside.sendall(status)
        assert inside.recv(12) == b"HTTP/1.1 200"
        assert try_code(port, CODE, "127.0.0.9")[0] == 200
        assert answer(connect(port, request("/api/status", Cookie=cookie, Connection="close"), "127.0.0.9"))[0] == 200
        cut = 0
        for connection in crowded:
            connection.setblocking(False)
            try:
                cut += connection.recv(1) == b""
            except ConnectionResetError:
                cut += 1
            except BlockingIOError:
                pass
        assert cut >= 200


def test_one_session_does_not_take_all_connections(store):
    with (
        served(in_class(store), most=200) as port,
        ExitStack() as stack,
    ):
        cookies = [try_code(port, CODE, "127.0.0.2")[1] for _ in range(2)]
        asked = [request("/api/status", Cookie=cookie) for cookie in cookies]
        one = stack.enter_context(connect(port, asked[0]))
        assert one.recv(65536)[:12] == b"HTTP/1.1 200"
        for _ in range(150):
            greedy = stack.enter_context(connect(port, asked[1]))
            assert greedy.recv(65536)[:12] == b"HTTP/1.1 200"
        one.sendall(asked[0])
        assert one.recv(65536)[:12] == b"HTTP/1.1 200"


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"FOO / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
        (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 401),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\na", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\na", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"GET http://y/ HTTP/1.1\r\nHost: x\r\n\r\n", 401),
        (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", 401),
        (b"GET / HTTP/1.1\r\nHost: x\r\nCookie: " + b"a=b; " * 2**13 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n", 431),
        (b"GET /" + b"a" * 2**16 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431),
        (b"POST /sign-in HTTP/1.1\r\nHost: x\r\nContent-Length: 99999\r\n\r\n", 413),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 401),
        (b"GET /sign-in HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (b"PUT /sign-in HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (b"GET / HTTP/1.1\r\nHost: x\r\nOrigin: http://y\r\n\r\n", 403),
    ],
)
def test_every_refusal_carries_the_headers(class_port: int, sent: bytes, status: int):
    with connect(class_port, sent) as connection:
        connection.settimeout(30)
        head = connection.recv(65536).lower()
    assert int(head[9:12]) == status, head
    for name in guard.SECURITY_HEADERS:
        assert name.lower().encode() in head
    assert b"cache-control: no-store" in head
    assert httpx.get(f"http://127.0.0.1:{class_port}/").status_code == 401


# The rate.


def test_one_address_is_slowed_down_and_no_other(store, monkeypatch):
    monkeypatch.setattr(rates, "RATE", 5.0)
    monkeypatch.setattr(rates, "BURST", 40)
    with served(create_app(store, model=Model(None))) as port:
        ask = request("/api/status", Connection="close")
        answers = [answer(connect(port, ask, "127.0.0.2")) for _ in range(80)]
        refused = [text for status, text in answers if status == 429]
        assert [status for status, _ in answers[:40]] == [200] * 40
        assert refused
        assert all(b"retry-after: 1\r\n" in text.lower() and b"slow down" in text for text in refused)
        assert answer(connect(port, ask, "127.0.0.1"))[0] == 200
        time.sleep(0.5)
        assert answer(connect(port, ask, "127.0.0.2"))[0] == 200


def test_a_class_behind_one_router_is_never_slowed_down():
    """A hundred open the page in one second, draw and guess for two minutes, and then all open the gallery at once."""
    allowances = Allowances(rates.RATE, rates.BURST)
    asked = [0.01 * person + 0.01 * file for person in range(100) for file in range(12)]
    for person in range(100):
        asked += [1 + 0.01 * person + 0.4 * stroke for stroke in range(300)]  # a guess after each stroke
        asked += [1.1 + 0.01 * person + 2 * drawing for drawing in range(60)]
        asked += [121 + 0.001 * picture for picture in range(50)]
    assert [allowances.wait("192.0.2.1", now) for now in sorted(asked)] == [0.0] * len(asked)


@given(st.lists(st.tuples(st.floats(0, 0.01), st.integers(0, 2)), max_size=300))
@settings(deadline=None)
def test_nobody_gets_more_than_the_rate(steps: list[tuple[float, int]]):
    burst = 20  # quickly used up
    allowances, now = Allowances(rates.RATE, burst), 0.0
    for address in range(3):
        for _ in range(burst):
            allowances.wait(f"{address}", 0.0)
    granted = [0, 0, 0]
    for pause, address in steps:
        now += pause
        granted[address] += allowances.wait(f"{address}", now) == 0
    assert max(granted) <= rates.RATE * now + 1e-6


def test_strangers_use_up_nothing_of_the_class_behind_the_same_router(store, monkeypatch):
    monkeypatch.setattr(rates, "STRANGERS_BURST", 20)
    monkeypatch.setattr(rates, "STRANGERS_RATE", 1.0)
    monkeypatch.setattr(rates, "SESSION_BURST", 60)
    monkeypatch.setattr(rates, "SESSION_RATE", 1.0)
    with served(in_class(store)) as port:
        cookies = [try_code(port, CODE, "127.0.0.2")[1] for _ in range(2)]

        def ask(**headers: str) -> int:
            with connect(port, request("/api/status", Connection="close", **headers), "127.0.0.2") as connection:
                return answer(connection)[0]

        assert 429 in [ask() for _ in range(40)]
        assert [ask(Cookie=cookies[0]) for _ in range(50)] == [200] * 50
        assert 429 in [ask(Cookie=cookies[0]) for _ in range(40)]  # nor does one session use up another's
        assert [ask(Cookie=cookies[1]) for _ in range(50)] == [200] * 50


def test_the_table_of_addresses_is_bounded():
    allowances = Allowances(rates.RATE, rates.BURST)
    for n in range(30_000):
        allowances.wait(f"{n}", 0.0)
    assert len(allowances._left) <= 10_000


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:ffff:ffff:ffff", "2001:db8::/64"),
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
        ("testclient", "testclient"),
    ],
)
def test_a_machine_with_many_addresses_is_one(host: str, expected: str):
    assert source({"client": (host, 5000)}) == expected


# The code.


def try_code(port: int, code: str, address: str) -> tuple[int, str]:
    """Returns the answer's status and cookie."""
    body = json.dumps({"code": code}).encode()
    with connect(port, request("/sign-in", body, Connection="close"), address) as connection:
        status, text = answer(connection)
    cookie = re.search(rb"(?i)set-cookie: ([^;]+)", text)
    return status, cookie[1].decode() if cookie else ""


@pytest.mark.parametrize("addresses", [1, 150])
def test_the_teachers_code_cannot_be_guessed_by_trying(store, monkeypatch, addresses: int):
    """From one address or many; and those who know it sign in meanwhile, even behind the same router."""
    monkeypatch.setattr(locks, "WRONG_CODES_AT_ONCE", 20)
    monkeypatch.setitem(access.WRONG_CODES_PER_SECOND, Role.TEACHER, 40.0)
    with (
        served(in_class(store)) as port,
        ThreadPoolExecutor(41) as people,
    ):
        begun = time.monotonic()
        stop = threading.Event()
        answers: list[int] = []

        def guess(n: int) -> None:
            while not stop.is_set():
                answers.append(try_code(port, f"wrong-{n}", f"127.0.1.{n % addresses}")[0])

        guessing = [people.submit(guess, n) for n in range(40)]
        wait_until(lambda: len(answers) > 40)  # by now they wait for their turns
        behind_the_same_router = people.submit(try_code, port, TEACHERS_CODE, "127.0.1.0")
        assert behind_the_same_router.result(timeout=60)[0] == 200
        assert try_code(port, TEACHERS_CODE, "127.0.2.1")[0] == 200
        stop.set()
        for one in guessing:
            one.result(timeout=60)
        took = time.monotonic() - begun
    assert set(answers) == {403}
    assert len(answers) <= 20 + access.WRONG_CODES_PER_SECOND[Role.TEACHER] * took + 1
    print(f"40 at once from {addresses} addresses: {len(answers)} wrong codes were checked in {took:.1f} s")


@pytest.mark.parametrize(("pupils", "teachers"), [(CODE, TEACHERS_CODE), (CODE, None), (None, None)])
def test_a_pupil_is_let_in_while_others_behind_the_same_router_guess(
    store, monkeypatch, pupils: str | None, teachers: str | None
):
    """Forty connections try wrong codes without a pause; thirty phones of the same address have the right one."""
    monkeypatch.setattr(locks, "WRONG_CODES_AT_ONCE", 20)
    monkeypatch.setitem(access.WRONG_CODES_PER_SECOND, Role.TEACHER, 40.0)
    door = Access(pupils, teachers)
    with (
        served(create_app(store, model=Model(None), access=door)) as port,
        ThreadPoolExecutor(40) as attackers,
        ThreadPoolExecutor(10) as phones,
    ):
        stop = threading.Event()
        wrong: list[int] = []

        def guess(n: int) -> None:
            while not stop.is_set():
                status, _ = try_code(port, f"wrong-{n}-{len(wrong)}", "127.0.1.0")
                if status != 429:
                    wrong.append(status)

        def sign_in() -> tuple[int, float]:
            begun = time.monotonic()
            return try_code(port, door.codes[Role.PUPIL], "127.0.1.0")[0], time.monotonic() - begun

        guessing = [attackers.submit(guess, n) for n in range(40)]
        wait_until(lambda: len(wrong) > 100)
        signing_in = [phones.submit(sign_in) for _ in range(30)]
        answers, took = zip(*(one.result(timeout=200) for one in signing_in), strict=True)
        stop.set()
        for one in guessing:
            one.result(timeout=200)
    print(f"30 pupils let in after {max(took):.2f} s at most, while {len(wrong)} wrong codes came from their address")
    assert set(answers) == {200}
    assert max(took) < 2


def test_the_number_of_waiting_codes_is_bounded(store, monkeypatch):
    monkeypatch.setattr(locks, "WRONG_CODES_AT_ONCE", 1)
    monkeypatch.setattr(locks, "MAX_WAITING", 2)
    monkeypatch.setitem(access.WRONG_CODES_PER_SECOND, Role.PUPIL, 2.0)
    monkeypatch.setitem(access.WRONG_CODES_PER_SECOND, Role.TEACHER, 2.0)
    with (
        served(in_class(store)) as port,
        ThreadPoolExecutor(30) as people,
    ):
        guesses = [people.submit(try_code, port, "wrong-code", "127.0.0.2") for _ in range(30)]
        assert try_code(port, CODE, "127.0.0.3")[0] == 200
        answers = [one.result()[0] for one in guesses]
    assert set(answers) == {403, 429}
    assert answers.count(403) <= 10


def test_forged_cookies_are_no_way_to_try_codes(store, tmp_path):
    """A cookie cannot be derived from the code alone: two servers with the same code set different ones."""
    doors = [Access(CODE, TEACHERS_CODE, tmp_path / name) for name in ("one", "other")]
    (one, other) = (door.sessions.begin(Role.PUPIL) for door in doors)
    assert doors[0].sessions.find(one) is not None
    assert doors[0].sessions.find(other) is None
    (tmp_path / "one").unlink()
    assert Access(CODE, TEACHERS_CODE, tmp_path / "one").sessions.find(one) is None


def test_wrong_cookies_lock_nobody_out(store, monkeypatch, tmp_path):
    """A class returns with the cookies of an earlier code, while a stranger among them tries cookies."""
    monkeypatch.setattr(rates, "STRANGERS_BURST", 50)
    monkeypatch.setattr(rates, "STRANGERS_RATE", 1.0)
    stale = Access("another-code", TEACHERS_CODE, tmp_path / "sessions").sessions.begin(Role.PUPIL)
    with served(in_class(store, tmp_path / "sessions")) as port:
        _, cookie = try_code(port, CODE, "127.0.0.2")

        def ask(value: str) -> int:
            with connect(port, request("/api/status", Connection="close", Cookie=value), "127.0.0.2") as connection:
                return answer(connection)[0]

        strangers = [ask(f"gradejax_session={stale}") for _ in range(80)]
        assert strangers[:40] == [401] * 40
        assert 429 in strangers  # they are counted
        assert [ask(cookie) for _ in range(80)] == [200] * 80


# Bad requests.


@pytest.fixture
def anybody(store) -> Iterator[TestClient]:
    app = in_class(store)
    with TestClient(app, base_url="http://class.test", raise_server_exceptions=False) as client:
        yield client


def test_no_body_breaks_signing_in(anybody, how_often):
    values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda more: st.lists(more, max_size=3) | st.dictionaries(st.text(), more, max_size=3),
    )

    @given(st.binary() | values.map(lambda value: json.dumps({"code": value}).encode()), st.text(max_size=20))
    @example(b'{"code": {"$ne": null}}', "")
    @example(b"[" * 4000, "")
    @example(b"[" * 100_000, "")
    @settings(max_examples=10 * how_often.examples, deadline=None, suppress_health_check=list(HealthCheck))
    def check(body: bytes, path: str) -> None:
        for where in ("sign-in", quote(path, safe="")):
            url = f"http://class.test/{where}"
            status = anybody.post(url, content=body, headers={"Content-Type": "application/json"}).status_code
            assert status in (400, 401, 403, 404, 405, 413, 422, 429)

    check()


WITHOUT_INPUT = {
    *(
        f"GET /api/{name}"
        for name in ("status", "counts", "tags", "invitation", "invitation.svg", "models", "models/training")
    ),
    "POST /api/models/training/cancel",
}


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_no_request_makes_a_server_error(mode: GenerationMode, mongodb_uri: str, written, how_often):
    store = open_store(mongodb_uri, patience=0)
    store.add(written[:15])
    api = schemathesis.openapi.from_asgi(
        "/openapi.json", create_app(store, model=Model(None)), headers={"Host": "localhost"}
    )
    tried = 0
    for result in api.get_all_operations():
        operation = result.ok()
        if mode is GenerationMode.NEGATIVE and operation.label in WITHOUT_INPUT:
            continue
        if mode is GenerationMode.POSITIVE and operation.label == "POST /api/models/training":
            continue  # it would begin a training

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(max_examples=how_often.examples, deadline=None, suppress_health_check=list(HealthCheck))
        def check(case: schemathesis.Case) -> None:
            nonlocal tried
            tried += 1
            answered = case.call(headers={"Host": "localhost"})
            no_model = case.path.endswith("/guess") or "disagreement" in str(case.query)
            assert answered.status_code < 500 or (answered.status_code == 503 and no_model), answered.text

        check()
    assert store.count(Query(deleted=None)) >= 15
    store.close()
    print(f"{mode.value}: {tried} requests over every route and MongoDB, 0 server errors")


@pytest.mark.parametrize("operator", [{"$ne": None}, {"$gt": ""}, {"$where": "1"}, {"$in": []}])
def test_query_operators_are_refused(mongodb_uri: str, message, draw, operator: dict):
    store = open_store(mongodb_uri, patience=0)
    kept = draw()
    store.add([kept])
    before = store.fingerprint()
    app = create_app(open_store(mongodb_uri, patience=0), model=Model(None))  # closes its store
    with TestClient(app, base_url="http://127.0.0.1") as client:
        for field in ("id", "tags", "label", "data", "date", "writer"):
            assert client.post("/api/drawings", json=message(draw()) | {field: operator}).status_code == 422
        for ids in (operator, [operator]):
            for path in ("relabel", "put-aside", "restore"):
                body = {"ids": ids} | ({"label": "A"} if path == "relabel" else {})
                assert client.post(f"/api/drawings/{path}", json=body).status_code == 422
        assert client.post("/api/drawings/relabel", json={"ids": [kept.id], "label": operator}).status_code == 422
        text, (name, _) = json.dumps(operator), *operator.items()
        for field in ("tag", "label", "writer", "after", "since"):
            assert client.get("/api/drawings", params={f"{field}[{name}]": ""}).status_code == 422
            refused = client.get("/api/drawings", params={field: text})
            assert refused.status_code in (404, 422) or refused.json()["drawings"] == []
        assert client.get("/api/picture", params={"id": text}).status_code == 404
    assert store.fingerprint() == before
    store.close()


# Secrets.


def test_planted_secrets_appear_nowhere(mortal_mongodb, serve, message, draw, written, tmp_path: Path):
    """The database's password and the two codes: not in logs, answers, run folders, caches or exports."""
    uri = (
        mortal_mongodb.uri.replace("://", f"://teacher:{PASSWORD}@")
        + "?authMechanism=PLAIN&serverSelectionTimeoutMS=500"
    )
    environment = {**os.environ, "GRADEJAX_STORE": uri}
    said = b""

    def run(module: str, *arguments: str, status: int = 0) -> None:
        nonlocal said
        done = forked.run(tmp_path, module, *arguments, environment=environment)
        assert done.returncode == status, done.stderr
        said += (done.stdout + done.stderr).encode()

    config = Path(__file__).parents[2] / "configs/mlp.py"
    store = open_store(uri)
    store.add(written)
    store.close()
    run("data", "export", "class.ndjson")
    run("main", f"--config={config}", "--workdir=run", "--config.train.epochs=1")
    web = serve(f"--store={uri}", f"--access-code={CODE}", f"--teacher-code={TEACHERS_CODE}", "--workdir=run")
    _, *lines = web.process.lines(4)
    assert lines[0] == f"access code for pupils: {CODE}"  # the terminal may show it
    assert TEACHERS_CODE not in "".join(lines)
    heard: list[bytes] = []

    def ask(method: str, path: str, body: object = None, **headers: str) -> int:
        status, answered, content = web.ask(method, path, body, **headers)
        cookie = answered.pop("set-cookie", "")
        assert CODE not in cookie and TEACHERS_CODE not in cookie
        heard.append(json.dumps(answered).encode() + content)
        return status

    cookies = []
    for code in (TEACHERS_CODE, CODE):
        status, headers, _ = web.ask("POST", "/sign-in", {"code": code})
        assert status == 200
        cookies.append({"Cookie": headers["set-cookie"].partition(";")[0]})
    inside = cookies[0]
    ways = [
        ("GET", "/"),
        ("GET", "/openapi.json"),
        ("GET", "/api/status"),
        ("GET", "/api/drawings"),
        ("GET", "/api/drawings?after=nowhere"),
        ("GET", "/api/export"),
        ("GET", "/api/models/export?name=shipped&to=onnx"),
        ("GET", "/api/counts"),
        ("GET", "/api/picture?id=nowhere"),
        ("GET", f"/?code={CODE[:-1]}"),
        ("POST", "/api/drawings"),
        ("POST", "/api/guess"),
    ]
    for with_cookie in (*cookies, {}):
        for method, path in ways:
            body = message(draw(id=new_id())) if method == "POST" else None
            ask(method, path, body, **with_cookie)
            ask(method, path, {"code": "wrong"}, **with_cookie)
    mortal_mongodb.kill()
    assert ask("GET", "/api/drawings", **inside) == 503
    assert ask("POST", "/api/drawings", message(draw()), **inside) == 503
    run("data", "stats", status=1)
    web.kill()

    where = {"the commands' output": said, "the server's answers": b"\n".join(heard)}
    where |= {str(path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert {"class.ndjson", "web.log", "config.json"} <= {Path(name).name for name in where}
    for name, content in where.items():
        for secret in (PASSWORD, CODE, TEACHERS_CODE):
            assert secret.encode() not in content, name
    print(
        f"3 planted secrets looked for in {len(where)} files and outputs, {sum(map(len, where.values()))} bytes: none"
    )
