"""What pupils may do, what only the teacher may, and how much one device may send."""

import base64
import re
import time
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from gradejax.drawings import new_id
from gradejax.hands.synthetic import write_drawings
from gradejax.stores import Store
from gradejax.web import rates
from gradejax.web.access import Access
from gradejax.web.app import create_app
from gradejax.web.model import Model
from gradejax.web.pages import PAGES
from gradejax.web.rates import Allowances

DRAWINGS = list(write_drawings(15, seed=7, writers=3))
CODE, TEACHERS_CODE = "seven-bees", "three-wise-owls"
PUPILS_OPERATIONS = {
    "POST /api/drawings",
    "POST /api/drawings/take-back",
    "POST /api/guess",
    "POST /api/mine",
    "POST /api/mine/erase",
    "GET /api/status",
    "GET /api/tags",
}
"""Whatever else there is belongs to the teacher."""
HTML = {"Accept": "text/html"}


def message(drawing=DRAWINGS[0], **changes: object) -> dict:
    """Returns what the page sends for a drawing."""
    data = base64.b64encode(drawing.png).decode()
    date = "2026-03-01T10:00:00.123Z"
    return {"id": new_id(), "tags": ["class"], "label": drawing.label, "data": data, "date": date} | changes


@pytest.fixture
def pupil(store: Store) -> TestClient:
    return signed_in(store, CODE)


@pytest.fixture
def teacher(store: Store) -> TestClient:
    return signed_in(store, TEACHERS_CODE)


def signed_in(store: Store, code: str) -> TestClient:
    # Without a model, which would be loaded and compiled with the first save.
    app = create_app(store, model=Model(Path("nowhere")), access=Access(CODE, TEACHERS_CODE))
    client = TestClient(app, base_url="http://class.test")
    assert client.post("/sign-in", json={"code": code}).status_code == 200
    return client


def operations(client: TestClient) -> dict[str, dict]:
    """Returns what the API's schema says about each operation."""
    paths = client.get("/openapi.json").json()["paths"]
    return {f"{method.upper()} {path}": one for path, methods in paths.items() for method, one in methods.items()}


def test_every_other_operation_refuses_a_pupil_and_the_schema_says_so(pupil: TestClient, store: Store):
    store.add(DRAWINGS)
    before = store.fingerprint()
    ids = [drawing.id for drawing in DRAWINGS]
    of_all = operations(pupil)
    assert set(of_all) > PUPILS_OPERATIONS
    for name, operation in of_all.items():
        is_teachers = name not in PUPILS_OPERATIONS
        assert ("only the teacher" in operation["responses"]["403"]["description"]) == is_teachers, name
        method, path = name.split()
        for body in ({}, {"ids": ids}, {"ids": ids, "label": "A"}):
            sent = {"json": body} if method == "POST" else {"params": {"id": ids[0]}}
            answer = pupil.request(method, path, **sent)
            assert ("Only the teacher" in answer.text) == is_teachers, (name, answer.text)
            assert answer.status_code == 403 or not is_teachers
    assert store.fingerprint() == before


def test_the_teacher_may_do_everything(teacher: TestClient, store: Store):
    store.add(DRAWINGS)
    ids = [drawing.id for drawing in DRAWINGS]
    for path in ("/api/status", "/api/drawings", "/api/counts", "/api/export", f"/api/picture?id={ids[0]}"):
        assert teacher.get(path).status_code == 200
    assert teacher.post("/api/drawings", json=message()).status_code == 201
    for change in ("put-aside", "restore"):
        assert teacher.post(f"/api/drawings/{change}", json={"ids": ids}).json() == {"changed": len(ids)}


def test_a_pupil_is_told_of_others_only_how_much_they_drew(pupil: TestClient, store: Store):
    store.add(replace(drawing, tags=("secret-7b",), writer="secret-writer") for drawing in DRAWINGS)
    status = pupil.get("/api/status").json()
    assert set(status) == {"total", "grades", "model", "model_missing", "about", "trained_on", "retention_days"}
    assert status["total"] == len(DRAWINGS)
    said = "".join(pupil.get(path).text for path in (*PAGES, "/api/status", "/api/drawings", "/api/counts"))
    assert "secret" not in said
    assert not any(drawing.id in said for drawing in DRAWINGS)


def test_each_role_is_shown_links_to_its_pages(pupil: TestClient, teacher: TestClient, client: TestClient):
    """On this machine, without codes, everybody is the teacher, and there is nothing to sign out of."""
    own = {pupil: ["/", "/guess", "/mine"], teacher: list(PAGES), client: list(PAGES)}
    for visitor, paths in own.items():
        for path in PAGES:
            page = visitor.get(path, headers=HTML)
            assert page.status_code == (200 if path in paths else 403)
            (links,) = re.findall('<nav aria-label="Pages">(.*)</nav>', page.text)
            assert re.findall('href="\\.([^"]*)"', links) == paths
            assert re.findall('href="\\.([^"]*)" aria-current="page"', links) == [path] * (path in paths)
            assert ('id="sign-out"' in page.text) == (visitor is not client)


def test_a_page_for_the_teacher_says_so(pupil: TestClient):
    assert "Only the teacher can open this page." in pupil.get("/browse", headers=HTML).text
    assert pupil.get("/browse").json()["detail"] == "Only the teacher can do this: sign in with the teacher's code."


def test_a_pupil_can_become_the_teacher_and_back(pupil: TestClient):
    for code, role, status in ((TEACHERS_CODE, "teacher", 200), (CODE, "pupil", 403)):
        assert pupil.post("/sign-in", json={"code": code}).json() == {"role": role}
        assert pupil.get("/browse").status_code == status
    assert pupil.post("/sign-out").status_code == 204
    assert pupil.get("/").status_code == 401


# Taking back.


def test_what_was_saved_can_be_taken_back_with_its_receipt(client: TestClient, store: Store):
    mine, other = message(), message(DRAWINGS[1])
    receipt = client.post("/api/drawings", json=mine).json()["receipt"]
    client.post("/api/drawings", json=other)

    def take_back(id: str, receipt: str) -> tuple[int, int | None]:
        answer = client.post("/api/drawings/take-back", json={"id": id, "receipt": receipt})
        return answer.status_code, answer.json().get("changed")

    number, _, signature = receipt.partition(".")
    for forged in ("x", "1", f".{signature}", f"{int(number) + 1}.{signature}", f"{number}.{signature[:-1]}", "ü.ü"):
        assert take_back(mine["id"], forged) == (403, None)
    assert take_back(other["id"], receipt) == (403, None)
    assert client.get("/api/status").json()["total"] == store.count() == 2
    assert take_back(mine["id"], receipt) == (200, 1)
    assert [drawing.id for drawing in store.find()] == [other["id"]]
    assert client.get("/api/status").json()["total"] == 1
    # The page may have lost the answer; nor does sending the drawing again bring it back.
    assert take_back(mine["id"], receipt) == (200, 0)
    assert client.post("/api/drawings", json=mine).status_code == 201
    assert store.count() == 1


def test_a_receipt_is_good_for_a_day_and_through_a_restart(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
):
    def client() -> TestClient:
        access = Access(CODE, TEACHERS_CODE, tmp_path / "sessions")
        client = TestClient(create_app(store, model=Model(None), access=access), base_url="http://class.test")
        client.post("/sign-in", json={"code": CODE})
        return client

    sent = message()
    taking_back = {"id": sent["id"], "receipt": client().post("/api/drawings", json=sent).json()["receipt"]}
    day = 24 * 3600
    now = time.time()
    monkeypatch.setattr("gradejax.web.taking_back.time.time", lambda: now + day + 1)
    restarted = client()
    assert restarted.post("/api/drawings/take-back", json=taking_back).status_code == 403
    monkeypatch.undo()
    assert restarted.post("/api/drawings/take-back", json=taking_back).json() == {"changed": 1}


# How much one device may send.


def test_one_device_cannot_flood_the_store(store: Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rates, "SAVES_RATE", 0.5)
    monkeypatch.setattr(rates, "SAVES_BURST", 10)
    pupil = signed_in(store, CODE)
    answers = [pupil.post("/api/drawings", json=message()) for _ in range(15)]
    assert [answer.status_code for answer in answers[:10]] == [201] * 10
    refused = [answer for answer in answers if answer.status_code == 429]
    assert {answer.headers["retry-after"] for answer in refused} <= {"1", "2"}
    assert "anybody can draw" in refused[0].json()["detail"]
    assert pupil.get("/api/status").status_code == 200
    clock = time.monotonic
    monkeypatch.setattr("gradejax.web.rates.time.monotonic", lambda: clock() + 2)
    assert pupil.post("/api/drawings", json=message()).status_code == 201
    monkeypatch.undo()
    others = TestClient(pupil.app, base_url="http://class.test")
    others.post("/sign-in", json={"code": CODE})
    for _ in range(10):
        assert others.post("/api/drawings", json=message()).status_code == 201


def test_nobody_who_draws_meets_the_limit():
    """A grade a second for three lessons, or 600 drawings that waited for a connection, and drawing on meanwhile."""
    steady, after_an_outage = ([float(second) for second in range(8100)], [0.01 * n for n in range(600)])
    for moments in (steady, after_an_outage + [6.0 + second for second in range(600)]):
        saves = Allowances(rates.SAVES_RATE, rates.SAVES_BURST)
        sent = Allowances(rates.BYTES_RATE, rates.BYTES_BURST)
        assert {saves.wait("phone", now) for now in moments} == {0.0}
        assert {sent.wait("phone", now, 100_000) for now in moments} == {0.0}


@pytest.mark.parametrize("announced", [True, False])
def test_one_device_cannot_send_without_end(store: Store, monkeypatch: pytest.MonkeyPatch, announced: bool):
    monkeypatch.setattr(rates, "BYTES_RATE", 1.0)
    monkeypatch.setattr(rates, "BYTES_BURST", 20 * 2**20)
    pupil = signed_in(store, CODE)
    body = b'{"data": "%s"}' % (b"a" * (2**20 - 50))
    statuses = []
    for _ in range(30):
        sent = body if announced else iter([body])
        answer = pupil.post("/api/guess", content=sent, headers={"Content-Type": "application/json"})
        statuses.append(answer.status_code)
    assert set(statuses) == {422, 429}
    assert statuses[:19] == [422] * 19


def test_on_this_machine_its_owner_saves_as_fast_as_they_like(store: Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rates, "SAVES_RATE", 0.5)
    monkeypatch.setattr(rates, "SAVES_BURST", 10)
    client = TestClient(create_app(store, model=Model(None)), base_url="http://127.0.0.1:8000")
    assert {client.post("/api/drawings", json={}).status_code for _ in range(50)} == {422}
