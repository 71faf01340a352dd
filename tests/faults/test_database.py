"""MongoDB goes away in the middle of the work: nothing is lost or doubled, and the log says so."""

import json
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from http.client import HTTPConnection
from itertools import islice
from pathlib import Path
from unittest import mock

import forked
import numpy as np
import pymongo
import pytest
from waiting import wait_until

from gradejax import prepare
from gradejax.data import exchange, ndjson
from gradejax.drawings import Drawing, new_id, to_document
from gradejax.errors import StoreAway
from gradejax.stores import IN_USE, Query, Store, open_store
from gradejax.web.saving import PATIENCE


@contextmanager
def away(server, seconds: float, outage: str) -> Iterator[None]:
    """Kills the server, or freezes it so that its port is open but silent, and brings it back after some seconds."""

    def come_back() -> None:
        time.sleep(seconds)
        if outage == "killed":
            server.start()
        else:
            server.process.send_signal(signal.SIGCONT)

    if outage == "killed":
        server.kill()
    else:
        server.process.send_signal(signal.SIGSTOP)
    coming_back = threading.Thread(target=come_back)
    coming_back.start()
    try:
        yield
    finally:
        coming_back.join()


@pytest.fixture(scope="module")
def drawings(draw: Callable[..., Drawing], how_often) -> list[Drawing]:
    return [draw(writer=f"writer-{n % 7}") for n in range(how_often.drawings)]


@pytest.fixture
def store(mortal_mongodb) -> Iterator[Store]:
    store = open_store(mortal_mongodb.uri)
    yield store
    store.close()


def pictures(store: Store) -> dict[str, bytes]:
    """The PNGs by id; checks that each id occurs once."""
    drawings = list(store.find(Query(deleted=None)))
    assert store.count(Query(deleted=None)) == len(drawings)
    by_id = {drawing.id: drawing.png for drawing in drawings}
    assert len(by_id) == len(drawings)
    return by_id


@pytest.mark.parametrize("outage", ["killed", "frozen"])
def test_an_import_continues(mortal_mongodb, store, drawings, how_often, tmp_path: Path, outage: str):
    file = tmp_path / "class.ndjson"
    with file.open("wb") as opened:
        ndjson.write(opened, drawings)
    importing = forked.Process(tmp_path, "data", "import", str(file), f"--store={mortal_mongodb.uri}")
    wait_until(lambda: store.count() > 0, pause=0)
    with away(mortal_mongodb, how_often.outage_seconds, outage):
        out, log = importing.communicate(timeout=120)
    assert importing.returncode == 0, log
    assert out == f"imported {len(drawings)}, already there 0, refused 0\n"
    if outage == "killed":
        assert "trying for another" in log
    assert pictures(store) == {drawing.id: drawing.png for drawing in drawings}
    print(f"{outage} for {how_often.outage_seconds} s in an import of {len(drawings)}: 0 lost, 0 doubled\n{log}")


@pytest.mark.parametrize("outage", ["killed", "frozen"])
def test_a_search_resumes_where_it_was(mortal_mongodb, store, drawings, how_often, outage: str):
    store.add(drawings)
    for newest_first in (False, True):
        results = store.find(newest_first=newest_first)
        ids = [next(results).id for _ in range(700)]
        with away(mortal_mongodb, how_often.outage_seconds, outage):
            ids += [drawing.id for drawing in results]
        assert ids == [drawing.id for drawing in drawings][:: -1 if newest_first else 1]
    print(f"{outage} for {how_often.outage_seconds} s in two searches of {len(drawings)}: all there, in order, once")


def test_a_search_resumes_among_documents_of_other_programs(mortal_mongodb, store, draw):
    """They lack `added`, and their ids are of several types."""
    theirs = [draw(id=f"{n:04}") for n in range(600)] + [draw(id=new_id()) for _ in range(600)]
    with pymongo.MongoClient(mortal_mongodb.uri) as client:
        client["tbs"]["grades"].insert_many(map(to_document, theirs))
    ours = [draw() for _ in range(600)]
    store.add(ours)
    whole = [drawing.id for drawing in store.find()]
    assert sorted(whole) == sorted(drawing.id for drawing in theirs + ours)
    for seen in (550, 1150):
        results = store.find()
        ids = [next(results).id for _ in range(seen)]
        with away(mortal_mongodb, 0.1, "killed"):
            ids += [drawing.id for drawing in results]
        assert ids == whole


@contextmanager
def killed_in_search(store: Store, server, seconds: float) -> Iterator[None]:
    """Kills the server for some seconds in the middle of each search."""
    find = store.find

    def interrupted(*args: object, **options: object) -> Iterator[Drawing]:
        drawings = find(*args, **options)
        yield from islice(drawings, 700)
        with away(server, seconds, "killed"):
            yield from drawings

    with mock.patch.object(store, "find", interrupted):
        yield


def test_a_load_is_whole_or_not_at_all(mortal_mongodb, store, drawings, how_often, tmp_path: Path):
    store.add(drawings)
    expected = prepare.load(store, IN_USE, 28, None)
    seconds = how_often.outage_seconds
    with (
        closing(open_store(mortal_mongodb.uri, patience=0)) as impatient,
        killed_in_search(impatient, mortal_mongodb, seconds),
        pytest.raises(StoreAway, match="MongoDB at 127") as error,
    ):
        prepare.load(impatient, IN_USE, 28, tmp_path)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.rglob("about.json"))  # no partial cache
    for _ in range(2):  # read from the store, then from the cache
        with killed_in_search(store, mortal_mongodb, seconds):
            loaded = prepare.load(store, IN_USE, 28, tmp_path)
        np.testing.assert_array_equal(loaded.ink, expected.ink)
        np.testing.assert_array_equal(loaded.labels, expected.labels)
    print(f"killed for {seconds} s in a load of {len(expected.ink)}: all there, in order")


def test_out_of_patience_is_one_line_and_the_same_import_continues(mortal_mongodb, drawings):
    store = open_store(f"{mortal_mongodb.uri}?serverSelectionTimeoutMS=500", patience=1)
    outcome = exchange.Outcome()

    def sources() -> Iterator[exchange.Source]:
        for n, drawing in enumerate(drawings):
            if n == 1700:
                mortal_mongodb.kill()
            yield f"line {n}", lambda drawing=drawing: drawing

    with pytest.raises(StoreAway, match="MongoDB at 127") as error:
        exchange.load(store, sources(), outcome)
    assert "\n" not in str(error.value)
    written = outcome.imported
    assert 0 < written < len(drawings)
    mortal_mongodb.start()
    again = exchange.Outcome()
    exchange.load(store, ((f"line {n}", lambda d=drawing: d) for n, drawing in enumerate(drawings)), again)
    assert again.imported + again.already_there == len(drawings)
    assert again.already_there >= written
    assert pictures(store) == {drawing.id: drawing.png for drawing in drawings}
    store.close()


@pytest.mark.parametrize("outage", ["killed", "frozen"])
def test_a_class_keeps_drawing(mortal_mongodb, store, serve, how_often, message, draw, outage: str):
    web = serve(f"--store={mortal_mongodb.uri}")
    sent: dict[str, bytes] = {}
    answered: set[str] = set()
    answers: Counter[int] = Counter()
    slowest = [0.0]
    done = threading.Event()

    def person(some: Drawing) -> None:
        while not done.is_set():
            drawing = replace(some, id=new_id())
            sent[drawing.id] = drawing.png
            status = None
            while status != 201:
                begun = time.monotonic()
                status, _, body = web.ask("POST", "/api/drawings", message(drawing))
                slowest[0] = max(slowest[0], time.monotonic() - begun)
                answers[status] += 1
                if status != 201:
                    assert (status, b"not answer" in body) == (503, True), body
                    time.sleep(0.5)
            answered.add(drawing.id)
            time.sleep(0.1)

    people = [threading.Thread(target=person, args=(draw(),)) for _ in range(how_often.people)]
    for thread in people:
        thread.start()
    wait_until(lambda: len(answered) > how_often.people)
    with away(mortal_mongodb, how_often.outage_seconds, outage):
        # Routes that need no store still answer.
        assert web.ask("GET", "/")[0] == 200
        assert web.ask("GET", "/static/draw.js")[0] == 200
        assert web.ask("POST", "/api/guess", {"data": message(draw())["data"]})[0] == 200
        before = set(answered)
    wait_until(lambda: len(answered) > len(before) + how_often.people)
    done.set()
    for thread in people:
        thread.join(timeout=60)
    assert answered == sent.keys()
    assert pictures(store) == sent
    assert slowest[0] < PATIENCE + 10  # a busy machine needs a margin
    print(
        f"{outage} for {how_often.outage_seconds} s: {how_often.people} people saved {len(sent)} drawings, "
        f"{answers[503]} answers of 503, the slowest after {slowest[0]:.1f} s, 0 lost, 0 doubled"
    )


def test_the_servers_end_although_the_database_does_not_answer(mortal_mongodb, store, serve, message, draw):
    """One by SIGTERM, the other by Ctrl-C."""
    store.add(drawings := [draw() for _ in range(5)])
    webs = {stop: serve(f"--store={mortal_mongodb.uri}", folder=stop.name) for stop in (signal.SIGTERM, signal.SIGINT)}
    asked = {
        "status": ("GET", "/api/status"),
        "gallery": ("GET", "/api/drawings"),
        "picture": ("GET", f"/api/picture?id={drawings[0].id}"),
        "export": ("GET", "/api/export"),
        "save": ("POST", "/api/drawings", message(draw())),
        "relabel": ("POST", "/api/drawings/relabel", {"ids": [drawings[0].id], "label": "C"}),
    }
    sent: list[str] = []
    answers: dict[tuple[int, str], tuple[int, str | None]] = {}

    def ask(port: int, name: str, method: str, path: str, body: object = None) -> None:
        with closing(HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
            connection.request(method, path, body and json.dumps(body), {"Content-Type": "application/json"})
            sent.append(name)
            answer = connection.getresponse()
            answers[port, name] = answer.status, answer.getheader("Retry-After")

    ports = [web.port for web in webs.values()]
    mortal_mongodb.process.send_signal(signal.SIGSTOP)
    try:
        asking = [
            threading.Thread(target=ask, args=(port, name, *what)) for port in ports for name, what in asked.items()
        ]
        for thread in asking:
            thread.start()
        wait_until(lambda: len(sent) == len(asking) and not any(map(_unread_bytes, ports)))
        begun = time.monotonic()
        for stop, web in webs.items():
            web.process.send_signal(stop)
        statuses = [web.process.wait(timeout=60) for web in webs.values()]
        seconds = time.monotonic() - begun
        for thread in asking:
            thread.join(timeout=60)
    finally:
        mortal_mongodb.process.send_signal(signal.SIGCONT)
    assert answers == {(port, name): (503, "5") for port in ports for name in asked}
    assert statuses == [-signal.SIGTERM, 130]
    usual = ("gradejax is starting", "using the recogniser that comes with gradejax")
    for stop, web in webs.items():
        logged = [line for line in web.log.read_text().splitlines() if not line.startswith(usual)]
        assert logged == ([] if stop == signal.SIGTERM else ["error: interrupted"])
    assert seconds < 20  # 5 s on an idle machine
    print(f"2 servers, a frozen database and {len(asking)} requests: each 503, the end after {seconds:.1f} s")


def _unread_bytes(port: int) -> int:
    """Counts the bytes that were sent to the server and not yet read."""
    fields = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(int(queues.split(":")[1], 16) for _, local, _, _, queues, *_ in fields if local.endswith(f":{port:04X}"))
