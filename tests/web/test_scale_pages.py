"""The pages of stores whose grades are not letters, in a real browser, and the choice of the grades."""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import pytest
from conftest import CODE, Server, serve
from playwright.sync_api import Page, expect
from starlette.testclient import TestClient
from test_pages import A_PLUS, draw

from gradejax import checkpoints, forward, models, recogniser
from gradejax.drawings import new_id
from gradejax.export.page import to_page
from gradejax.hands.synthetic import write_drawings
from gradejax.scales import LETTERS, NAMED, parse
from gradejax.stores import Query, Store

GRADINGS = {"german": NAMED["german"], "french": NAMED["french"], "poor,fair,good": parse("poor,fair,good")}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Server]]:
    """Servers by the scale of their stores, each started once."""
    servers: dict[str, Server] = {}
    with ExitStack() as stack:

        def server_of(name: str) -> Server:
            if name not in servers:
                folder = tmp_path_factory.mktemp("scale")
                servers[name] = stack.enter_context(serve(folder, f"--scale={name}"))
            return servers[name]

        yield server_of


def shown(label: str) -> str:
    return label.replace("-", "−")


@pytest.mark.parametrize("name", GRADINGS)
def test_grades_of_the_scale_are_prompted_drawn_and_corrected(name: str, served, open_page: Callable[..., Page]):
    server, scale = served(name), GRADINGS[name]
    page = open_page(f"{server.url}/?tags=drawn")
    expect(page.locator("#prompt strong")).not_to_be_empty()
    asked = page.locator("#prompt strong").inner_text().replace("−", "-")
    assert asked in scale.index
    draw(page, A_PLUS)
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#note")).to_have_text(re.compile("saved", re.IGNORECASE))
    assert [one.label for one in server.store.find(Query(tags=("drawn",)))] == [asked]
    # The buttons of Guess are in the order of the scale, and fit.
    page.goto(f"{server.url}/guess?tags=guessed")
    expect(page.locator("#hint")).to_have_text(f"Draw a grade, {shown(scale.labels[0])} to {shown(scale.labels[-1])}")
    draw(page, A_PLUS)
    page.locator("#wrong").click()
    buttons = page.locator("#grades button")
    assert [text.replace("−", "-") for text in buttons.all_inner_texts()] == list(scale.all_labels)
    boxes = buttons.evaluate_all("all => all.map((one) => one.getBoundingClientRect().toJSON())")
    assert all(box["x"] >= 0 and box["x"] + box["width"] <= 360 and box["width"] > 30 for box in boxes)
    assert buttons.evaluate_all("all => all.every((one) => one.scrollWidth <= one.clientWidth)")
    last = scale.labels[-1]
    buttons.nth(len(scale.labels) - 1).click()
    expect(page.locator("#note")).to_have_text(re.compile("saved", re.IGNORECASE))
    assert [one.label for one in server.store.find(Query(tags=("guessed",)))] == [last]


@pytest.mark.parametrize("name", ["german", "french"])
def test_browse_counts_and_relabels_in_the_scale(name: str, served, open_page: Callable[..., Page]):
    server, scale = served(name), GRADINGS[name]
    one, *_ = write_drawings(1, scale=scale)
    server.store.add([replace(one, id=new_id(), tags=("counted",), label=label) for label in scale.labels])
    page = open_page(f"{server.url}/browse?tag=counted")
    page.locator("#counting summary").click()
    heads = page.locator("#counts thead th")
    expect(heads).to_have_count(len(scale.labels) + 3)
    assert heads.all_inner_texts() == ["Tag", *map(shown, scale.labels), "no grade", "all"]
    row = page.locator("#counts tbody tr", has_text="counted")
    assert row.locator("td").all_inner_texts() == [*(["1"] * len(scale.labels)), "0", str(len(scale.labels))]
    assert page.locator("#scaling").is_hidden()
    to, label = scale.labels[2], scale.labels[10]
    if page.locator("#filtering").get_attribute("open") is None:
        page.locator("#filtering summary").click()
    page.locator("#filters [name=label]").select_option(label)
    tile = page.locator("#gallery [role=option]")
    expect(tile).to_have_count(1)
    tile.click()
    page.locator("#selection #label").select_option(to)
    page.locator("#relabel").click()
    expect(page.locator("#note")).to_contain_text(f"relabelled as {shown(to)}")
    assert server.store.count(Query(tags=("counted",), label=to)) == 2
    assert server.store.count(Query(tags=("counted",), label=label)) == 0


def test_the_projector_counts_each_grade_in_order(served, open_page: Callable[..., Page]):
    page = open_page(f"{served('french').url}/class")
    names = page.locator("#goals strong")
    assert names.all_inner_texts() == list(NAMED["french"].labels)


SPOKEN = {
    "en": ("1 plus", "1 minus", "1 point 5", "minus 3", "0 2", "2 and one half", "one half", "14"),
    "de": ("1 plus", "1 minus", "1 Komma 5", "minus 3", "0 2", "2 einhalb", "ein halb", "14"),
    "es": ("1 más", "1 menos", "1 coma 5", "menos 3", "0 2", "2 y medio", "un medio", "14"),
    "fr": ("1 plus", "1 moins", "1 virgule 5", "moins 3", "0 2", "2 et demi", "un demi", "14"),
    "it": ("1 più", "1 meno", "1 virgola 5", "meno 3", "0 2", "2 e mezzo", "un mezzo", "14"),
}


def test_grades_are_spoken_in_each_language(served, open_page: Callable[..., Page]):
    server = served("1+,1-,1.5,-3,02,2½,½,14")
    page = open_page(f"{server.url}/class")
    for language, spoken in SPOKEN.items():
        with page.expect_navigation():
            page.locator("#language").select_option(language)
        expect(page.locator("#goals .spoken").last).not_to_be_empty()
        said = [text.partition(":")[0].strip() for text in page.locator("#goals .spoken").all_text_contents()]
        assert tuple(said) == spoken


def test_the_teacher_chooses_the_grades_of_an_empty_store_once(tmp_path: Path, open_page: Callable[..., Page]):
    with serve(tmp_path) as server:
        page = open_page(f"{server.url}/browse")
        named = page.locator("#scaling [name=named]")
        expect(named).to_be_visible()
        assert named.locator("option").all_inner_texts()[0] == "A+, A, A−, … E−"
        named.select_option("german")
        with page.expect_navigation():
            page.get_by_role("button", name="Choose").click()
        expect(named).to_have_value("german")
        labels = page.locator("#filters [name=label] option")
        assert [text.replace("−", "-") for text in labels.all_text_contents()[1:-1]] == list(NAMED["german"].labels)
        assert server.store.count() == 0
        named.select_option(label="Labels of your own…")
        page.get_by_label("Labels, in their order").fill("poor, poor")
        page.get_by_role("button", name="Choose").click()
        expect(page.locator("#note")).to_contain_text("A scale has 2 to 100 different labels")
        page.get_by_label("Labels, in their order").fill("poor, fair, good")
        with page.expect_navigation():
            page.get_by_role("button", name="Choose").click()
        server.store.add(write_drawings(3, scale=parse("poor,fair,good")))
        named.select_option("french")
        page.get_by_role("button", name="Choose").click()
        expect(page.locator("#note")).to_have_text(
            "There are drawings of poor, fair, good already, which this scale lacks, so the scale stays."
        )
        page.reload()
        expect(page.locator("#gallery [role=option]")).to_have_count(3)
        expect(page.locator("#scaling")).to_be_hidden()


def test_a_scale_is_chosen_through_the_api(client: TestClient, store: Store):
    assert client.post("/api/scale", json={"scale": "ib"}).json() == {"scale": "ib"}
    assert store.scale == NAMED["ib"]
    assert client.post("/api/scale", json={"scale": "7;6,5"}).json() == {"scale": "7;6,5"}
    assert client.post("/api/scale", json={"scale": "school"}).status_code == 422
    assert client.post("/api/scale", json={"scale": "a," * 300}).status_code == 422
    assert client.post("/api/scale", json={"scale": "letters"}).status_code == 200
    store.add(write_drawings(15))
    refused = client.post("/api/scale", json={"scale": "us"}, headers={"Accept-Language": "de"})
    assert refused.status_code == 409
    assert refused.json()["detail"] == (
        "Es gibt schon Zeichnungen von E+, E, E-, die dieser Skala fehlen, darum bleibt die Skala."
    )
    assert store.scale == LETTERS


def test_pupils_choose_no_scale(class_server: Server, open_page: Callable[..., Page]):
    page = open_page(f"{class_server.url}/#code={CODE}")
    expect(page.locator("#prompt strong")).not_to_be_empty()
    status = page.evaluate(
        """async () => (await fetch("api/scale", {
             method: "POST", body: '{"scale": "ib"}', headers: {"Content-Type": "application/json"},
           })).status"""
    )
    assert status == 403
    assert class_server.store.scale == LETTERS


def test_an_exported_page_shows_and_speaks_the_grades_of_its_recogniser(tmp_path: Path, open_page: Callable[..., Page]):
    network = models.build("mlp", 8, seed=0, n_grades=7, hidden=[], dropout=[])
    about = {
        "labels": NAMED["danish"].labels,
        "size": 8,
        "resampling": "area",
        "model": {"name": "mlp", "hidden": [], "dropout": []},
        "calibration": {"temperature": 1.0, "threshold": 0.0},
    }
    with checkpoints.open_manager(tmp_path) as manager:
        checkpoints.save(manager, 1, forward.variables_of(network), {"step": jnp.int32(1)}, about)
    (tmp_path / "summary.json").write_text("{}")
    file = tmp_path / "page.html"
    file.write_bytes(to_page(recogniser.of_run(tmp_path)))
    page = open_page(file.as_uri(), locale="de")
    expect(page.locator("#hint")).to_have_text("Zeichne eine Note, −3 bis 12")
    draw(page, A_PLUS)
    guess = page.locator("#guess")
    expect(guess).not_to_be_empty()
    label = guess.inner_text().replace("−", "-")
    said = {"-3": "minus 3", "00": "0 0", "02": "0 2"}.get(label, label)
    assert label in NAMED["danish"].index
    expect(page.locator("#said")).to_have_text(re.compile(f"^{said}, [0-9]+ Prozent$"))
