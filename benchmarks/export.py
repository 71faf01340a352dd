"""How fast the exported page guesses, how large it is, and how close to the server's its guesses are.

    python -m benchmarks.export [--workdir=DIR] [--store=URI]

The page is opened from its file in Chromium and asked about the drawings of --store, else about synthetic ones. The
time is that between the last stroke and the bars: inking the drawing, reading the canvas, the network, and the texts.
It takes the test extra, and Chromium on the PATH.
"""

import base64
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import numpy as np
from absl import flags
from playwright.sync_api import Page, sync_playwright
from rich.console import Console
from rich.table import Table

from gradejax import cli, stores
from gradejax.errors import UserError
from gradejax.export.page import MAX_BYTES, to_page
from gradejax.hands.synthetic import write_drawings
from gradejax.recogniser import Recogniser, load_chosen
from gradejax.scales import NO_GRADE

SYNTHETIC = 1000
_TOGETHER = 200
"""Drawings that the page is asked about in one call."""

_FLAGS = flags.FlagValues()
cli.define_workdir(_FLAGS, "The run whose model is exported; by default the one chosen on the pages, else the newest.")
flags.DEFINE_string("store", None, "Address of the drawings; by default they are synthetic.", flag_values=_FLAGS)

# The page has a stroke on its paper. It is given the drawings instead, whenever it reads its canvas.
_ASK = """async (pngs) => {
  const read = CanvasRenderingContext2D.prototype.getImageData;
  const [undo, clear] = ["undo", "clear"].map((id) => document.getElementById(id));
  const answers = [];
  for (const png of pngs) {
    const picture = new Image();
    picture.src = `data:image/png;base64,${png}`;
    await picture.decode();
    const context = new OffscreenCanvas(picture.width, picture.height).getContext("2d", { willReadFrequently: true });
    context.drawImage(picture, 0, 0);
    const ink = context.getImageData(0, 0, picture.width, picture.height);
    clear.click();
    CanvasRenderingContext2D.prototype.getImageData = function (...area) {
      read.apply(this, area);
      return ink;
    };
    const began = performance.now();
    undo.click(); // brings the stroke back
    const milliseconds = performance.now() - began;
    CanvasRenderingContext2D.prototype.getImageData = read;
    const bars = [...document.querySelectorAll("#bars li")].map((bar) => [
      bar.firstChild.textContent,
      parseFloat(bar.querySelector(".track span").style.width) / 100,
    ]);
    answers.push({ label: document.getElementById("guess").textContent, bars, milliseconds });
  }
  return answers;
}"""


class Answer(NamedTuple):
    """What the page says of a drawing.

    Attributes:
        label: a grade, or `NO_GRADE`.
        confidences: in the likeliest grades.
        milliseconds: that it took.
    """

    label: str
    confidences: dict[str, float]
    milliseconds: float


def answers(page: Page, pngs: Sequence[bytes]) -> list[Answer]:
    """Asks an exported page in English, on which nothing has been drawn yet, about drawings of 280 x 280 pixels."""
    page.locator("#paper").click()
    found = []
    for start in range(0, len(pngs), _TOGETHER):
        batch = [base64.b64encode(png).decode() for png in pngs[start : start + _TOGETHER]]
        for one in page.evaluate(_ASK, batch):
            confidences = {_label(text): share for text, share in one["bars"]}
            found.append(Answer(_label(one["label"]), confidences, one["milliseconds"]))
    return found


def _label(text: str) -> str:
    return text.replace("−", "-")


def compare(recogniser: Recogniser, pngs: Sequence[bytes], found: Sequence[Answer]) -> tuple[int, float]:
    """Compares the page's answers with those of the recogniser that it was made from.

    Returns:
        How many labels differ, and the largest difference between two confidences.
    """
    ink = np.stack([recogniser.ink(png) for png in pngs])
    logits, calibration = recogniser.logits(ink), recogniser.calibration
    different, largest = 0, 0.0
    expected = zip(calibration.confidences(logits), calibration.are_grades(logits, ink), strict=True)
    for answer, (confidences, is_grade) in zip(found, expected, strict=True):
        different += answer.label != (recogniser.labels[int(confidences.argmax())] if is_grade else NO_GRADE)
        by_label = dict(zip(recogniser.labels, confidences, strict=True))
        largest = max(largest, *(abs(by_label[label] - share) for label, share in answer.confidences.items()))
    return different, float(largest)


def main(arguments: list[str]) -> None:
    chromium = shutil.which("chromium")
    if not chromium:
        raise UserError("Chromium is missing: apt-get install chromium")
    if _FLAGS.store:
        with closing(stores.open_store(_FLAGS.store)) as store:
            pngs = [drawing.png for drawing in store.find(stores.Query())]
    else:
        pngs = [drawing.png for drawing in write_drawings(SYNTHETIC, seed=1)]
    chosen = load_chosen(cli.workdir(_FLAGS))
    content = to_page(chosen)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        file = Path(folder, "page.html")
        file.write_bytes(content)
        browser = playwright.chromium.launch(executable_path=chromium, args=["--headless", "--no-sandbox"])
        page = browser.new_page(locale="en")
        page.goto(file.as_uri())
        found = answers(page, pngs)
        browser.close()
    different, largest = compare(chosen.recogniser, pngs, found)
    median, slow = np.percentile([answer.milliseconds for answer in found], [50, 99])
    table = Table(f"{chosen.name} on {len(pngs):,} drawings", "measured", "target")
    table.add_row("a guess in V8, median", f"{median:.1f} ms", "< 15 ms")
    table.add_row("99th percentile", f"{slow:.1f} ms")
    table.add_row("the file", f"{len(content):,} bytes", f"< {MAX_BYTES:,}")
    table.add_row("other labels than the server's", f"{different:,}", "0")
    table.add_row("largest difference of a confidence", f"{largest:.1e}", "< 2e-3")
    Console().print(table)


if __name__ == "__main__":
    cli.run(main, _FLAGS)
