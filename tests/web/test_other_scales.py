"""The API of a store whose grades are not letters."""

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from gradejax.drawings import new_id
from gradejax.hands.synthetic import write_drawings
from gradejax.scales import NAMED
from gradejax.stores import Query, Store, open_store
from gradejax.web.app import create_app
from gradejax.web.model import Model

DANISH = NAMED["danish"]
DRAWINGS = list(write_drawings(7, scale=DANISH))


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.chdir(tmp_path)
    opened = open_store(f"sqlite:///{tmp_path}/grades.db", scale=DANISH)
    yield opened
    opened.close()


@pytest.fixture
def client(store: Store) -> Iterator[TestClient]:
    with TestClient(create_app(store, model=Model(None, lambda: store.scale)), base_url="http://localhost") as client:
        yield client


def message(label: str) -> dict:
    png = base64.b64encode(DRAWINGS[0].png).decode()
    return {"id": new_id(), "tags": ["7b"], "label": label, "data": png, "date": "2026-03-01T10:00:00Z"}


def test_grades_of_the_scale_are_saved_and_others_refused(client: TestClient, store: Store):
    assert client.post("/api/drawings", json=message("02")).status_code == 201
    assert [one.label for one in store.find()] == ["02"]
    answer = client.post("/api/drawings", json=message("A+"))
    assert (answer.status_code, answer.json()["detail"]) == (422, "unknown label 'A+', a grade of letters, us")
    assert client.get("/api/status").json()["grades"] == {"02": 1}


def test_drawings_are_filtered_and_relabelled_in_the_scale(client: TestClient, store: Store):
    store.add(DRAWINGS)
    shown = client.get("/api/drawings", params={"label": "-3"}).json()["drawings"]
    assert [one["id"] for one in shown] == [DRAWINGS[0].id]
    for path, parameters in (
        ("drawings", {"label": "A"}), ("drawings", {"guess": "A"}), ("drawings/ids", {"label": "A"}),
        ("export", {"label": "A"}),
    ):  # fmt: skip
        assert client.get(f"/api/{path}", params=parameters).status_code == 422
    ids = [DRAWINGS[0].id]
    assert client.post("/api/drawings/relabel", json={"ids": ids, "label": "B"}).status_code == 422
    assert client.post("/api/drawings/relabel", json={"ids": ids, "label": "12"}).json() == {"changed": 1}
    assert store.count(Query(label="12")) == 2


def test_letters_are_not_guessed(client: TestClient):
    reason = "the recogniser that comes with gradejax reads the scale letters, and the store has danish: train one with"
    answer = client.post("/api/guess", json={"data": message("4")["data"]})
    assert answer.status_code == 503
    assert answer.json()["detail"].startswith(reason)
    assert client.get("/api/status").json()["model_missing"].startswith(reason)
    models = client.get("/api/models").json()
    assert models["about"].startswith(reason)
    assert [one["in_use"] for one in models["runs"]] == [False]
    assert client.post("/api/models/use", json={"name": "shipped"}).status_code == 503


def test_letters_are_no_longer_guessed_once_the_store_has_another_scale(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = open_store(f"sqlite:///{tmp_path}/grades.db")
    model = Model(None, lambda: store.scale)
    with TestClient(create_app(store, model=model), base_url="http://localhost") as client:
        drawing = {"data": message("4")["data"]}
        assert client.post("/api/guess", json=drawing).status_code == 200
        store.set_scale(DANISH)
        model.look_now()
        client.get("/api/status")
        assert client.post("/api/guess", json=drawing).status_code == 503
        store.set_scale(NAMED["letters"])
        model.look_now()
        assert client.post("/api/guess", json=drawing).status_code == 200
