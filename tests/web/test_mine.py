"""Drawings that pupils erase, each their own, and the teacher any; what is erased does not come back."""

import json
import re
import time
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from conftest import CODE, TEACHERS_CODE
from playwright.sync_api import Page, expect
from starlette.testclient import TestClient
from test_pages import A_PLUS, draw, prompted
from test_roles import message, signed_in
from waiting import wait_until

from gradejax.drawings import Drawing, new_id
from gradejax.hands.synthetic import write_drawings
from gradejax.stores import Query, Store
from gradejax.web import mine
from gradejax.web.access import Access
from gradejax.web.app import create_app
from gradejax.web.model import Model

DRAWINGS = list(write_drawings(30, seed=16, writers=3))
KEY, OTHER = "0123456789abcdef" * 2, "f" * 32
WRITER = f"hand-{sha256(KEY.encode()).hexdigest()[:16]}"


@pytest.fixture
def pupil(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    monkeypatch.chdir(tmp_path)
    return signed_in(store, CODE)


def send(client: TestClient, key: str, n: int = 1) -> list[str]:
    """Saves drawings with a key; returns their ids."""
    sent = [message(drawing, writer_key=key) for drawing in DRAWINGS[:n]]
    assert {client.post("/api/drawings", json=one).status_code for one in sent} == {201}
    return [one["id"] for one in sent]


# The secret.


def test_the_store_keeps_a_hash_of_the_secret_and_no_answer_has_either(pupil: TestClient, store: Store, caplog):
    sent = message(writer_key=KEY)
    for _ in range(2):  # the page may have lost the first answer
        answer = pupil.post("/api/drawings", json=sent)
        assert answer.status_code == 201
        assert KEY not in answer.text
        assert WRITER not in answer.text
    (kept,) = store.find()
    assert kept.writer == WRITER
    assert WRITER not in pupil.post("/api/mine", json={"writer_key": KEY}).text
    assert KEY not in caplog.text
    assert pupil.post("/api/drawings", json=sent | {"writer_key": OTHER}).status_code == 409


def test_other_programs_name_a_writer(pupil: TestClient, store: Store):
    """And so do drawings that an earlier version of the page left in a browser."""
    sent = message(writer="hand-0123456789ab")
    assert [pupil.post("/api/drawings", json=sent).status_code for _ in range(2)] == [201, 201]
    assert [drawing.writer for drawing in store.find()] == ["hand-0123456789ab"]
    assert pupil.post("/api/drawings", json=message(writer="x", writer_key=KEY)).status_code == 422
    for wrong in (KEY.upper(), KEY[1:], KEY + "0", KEY + "\n", "", 7):
        refusal = pupil.post("/api/drawings", json=message(writer_key=wrong))
        assert refusal.status_code == 422
        assert KEY[1:] not in refusal.text.lower()


# The own drawings.


def test_a_device_sees_only_its_own_newest_first_a_page_at_a_time(pupil: TestClient, store: Store):
    own, others = send(pupil, KEY, 7), send(pupil, OTHER, 2)
    store.exclude(own[:1])
    shown, after = [], None
    while True:
        page = pupil.post("/api/mine", json={"writer_key": KEY, "after": after, "limit": 3}).json()
        assert page["total"] == (7 if after is None else None)
        shown += page["drawings"]
        after = page["next"]
        if after is None:
            break
    assert [one["id"] for one in shown] == own[::-1]
    assert [one["aside"] for one in shown] == [False] * 6 + [True]
    assert set(shown[0]) == {"id", "label", "date", "aside", "data"}
    assert shown[-1]["data"] == message(DRAWINGS[0])["data"]
    for foreign in (others[0], new_id()):
        assert pupil.post("/api/mine", json={"writer_key": KEY, "after": foreign}).status_code == 404


def test_a_page_is_not_many_bytes(pupil: TestClient, monkeypatch: pytest.MonkeyPatch):
    own = send(pupil, KEY, 3)
    monkeypatch.setattr(mine, "_MAX_PAGE_BYTES", 1)
    page = pupil.post("/api/mine", json={"writer_key": KEY}).json()
    assert [one["id"] for one in page["drawings"]] == [page["next"]] == [own[-1]]


def test_a_device_erases_its_own_and_no_others(pupil: TestClient, store: Store):
    own, others = send(pupil, KEY, 3), send(pupil, OTHER, 2)
    store.exclude(own[:1])  # also what the teacher has excluded
    answer = pupil.post("/api/mine/erase", json={"writer_key": KEY, "ids": [*own[:2], *others, new_id()]})
    assert answer.json() == {"erased": 2}
    assert {one.id for one in store.find(Query(deleted=None))} == {own[2], *others}
    assert pupil.get("/api/status").json()["total"] == 3
    assert pupil.post("/api/mine/erase", json={"writer_key": OTHER, "ids": own}).json() == {"erased": 0}
    assert pupil.post("/api/mine/erase", json={"writer_key": KEY, "ids": [new_id()] * 1001}).status_code == 422


def test_what_is_erased_does_not_come_back(pupil: TestClient, store: Store):
    """Neither what was still on its way, nor what a page sends again because it missed the answer."""
    saved, on_its_way = message(writer_key=KEY), message(writer_key=KEY)
    pupil.post("/api/drawings", json=saved)
    ids = [saved["id"], on_its_way["id"]]
    assert pupil.post("/api/mine/erase", json={"writer_key": KEY, "ids": ids}).json() == {"erased": 1}
    for late in (saved, on_its_way):
        answer = pupil.post("/api/drawings", json=late)
        assert (answer.status_code, answer.json()["detail"]) == (410, "This drawing has been deleted.")
    assert store.count(Query(deleted=None)) == 0
    # Nobody keeps another's drawing out by guessing its id.
    assert pupil.post("/api/drawings", json=on_its_way | {"writer_key": OTHER}).status_code == 201


# The teacher.


def test_the_teacher_erases_any(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    store.add(DRAWINGS)
    ids = [drawing.id for drawing in DRAWINGS]
    store.exclude(ids[:1])
    teacher = signed_in(store, TEACHERS_CODE)
    answer = teacher.post("/api/drawings/erase", json={"ids": ids[:5]}).json()
    assert answer["erased"] == 5
    assert all(isinstance(sentence, str) for sentence in answer["unreachable"])
    assert {one.id for one in store.find(Query(deleted=None))} == set(ids[5:])
    assert signed_in(store, CODE).post("/api/drawings/erase", json={"ids": ids}).status_code == 403


def test_everything_about_one_writer_is_exported(client: TestClient, store: Store):
    store.add(DRAWINGS)
    writer = DRAWINGS[0].writer
    own = [drawing for drawing in DRAWINGS if drawing.writer == writer]
    store.exclude([own[0].id])
    store.relabel([own[1].id], "E-" if own[1].label != "E-" else "A")
    lines = client.get("/api/export", params={"writer": writer, "aside": "both"}).text.splitlines()
    exported = {one["_id"]["$oid"]: one for one in map(json.loads, lines)}
    assert set(exported) == {drawing.id for drawing in own}
    assert "deleted" in exported[own[0].id]
    assert exported[own[1].id]["history"]
    assert all(one["strokes"] for one in exported.values())


def test_an_erased_drawing_leaves_the_ranking_and_what_is_kept_of_it(
    store: Store, tmp_path: Path, run: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    store.add(DRAWINGS)
    with TestClient(create_app(store, model=Model(run)), base_url="http://127.0.0.1:8000") as client:

        def ranked() -> list[str]:
            while (page := client.get("/api/drawings", params={"by": "disagreement"}).json())["done"] is not None:
                time.sleep(0.05)
            assert page["total"] == len(page["drawings"])
            return [one["id"] for one in page["drawings"]]

        first, *others = ranked()
        assert client.post("/api/drawings/erase", json={"ids": [first]}).json()["erased"] == 1
        assert ranked() == others
        assert client.get("/api/status").json()["total"] == len(others)
    kept = [path.read_bytes() for path in Path(".cache/judgements").iterdir()]
    assert others[0].encode() in b"".join(kept)
    assert first.encode() not in b"".join(kept)


# What pupils are told.


def test_pupils_are_told_no_commands(store: Store, tmp_path: Path):
    app = create_app(store, model=Model(tmp_path), access=Access(CODE, TEACHERS_CODE))  # where no run is

    def said(code: str) -> tuple[str, str]:
        client = TestClient(app, base_url="http://class.test")
        client.post("/sign-in", json={"code": code})
        guess = client.post("/api/guess", json={"data": message()["data"]})
        assert guess.status_code == 503
        return client.get("/api/status").json()["model_missing"], guess.json()["detail"]

    assert set(said(CODE)) == {"There is no recogniser yet. Ask your teacher."}
    assert all(str(tmp_path) in text for text in said(TEACHERS_CODE))


# In the browser.


@pytest.fixture
def tag() -> str:
    return f"test-{new_id()}"


def device(open_page: Callable[..., Page], class_server, tag: str, n: int) -> Page:
    """A device of a class, over plain HTTP, that has drawn `n` grades."""
    page = open_page(f"{class_server.url}/#code={CODE}")
    prompted(page)
    page.get_by_label("Tags").fill(tag)
    for number in range(n):
        draw(page, A_PLUS)
        page.get_by_role("button", name="Save", exact=True).click()
        expect(page.locator("#mine")).to_have_text(str(number + 1))
    return page


def browse(open_page: Callable[..., Page], class_server, query: str) -> Page:
    """The teacher's gallery."""
    page = open_page(f"{class_server.url}/browse#code={TEACHERS_CODE}")
    expect(page.get_by_role("heading", level=1)).to_have_text(re.compile("drawing"))
    page.goto(f"{class_server.url}/browse?{query}")
    return page


def leave_waiting(page: Page, tag: str) -> None:
    """Adds a drawing to those that wait to be sent, as an earlier version of the page left it."""
    page.evaluate(
        """async (drawing) => {
            const { Queue } = await import("/static/queue.js");
            await new Queue().add(drawing);
        }""",
        message(tags=[tag], writer="hand-0123456789ab", strokes=None),
    )


def agree(page: Page, *names: str) -> None:
    for name in names:
        expect(page.get_by_role("dialog")).to_be_visible()
        page.get_by_role("dialog").get_by_role("button", name=name).click()


def stored(class_server, tag: str) -> list[Drawing]:
    return list(class_server.store.find(Query(tags=(tag,), deleted=None)))


def test_each_device_deletes_its_own(open_page: Callable[..., Page], class_server, tag: str):
    one, other = (device(open_page, class_server, tag, n) for n in (3, 2))
    teacher = browse(open_page, class_server, f"tag={tag}")
    expect(teacher.get_by_role("heading", name="5 drawings")).to_be_visible()
    for page, n in ((one, 3), (other, 2)):
        page.get_by_role("link", name="My drawings").click()
        expect(page.get_by_role("listitem")).to_have_count(n)
    boxes = one.get_by_role("checkbox")
    boxes.nth(0).check()
    boxes.nth(2).check()
    one.get_by_role("button", name="Delete…").click()
    agree(one, "Delete 2 drawings", "No, keep them")
    assert len(stored(class_server, tag)) == 5
    expect(one.locator("#selected")).to_have_text("2 selected")
    one.get_by_role("button", name="Delete…").click()
    one.keyboard.press("Enter")  # the focus is on "Keep them"
    expect(one.get_by_role("dialog")).to_have_count(0)
    one.get_by_role("button", name="Delete…").click()
    agree(one, "Delete 2 drawings", "Yes, delete for good")
    expect(one.locator("#note")).to_contain_text("2 drawings are deleted for good. What cannot be reached")
    expect(one.get_by_role("listitem")).to_have_count(1)
    left = stored(class_server, tag)
    assert sorted(len([x for x in left if x.writer == writer]) for writer in {x.writer for x in left}) == [1, 2]
    expect(teacher.get_by_role("heading", name="3 drawings")).to_be_visible()
    other.reload()
    expect(other.get_by_role("listitem")).to_have_count(2)
    other.get_by_role("button", name="Select all").click()
    other.get_by_role("button", name="Delete…").click()
    agree(other, "Delete 2 drawings", "Yes, delete for good")
    expect(other.locator("#empty")).to_be_visible()
    assert len(stored(class_server, tag)) == 1


def test_a_drawing_that_waits_is_deleted_in_the_browser_too(open_page: Callable[..., Page], class_server, tag: str):
    page = device(open_page, class_server, tag, 1)
    page.route("**/api/drawings", lambda route: route.abort())
    draw(page, A_PLUS)
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#note")).to_contain_text("waiting to be sent")
    page.goto(f"{class_server.url}/mine")
    expect(page.locator("#count")).to_have_text("2 drawings. 1 is waiting to be sent.")
    expect(page.get_by_role("listitem").first).to_contain_text("waiting")
    page.get_by_role("checkbox").first.check()
    page.get_by_role("button", name="Delete…").click()
    agree(page, "Delete it", "Yes, delete for good")
    expect(page.locator("#count")).to_have_text("1 drawing.")
    page.unroute("**/api/drawings")
    page.reload()
    expect(page.locator("#count")).to_have_text("1 drawing.")
    leave_waiting(page, tag)  # and all that waits is sent, in the order in which it was drawn
    wait_until(lambda: [one for one in stored(class_server, tag) if one.writer == "hand-0123456789ab"])
    assert len(stored(class_server, tag)) == 2


def test_what_an_earlier_version_left_waiting_is_sent(open_page: Callable[..., Page], class_server, tag: str):
    page = device(open_page, class_server, tag, 0)
    leave_waiting(page, tag)
    assert [drawing.writer for drawing in wait_until(lambda: stored(class_server, tag))] == ["hand-0123456789ab"]


def test_somebody_else_draws_on_the_device(open_page: Callable[..., Page], class_server, tag: str):
    page = device(open_page, class_server, tag, 1)
    page.goto(f"{class_server.url}/mine")
    page.get_by_role("button", name="Somebody else draws").click()
    agree(page, "No, it is still me")
    expect(page.get_by_role("listitem")).to_have_count(1)
    page.get_by_role("button", name="Somebody else draws").click()
    agree(page, "Yes, somebody else")
    expect(page.locator("#empty")).to_be_visible()
    page.get_by_role("link", name="Draw a grade").click()
    prompted(page)
    expect(page.locator("#mine")).to_have_text("0")
    draw(page, A_PLUS)
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#mine")).to_have_text("1")
    assert len({drawing.writer for drawing in stored(class_server, tag)}) == 2


def test_draw_says_what_is_kept(open_page: Callable[..., Page], class_server):
    page = open_page(f"{class_server.url}/#code={CODE}")
    privacy = page.get_by_text("Your teacher sees your drawings")
    expect(privacy).to_have_text(re.compile(r"No name is kept\.\s+See and delete my drawings$"))
    # What a server with a retention answers.
    status = {"total": 0, "grades": {}, "model_missing": None, "retention_days": 30}
    page.route("**/api/status", lambda route: route.fulfill(json=status))
    page.reload()
    expect(privacy).to_contain_text("Drawings are deleted after 30 days.")


def test_the_teacher_erases_all_that_match(open_page: Callable[..., Page], class_server, tag: str):
    drawings = [replace(one, id=new_id(), tags=(tag,)) for one in DRAWINGS]
    class_server.store.add(drawings)
    writer = drawings[0].writer
    own = [drawing.id for drawing in drawings if drawing.writer == writer]
    class_server.store.exclude(own[:2])
    page = browse(open_page, class_server, f"tag={tag}&writer={writer}")
    expect(page.get_by_role("heading", name=f"{len(own) - 2} drawings")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="Export this writer").click()
    lines = Path(download.value.path()).read_text().splitlines()
    assert {drawing["writer"] for drawing in map(json.loads, lines)} == {writer}
    page.get_by_text("Filter and sort").click()

    def ask() -> None:
        page.get_by_role("button", name="Erase all drawings that match").click()
        expect(page.get_by_role("dialog")).to_contain_text("Backups, files that were downloaded")
        expect(page.get_by_label("Also the 2 excluded ones")).to_be_checked()
        agree(page, "Erase…")

    ask()
    confirm = page.get_by_role("dialog").get_by_role("button", name="Erase for good")
    expect(confirm).to_be_disabled()
    page.keyboard.press("Escape")
    assert len(stored(class_server, tag)) == len(drawings)
    ask()
    page.get_by_label(f"Type {len(own)} to confirm").fill(str(len(own)))
    confirm.click()
    expect(page.locator("#note")).to_contain_text(f"{len(own)} drawings erased for good.")
    expect(page.get_by_role("button", name="Undo")).to_be_hidden()
    assert {drawing.id for drawing in stored(class_server, tag)} == {x.id for x in drawings} - set(own)


def test_the_teacher_erases_what_is_selected(open_page: Callable[..., Page], class_server, tag: str):
    class_server.store.add(replace(one, id=new_id(), tags=(tag,)) for one in DRAWINGS)
    page = browse(open_page, class_server, f"tag={tag}")
    page.locator("#gallery [role=option]").nth(1).click()
    page.get_by_role("button", name="Erase the selected drawings").click()
    agree(page, "Erase…")
    page.get_by_label("Type 1 to confirm").fill("1")
    page.keyboard.press("Enter")
    expect(page.locator("#note")).to_contain_text("1 drawing erased for good.")
    expect(page.get_by_role("heading", name=f"{len(DRAWINGS) - 1} drawings")).to_be_visible()
    assert len(stored(class_server, tag)) == len(DRAWINGS) - 1
