"""Makes the documents' pictures of the pages: docs/draw.png, docs/guess.png, docs/browse.png, docs/class.png.

    python docs/screenshots.py [--workdir=runs/best] [--all=FOLDER]

Playwright drives Chromium (`apt-get install chromium`) on a real server over synthetic drawings. With --all, every page
is instead photographed on each of SCREENS, in each of LOOKS, at 200% zoom, and printed, for somebody to look at.
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from absl import flags
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from gradejax import cli
from gradejax.drawings import Drawing
from gradejax.errors import UserError
from gradejax.hands.synthetic import write_drawings
from gradejax.stores import open_store

FOLDER = Path(__file__).parent
CLASSES = ("7a", "7b", "8c")
CODE, TEACHERS_CODE = "7bees42x", "three-wise-owls"
PAGES = {"draw": "/", "guess": "/guess", "mine": "/mine", "browse": "/browse", "models": "/models", "class": "/class"}
SCREENS = ((360, 740), (740, 360), (768, 1024), (1440, 900))
LOOKS: dict[str, dict[str, Any]] = {
    "light": {},
    "dark": {"color_scheme": "dark"},
    "forced": {"forced_colors": "active"},
}
"""Options of the browser's context: the colour schemes, and the system's own colours."""

_FLAGS = flags.FlagValues()
cli.define_workdir(_FLAGS, "The run whose model guesses; the newest finished one by default.")
flags.DEFINE_string("all", None, "A folder for pictures of every page on every screen.", flag_values=_FLAGS)


def main(arguments: list[str]) -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        raise UserError("Chromium is missing: apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        uri = f"sqlite:///{folder}/grades.db"
        store = open_store(uri)
        drawings = list(write_drawings(640, seed=20, writers=24))
        store.add(replace(drawing, tags=(CLASSES[i // 15 % 3],)) for i, drawing in enumerate(drawings))
        store.close()
        arguments = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
        with served(uri) as url:
            if _FLAGS.all:
                photograph_all(browser, url, Path(_FLAGS.all), drawings[0])
                return
            picture_draw(browser, url, next(drawing for drawing in drawings if drawing.label == "B"))
            picture_guess(browser, url, next(drawing for drawing in drawings if drawing.label == "A-"))
            picture_browse(browser, url)
        with served(uri, "--host=0.0.0.0", f"--access-code={CODE}", f"--teacher-code={TEACHERS_CODE}") as url:
            picture_class(browser, url)
        browser.close()


@contextmanager
def served(uri: str, *flags: str) -> Iterator[str]:
    """Runs a server; yields its URL."""
    command = [sys.executable, "-m", "gradejax.web", f"--store={uri}", "--port=0", *flags]
    if _FLAGS.workdir:
        command.append(f"--workdir={_FLAGS.workdir}")
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        yield server.stdout.readline().split()[-1].rstrip("/")
    finally:
        server.terminate()
        server.wait()


def picture_draw(browser: Browser, url: str, drawing: Drawing) -> None:
    page = open_page(browser, f"{url}/", width=960, height=620)
    page.get_by_label("Tags").fill("7b")
    while page.locator("#prompt strong").inner_text() != drawing.label:
        page.get_by_role("button", name="Skip").click()
    draw(page, drawing)
    photograph(page, "draw")


def picture_guess(browser: Browser, url: str, drawing: Drawing) -> None:
    page = open_page(browser, f"{url}/guess", width=960, height=620)
    expect(page.get_by_role("button", name="Undo")).to_be_disabled()
    draw(page, drawing)
    expect(page.get_by_role("button", name="Right")).to_be_enabled()
    page.evaluate("Promise.all(document.getAnimations().map((animation) => animation.finished))")
    photograph(page, "guess")


def picture_browse(browser: Browser, url: str) -> None:
    page = open_page(browser, f"{url}/browse", width=1180, height=1180)
    page.get_by_text("Counts by tag and label").click()
    pictures = page.locator("#gallery [role=option]")
    for i in (2, 3, 12):
        pictures.nth(i).click()
    page.wait_for_load_state("networkidle")
    page.evaluate("scrollTo(0, 0)")
    photograph(page, "browse")


def picture_class(browser: Browser, url: str) -> None:
    page = open_page(browser, f"{url}/class#code={TEACHERS_CODE}", width=1180, height=760)
    expect(page.locator("#newest li.shown")).to_have_count(24)
    page.get_by_label("Goal per grade").fill("43")
    page.get_by_label("Goal per grade").blur()
    page.evaluate("Promise.all(document.getAnimations().map((animation) => animation.finished))")
    photograph(page, "class")


def photograph_all(browser: Browser, url: str, folder: Path, drawing: Drawing) -> None:
    """Photographs every page in use: with a drawing on the paper, with drawings selected in the gallery."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, path in PAGES.items():
        for look, options in LOOKS.items():
            for width, height in SCREENS:
                shot = folder / f"{name}-{width}x{height}-{look}.png"
                shoot(browser, url + path, (width, height), options, drawing, shot)
            # Zooming is having half the room at twice the pixels.
            width, height = SCREENS[-1]
            shot = folder / f"{name}-{width}x{height}-{look}-200%.png"
            shoot(browser, url + path, (width // 2, height // 2), options, drawing, shot)
        print(f"{name}: {folder}/{name}-*", flush=True)


def shoot(
    browser: Browser, url: str, size: tuple[int, int], options: dict[str, Any], drawing: Drawing, path: Path
) -> None:
    """Takes a screenshot of all of a page in use, and prints it as a PDF beside that."""
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, **options)
    page = context.new_page()
    page.goto(url)
    page.wait_for_load_state("networkidle")
    if page.locator("#paper").count():
        draw(page, drawing)
    tiles = page.locator("#gallery [role=option]")
    if tiles.count():
        tiles.nth(1).click()
    page.wait_for_load_state("networkidle")
    page.evaluate("Promise.all(document.getAnimations().map((animation) => animation.finished))")
    page.evaluate("scrollTo(0, 0)")
    page.screenshot(path=path, full_page=True)
    page.pdf(path=path.with_suffix(".pdf"), format="A4")
    context.close()


def open_page(browser: Browser, url: str, width: int, height: int) -> Page:
    page = browser.new_page(viewport={"width": width, "height": height}, device_scale_factor=1.5)
    page.goto(url)
    return page


def photograph(page: Page, name: str) -> None:
    """Saves a screenshot in 64 colours, which are plenty for these pages: the file is a third as large."""
    path = FOLDER / f"{name}.png"
    page.screenshot(path=path)
    with Image.open(path) as picture:
        few = picture.convert("RGB").quantize(64, dither=Image.Dither.NONE)
    few.save(path, optimize=True)


def draw(page: Page, drawing: Drawing) -> None:
    """Draws with the mouse, along the drawing's strokes."""
    box = page.locator("#paper").bounding_box()
    assert box is not None
    scale = box["width"] / 280
    for stroke in drawing.strokes or ():
        for i, point in enumerate(stroke):
            page.mouse.move(box["x"] + point["x"] * scale, box["y"] + point["y"] * scale)
            if i == 0:
                page.mouse.down()
        page.mouse.up()


if __name__ == "__main__":
    cli.run(main, _FLAGS)
