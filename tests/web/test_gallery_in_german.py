"""The gallery speaks the visitor's language, everywhere."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from starlette.testclient import TestClient
from test_languages import assert_no_english

from gradejax.drawings import new_id
from gradejax.hands.synthetic import write_drawings
from gradejax.traces import SENTENCES, Trace
from gradejax.web.erasing import said
from gradejax.web.languages import LANGUAGES

N = 1234
DRAWN = datetime(2026, 3, 5, 12, 30, tzinfo=UTC)
assert_german = partial(assert_no_english, language="de")


@pytest.fixture
def tag(server) -> str:
    """The tag of N drawings by one writer, at one moment."""
    tag = f"test-{new_id()}"
    one, *_ = write_drawings(1, seed=5, writers=1)
    one = replace(one, tags=(tag,), strokes=None, label="A+", date=DRAWN)
    server.store.add(replace(one, id=new_id()) for _ in range(N))
    return tag


def test_nothing_is_in_english(open_page: Callable[..., Page], server, tag: str):
    few = f"few-{new_id()}"  # for the model to judge
    server.store.add(replace(one, tags=(few,), label="B") for one in write_drawings(3, seed=6))
    page = open_page(f"{server.url}/browse?tag={few}&by=disagreement", locale="de-DE", timezone_id="UTC")
    note, options = page.locator("#note"), page.locator("#gallery [role=option]")
    expect(note).to_contain_text("Sortiert durch das Modell run")
    assert_german(page)

    page.goto(f"{server.url}/browse?tag={tag}")
    expect(page.get_by_role("heading", name="1.234 Zeichnungen")).to_be_visible()
    page.locator("#filtering summary").click()
    page.locator("#counting summary").click()
    expect(page.locator("#counts svg text").first).to_have_text("1,2k")
    expect(page.locator("#counts tr", has_text=tag).locator("td").last).to_have_text("1.234")
    assert_german(page)

    page.locator("#select-all").click()
    expect(page.locator("#selected")).to_have_text("Alle 1.234 ausgewählt")
    assert_german(page)
    page.locator("#deselect").click()
    options.first.click()
    expect(page.locator("#selected")).to_contain_text("5.3.2026")
    page.locator("#label").select_option("E-")
    assert_german(page)
    page.locator("#relabel").click()
    expect(note).to_have_text("1 Zeichnung als E− neu beschriftet.")
    assert_german(page)
    page.locator("#undo").click()
    expect(note).to_have_text("1 Zeichnung wie vorher.")
    assert_german(page)

    options.first.dblclick()
    details = page.locator("#viewer-details")
    expect(details).to_contain_text("5. März 2026 um 12:30")
    expect(details).to_contain_text("Frühere Beschriftungen")
    expect(page.locator("#viewer-place")).to_have_text("1 von 1.234")
    assert_german(page)
    page.locator("#viewer-close").click()

    page.locator(f"[data-rename={tag}]").click()
    page.locator("#renaming-to").fill(tag)
    page.locator("#renaming-submit").click()
    expect(page.locator("#renaming-note")).to_have_text(f"Das Schlagwort heißt schon {tag}.")
    assert_german(page)
    page.locator("#renaming-cancel").click()

    page.locator("#erase-all").click()
    expect(page.get_by_role("heading", name="1.234 Zeichnungen endgültig löschen?")).to_be_visible()
    assert_german(page)
    page.get_by_role("button", name="Löschen …", exact=True).click()
    expect(page.get_by_role("heading", name="1.234 Zeichnungen wirklich löschen?")).to_be_visible()
    page.get_by_label("Gib zur Bestätigung 1.234 ein").fill("1.234")
    assert_german(page)
    page.get_by_role("button", name="Endgültig löschen").click()
    expect(note).to_contain_text("1.234 Zeichnungen endgültig gelöscht. Sicherungen")
    assert_german(page)


@pytest.mark.parametrize("kind", SENTENCES)
def test_the_pages_and_the_command_name_the_same_traces(kind: str):
    trace = Trace(kind, Path("data/grades.db"))
    assert str(said(trace)) == str(trace)
    assert len({said(trace).to(language) for language in LANGUAGES}) == len(LANGUAGES)


def test_erasing_says_in_the_visitors_language_what_is_left(client: TestClient):
    answer = client.post("/api/drawings/erase", json={"ids": ["none"]}, headers={"Accept-Language": "fr-CH"}).json()
    assert answer["unreachable"][-1].startswith("Les caches et entraînements d’autres dossiers")
