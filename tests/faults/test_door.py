"""Bad requests, slow clients and strangers: nobody is let in, and nobody stops the others."""

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import quote

import httpx2 as httpx
import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from starlette.testclient import TestClient

from gradejax.drawings import new_id
from gradejax.stores import Query, open_store
from gradejax.synthetic import write_drawings
from gradejax.web import connections, guard
from gradejax.web.access import FREE_TRIES, Access
from gradejax.web.app import PAGES, create_app
from gradejax.web.guard import Allowances, source
from gradejax.web.guessing import Model

CODE = "seven-planted-bees"
PASSWORD = "planted-pa55word"


def connect(port: int, sent: bytes = b"", address: str = "127.0.0.1") -> socket.socket:
    """A connection from `address` that has sent something."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=60, source_address=(address, 0))
    connection.sendall(sent)
    return connection


def request(path: str, body: bytes = b"", **headers: str) -> bytes:
    """The bytes of a POST, or of a GET where there is no body."""
    lines = [f"{'POST' if body else 'GET'} {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}"]
    lines += ["Content-Type: application/json", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


def answer(connection: socket.socket) -> tuple[int, bytes]:
    """Status and all that came until the connection's end; 0 where nothing came."""
    received = b""
    try:
        while piece := connection.recv(65536):
            received += piece
    except ConnectionResetError:
        pass
    return int(received[9:12] or 0), received


@contextmanager
def served(app) -> Iterator[int]:
    """The application in this process, behind the same connections as `python -m gradejax.web`; its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(app, http=connections.Connection, log_level="error", access_log=False)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(timeout=30)


@pytest.fixture
def store(tmp_path: Path) -> Iterator:
    with_drawings = open_store(f"sqlite:///{tmp_path}/grades.db")
    with_drawings.add(write_drawings(60, seed=2))
    yield with_drawings
    with_drawings.close()


# Slow, half and idle.


def test_a_crowd_that_only_stands_about_stops_nobody(serve, how_often, message, draw, tmp_path):
    """Idle connections, half heads, half bodies and answers that nobody reads, and in between a class that saves."""
    # As many systems start a program: with fewer files than there are connections here.
    web = serve(f"--store=sqlite:///{tmp_path}/grades.db", command=("bash", "-c", 'ulimit -Sn 128; exec "$@"', "bash"))
    store = open_store(f"sqlite:///{tmp_path}/grades.db")
    store.add(write_drawings(1500, seed=2))  # more to download than fits between two programs
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
    kept = {drawing.id: drawing.png for drawing in store.find(Query(tags=("class",)))}
    assert kept == {drawing.id: drawing.png for drawing in drawings}
    store.close()
    n = how_often.connections
    print(f"{n} idle, {n // 10} half heads, half bodies and unread answers each: 200 saves, 0 refused, in {took:.1f} s")


def test_who_takes_too_long_is_cut_off(store, monkeypatch):
    monkeypatch.setattr(connections, "HEAD_SECONDS", 1.0)
    monkeypatch.setattr(connections, "READ_SECONDS", 1.0)
    monkeypatch.setattr(guard, "BODY_SECONDS", 1.0)
    store.add(write_drawings(1500, seed=3))
    body = request("/api/drawings", b'{"id": "' + b"a" * 1000 + b'"}')
    with served(create_app(store, model=Model(None))) as port:
        idle = connect(port)
        head = connect(port, body[:30])
        # After an answer, what is left of a body that nobody wanted, and half another head.
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
            status, told = answer(half)
            assert (status, b"The body took over" in told) == (408, True)
            assert answer(trickle)[0] in (0, 408)  # 0: what came after the answer was given resets the connection
            end = 0.0
            dripping.result()
        time.sleep(1.5)
        _, received = answer(unread)
        assert not received.endswith(b"0\r\n\r\n")  # it was not read in time, and is not whole
        assert httpx.get(f"http://127.0.0.1:{port}/api/status").status_code == 200


def test_a_head_has_an_end(store):
    with served(create_app(store, model=Model(None))) as port:
        endless = connect(port, b"GET / HTTP/1.1\r\n")
        sent = 0
        with pytest.raises(OSError):
            while sent < 2**24:
                endless.sendall(b"X-Filler: " + b"a" * 4000 + b"\r\n")
                sent += 4012
        assert sent < 2**24
        assert httpx.get(f"http://127.0.0.1:{port}/").status_code == 200


# The rate.


def test_one_address_is_slowed_down_and_no_other(store, monkeypatch):
    monkeypatch.setattr(guard, "RATE", 5.0)
    monkeypatch.setattr(guard, "BURST", 40)
    with served(create_app(store, model=Model(None))) as port:
        ask = request("/api/status", Connection="close")
        answers = [answer(connect(port, ask, "127.0.0.2")) for _ in range(80)]
        refused = [text for status, text in answers if status == 429]
        assert [status for status, _ in answers[:40]] == [200] * 40
        assert refused
        assert all(b"retry-after: 1\r\n" in text.lower() and b"slower, please" in text for text in refused)
        assert answer(connect(port, ask, "127.0.0.1"))[0] == 200
        time.sleep(0.5)
        assert answer(connect(port, ask, "127.0.0.2"))[0] == 200


def test_a_class_behind_one_router_is_never_slowed_down():
    """A hundred open the page in one second, draw and guess for two minutes, and then all open the gallery at once."""
    allowances = Allowances()
    asked = [0.01 * person + 0.01 * file for person in range(100) for file in range(12)]
    for person in range(100):
        asked += [1 + 0.01 * person + 0.4 * stroke for stroke in range(300)]  # a guess after each stroke
        asked += [1.1 + 0.01 * person + 2 * drawing for drawing in range(60)]
        asked += [121 + 0.001 * picture for picture in range(50)]
    assert [allowances.wait("192.0.2.1", now) for now in sorted(asked)] == [0.0] * len(asked)


@given(st.lists(st.tuples(st.floats(0, 0.01), st.integers(0, 2)), max_size=300))
@settings(deadline=None)
def test_nobody_gets_more_than_the_rate(steps: list[tuple[float, int]]):
    allowances, now = Allowances(), 0.0
    for address in range(3):
        for _ in range(guard.BURST):
            allowances.wait(f"{address}", 0.0)
    granted = [0, 0, 0]
    for pause, address in steps:
        now += pause
        granted[address] += allowances.wait(f"{address}", now) == 0
    assert max(granted) <= guard.RATE * now + 1e-6


def test_the_table_of_addresses_is_bounded():
    allowances = Allowances()
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


def test_a_code_cannot_be_guessed_by_trying(serve, tmp_path):
    web = serve(f"--store=sqlite:///{tmp_path}/grades.db", f"--access-code={CODE}")

    def try_code(code: str, address: str = "127.0.0.2") -> tuple[int, bytes]:
        body = json.dumps({"code": code}).encode()
        return answer(connect(web.port, request("/sign-in", body, Connection="close"), address))

    with ThreadPoolExecutor(20) as together:
        tries = list(together.map(try_code, [f"wrong-{n}" for n in range(60)]))
    assert [status for status, _ in tries].count(403) <= FREE_TRIES + 1  # one more where the first second is over
    assert {status for status, _ in tries} == {403, 429}
    assert try_code(CODE)[0] == 429  # not even the right one, for now
    assert try_code(CODE, "127.0.0.3")[0] == 204
    # Only the body carries it.
    for path in (f"/?code={CODE}", f"/sign-in?code={CODE}", f"/sign-in/{CODE}"):
        assert answer(connect(web.port, request(path, Connection="close"), "127.0.0.3"))[0] in (401, 404, 405)
    waits = []
    access = Access(CODE)
    for n in range(FREE_TRIES + 12):
        access.try_code(f"wrong-{n}", "")
        waits.append(access.wait(""))
    print(f"60 wrong codes at once: {sum(status == 403 for status, _ in tries)} were looked at; waits in s: {waits}")


# Bad requests.


@pytest.fixture
def anybody(store) -> Iterator[TestClient]:
    app = create_app(store, model=Model(None), access=Access(CODE))
    with TestClient(app, base_url="http://class.test", raise_server_exceptions=False) as client:
        yield client


def test_no_body_at_the_door_breaks_it(anybody, how_often):
    values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda more: st.lists(more, max_size=3) | st.dictionaries(st.text(), more, max_size=3),
    )

    @given(st.binary() | values.map(lambda value: json.dumps({"code": value}).encode()), st.text(max_size=20))
    @example(b'{"code": {"$ne": null}}', "")
    @example(b"[" * 100_000, "")
    @settings(max_examples=10 * how_often.examples, deadline=None, suppress_health_check=list(HealthCheck))
    def check(body: bytes, path: str) -> None:
        for where in ("sign-in", quote(path, safe="")):
            url = f"http://class.test/{where}"
            status = anybody.post(url, content=body, headers={"Content-Type": "application/json"}).status_code
            assert status in (400, 401, 403, 404, 405, 422, 429)

    check()


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_no_request_makes_a_server_error(mode: GenerationMode, mongodb_uri: str, how_often):
    store = open_store(mongodb_uri, patience=0)
    store.add(write_drawings(15, seed=3))
    api = schemathesis.openapi.from_asgi(
        "/openapi.json", create_app(store, model=Model(None)), headers={"Host": "localhost"}
    )
    tried = 0
    for found in api.get_all_operations():
        operation = found.ok()
        if mode is GenerationMode.NEGATIVE and operation.path.endswith(("status", "counts")):
            continue  # they take nothing

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
def test_operators_are_refused_as_types(mongodb_uri: str, message, draw, operator: dict):
    store = open_store(mongodb_uri, patience=0)
    kept = draw()
    store.add([kept])
    before = store.fingerprint()
    with TestClient(create_app(store, model=Model(None)), base_url="http://127.0.0.1") as client:
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


def test_a_planted_password_is_found_nowhere(mortal_mongodb, serve, message, draw, tmp_path: Path):
    """Neither the database's nor the class's: not in logs, answers, run folders, caches or exports."""
    uri = mortal_mongodb.uri.replace("://", f"://teacher:{PASSWORD}@") + "?authMechanism=PLAIN"
    environment = {**os.environ, "GRADEJAX_STORE": uri}
    said = b""

    def run(module: str, *arguments: str, status: int = 0) -> None:
        nonlocal said
        command = [sys.executable, "-m", f"gradejax.{module}", *arguments]
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, timeout=240)
        assert done.returncode == status, done.stderr
        said += done.stdout + done.stderr

    config = Path(__file__).parents[2] / "configs/mlp.py"
    store = open_store(uri)
    store.add(write_drawings(150, seed=2))
    store.close()
    run("data", "export", "class.ndjson")
    run("main", f"--config={config}", "--workdir=run", "--config.train.epochs=1")
    web = serve(f"--store={uri}", f"--access-code={CODE}", "--workdir=run")
    lines = [web.process.stdout.readline() for _ in range(2)]
    assert re.fullmatch(rf"access code: {CODE}\n", lines[0])  # who runs the server is told, on the terminal
    heard: list[bytes] = []

    def ask(method: str, path: str, body: object = None, **headers: str) -> int:
        status, answered, content = web.ask(method, path, body, **headers)
        cookie = answered.pop("set-cookie", "")
        assert CODE not in cookie
        heard.append(json.dumps(answered).encode() + content)
        return status

    status, headers, _ = web.ask("POST", "/sign-in", {"code": CODE})
    assert status == 204
    inside = {"Cookie": headers["set-cookie"].partition(";")[0]}
    ways = [
        ("GET", "/"),
        ("GET", "/openapi.json"),
        ("GET", "/api/status"),
        ("GET", "/api/drawings"),
        ("GET", "/api/drawings?after=nowhere"),
        ("GET", "/api/export"),
        ("GET", "/api/counts"),
        ("GET", "/api/picture?id=nowhere"),
        ("GET", f"/?code={CODE[:-1]}"),
        ("POST", "/api/drawings"),
        ("POST", "/api/guess"),
    ]
    for with_cookie in (inside, {}):
        for method, path in ways:
            body = message(draw(id=new_id())) if method == "POST" else None
            ask(method, path, body, **with_cookie)
            ask(method, path, {"code": "wrong"}, **with_cookie)
    mortal_mongodb.kill()
    assert ask("GET", "/api/drawings", **inside) == 503
    assert ask("POST", "/api/drawings", message(draw()), **inside) == 503
    run("data", "stats", status=1)
    web.kill()

    where = {"what the commands said": said, "what the server answered": b"\n".join(heard)}
    where |= {str(path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert {"class.ndjson", "web.log", "config.json"} <= {Path(name).name for name in where}
    for name, content in where.items():
        for secret in (PASSWORD, CODE):
            assert secret.encode() not in content, name
    print(
        f"2 planted secrets looked for in {len(where)} files and outputs, {sum(map(len, where.values()))} bytes: none"
    )
