"""Makes the README's moving picture: docs/guessing.gif, in which the guess follows the pen.

    python docs/moving_picture.py [--workdir=runs/best]

A real server with a trained model, and Chromium (`apt-get install chromium`) driven by Playwright. Each frame is a
screenshot, so that the picture is the same however slow the machine is.
"""

import io
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from absl import flags
from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

from gradejax import cli
from gradejax.drawings import Drawing
from gradejax.errors import UserError
from gradejax.hands.synthetic import write_drawings

FILE = Path(__file__).parent / "guessing.gif"
GRADES = ("B+", "A-")
FRAME = 80
"""Milliseconds; a GIF counts in hundredths of a second."""
REST = 1200
"""Milliseconds for which a finished grade is shown."""
COLOURS = 48

_FLAGS = flags.FlagValues()
cli.define_workdir(_FLAGS, "The run whose model guesses; the newest by default.")


def main(arguments: list[str]) -> None:
    """Records the drawing of `GRADES` and writes `FILE`."""
    chromium = shutil.which("chromium")
    if chromium is None:
        raise UserError("Chromium is missing: apt-get install chromium")
    drawings = {drawing.label: drawing for drawing in write_drawings(300, seed=21, writers=20)}
    chromium_flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=chromium_flags)
        with _served(f"sqlite:///{folder}/grades.db") as url:
            page = browser.new_page(
                viewport={"width": 760, "height": 460}, device_scale_factor=1.5, color_scheme="light"
            )
            page.goto(f"{url}/guess")
            expect(page.get_by_role("button", name="Undo")).to_be_disabled()
            frames = [frame for grade in GRADES for frame in _frames(page, drawings[grade])]
        browser.close()
    _write(frames)


@contextmanager
def _served(uri: str) -> Iterator[str]:
    workdir = cli.workdir(_FLAGS)
    server_flags = [f"--store={uri}", "--port=0", *([f"--workdir={workdir}"] if workdir else [])]
    server = subprocess.Popen([sys.executable, "-m", "gradejax.web", *server_flags], stdout=subprocess.PIPE, text=True)
    assert server.stdout
    try:
        yield server.stdout.readline().split()[-1].rstrip("/")
    finally:
        server.terminate()
        server.wait()


def _frames(page: Page, drawing: Drawing) -> Iterator[tuple[Image.Image, int]]:
    """Draws with the mouse where the drawing's own pen went; yields pictures and the milliseconds to show them."""
    page.get_by_role("button", name="Clear").click(force=True)
    yield _picture(page), 400
    box = page.locator("#paper").bounding_box()
    assert box and drawing.strokes
    scale = box["width"] / 280
    for stroke in drawing.strokes:
        shown = 0.0
        for i, point in enumerate(stroke):
            page.mouse.move(box["x"] + point["x"] * scale, box["y"] + point["y"] * scale)
            if i == 0:
                page.mouse.down()
            if point["t"] - stroke[0]["t"] >= shown + FRAME:
                shown = point["t"] - stroke[0]["t"]
                yield _picture(page), FRAME
        with page.expect_response("**/api/guess"):
            page.mouse.up()
        yield from _bars_moving(page)
    yield _picture(page), REST


def _bars_moving(page: Page) -> Iterator[tuple[Image.Image, int]]:
    """The bars on their way to the new guess; they take 120 ms."""
    page.wait_for_timeout(50)
    for milliseconds in (40, 80, 120):
        page.evaluate(
            "(now) => document.getAnimations().forEach((one) => { one.pause(); one.currentTime = now; })", milliseconds
        )
        yield _picture(page), FRAME
    page.evaluate("document.getAnimations().forEach((one) => one.finish())")


def _picture(page: Page) -> Image.Image:
    with Image.open(io.BytesIO(page.screenshot())) as picture:
        return picture.convert("RGB")


def _write(frames: list[tuple[Image.Image, int]]) -> None:
    """Writes the frames with one palette, that of the fullest, without dithering: only what moves takes space."""
    pictures, durations = zip(*frames, strict=True)
    palette = pictures[-1].quantize(COLOURS, dither=Image.Dither.NONE)
    few = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    few[0].save(FILE, save_all=True, append_images=few[1:], duration=durations, loop=0, optimize=True)


if __name__ == "__main__":
    cli.run(main, _FLAGS)
