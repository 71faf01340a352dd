"""The notebook's widgets in a real JupyterLab: what is drawn is in the store, and what is guessed is shown."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect
from test_pages import A_PLUS, Strokes

from gradejax.ink import decode_ink
from gradejax.scales import LETTERS
from gradejax.stores import open_store

GRADES = LETTERS.labels

ROOT = Path(__file__).parents[2]
TOKEN = "five-owls"
SETTINGS = {
    "notebook-extension/tracker": {"autoStartDefaultKernel": True},
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True},
}


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The quickstart without its training, and with a guess by the recogniser that comes with gradejax."""
    content = json.loads((ROOT / "notebooks" / "quickstart.ipynb").read_text())
    cells = {cell["id"]: cell for cell in content["cells"] if cell["cell_type"] == "code"}
    guess = "".join(cells["guess"]["source"])
    cells["generate"]["source"] = re.sub(r"generate \d+", "generate 30", "".join(cells["generate"]["source"]))
    cells["guess"]["source"] = guess.replace("trained.run", "")
    content["cells"] = [cells[id] for id in ("generate", "pad", "guess")]
    path = tmp_path_factory.mktemp("lab") / "quickstart.ipynb"
    path.write_text(json.dumps(content))
    return path


@pytest.fixture(scope="module")
def lab(notebook: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the notebook in a JupyterLab, without the notebook's name."""
    home = tmp_path_factory.mktemp("home")
    for name, settings in SETTINGS.items():
        path = home / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(settings))
    folders = {f"JUPYTER_{name}_DIR": str(home / name) for name in ("CONFIG", "DATA", "RUNTIME")}
    environment = {name: value for name, value in os.environ.items() if name != "GRADEJAX_STORE"}
    environment |= folders | {"JUPYTER_TOKEN": TOKEN, "IPYTHONDIR": str(home / "ipython")}
    environment["JUPYTERLAB_SETTINGS_DIR"] = str(home / "settings")
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ServerApp.port=0"]
    command += ["--LabApp.extension_manager=readonly"]  # the other one asks the index of packages
    process = subprocess.Popen(command, cwd=notebook.parent, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        port = next(match[1] for line in process.stderr if (match := re.search(r"http://127\.0\.0\.1:(\d+)/", line)))
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.communicate(timeout=30)


@pytest.fixture(scope="module")
def page(browser, lab: str, notebook: Path) -> Iterator[Page]:
    """The notebook, all cells of which have been run."""
    context = browser.new_context(viewport={"width": 1100, "height": 1400})
    page = context.new_page()
    page.set_default_timeout(60_000)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(f"{lab}/doc/tree/{notebook.name}?token={TOKEN}")
    expect(page.get_by_text("Python 3 (ipykernel) | Idle")).to_be_visible(timeout=60_000)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    yield page
    context.close()
    assert not errors


@pytest.fixture
def pad(page: Page) -> Locator:
    return page.locator(".gradejax").filter(has=page.get_by_role("button", name="Save"))


@pytest.fixture
def guess(page: Page) -> Locator:
    return page.locator(".gradejax").filter(has=page.get_by_role("list"))


def draw(page: Page, widget: Locator, strokes: Strokes) -> None:
    """Draws on a widget's paper with the mouse."""
    canvas = widget.locator("canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    for stroke in strokes:
        points = [(box["x"] + x * box["width"] / 280, box["y"] + y * box["height"] / 280) for x, y in stroke]
        page.mouse.move(*points[0])
        page.mouse.down()
        for point in points[1:]:
            page.mouse.move(*point, steps=10)
        page.mouse.up()


def test_what_is_drawn_on_the_pad_is_in_the_store(page: Page, pad: Locator, notebook: Path):
    expect(pad.get_by_text("0 saved here, 30 in the store")).to_be_visible()
    asked = pad.locator(".asked").inner_text().replace("−", "-")
    assert asked in GRADES
    draw(page, pad, A_PLUS)
    expect(pad.get_by_role("img")).to_have_accessible_name("The paper, strokes: 4")
    pad.get_by_role("button", name="Undo").click()
    expect(pad.get_by_role("img")).to_have_accessible_name("The paper, strokes: 3")
    pad.get_by_role("button", name="Save").click()
    expect(pad.get_by_role("status")).to_contain_text("is saved")
    expect(pad.get_by_text("1 saved here, 31 in the store")).to_be_visible()
    expect(pad.get_by_role("img")).to_have_accessible_name("The paper, empty")
    expect(pad.locator(".asked")).not_to_have_text(asked.replace("-", "−"))
    with closing(open_store(f"sqlite:///{notebook.parent}/quickstart.db")) as store:
        drawing = next(store.find(newest_first=True))
    assert (drawing.label, drawing.tags) == (asked, ("quickstart",))
    assert [len(stroke) > 1 for stroke in drawing.strokes] == [True, True, True]
    assert decode_ink(drawing.png).shape == (280, 280)


def test_skip_asks_for_another_grade_and_saves_nothing(page: Page, pad: Locator, notebook: Path):
    asked = pad.locator(".asked").inner_text()
    saved = pad.get_by_text("saved here").inner_text()
    draw(page, pad, A_PLUS[:1])
    pad.get_by_role("button", name="Skip").click()
    expect(pad.locator(".asked")).not_to_have_text(asked)
    expect(pad.get_by_role("img")).to_have_accessible_name("The paper, empty")
    pad.get_by_role("button", name="Save").click()
    expect(pad.get_by_role("status")).to_contain_text("first")
    assert pad.get_by_text("saved here").inner_text() == saved


def test_a_drawing_that_is_refused_stays_on_the_paper(page: Page, pad: Locator):
    draw(page, pad, [[(140, 140), (142, 142)]])
    pad.get_by_role("button", name="Save").click()
    expect(pad.get_by_role("status")).to_contain_text("Not saved: that is hardly more than a dot")
    expect(pad.get_by_role("img")).to_have_accessible_name("The paper, strokes: 1")
    pad.get_by_role("button", name="Clear").click()
    expect(pad.get_by_role("img")).to_have_accessible_name("The paper, empty")


def test_the_guess_follows_the_pen(page: Page, guess: Locator):
    answer = guess.locator(".answer")
    expect(answer).to_have_text("?")
    expect(guess).to_contain_text("the recogniser that comes with gradejax")
    draw(page, guess, A_PLUS[:2])
    expect(answer).to_have_text("A")
    expect(guess.get_by_role("listitem")).to_have_count(5)
    expect(guess.get_by_role("listitem").first).to_have_text(re.compile(r"A\d+%"))
    draw(page, guess, A_PLUS[2:])
    expect(answer).to_have_text("A+")
    guess.get_by_role("button", name="Clear").click()
    expect(answer).to_have_text("?")
    draw(page, guess, [[(140, 140), (142, 142)]])
    expect(answer).to_have_text("no grade")
