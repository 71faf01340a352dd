"""Quarantine: what looks like no grade is kept out of use until the teacher has looked at it, and nothing is lost."""

import base64
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import cv2
import httpx2 as httpx
import numpy as np
import pytest
from conftest import CODE, TEACHERS_CODE, Server
from playwright.sync_api import Page, expect
from starlette.testclient import TestClient
from test_accessibility import assert_accessible
from test_pages import A_PLUS, DOT, draw, prompted
from waiting import wait_until

from gradejax import prepare
from gradejax.data.importing import import_drawings
from gradejax.dataset import QUARANTINE_TAG, TEST_TAG
from gradejax.drawings import Drawing, new_id
from gradejax.hands.synthetic import write_drawings
from gradejax.ink import encode_png
from gradejax.scales import NO_GRADE
from gradejax.stores import Query, Store, open_store
from gradejax.web import quarantine
from gradejax.web.app import create_app
from gradejax.web.model import Model

DRAWINGS = list(write_drawings(40, seed=41, writers=4))
ZIGZAG = [[(20 + 15 * i, 40 if i % 2 else 240) for i in range(16)]]
IN_QUARANTINE = Query(deleted=True, with_tag=QUARANTINE_TAG)


def canvas(strokes) -> bytes:
    """Draws strokes as the pages do."""
    ink = np.zeros((280, 280), np.uint8)
    for stroke in strokes:
        cv2.polylines(ink, [np.array(stroke, np.int32)], False, 255, 14, cv2.LINE_AA)
    return encode_png(ink)


BLANK, SPECK, SCRIBBLE, GOOD = canvas([]), canvas(DOT), canvas(ZIGZAG), canvas(A_PLUS)


def message(png: bytes, **changes: object) -> dict:
    """Returns what the page sends for a drawing."""
    data, date = base64.b64encode(png).decode(), "2026-03-01T10:00:00Z"
    return {"id": new_id(), "tags": ["7b"], "label": "B", "data": data, "date": date} | changes


@pytest.fixture
def tag() -> str:
    return f"test-{new_id()}"


@pytest.fixture
def judging(client: TestClient) -> TestClient:
    """A client of a server whose model is loaded, as it is when the server starts; the one that gradejax comes with."""
    assert client.get("/api/status").json()["model"] == "shipped"
    return client


def save(client: TestClient, png: bytes, **changes: object) -> dict:
    answer = client.post("/api/drawings", json=message(png, **changes))
    assert answer.status_code == 201, answer.text
    return answer.json()


def held(store: Store, id: str) -> bool:
    drawing = store.get(id)
    assert drawing
    return quarantine.is_in_quarantine(drawing)


def let_judge(client: TestClient, store: Store) -> None:
    """Waits until all drawings before this one are judged: they are in the order in which they were saved."""
    id = save(client, SCRIBBLE)["id"]
    wait_until(lambda: held(store, id))


@pytest.mark.parametrize("png", [BLANK, SPECK, SCRIBBLE], ids=["blank", "dot", "scribble"])
def test_what_looks_like_no_grade_is_kept_but_not_in_use(judging: TestClient, store: Store, png: bytes):
    id = save(judging, png)["id"]
    wait_until(lambda: held(store, id))  # on a busy machine the model may take longer than the answer
    drawing = store.get(id)
    assert (drawing.png, drawing.label, drawing.tags) == (png, "B", ("7b", QUARANTINE_TAG))
    assert store.count() == 0
    wait_until(lambda: judging.get("/api/counts").json()["waiting"] == 1)  # counted once a second
    assert judging.get("/api/counts").json() == {"grades": {}, "tags": [], "more_tags": 0, "waiting": 1}
    assert judging.get("/api/status").json()["total"] == 0


def test_a_blank_or_a_dot_is_said_at_once(judging: TestClient):
    assert save(judging, BLANK)["in_quarantine"]
    assert save(judging, SPECK)["in_quarantine"]
    assert not save(judging, GOOD)["in_quarantine"]


def test_real_looking_grades_are_not_held(judging: TestClient, store: Store):
    for drawing in DRAWINGS[:15]:
        save(judging, drawing.png, label=drawing.label)
    let_judge(judging, store)
    assert store.count(IN_QUARANTINE) <= 2


def test_what_deliberately_shows_no_grade_is_not_held(judging: TestClient, store: Store):
    ids = [save(judging, png, label=NO_GRADE)["id"] for png in (BLANK, SPECK, SCRIBBLE)]
    let_judge(judging, store)
    assert not any(held(store, id) for id in ids)


def test_the_model_does_not_choose_its_test_set(judging: TestClient, store: Store):
    scribble, speck = (save(judging, png, tags=["7b", TEST_TAG])["id"] for png in (SCRIBBLE, SPECK))
    let_judge(judging, store)
    assert not held(store, scribble)
    assert held(store, speck)


def test_nobody_can_give_the_tag(client: TestClient, store: Store):
    answer = client.post("/api/drawings", json=message(GOOD, tags=["7b", QUARANTINE_TAG]))
    assert answer.status_code == 422
    assert "choose another" in answer.json()["detail"]
    assert store.count(Query(deleted=None)) == 0


@pytest.mark.parametrize("png", [SPECK, SCRIBBLE], ids=["dot", "scribble"])
def test_sent_again_it_stays_where_the_teacher_put_it(judging: TestClient, store: Store, png: bytes):
    sent = message(png)
    judging.post("/api/drawings", json=sent)
    wait_until(lambda: held(store, sent["id"]))
    again = judging.post("/api/drawings", json=sent)
    assert (again.status_code, again.json()["in_quarantine"]) == (201, True)
    assert judging.post("/api/drawings/restore", json={"ids": [sent["id"]]}).json() == {"changed": 1}
    again = judging.post("/api/drawings", json=sent)
    assert (again.status_code, again.json()["in_quarantine"]) == (201, False)
    let_judge(judging, store)
    assert store.get(sent["id"]).tags == ("7b",)
    assert store.count() == 1


def test_the_teacher_accepts_excludes_and_takes_both_back(judging: TestClient, store: Store):
    ids = [save(judging, SPECK)["id"] for _ in range(3)]
    before = [store.get(id).tags for id in ids]

    def change(path: str, *chosen: str) -> int:
        return judging.post(f"/api/drawings/{path}", json={"ids": list(chosen)}).json()["changed"]

    def listed(**filters: str) -> set[str]:
        return {one["id"] for one in judging.get("/api/drawings", params=filters).json()["drawings"]}

    assert change("restore", ids[0]) == change("put-aside", ids[1]) == 1
    assert listed() == {ids[0]}
    assert listed(aside="true") == {ids[1]}
    assert listed(aside="quarantine") == listed(aside="quarantine", tag="7b") == {ids[2]}
    assert listed(aside="quarantine", tag="8c") == set()
    assert store.get(ids[0]).tags == store.get(ids[1]).tags == ("7b",)
    assert change("hold", *ids[:2]) == 2
    assert listed(aside="quarantine") == set(ids)
    assert [store.get(id).tags for id in ids] == before
    assert judging.get("/api/counts").json()["waiting"] == 3


def test_taken_back_it_no_longer_waits(judging: TestClient, store: Store):
    saved = save(judging, SPECK)
    taken = judging.post("/api/drawings/take-back", json={"id": saved["id"], "receipt": saved["receipt"]})
    assert taken.json() == {"changed": 1}
    assert store.count(IN_QUARANTINE) == 0
    assert store.get(saved["id"]).deleted


def test_a_busy_model_holds_up_no_save(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """It is judged afterwards, and not if the teacher was faster."""
    monkeypatch.chdir(tmp_path)
    model = Model(None)
    model.get()
    with TestClient(create_app(store, model=model), base_url="http://127.0.0.1:8000") as client:
        with model.urgent():  # a guess that takes long
            began = time.monotonic()
            ids = [save(client, SCRIBBLE)["id"] for _ in range(5)]
            assert time.monotonic() - began < 5 * (quarantine.ANSWER_SECONDS + 0.5)
            client.post("/api/drawings/relabel", json={"ids": [ids[-1]], "label": "A"})
            client.post("/api/drawings/put-aside", json={"ids": [ids[-2]]})
        let_judge(client, store)
    assert [held(store, id) for id in ids[2:]] == [True, False, False]


def test_a_crowd_is_answered_at_once_and_judged_later(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(quarantine, "_CROWD", 3)
    model = Model(None)
    model.get()
    with (
        TestClient(create_app(store, model=model), base_url="http://127.0.0.1:8000") as client,
        ThreadPoolExecutor(4) as people,
    ):
        saved = list(people.map(lambda _: save(client, SCRIBBLE), range(20)))
        assert sum(one["in_quarantine"] for one in saved) < 10
        wait_until(lambda: store.count(IN_QUARANTINE) == 20)


def test_without_a_model_dots_are_still_held(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with TestClient(create_app(store, model=Model(tmp_path / "nothing")), base_url="http://127.0.0.1:8000") as client:
        assert not save(client, SCRIBBLE)["in_quarantine"]
        assert save(client, SPECK)["in_quarantine"]
    assert (store.count(), store.count(IN_QUARANTINE)) == (1, 1)


def test_what_was_interrupted_is_finished_at_the_next_start(store: Store, tmp_path: Path):
    """The server ended between the two changes that put a drawing in quarantine."""
    store.add([replace(DRAWINGS[0], tags=("7b", QUARANTINE_TAG)), DRAWINGS[1]])
    with TestClient(create_app(store, model=Model(tmp_path)), base_url="http://127.0.0.1:8000"):
        wait_until(lambda: held(store, DRAWINGS[0].id))
    assert [one.id for one in store.find()] == [DRAWINGS[1].id]


def test_trainings_and_fingerprints_pass_it_over(store: Store):
    store.add(DRAWINGS[:20])
    fingerprint = prepare.load(store, Query(), 28, None).digest
    store.add(replace(one, tags=(*one.tags, QUARANTINE_TAG), deleted=one.date) for one in DRAWINGS[20:])
    data = prepare.load(store, Query(), 28, None)
    assert (len(data), data.digest) == (20, fingerprint)
    assert store.summary().total() == 20


def test_exported_and_imported_it_stays_what_it_is(judging: TestClient, store: Store, tmp_path: Path):
    id = save(judging, SPECK)["id"]
    save(judging, GOOD)
    assert len(judging.get("/api/export").text.splitlines()) == 1
    exported = judging.get("/api/export", params={"aside": "quarantine"}).text
    file = tmp_path / "held.ndjson"
    file.write_text(exported)
    uri = f"sqlite:///{tmp_path}/other.db"
    import_drawings(uri, str(file), ())
    with closing(open_store(uri)) as other:
        assert held(other, id)
        assert other.count() == 0


# The pages.


@pytest.fixture
def phone(open_page: Callable[..., Page], class_server: Server, tag: str) -> Page:
    page = open_page(f"{class_server.url}/#code={CODE}")
    expect(page.get_by_role("button", name="Sign out")).to_be_enabled()
    page.get_by_label("Tags").fill(tag)
    return page


def test_a_pupil_is_told_kindly_and_can_try_again(phone: Page, class_server: Server, tag: str):
    grade = prompted(phone)
    draw(phone, DOT)
    phone.get_by_role("button", name="Save").click()
    note = phone.locator("#note")
    kindly = f"Saved. gradejax could not read your {grade.replace('-', '−')}, so your teacher will have a look."
    expect(note).to_contain_text(kindly)
    assert_accessible(phone)
    assert class_server.store.count(Query(tags=(tag,))) == 0
    assert class_server.store.count(replace(IN_QUARANTINE, tags=(tag,), label=grade)) == 1
    phone.get_by_role("button", name="Take back").click()
    expect(note).to_contain_text("taken back")
    assert prompted(phone) == grade
    wait_until(lambda: class_server.store.count(replace(IN_QUARANTINE, tags=(tag,))) == 0)
    phone.get_by_role("button", name="Clear").click()
    draw(phone, A_PLUS)
    phone.get_by_role("button", name="Save").click()
    expect(note).to_contain_text(re.compile("^.{1,2} saved"))
    assert class_server.store.count(Query(tags=(tag,))) == 1


def test_the_teacher_decides_about_what_waits(
    phone: Page, open_page: Callable[..., Page], class_server: Server, tag: str
):
    """Two devices: a phone draws, the teacher's page shows it live."""
    store = class_server.store
    teacher = open_page(f"{class_server.url}/browse#code={TEACHERS_CODE}")
    expect(teacher.get_by_role("button", name="Sign out")).to_be_enabled()
    teacher.set_viewport_size({"width": 1000, "height": 800})
    expect(teacher.get_by_role("heading", level=1)).to_have_text(re.compile(r"\d drawing"))
    for _ in range(3):
        prompted(phone)
        draw(phone, DOT)
        phone.get_by_role("button", name="Save").click()
        expect(phone.locator("#note")).to_contain_text("teacher will have a look")
    expect(teacher.locator("#waiting")).to_contain_text(re.compile("drawings? waits? for you"))
    teacher.get_by_role("button", name="Look").click()
    expect(teacher).to_have_url(re.compile("aside=quarantine"))
    teacher.goto(f"{class_server.url}/browse?tag={tag}&aside=quarantine")
    heading = teacher.get_by_role("heading", level=1)
    expect(heading).to_have_text("3 drawings in quarantine")
    options, note = teacher.locator("#gallery [role=option]"), teacher.locator("#note")
    undo = teacher.get_by_role("button", name="Undo")

    options.first.click()
    assert_accessible(teacher)
    teacher.get_by_role("button", name="Accept", exact=True).click()
    expect(note).to_have_text("1 drawing accepted.")
    expect(heading).to_have_text("2 drawings in quarantine")
    assert store.count(Query(tags=(tag,))) == 1
    undo.click()
    expect(note).to_have_text("1 drawing as before.")
    assert store.count(replace(IN_QUARANTINE, tags=(tag,))) == 3

    teacher.get_by_role("button", name="Select all").click()
    teacher.get_by_label("New label").select_option("D+")
    teacher.get_by_role("button", name="Accept as").click()
    expect(note).to_have_text("3 drawings accepted as D+.")
    assert store.count(Query(tags=(tag,), label="D+")) == 3
    undo.click()
    expect(note).to_have_text("3 drawings as before.")
    assert store.count(replace(IN_QUARANTINE, tags=(tag,))) == 3

    teacher.get_by_role("button", name="Select all").click()
    teacher.get_by_role("button", name="Exclude").click()
    expect(note).to_have_text("3 drawings excluded.")
    assert store.count(Query(tags=(tag,), deleted=True, without_tag=QUARANTINE_TAG)) == 3
    undo.click()
    expect(note).to_have_text("3 drawings as before.")
    expect(heading).to_have_text("3 drawings in quarantine")
    assert store.count(replace(IN_QUARANTINE, tags=(tag,))) == 3


def test_the_projector_shows_only_what_is_in_use(open_page: Callable[..., Page], class_server: Server, tag: str):
    page = open_page(f"{class_server.url}/class#code={TEACHERS_CODE}")
    expect(page.locator("#total")).to_have_text(re.compile(r"\d"))
    waiting = page.get_by_role("link", name="more to check")
    with httpx.Client(base_url=class_server.url.replace("class.test", "127.0.0.1"), timeout=60) as pupil:
        pupil.post("/sign-in", json={"code": CODE})
        ids = [
            pupil.post("/api/drawings", json=message(png, tags=[tag])).json()["id"] for png in (GOOD, SPECK, SCRIBBLE)
        ]
    expect(waiting).to_be_visible()
    wait_until(lambda: class_server.store.count(Query(tags=(tag,))) == 1)
    expect(page.locator(f"#newest img[src*='{ids[0]}']")).to_have_count(1)
    for id in ids[1:]:
        expect(page.locator(f"#newest img[src*='{id}']")).to_have_count(0)
    assert_accessible(page)


def drawings_with(store: Store, tag: str, n: int) -> list[Drawing]:
    store.add(replace(DRAWINGS[i % 40], id=new_id(), tags=(tag,), strokes=None, label="B") for i in range(n))
    return list(store.find(Query(tags=(tag,)), pictures=False))


def test_an_undoing_that_fails_in_the_middle_can_be_repeated(open_page: Callable[..., Page], server: Server, tag: str):
    drawings_with(server.store, tag, 1250)
    page = open_page(f"{server.url}/browse?tag={tag}")
    page.get_by_role("button", name="Select all").click()
    expect(page.locator("#selected")).to_have_text("All 1,250 selected")
    page.get_by_role("button", name="Exclude").click()
    note = page.locator("#note")
    expect(note).to_have_text("1,250 drawings excluded.")
    requests = []

    def fail_the_second(route) -> None:
        requests.append(route.request)
        route.abort() if len(requests) == 2 else route.continue_()

    page.route("**/api/drawings/restore", fail_the_second)
    undo = page.get_by_role("button", name="Undo")
    undo.click()
    expect(note).to_have_text(
        "250 of 1,250 drawings as before. The server cannot be reached. “Undo” goes on with the others."
    )
    assert server.store.count(Query(tags=(tag,))) == 250
    undo.click()
    expect(note).to_have_text("1,250 drawings as before.")
    assert server.store.count(Query(tags=(tag,))) == 1250
    expect(page.get_by_role("heading", level=1)).to_have_text("1,250 drawings")


def test_a_change_that_fails_in_the_middle_can_be_undone(open_page: Callable[..., Page], server: Server, tag: str):
    drawings_with(server.store, tag, 1100)
    page = open_page(f"{server.url}/browse?tag={tag}")
    page.get_by_role("button", name="Select all").click()
    page.get_by_label("New label").select_option("C")
    requests = []

    def fail_the_second(route) -> None:
        requests.append(route.request)
        route.abort() if len(requests) == 2 else route.continue_()

    page.route("**/api/drawings/relabel", fail_the_second)
    page.get_by_role("button", name="Relabel").click()
    note = page.locator("#note")
    expect(note).to_have_text("1,000 of 1,100 drawings changed. The server cannot be reached. “Undo” takes that back.")
    assert server.store.count(Query(tags=(tag,), label="C")) == 1000
    page.get_by_role("button", name="Undo").click()
    expect(note).to_have_text("1,000 drawings as before.")
    assert server.store.count(Query(tags=(tag,), label="B")) == 1100
