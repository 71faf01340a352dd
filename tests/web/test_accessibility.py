"""axe-core finds nothing to object to on any page, on phones and desks, in either colour scheme."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from axe_playwright_python.base import AxeResults
from axe_playwright_python.sync_playwright import Axe
from conftest import CODE, TEACHERS_CODE, serve, set_up
from playwright.sync_api import Page, expect
from test_desk import crowd
from test_pages import A_PLUS, draw

from gradejax.hands.synthetic import write_drawings

RULES = {"resultTypes": ["violations"]}
# The colour scheme decides on nothing else.
COLOUR_RULES = RULES | {"runOnly": ["color-contrast", "link-in-text-block"]}


def assert_accessible(page: Page) -> None:
    """Runs axe in both colour schemes, on what the page shows now."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(Axe().axe_script)
    for scheme, rules in (("light", RULES), ("dark", COLOUR_RULES)):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        found = page.evaluate("async (rules) => ({ violations: (await axe.run(rules)).violations })", rules)
        results = AxeResults(found)
        assert results.violations_count == 0, f"{page.url}, {scheme}: {results.generate_report()}"


def assert_accessible_on_every_screen(page: Page) -> None:
    for across, down in ((1440, 900), (360, 740)):
        page.set_viewport_size({"width": across, "height": down})
        # Until what depends on the size has followed.
        page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        assert_accessible(page)


@pytest.fixture
def visit(open_page: Callable[..., Page], class_server) -> Callable[..., Page]:
    """Opens a page in a class, over plain HTTP."""

    def visit(path: str, url: str = class_server.url) -> Page:
        return open_page(f"{url}{path}")

    return visit


def test_signing_in(visit: Callable[[str], Page]):
    page = visit("/")
    assert_accessible_on_every_screen(page)
    page.get_by_label("Access code").fill("six-wasps")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_have_text("That is not the code.")
    assert_accessible_on_every_screen(page)


def test_draw(visit: Callable[[str], Page]):
    page = visit(f"/#code={CODE}")
    expect(page.locator("#prompt strong")).to_have_text(re.compile("[A-E]"))
    assert_accessible_on_every_screen(page)
    page.get_by_label("Tags").fill("7b")
    draw(page, A_PLUS)
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("button", name="Take back")).to_be_visible()
    assert_accessible_on_every_screen(page)
    crowd(page)
    assert_accessible_on_every_screen(page)


def test_a_choice_of_tags(visit: Callable[..., Page], tmp_path: Path):
    set_up(tmp_path, tags=["7b", "8c"])
    with serve(tmp_path, f"--access-code={CODE}", f"--teacher-code={TEACHERS_CODE}") as server:
        page = visit(f"/#code={CODE}", server.url)
        expect(page.get_by_role("combobox", name="Tag")).to_be_visible()
        crowd(page)
        assert_accessible_on_every_screen(page)
        page = visit(f"/class#code={TEACHERS_CODE}", server.url)
        page.get_by_role("button", name="Tags").click()
        page.get_by_role("button", name="Withdraw 7b").click()
        expect(page.get_by_role("button", name="Undo")).to_be_visible()
        assert_accessible_on_every_screen(page)
        page.get_by_role("button", name="Undo").click()
        expect(page.get_by_role("button", name="Withdraw 7b")).to_be_visible()


def test_mine(visit: Callable[[str], Page]):
    page = visit(f"/#code={CODE}")
    expect(page.locator("#prompt strong")).to_have_text(re.compile("[A-E]"))
    page.get_by_role("link", name="My drawings").click()
    expect(page.locator("#empty")).to_be_visible()
    assert_accessible_on_every_screen(page)
    page.get_by_role("link", name="Draw a grade").click()
    expect(page.locator("#prompt strong")).to_have_text(re.compile("[A-E]"))
    page.get_by_label("Tags").fill("axe-mine")
    draw(page, A_PLUS)
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("button", name="Take back")).to_be_visible()
    page.get_by_role("link", name="My drawings").click()
    page.get_by_role("checkbox").check()
    assert_accessible_on_every_screen(page)
    page.get_by_role("button", name="Delete…").click()
    for name in ("Delete it", "Yes, delete for good"):
        expect(page.get_by_role("dialog").get_by_role("button", name=name)).to_be_visible()
        assert_accessible_on_every_screen(page)
        page.get_by_role("dialog").get_by_role("button", name=name).click()
    expect(page.locator("#note")).to_contain_text("1 drawing is deleted for good.")
    assert_accessible_on_every_screen(page)


def test_guess(visit: Callable[[str], Page]):
    page = visit(f"/guess#code={CODE}")
    expect(page.locator("#source")).not_to_be_empty()
    assert_accessible_on_every_screen(page)
    draw(page, A_PLUS)
    expect(page.locator("#guess")).not_to_be_empty()
    page.get_by_role("button", name="No, it is").click()
    expect(page.get_by_role("group", name="Which grade is it?")).to_be_visible()
    assert_accessible_on_every_screen(page)
    crowd(page)
    assert_accessible_on_every_screen(page)


def test_browse(visit: Callable[[str], Page], class_server):
    class_server.store.add(replace(one, tags=("axe",)) for one in write_drawings(20, seed=32))
    page = visit(f"/browse#code={TEACHERS_CODE}")
    tiles = page.locator("#gallery [role=option]")
    expect(tiles.first).to_be_visible()
    assert_accessible_on_every_screen(page)
    for summary in page.locator("summary").all():
        if not summary.evaluate("node => node.parentElement.open"):
            summary.click()
    expect(page.locator("#counts table")).to_be_visible()
    tiles.nth(1).click()
    expect(page.get_by_role("region", name="Selected drawings")).to_be_visible()
    assert_accessible_on_every_screen(page)
    page.get_by_role("button", name="Erase the selected drawings").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    assert_accessible_on_every_screen(page)
    page.get_by_role("dialog").get_by_role("button", name="Erase…").click()
    expect(page.get_by_label("Type 1 to confirm")).to_be_focused()
    assert_accessible_on_every_screen(page)
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Deselect").click()
    page.get_by_role("button", name="Rename axe").click()
    page.get_by_label("New name").fill("axe")
    page.get_by_role("dialog").get_by_role("button", name="Rename").click()
    expect(page.locator("#renaming-note")).to_have_text("The tag is called axe already.")
    assert_accessible_on_every_screen(page)
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("combobox", name="Sort").select_option("disagreement")
    expect(page.locator("#gallery .doubt").first).to_be_visible()
    assert_accessible_on_every_screen(page)


def test_what_a_pupil_may_not_open(visit: Callable[[str], Page]):
    page = visit(f"/browse#code={CODE}")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    assert_accessible_on_every_screen(page)


def test_models(visit: Callable[[str], Page]):
    page = visit(f"/models#code={TEACHERS_CODE}")
    expect(page.locator("table tbody tr").first).to_be_visible()
    assert_accessible_on_every_screen(page)


def test_class(visit: Callable[[str], Page], class_server):
    class_server.store.add(replace(one, tags=("axe",)) for one in write_drawings(20, seed=33))
    page = visit(f"/class#code={TEACHERS_CODE}")
    expect(page.locator("#newest li.shown").first).to_be_visible()
    assert_accessible_on_every_screen(page)
    page.get_by_role("button", name="Pause collecting").click()
    expect(page.get_by_role("button", name="Resume collecting")).to_be_visible()
    assert_accessible_on_every_screen(page)
    page.get_by_role("button", name="Resume collecting").click()
    expect(page.get_by_role("button", name="Pause collecting")).to_be_visible()
