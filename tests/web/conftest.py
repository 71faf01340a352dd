"""A real store, a real server, a real (small) model and a real browser."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import forked
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from starlette.testclient import TestClient

from gradejax.hands.synthetic import write_drawings
from gradejax.stores import Store, open_store
from gradejax.web import app
from gradejax.web.app import create_app
from gradejax.web.model import Model

# No network access, and a host name that is not loopback's, so not a secure context.
CHROMIUM_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP class.test 127.0.0.1",
]
CODE = "seven-bees"
TEACHERS_CODE = "three-wise-owls"


@dataclass(frozen=True)
class Server:
    """A running `python -m gradejax.web`."""

    url: str
    store: Store


@contextmanager
def serve(folder: Path, *flags: str) -> Iterator[Server]:
    """Runs a server over a store of its own in `folder`, without a model unless `flags` name one."""
    uri = f"sqlite:///{folder}/grades.db"
    process = forked.Process(folder, "web", "--port=0", f"--store={uri}", *flags)
    try:
        address = process.lines(1)[0].split()[-1]
        store = open_store(uri)
        yield Server(address.rstrip("/"), store)
        store.close()
    finally:
        process.terminate()
        process.wait(timeout=20)


def set_up(folder: Path, **settings: object) -> None:
    """Writes the settings of the class whose server will run in `folder`; see `gradejax.web.settings`."""
    (folder / "grades.db-settings.json").write_text(json.dumps(settings))


@pytest.fixture(autouse=True)
def no_last_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """An application in this process has no requests left when it ends, and need not wait for them."""
    monkeypatch.setattr(app, "LAST_ANSWERS_SECONDS", 0.0)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with_drawings = open_store(f"sqlite:///{tmp_path}/grades.db")
    yield with_drawings
    with_drawings.close()


@pytest.fixture
def client(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """A client of the pages on loopback, over `store`, in a folder without a trained model."""
    monkeypatch.chdir(tmp_path)
    with TestClient(
        create_app(store, model=Model(None)), base_url="http://127.0.0.1:8000", raise_server_exceptions=False
    ) as client:
        yield client


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real but poor model: trained on 600 synthetic grades and as many other drawings, for a few epochs."""
    folder = tmp_path_factory.mktemp("training")
    uri = f"sqlite:///{folder}/grades.db"
    store = open_store(uri)
    store.add(write_drawings(600, seed=1, writers=8))
    store.close()
    config = Path(__file__).parents[2] / "configs/mlp.py"
    flags = [
        f"--config={config}",
        f"--config.data.store={uri}",
        f"--workdir={folder}/run",
        "--config.train.epochs=20",
        "--config.train.checkpoint_every=20",
    ]
    # Little dropout and a short average, so that it learns fast.
    flags += ["--config.data.others=600", "--config.model.dropout=(0.1,0.1)", "--config.train.ema_decay=0.9"]
    done = forked.run(folder, "main", *flags)
    assert done.returncode == 0, done.stderr
    return folder / "run"


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, run: Path) -> Iterator[Server]:
    """A server for one person on this machine, with a model."""
    with serve(tmp_path_factory.mktemp("desk"), f"--workdir={run}") as server:
        yield server


@pytest.fixture(scope="session")
def class_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server for a class, without a model: pupils sign in with CODE, the teacher with TEACHERS_CODE; free tags."""
    codes = (f"--access-code={CODE}", f"--teacher-code={TEACHERS_CODE}")
    folder = tmp_path_factory.mktemp("class")
    set_up(folder, free_tags=True)
    with serve(folder, *codes) as server:
        yield Server(server.url.replace("127.0.0.1", "class.test"), server.store)


# Not for the whole session: while it is open, no other test can run an event loop.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium's headless shell, with which the tests take a quarter less time, or Chromium."""
    chromium = shutil.which("chromium-headless-shell") or shutil.which("chromium")
    if chromium is None:
        if os.environ.get("CI"):
            pytest.fail("Chromium is missing: apt-get install chromium")
        pytest.skip("needs Chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        expect.set_options(timeout=20_000)  # on a busy machine
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens a URL in a browser context of its own; an uncaught error in the page fails the test."""
    with ExitStack() as stack:
        errors: list[str] = []

        def open_page(url: str, **options: object) -> Page:
            context = browser.new_context(viewport={"width": 360, "height": 640}, **options)
            stack.callback(context.close)
            page = context.new_page()
            page.set_default_timeout(20_000)
            page.on("pageerror", lambda error: errors.append(str(error)))
            page.goto(url)
            return page

        yield open_page
    assert not errors


@pytest.fixture
def without_site_data(browser: Browser, tmp_path: Path) -> Iterator[Page]:
    """Chromium, for the shell has no settings, set to block all site data: `localStorage` and IndexedDB throw."""
    settings = tmp_path / "Default/Preferences"
    settings.parent.mkdir()
    settings.write_text('{"profile": {"default_content_setting_values": {"cookies": 2}}}')
    context = browser.browser_type.launch_persistent_context(
        tmp_path, executable_path=shutil.which("chromium"), args=CHROMIUM_FLAGS
    )
    errors: list[str] = []
    page = context.new_page()
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    context.close()
    assert not errors
