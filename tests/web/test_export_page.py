"""The exported page, opened from its file: it guesses as the server does, alone, in each language."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from flax import nnx
from playwright.sync_api import Page, expect
from test_accessibility import assert_accessible
from test_languages import OTHERS, assert_fits, assert_no_english
from test_pages import A_PLUS, DOT, draw, draw_by_finger
from waiting import wait_until

from benchmarks.export import answers, compare
from gradejax import forward, models, recogniser
from gradejax.calibration import Calibration
from gradejax.errors import UserError
from gradejax.export.page import MAX_BYTES, to_page
from gradejax.hands.canvas import ink_strokes
from gradejax.hands.synthetic import write_drawings, written_others
from gradejax.ink import encode_png
from gradejax.recogniser import Chosen, Recogniser
from gradejax.scales import LETTERS, NO_GRADE
from gradejax.stores import Store
from gradejax.web.languages import LANGUAGES, Text

GRADES = LETTERS.labels

TESTS = Path(__file__).parent.parent


def dot(random: np.random.Generator) -> np.ndarray:
    ink = np.zeros((280, 280), np.uint8)
    centre = [int(place) for place in random.integers(30, 250, 2)]
    cv2.circle(ink, centre, int(random.integers(2, 45)), 255, -1, cv2.LINE_AA)
    return ink


@cache
def drawings(grades: int, others: int, dots: int, seed: int = 5) -> list[bytes]:
    """PNGs of 280 x 280: a real drawing, synthetic grades, what is none, dots of all sizes, blank and full paper."""
    random = np.random.default_rng(0)
    inks = [ink_strokes(one.strokes) for one in written_others(others, seed=seed)]
    inks += [dot(random) for _ in range(dots)]
    inks += [np.full((280, 280), ink, np.uint8) for ink in (0, 20, 255)]
    real = (TESTS / "b-minus.png").read_bytes()
    return [real, *(one.png for one in write_drawings(grades, seed=seed)), *map(encode_png, inks)]


@pytest.fixture(scope="module")
def shipped() -> Chosen:
    return recogniser.load_own()


@pytest.fixture(scope="module")
def shipped_page(shipped: Chosen, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of the shipped recogniser's page."""
    return written(shipped, tmp_path_factory.mktemp("shipped"))


def written(chosen: Chosen, folder: Path) -> str:
    file = folder / "page.html"
    file.write_bytes(to_page(chosen))
    return file.as_uri()


def chosen(network: models.Network, size: int, resampling: str = "area") -> Chosen:
    """A recogniser with a network's own variables."""
    own = Recogniser(
        labels=GRADES,
        size=size,
        resampling=resampling,
        calibration=Calibration(temperature=0.7, threshold=0.22),
        network=network,
        variables=forward.variables_of(network),
        logits_of=forward.logits_function(network),
    )
    return Chosen("run", own, None)


def scattered(pngs: list[bytes], size: int, resampling: str, **model: object) -> Chosen:
    """A recogniser whose guesses differ from drawing to drawing, and depend on all of its numbers."""
    random = np.random.default_rng(1)
    network = models.build(size=size, seed=0, **model)
    for layer in network.layers:
        for name in ("bias", "scale"):
            if (variable := getattr(layer, name, None)) is not None:
                variable[...] = random.normal(0, 0.5, variable.shape).astype(np.float32)
        if isinstance(layer, nnx.BatchNorm):
            layer.mean[...] = random.normal(0, 0.2, layer.mean.shape).astype(np.float32)
            layer.var[...] = random.uniform(0.02, 0.1, layer.var.shape).astype(np.float32)
    own = chosen(network, size, resampling)
    logits = own.recogniser.logits(np.stack([own.recogniser.ink(png) for png in pngs]))
    # In the last layer, such that each output is 0 on average, give or take 2.
    last, scale = network.layers[-1], 2 / logits.std(axis=0)
    last.kernel[...] = np.asarray(last.kernel[...]) * scale
    last.bias[...] = (np.asarray(last.bias[...]) - logits.mean(axis=0)) * scale
    changed = replace(own.recogniser, variables=forward.variables_of(network))
    return own._replace(recogniser=changed)


def test_the_shipped_recognisers_guesses(open_page: Callable[..., Page], shipped, shipped_page):
    pngs = drawings(126, 100, 26)
    assert len(pngs) == 256
    found = answers(open_page(shipped_page), pngs)
    assert {answer.label for answer in found} == {*GRADES, NO_GRADE}
    for start in range(0, 256, 32):  # so many, for servers have compiled the network for 32, too
        some = slice(start, start + 32)
        different, largest = compare(shipped.recogniser, pngs[some], found[some])
        assert (different, largest < 1e-3) == (0, True), largest


CNN = {"name": "cnn", "channels": [6, 8], "hidden": 16, "batch_norm_momentum": 0.0}
VARIANTS = {
    "mlp": (20, "area", {"name": "mlp", "hidden": [30, 17], "dropout": [0.5, 0.3], "no_grade": True}),
    "an mlp without a hidden layer": (12, "crop", {"name": "mlp", "hidden": [], "dropout": [], "ink_divisor": 1.0}),
    "without batch norm": (29, "point", {**CNN, "batch_norm": False, "first_bias": False}),
    "pools, odd sizes": (33, "crop", {**CNN, "channels": [5, 6, 7], "pools": [2], "no_grade": True}),
    "views": (24, "area", {**CNN, "test_time_augmentation": True, "batch_norm_epsilon": 0.1, "no_grade": True}),
    "more pixels than were drawn": (300, "area", {**CNN, "channels": [4, 4], "hidden": 6}),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_kind_of_model_guesses_alike(open_page: Callable[..., Page], tmp_path: Path, variant: str):
    size, resampling, model = VARIANTS[variant]
    pngs = drawings(15, 8, 4, seed=7)  # none of which is in doubt by less than 2e-3
    own = scattered(pngs, size, resampling, **model)
    found = answers(open_page(written(own, tmp_path)), pngs)
    different, largest = compare(own.recogniser, pngs, found)
    assert (different, largest < 2e-3) == (0, True), largest
    assert own.recogniser.probabilities(pngs).std(axis=0).max() > 0.1  # or to be alike would say little


def bars(page: Page) -> list[float]:
    """The length of each bar, in percent."""
    widths = page.locator("#bars .track span").evaluate_all("(bars) => bars.map((bar) => parseFloat(bar.style.width))")
    assert len(widths) == 5
    return widths


@pytest.fixture(scope="module")
def own_page(run: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of the page of the run that `server` guesses with."""
    return written(recogniser.of_run(run), tmp_path_factory.mktemp("own"))


def test_what_the_mouse_draws_is_guessed_as_on_the_server(open_page: Callable[..., Page], server, own_page: str):
    online, offline = open_page(f"{server.url}/guess"), open_page(own_page)
    for strokes in (A_PLUS, A_PLUS[:3], DOT):
        for page in (online, offline):
            draw(page, strokes)
        # At the same place, to the pixel.
        assert offline.locator("#paper").bounding_box()["width"] == online.locator("#paper").bounding_box()["width"]
        for line in ("#guess", "#note"):
            expect(online.locator(line)).to_have_text(offline.locator(line).inner_text())
        expect(online.locator("#guess")).not_to_be_empty()
        wait_until(lambda: np.allclose(bars(offline), bars(online), atol=0.2))  # the last answer may be on its way
        for page in (online, offline):
            page.get_by_role("button", name="Clear").click()
            expect(page.locator("#guess")).to_be_empty()


def test_undo_and_clear(open_page: Callable[..., Page], shipped_page: str):
    page = open_page(shipped_page, has_touch=True, is_mobile=True)
    expect(page.get_by_role("button", name="Undo")).to_be_disabled()
    draw_by_finger(page, A_PLUS)
    expect(page.locator("#guess")).to_have_text("A+")
    page.get_by_role("button", name="Undo").tap()
    page.keyboard.press("Control+z")
    expect(page.locator("#guess")).to_have_text("A")
    page.get_by_role("button", name="Clear").tap()
    expect(page.locator("#guess")).to_be_empty()
    expect(page.locator("#hint")).to_be_visible()
    page.get_by_role("button", name="Undo").tap()
    expect(page.locator("#guess")).to_have_text("A")
    expect(page.locator("#hint")).to_be_hidden()
    expect(page.get_by_role("img")).to_have_accessible_name("Drawing area, 2 strokes")


def test_it_is_one_small_file_that_reaches_for_nothing(open_page: Callable[..., Page], shipped_page: str):
    assert Path(shipped_page.removeprefix("file://")).stat().st_size < MAX_BYTES == 1_000_000
    page = open_page("about:blank")
    requests = []
    page.on("request", lambda request: requests.append(request.url))
    page.goto(shipped_page)
    draw(page, A_PLUS)
    expect(page.locator("#guess")).to_have_text("A+")
    assert [url for url in requests if not url.startswith("data:")] == [shipped_page]
    refused = """() => new Promise((resolve) => {
      document.addEventListener("securitypolicyviolation", ({ effectiveDirective }) => resolve(effectiveDirective));
      fetch("https://gradejax.test/").catch(() => {});
    })"""
    assert page.evaluate(refused) == "connect-src"


def test_it_says_whose_guesses_these_are(open_page: Callable[..., Page], run: Path, own_page: str, shipped_page: str):
    summary = json.loads((run / "summary.json").read_text())
    source = open_page(own_page).locator("#source")
    expect(source).to_contain_text(f"These guesses are by run, {summary['val_accuracy']:.1%} (")
    expect(source).to_contain_text(" of unseen writers. The model dates from 2")
    source = open_page(shipped_page).locator("#source")
    expect(source).to_contain_text("the model that comes with gradejax. It was trained on drawings by 135 writers")


def test_a_runs_name_is_text(open_page: Callable[..., Page], tmp_path: Path):
    name = "<img src=x onerror=alert(1)></script><b>&amp;"
    own = chosen(models.build("mlp", 8, seed=0, hidden=[], dropout=[]), 8)
    page = open_page(written(own._replace(name=name, run=tmp_path), tmp_path))
    expect(page.locator("#source")).to_contain_text(f"by {name}, whose accuracy is not known.")
    assert page.locator("img, b").count() == 0


def test_it_is_accessible(open_page: Callable[..., Page], shipped_page: str):
    page = open_page(shipped_page)
    assert_accessible(page)
    draw(page, DOT)
    expect(page.locator("#note")).to_have_text("This does not look like a grade.")
    assert_accessible(page)
    page.set_viewport_size({"width": 1440, "height": 900})
    page.get_by_role("button", name="Clear").click()
    draw(page, A_PLUS)
    assert_accessible(page)


def test_it_speaks_the_browsers_language(open_page: Callable[..., Page], shipped_page: str):
    page = open_page(shipped_page, locale="fr-FR")
    draw(page, DOT)
    expect(page.locator("#note")).to_have_text(Text("guess.not-a-grade").to("fr"))
    assert_no_english(page, "fr")


def test_another_language_can_be_chosen(open_page: Callable[..., Page], shipped_page: str):
    page = open_page(shipped_page, locale="nl-NL")
    draw(page, DOT)
    expect(page.locator("#note")).to_have_text("This does not look like a grade.")
    choice = page.get_by_role("combobox", name="Language")
    assert choice.locator("option").all_inner_texts() == list(LANGUAGES.values())
    for language in OTHERS:
        page.locator("#language").select_option(language)
        expect(page.locator("#note")).to_have_text(Text("guess.not-a-grade").to(language))
        assert_no_english(page, language)
        assert_fits(page)
        expect(page).to_have_title(f"{Text('page.guess').to(language)} – gradejax")
    page.locator("#language").select_option("de")
    expect(page.get_by_role("img")).to_have_accessible_name("Zeichenfläche, 1 Strich")
    expect(page.locator("#note")).to_have_text("Das sieht nicht nach einer Note aus.")
    page.reload()
    expect(page.get_by_role("combobox", name="Sprache")).to_have_value("de")


def test_without_site_data(without_site_data: Page, shipped_page: str):
    without_site_data.goto(shipped_page)
    without_site_data.locator("#language").select_option("it")
    draw(without_site_data, A_PLUS)
    expect(without_site_data.locator("#said")).to_have_text("A più, 100 per cento")


@pytest.mark.parametrize(
    ("size", "model", "reason"),
    [
        (
            28,
            {"name": "mlp", "hidden": [500, 100], "dropout": [0.5, 0.3]},
            "a page with the 444,115 parameters of run would",
        ),
        (
            256,
            {"name": "cnn", "channels": [32, 32], "pools": [1, 2], "hidden": 1, "test_time_augmentation": True},
            "multiplications, and 200,000,000 are the",
        ),
    ],
)
def test_a_model_that_is_too_large_is_refused_in_one_line(size: int, model: dict, reason: str):
    own = chosen(models.build(size=size, seed=0, **model), size)
    with pytest.raises(UserError, match=reason) as refusal:
        to_page(own)
    assert "\n" not in str(refusal.value)


def test_a_layer_of_another_kind_is_refused():
    network = models.Network([models.flatten, nnx.Linear(784, 15, rngs=nnx.Rngs(0)), nnx.gelu], ink_divisor=255)
    with pytest.raises(UserError, match="a page cannot compute a layer called gelu"):
        to_page(chosen(network, 28))


def test_the_benchmark_measures_the_page(store: Store, run: Path, tmp_path: Path):
    store.add(write_drawings(20))
    arguments = [f"--store=sqlite:///{tmp_path}/grades.db", f"--workdir={run}"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.export", *arguments], cwd=TESTS.parent, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "run on 20 drawings" in done.stdout
    assert re.search(r"other labels than the server's +│ 0 ", done.stdout)


def test_it_needs_nothing_of_the_server(tmp_path: Path):
    """A page is exported where the web extra is not installed."""
    missing = ["fastapi", "httptools", "pydantic", "segno", "starlette", "uvicorn", "uvloop"]
    program = f"""
import sys
sys.modules |= dict.fromkeys({missing})
from gradejax.export.page import to_page
from gradejax.recogniser import load_own
print(len(to_page(load_own())))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < MAX_BYTES
