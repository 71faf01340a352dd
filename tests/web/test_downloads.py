"""Downloads of a recogniser: from the Models page and from the gallery, and what stands in their way."""

import gc
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import unquote

import anyio
import numpy as np
import onnxruntime
import pytest
from conftest import CODE, TEACHERS_CODE, Server, serve
from playwright.sync_api import Download, Locator, Page, expect
from starlette.testclient import TestClient
from test_models_page import save_run

from gradejax import recogniser
from gradejax.hands.synthetic import write_drawings
from gradejax.stores import Store
from gradejax.web.access import Access
from gradejax.web.app import create_app
from gradejax.web.exporting import Exporter
from gradejax.web.model import Model
from gradejax.web.sending import MAX_BYTES, SendBudget

EXPORT = "/api/models/export"


def check_onnx(content: bytes, model: recogniser.Recogniser, name: str) -> None:
    """A downloaded graph is the one of this model."""
    session = onnxruntime.InferenceSession(content)
    assert session.get_modelmeta().custom_metadata_map["name"] == name
    # So many, for servers have compiled the network for 16, too.
    ink = np.stack([model.ink(drawing.png) for drawing in write_drawings(16, seed=4)])
    (confidences,) = session.run(["confidences"], {"ink": ink[:, None].astype(np.float32)})
    np.testing.assert_allclose(confidences, model.confidences(ink), atol=1e-4)


# The route.


@pytest.mark.parametrize("name", ["mine", "7b „blau“", 'a"b;c', "shipped"])
def test_a_model_is_given_as_a_page_and_as_onnx(client: TestClient, name: str):
    model = recogniser.load_shipped() if name == "shipped" else recogniser.load(save_run(name, 0.9))
    for to, suffix in (("page", ".html"), ("onnx", ".onnx")):
        answer = client.get(EXPORT, params={"name": name, "to": to})
        assert answer.status_code == 200, answer.text
        kind, _, file = answer.headers["content-disposition"].partition("; filename*=utf-8''")
        assert (kind, unquote(file)) == ("attachment", name + suffix)
        assert answer.headers["cache-control"] == "no-store"
        assert int(answer.headers["content-length"]) == len(answer.content)
        if to == "onnx":
            check_onnx(answer.content, model, name)
        else:
            assert answer.content.lower().startswith(b"<!doctype html>")


def test_the_model_of_the_command_line_is_given_wherever_it_is(store: Store, run: Path):
    client = TestClient(create_app(store, model=Model(run)), base_url="http://localhost")
    assert client.get("/api/status").json()["model"] == "run"
    check_onnx(client.get(EXPORT, params={"name": "run", "to": "onnx"}).content, recogniser.load(run), "run")


@pytest.mark.parametrize(
    ("parameters", "status"),
    [
        ({"name": "nowhere", "to": "page"}, 404),
        ({"name": "../runs/mine", "to": "page"}, 404),
        ({"name": "mine", "to": "stablehlo"}, 422),
        ({"name": "mine"}, 422),
        ({"to": "page"}, 422),
    ],
)
def test_what_there_is_not_is_said_in_a_line(client: TestClient, parameters: dict[str, str], status: int):
    save_run("mine", 0.9)
    answer = client.get(EXPORT, params=parameters)
    assert (answer.status_code, len(answer.json()["detail"].splitlines())) == (status, 1)


def test_pupils_may_not(store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    app = create_app(store, model=Model(None), access=Access(CODE, TEACHERS_CODE))
    for code, status in ((CODE, 403), (TEACHERS_CODE, 200)):
        visitor = TestClient(app, base_url="http://class.test")
        assert visitor.post("/sign-in", json={"code": code}).status_code == 200
        assert visitor.get(EXPORT, params={"name": "shipped", "to": "onnx"}).status_code == status


def damage(run: Path) -> None:
    for file in (run / "checkpoints").rglob("*"):
        if file.is_file():
            file.write_bytes(b"")


def test_a_damaged_model_is_said_in_the_visitors_language(client: TestClient, caplog: pytest.LogCaptureFixture):
    damage(save_run("mine", 0.9))
    answer = client.get(EXPORT, params={"name": "mine", "to": "page"}, headers={"Accept-Language": "de"})
    assert answer.status_code == 503
    assert answer.json()["detail"].startswith("Das Modell von mine fehlt oder ist beschädigt")
    assert "runs/mine" in caplog.text


def test_without_onnx_the_teacher_is_told_how_to_install_it(client: TestClient, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    answer = client.get(EXPORT, params={"name": "shipped", "to": "onnx"}, headers={"Accept-Language": "fr"})
    assert answer.status_code == 503
    assert answer.json()["detail"] == (
        "ONNX a besoin d’une bibliothèque qui manque sur ce serveur\u00a0: `pip install -e '.[onnx]'` l’installe."
    )
    assert client.get(EXPORT, params={"name": "shipped", "to": "page"}).status_code == 200


def test_everybody_else_is_answered_while_a_file_is_made(client: TestClient, monkeypatch: pytest.MonkeyPatch):
    began, go_on = threading.Event(), threading.Event()

    def write(chosen: recogniser.Chosen) -> bytes:
        began.set()
        assert go_on.wait(60)
        return chosen.name.encode()

    monkeypatch.setattr("gradejax.export.page.to_page", write)
    with ThreadPoolExecutor() as others:
        file = others.submit(client.get, EXPORT, params={"name": "shipped", "to": "page"})
        assert began.wait(60)
        assert client.get("/api/status").status_code == 200
        go_on.set()
        assert file.result(timeout=60).content == b"shipped"


@pytest.mark.anyio
async def test_a_large_file_that_nobody_reads_keeps_no_room(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("gradejax.export.page.to_page", lambda chosen: bytes(MAX_BYTES))
    exporter = Exporter(Model(None), SendBudget())
    with anyio.fail_after(60):
        for _ in range(3):
            size, pieces = await exporter.begin("shipped", "page")
            assert size == MAX_BYTES
            del pieces  # as when the client goes away before the answer begins
            gc.collect()
        _, pieces = await exporter.begin("shipped", "page")
        assert sum([len(piece) async for piece in pieces]) == MAX_BYTES


# In a browser.


@pytest.fixture(scope="module")
def with_runs(tmp_path_factory: pytest.TempPathFactory, run: Path) -> Iterator[Server]:
    """A server with a run that guesses, a damaged one, and some drawings."""
    folder = tmp_path_factory.mktemp("with-runs")
    for name in ("mine", "broken"):
        shutil.copytree(run, folder / "runs" / name)
    damage(folder / "runs" / "broken")
    (folder / "runs" / ".chosen").write_text("mine\n")
    with serve(folder) as server:
        server.store.add(write_drawings(30, seed=6, writers=2))
        yield server


def downloaded(page: Page, button: Locator) -> Download:
    with page.expect_download() as download:
        button.click()
    expect(page.locator("#note")).to_have_text(f"{download.value.suggested_filename} is downloaded.")
    return download.value


def check_both(page: Page, place: Locator, name: str, model: recogniser.Recogniser) -> None:
    as_page = downloaded(page, place.get_by_role("button", name=f"Download {name} as a page"))
    assert as_page.suggested_filename == f"{name}.html"
    assert as_page.path().read_bytes().lower().startswith(b"<!doctype html>")
    as_onnx = downloaded(page, place.get_by_role("button", name=f"Download {name} as ONNX"))
    assert as_onnx.suggested_filename == f"{name}.onnx"
    check_onnx(as_onnx.path().read_bytes(), model, name)


def test_the_models_page_gives_each_run_and_the_shipped_one(
    with_runs: Server, open_page: Callable[..., Page], run: Path
):
    page = open_page(f"{with_runs.url}/models?run=mine")
    expect(page.locator("#detail-heading")).to_have_text("mine")
    check_both(page, page.locator("#detail"), "mine", recogniser.load(run))
    check_both(page, page.locator("#runs"), "shipped", recogniser.load_shipped())


def test_the_gallery_gives_the_model_whose_guesses_it_shows(
    with_runs: Server, open_page: Callable[..., Page], run: Path
):
    page = open_page(f"{with_runs.url}/browse")
    expect(page.get_by_role("heading", name="30 drawings")).to_be_visible()
    expect(page.get_by_text("Download this model")).to_be_hidden()
    page.goto(f"{with_runs.url}/browse?by=disagreement")
    expect(page.locator("#note")).to_have_text("Ranked by the model mine.")
    check_both(page, page.locator("main"), "mine", recogniser.load(run))


def test_what_cannot_be_downloaded_is_said_in_view(with_runs: Server, open_page: Callable[..., Page]):
    page = open_page(f"{with_runs.url}/models?run=broken", locale="it-IT")
    button = page.locator("#detail").get_by_role("button", name="Scarica broken come ONNX")
    button.click()
    expect(page.locator("#note")).to_contain_text("Il modello di broken manca o è danneggiato")
    expect(page.locator("#note")).to_be_in_viewport()
    expect(button).to_be_focused()
