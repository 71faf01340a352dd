"""What a class does, live: the events that a real server sends, pausing the collection, and the limits of both."""

import base64
import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import httpx2 as httpx
import pytest
from conftest import TEACHERS_CODE, Server, serve
from test_models_page import save_run

from gradejax.drawings import new_id
from gradejax.hands.synthetic import write_drawings
from gradejax.web import collection, events
from gradejax.web.collection import Collection
from gradejax.web.events import Stream
from gradejax.web.settings import Settings
from gradejax.web.shutdown import GRACE_SECONDS

DRAWINGS = list(write_drawings(60, seed=8, writers=3))


class Event(NamedTuple):
    """An event with its data, or a comment, whose name is empty."""

    name: str
    data: dict


@contextmanager
def listening(url: str, **headers: str) -> Iterator[Iterator[Event]]:
    """Opens a stream; yields its events as they come."""
    with (
        httpx.Client(timeout=60, verify=False) as client,
        client.stream("GET", f"{url}/api/events", headers=headers) as answer,
    ):
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield events_in(answer.iter_lines())


def events_in(lines: Iterator[str]) -> Iterator[Event]:
    name = ""
    for line in lines:
        field, _, value = line.partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            yield Event(name, json.loads(value))
        elif field == ":":
            yield Event("", {})


def message(**changes: object) -> dict:
    drawing = DRAWINGS[0]
    return {
        "id": new_id(),
        "tags": ["7b"],
        "label": drawing.label,
        "data": base64.b64encode(drawing.png).decode(),
        "date": "2026-03-01T10:00:00Z",
    } | changes


# Each call would read the certificates of authorities, for HTTPS.
get, post = partial(httpx.get, timeout=60, verify=False), partial(httpx.post, timeout=60, verify=False)


def save(url: str, **changes: object) -> httpx.Response:
    return post(f"{url}/api/drawings", json=message(**changes))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose servers have a small model, which is soon ready and takes everything for a grade."""
    monkeypatch.chdir(tmp_path)
    save_run("small", 0.9)
    return tmp_path


@pytest.fixture
def desk(folder: Path) -> Iterator[Server]:
    """A server on loopback over a store of the test's own."""
    with serve(folder) as server:
        yield server


def test_the_counts_come_at_once_and_when_they_change(desk: Server):
    desk.store.add(DRAWINGS[:3])
    with listening(desk.url) as stream:
        first = next(stream)
        assert (first.name, first.data["total"], first.data["devices"], first.data["paused"]) == ("counts", 3, 0, False)
        assert sum(first.data["grades"].values()) == 3
        saved = message(label="B+")
        assert post(f"{desk.url}/api/drawings", json=saved).status_code == 201
        assert next(stream) == ("saved", {"id": saved["id"], "label": "B+"})
        counts = next(event for event in stream if event.data["total"] == 4)
        assert counts.data["grades"]["B+"] == 1
        assert counts.data["devices"] == 1
        desk.store.add(DRAWINGS[3:10])  # as another program does
        assert next(stream).data["total"] == 11
        post(f"{desk.url}/api/drawings/put-aside", json={"ids": [saved["id"]]})
        assert next(stream).name == "edited"
        assert next(stream).data["total"] == 10


def test_of_many_drawings_only_some_are_told_of_and_all_are_counted(desk: Server):
    with listening(desk.url) as stream, ThreadPoolExecutor(16) as class_room:
        assert next(stream).data["total"] == 0
        begin = time.monotonic()
        assert {one.status_code for one in class_room.map(lambda _: save(desk.url), range(100))} == {201}
        told = 0
        for event in stream:
            told += event.name == "saved"
            if event.name == "counts" and event.data["total"] == 100:
                break
        took = time.monotonic() - begin
    assert 1 <= told <= events.SAVED_PER_SECOND * (took + 1)


def test_a_paused_collection_refuses_saves_also_after_a_restart(folder: Path):
    with serve(folder) as server, listening(server.url) as stream:
        assert next(stream).data["paused"] is False
        paused = post(f"{server.url}/api/collection", json={"paused": True})
        assert (paused.status_code, paused.json()) == (200, {"paused": True})
        assert next(stream).data["paused"] is True
        refused = save(server.url)
        assert (refused.status_code, refused.json()["detail"]) == (503, "The teacher has paused the collection.")
        assert int(refused.headers["Retry-After"]) >= 1
    with serve(folder) as server:
        assert save(server.url).status_code == 503
        assert server.store.count() == 0
        post(f"{server.url}/api/collection", json={"paused": False})
        assert save(server.url).status_code == 201
    with serve(folder) as server:
        assert save(server.url).status_code == 201


def test_a_stream_ends_when_the_server_stops(folder: Path):
    with ExitStack() as stack:
        with serve(folder) as server:
            stream = stack.enter_context(listening(server.url))
            next(stream)
            begin = time.monotonic()
        assert time.monotonic() - begin < GRACE_SECONDS
        assert list(stream) == []  # it was ended: a broken one raises an error


def test_a_page_that_reads_nothing_holds_up_nobody(desk: Server):
    address = urlsplit(desk.url)
    with ExitStack() as stack:
        for _ in range(5):
            stalled = stack.enter_context(socket.create_connection((address.hostname, address.port)))
            stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            stalled.sendall(f"GET /api/events HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n".encode())
        stream = stack.enter_context(listening(desk.url))
        for i in range(40):
            assert save(desk.url).status_code == 201
            desk.store.add(DRAWINGS[i : i + 1])
        assert next(event for event in stream if event.data.get("total") == 80)


@pytest.mark.anyio
async def test_what_a_slow_page_has_not_read_is_bounded():
    stream = Stream("one")
    pieces = stream.pieces()
    await anext(pieces)
    for i in range(10_000):
        stream.show(f"counts {i}\n".encode())
        stream.tell(f"saved {i}\n".encode())
    *saved, counts = (await anext(pieces)).splitlines()
    assert counts == b"counts 9999"
    assert saved == [f"saved {i}".encode() for i in range(10_000 - len(saved), 10_000)]
    assert len(saved) <= 20
    stream.end()
    assert [piece async for piece in pieces] == []


@pytest.mark.anyio
async def test_a_quiet_stream_is_kept_alive(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(events, "KEEP_ALIVE_SECONDS", 0.01)
    pieces = Stream("one").pieces()
    await anext(pieces)
    assert [await anext(pieces) for _ in range(3)] == [b":\n\n"] * 3


@pytest.mark.anyio
async def test_a_stream_ends_before_its_session_has_long_expired(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(events, "KEEP_ALIVE_SECONDS", 0.01)
    monkeypatch.setattr(events, "STREAM_SECONDS", 0.1)
    assert len([piece async for piece in Stream("one").pieces()]) > 1


def sign_in(url: str) -> dict[str, str]:
    answer = post(f"{url}/sign-in", json={"code": TEACHERS_CODE})
    return {"Cookie": answer.headers["set-cookie"].partition(";")[0]}


def test_streams_are_limited_in_number(folder: Path):
    with ExitStack() as stack, serve(folder, f"--teacher-code={TEACHERS_CODE}") as server:
        assert get(f"{server.url}/api/events").status_code == 401
        streams = []
        for _ in range(events.MAX_STREAMS // events.STREAMS_PER_DEVICE):
            cookie = sign_in(server.url)
            streams += [stack.enter_context(listening(server.url, **cookie)) for _ in range(events.STREAMS_PER_DEVICE)]
        assert {next(stream).name for stream in streams} == {"counts"}
        refused = get(f"{server.url}/api/events", headers=sign_in(server.url))
        assert (refused.status_code, refused.json()["detail"][:14]) == (503, "Too many pages")
        # One more on the last device ends its oldest, which may belong to a page that is gone.
        stack.enter_context(listening(server.url, **cookie))
        assert list(streams[-events.STREAMS_PER_DEVICE]) == []
        assert post(f"{server.url}/sign-out", headers=cookie).status_code == 204
        assert [list(stream) for stream in streams[1 - events.STREAMS_PER_DEVICE :]] == [[]] * 7
        assert httpx.head(f"{server.url}/api/events", headers=sign_in(server.url)).status_code == 200


def test_a_device_takes_part_for_a_minute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    taking_part = Collection(Settings(f"sqlite:///{tmp_path}/other.db"))
    for device in ("one", "other", "one"):
        taking_part.note(device)
    assert taking_part.devices() == 2
    monkeypatch.setattr(collection, "ACTIVE_SECONDS", 0.0)
    assert taking_part.devices() == 0
