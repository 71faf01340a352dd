"""axe-core finds nothing to object to on any page, in either colour scheme."""

import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from axe_playwright_python.sync_playwright import Axe
from conftest import CODE, TEACHERS_CODE
from playwright.sync_api import Page, expect
from test_desk import crowd
from test_pages import A_PLUS, draw

from gradejax.hands.synthetic import write_drawings


def assert_accessible(page: Page) -> None:
    """Runs axe in both colour schemes, on what the page shows now."""
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        results = Axe().run(page)
        assert results.violations_count == 0, f"{page.url}, {scheme}: {results.generate_report()}"


@pytest.fixture(params=[(360, 740), (1440, 900)], ids=["phone", "desk"])
def visit(request: pytest.FixtureRequest, open_page: Callable[..., Page], class_server) -> Callable[[str], Page]:
    """Opens a page in a class, over plain HTTP."""

    def visit(path: str) -> Page:
        page = open_page(f"{class_server.url}{path}")
        page.set_viewport_size({"width": request.param[0], "height": request.param[1]})
        return page

    return visit


def test_signing_in(visit: Callable[[str], Page]):
    page = visit("/")
    assert_accessible(page)
    page.get_by_label("Access code").fill("six-wasps")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_have_text("That is not the code.")
    assert_accessible(page)


def test_draw(visit: Callable[[str], Page]):
    page = visit(f"/#code={CODE}")
    expect(page.locator("#prompt strong")).to_have_text(re.compile("[A-E]"))
    assert_accessible(page)
    page.get_by_label("Tags").fill("7b")
    draw(page, A_PLUS)
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("button", name="Take back")).to_be_visible()
    assert_accessible(page)
    crowd(page)
    assert_accessible(page)


def test_guess(visit: Callable[[str], Page]):
    page = visit(f"/guess#code={CODE}")
    expect(page.locator("#source")).not_to_be_empty()
    assert_accessible(page)
    draw(page, A_PLUS)
    expect(page.locator("#guess")).not_to_be_empty()
    page.get_by_role("button", name="No, it is").click()
    expect(page.get_by_role("group", name="Which grade is it?")).to_be_visible()
    assert_accessible(page)
    crowd(page)
    assert_accessible(page)


def test_browse(visit: Callable[[str], Page], class_server):
    class_server.store.add(replace(one, tags=("axe",)) for one in write_drawings(20, seed=32))
    page = visit(f"/browse#code={TEACHERS_CODE}")
    tiles = page.locator("#gallery [role=option]")
    expect(tiles.first).to_be_visible()
    assert_accessible(page)
    for summary in page.locator("summary").all():
        if not summary.evaluate("node => node.parentElement.open"):
            summary.click()
    expect(page.locator("#counts table")).to_be_visible()
    tiles.nth(1).click()
    expect(page.get_by_role("region", name="Selected drawings")).to_be_visible()
    assert_accessible(page)
    page.get_by_role("button", name="Deselect").click()
    page.get_by_role("combobox", name="Sort").select_option("disagreement")
    expect(page.locator("#gallery .doubt").first).to_be_visible()
    assert_accessible(page)


def test_what_a_pupil_may_not_open(visit: Callable[[str], Page]):
    page = visit(f"/browse#code={CODE}")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    assert_accessible(page)


def test_models(visit: Callable[[str], Page]):
    page = visit(f"/models#code={TEACHERS_CODE}")
    expect(page.locator("table tbody tr").first).to_be_visible()
    assert_accessible(page)


def test_class(visit: Callable[[str], Page], class_server):
    class_server.store.add(replace(one, tags=("axe",)) for one in write_drawings(20, seed=33))
    page = visit(f"/class#code={TEACHERS_CODE}")
    expect(page.locator("#newest li.shown").first).to_be_visible()
    assert_accessible(page)
    page.get_by_role("button", name="Pause collecting").click()
    expect(page.get_by_role("button", name="Resume collecting")).to_be_visible()
    assert_accessible(page)
    page.get_by_role("button", name="Resume collecting").click()
    expect(page.get_by_role("button", name="Pause collecting")).to_be_visible()
