"""Tags over the API: what pupils may choose, and renaming, merging and undoing over both kinds of store."""

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from test_roles import CODE, TEACHERS_CODE, message

from gradejax.drawings import new_id
from gradejax.hands.synthetic import write_drawings
from gradejax.stores import Query, Store, open_store
from gradejax.web import renaming
from gradejax.web.access import Access
from gradejax.web.app import create_app
from gradejax.web.model import Model

DRAWINGS = list(write_drawings(12, seed=5))
ALL = Query(deleted=None)


@pytest.fixture
def any_store(any_store_uri: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Store]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    opened = open_store(any_store_uri)
    yield opened
    opened.close()


@pytest.fixture
def class_room(any_store: Store) -> tuple[TestClient, TestClient]:
    """The teacher and a pupil."""
    app = create_app(any_store, model=Model(None), access=Access(CODE, TEACHERS_CODE))
    clients = TestClient(app, base_url="http://class.test"), TestClient(app, base_url="http://class.test")
    for client, code in zip(clients, (TEACHERS_CODE, CODE), strict=True):
        client.post("/sign-in", json={"code": code})
    return clients


def tags_of(store: Store) -> dict[str, tuple[str, ...]]:
    return {drawing.id: drawing.tags for drawing in store.find(ALL, pictures=False)}


def rename(teacher: TestClient, old: str, new: str, **more: object) -> dict:
    """Renames to the end; returns the last answer, with the sum of what changed."""
    changed = 0
    while True:
        answer = teacher.post("/api/tags/rename", json={"from": old, "to": new, **more})
        assert answer.status_code == 200, answer.text
        changed += answer.json()["changed"]
        if not answer.json()["left"]:
            return answer.json() | {"changed": changed}


def undo(teacher: TestClient, token: str) -> int:
    changed, left = 0, 1
    while left:
        answer = teacher.post("/api/tags/undo", json={"undo": token}).json()
        changed, left = changed + answer["changed"], answer["left"]
    return changed


# What pupils may choose.


def test_pupils_choose_from_what_the_teacher_offers(class_room: tuple[TestClient, TestClient], any_store: Store):
    teacher, pupil = class_room

    def save(client: TestClient, *tags: str) -> tuple[int, str]:
        answer = client.post("/api/drawings", json=message(tags=tags))
        return answer.status_code, answer.json().get("detail", "")

    nothing = {"tags": [], "free": False}
    assert pupil.get("/api/tags").json() == nothing | {"may_type": False}
    assert teacher.get("/api/tags").json() == nothing | {"may_type": True}
    assert save(pupil, "class") == (201, "")
    assert save(teacher, "anything") == (201, "")
    without = "Your teacher no longer offers the tag 7b: send the drawing again without it."
    assert save(pupil, "7b") == (422, without)
    offering = {"tags": ["7b", "8c"], "free": False}
    assert teacher.post("/api/tags", json=offering).json() == offering | {"may_type": True}
    assert pupil.get("/api/tags").json() == offering | {"may_type": False}
    for tags in (("7b",), ("8c", "guess"), ("7b", "test-set"), ("class",)):
        assert save(pupil, *tags) == (201, "")
    assert save(pupil, "7b", "insult") == (422, "Your teacher no longer offers the tag insult: choose another.")
    teacher.post("/api/tags", json={"tags": [], "free": True})
    assert pupil.get("/api/tags").json()["may_type"]
    assert save(pupil, "insult") == (201, "")
    assert any_store.count() == 7


def test_a_drawing_that_is_saved_already_needs_no_tag_that_is_offered(class_room: tuple[TestClient, TestClient]):
    """The page lost the answer, and sends it again: perhaps for the receipt, to take the drawing back."""
    teacher, pupil = class_room
    teacher.post("/api/tags", json={"tags": ["7b"], "free": False})
    sent = message(tags=["7b"])
    assert pupil.post("/api/drawings", json=sent).status_code == 201
    teacher.post("/api/tags", json={"tags": ["8c"], "free": False})
    again = pupil.post("/api/drawings", json=sent)
    assert again.status_code == 201
    taken = pupil.post("/api/drawings/take-back", json={"id": sent["id"], "receipt": again.json()["receipt"]})
    assert taken.json() == {"changed": 1}


def test_what_cannot_be_a_tag_of_a_class_is_refused(class_room: tuple[TestClient, TestClient]):
    teacher, _ = class_room
    assert teacher.post("/api/drawings", json=message(tags=["7b"])).status_code == 201
    for tag in ("quarantine", "test-set", "guess", "a,b", " a", "\u200b", "", "a" * 201):
        assert teacher.post("/api/tags", json={"tags": [tag], "free": False}).status_code == 422, tag
        assert teacher.post("/api/tags/rename", json={"from": "7b", "to": tag}).status_code == 422, tag


def test_reserved_tags_keep_their_names(class_room: tuple[TestClient, TestClient]):
    teacher, _ = class_room
    teacher.post("/api/drawings", json=message(tags=["7b", "guess", "test-set"]))
    for tag in ("quarantine", "test-set", "guess"):
        refused = teacher.post("/api/tags/rename", json={"from": tag, "to": "8c"})
        assert refused.status_code == 422 and "keeps its name" in refused.json()["detail"], tag


def test_there_must_be_something_to_rename(class_room: tuple[TestClient, TestClient]):
    teacher, _ = class_room
    missing = teacher.post("/api/tags/rename", json={"from": "7b", "to": "8c"})
    assert (missing.status_code, missing.json()["detail"]) == (404, "No drawing has the tag 7b.")
    teacher.post("/api/drawings", json=message(tags=["7b"]))
    assert teacher.post("/api/tags/rename", json={"from": "7b", "to": "7b"}).status_code == 422
    assert teacher.post("/api/tags/undo", json={"undo": "x"}).status_code == 404


# Renaming.


def test_a_rename_reaches_every_drawing_and_undo_puts_back_exactly(
    class_room: tuple[TestClient, TestClient], any_store: Store, monkeypatch: pytest.MonkeyPatch
):
    """Excluded ones too; those that have both tags keep both after Undo; the order of tags stays."""
    monkeypatch.setattr(renaming, "_AT_ONCE", 3)
    teacher, pupil = class_room
    kinds = [("insult",), ("insult", "7b"), ("7b", "room", "insult"), ("7b",), ("room", "insult", "guess"), ("8c",)]
    any_store.add(replace(drawing, tags=kinds[i % 6]) for i, drawing in enumerate(DRAWINGS))
    any_store.exclude([drawing.id for drawing in DRAWINGS[::4]])
    teacher.post("/api/tags", json={"tags": ["insult", "8c"], "free": False})
    before = tags_of(any_store)
    both = teacher.post("/api/tags/rename", json={"from": "insult", "to": "7b"})
    detail = "7b exists: its 6 drawings and these 8 will be together."
    assert (both.status_code, both.json()["detail"]) == (409, detail)
    assert tags_of(any_store) == before
    renamed = rename(teacher, "insult", "7b", merge=True)
    assert renamed["changed"] == 8
    after = [("7b",), ("7b",), ("7b", "room"), ("7b",), ("room", "7b", "guess"), ("8c",)]
    assert tags_of(any_store) == {drawing.id: after[i % 6] for i, drawing in enumerate(DRAWINGS)}
    assert pupil.get("/api/tags").json()["tags"] == ["7b", "8c"]
    said = teacher.get("/api/counts").text + teacher.get("/api/drawings").text + teacher.get("/api/export").text
    assert "insult" not in said + teacher.get("/api/drawings?aside=true").text
    assert undo(teacher, renamed["undo"]) == 8
    assert tags_of(any_store) == before
    assert pupil.get("/api/tags").json()["tags"] == ["insult", "8c"]
    assert teacher.post("/api/tags/undo", json={"undo": renamed["undo"]}).status_code == 404


def test_an_interrupted_rename_can_be_repeated(
    class_room: tuple[TestClient, TestClient], any_store: Store, monkeypatch: pytest.MonkeyPatch
):
    """Also by another server over the same store, which does not ask whether to merge what it has begun itself."""
    monkeypatch.setattr(renaming, "_AT_ONCE", 4)
    teacher, _ = class_room
    any_store.add(replace(drawing, tags=("insult",)) for drawing in DRAWINGS)
    first = teacher.post("/api/tags/rename", json={"from": "insult", "to": "7b"}).json()
    assert (first["changed"], first["left"]) == (4, 8)
    app = create_app(any_store, model=Model(None), access=Access(CODE, TEACHERS_CODE))
    restarted = TestClient(app, base_url="http://class.test")
    restarted.post("/sign-in", json={"code": TEACHERS_CODE})
    assert rename(restarted, "insult", "7b")["changed"] == 8
    assert set(tags_of(any_store).values()) == {("7b",)}
    assert rename(restarted, "insult", "7b")["changed"] == 0


def test_a_drawing_that_waited_with_the_earlier_tag_gets_the_new_one(
    class_room: tuple[TestClient, TestClient], any_store: Store
):
    teacher, pupil = class_room
    teacher.post("/api/tags", json={"tags": ["7x"], "free": False})
    arrived = message(tags=["7x", "guess"])
    pupil.post("/api/drawings", json=arrived)
    rename(teacher, "7x", "7y")
    rename(teacher, "7y", "7b")
    for _ in range(2):  # it was renamed twice
        saved = pupil.post("/api/drawings", json=message(tags=["7x"]))
        assert (saved.status_code, saved.json()["tags"]) == (201, ["7b"])
    again = pupil.post("/api/drawings", json=arrived)  # its first answer was lost
    assert (again.status_code, any_store.count()) == (201, 3)
    assert set(tags_of(any_store).values()) == {("7b", "guess"), ("7b",)}
    # Offered again, the earlier name is a tag of its own.
    teacher.post("/api/tags", json={"tags": ["7x"], "free": False})
    assert pupil.post("/api/drawings", json=message(tags=["7x"])).json()["tags"] == ["7x"]


def test_the_tag_that_nobody_chose_can_be_renamed_each_time(class_room: tuple[TestClient, TestClient]):
    teacher, pupil = class_room
    pupil.post("/api/drawings", json=message())
    assert rename(teacher, "class", "monday")["changed"] == 1
    assert pupil.post("/api/drawings", json=message()).json()["tags"] == ["class"]


def test_documents_that_are_no_drawings_are_renamed_too(client: TestClient, store: Store):
    """They are counted by their tags, so they show them."""
    bad, good = (replace(drawing, tags=("insult",)) for drawing in DRAWINGS[:2])
    store.add([bad, good])
    with store.file.connection() as connection:
        connection.execute("UPDATE drawing SET date = 'soon' WHERE id = ?", (bad.id,))
    renamed = rename(client, "insult", "7b")
    assert renamed["changed"] == 2
    assert store.count(Query(("insult",), deleted=None)) == 0
    assert undo(client, renamed["undo"]) == 2
    assert store.count(Query(("insult",), deleted=None)) == 2


def test_many_renames_leave_each_drawing_with_the_tag_it_should_have(
    class_room: tuple[TestClient, TestClient], any_store: Store
):
    teacher, pupil = class_room
    chance = random.Random(3)
    names = ["a", "b", "c", "d"]
    any_store.add(replace(drawing, id=new_id(), tags=(names[i % 4],)) for i, drawing in enumerate(DRAWINGS))
    teacher.post("/api/tags", json={"tags": [], "free": True})
    for _ in range(8):
        old, new = chance.sample(names, 2)
        before = tags_of(any_store)
        if (old,) not in before.values():
            continue
        renamed = rename(teacher, old, new, merge=True)
        expected = {id: (new,) if tags == (old,) else tags for id, tags in before.items()}
        assert tags_of(any_store) == expected
        if chance.random() < 0.5:
            undo(teacher, renamed["undo"])
            assert tags_of(any_store) == before
        else:
            assert pupil.post("/api/drawings", json=message(tags=[old])).json()["tags"] == [new]
