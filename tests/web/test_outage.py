"""What the pages say while MongoDB is away: in a real browser, over a real server."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import forked
import pytest
from playwright.sync_api import Page, expect
from test_pages import A_PLUS, draw
from waiting import wait_until

from gradejax.hands.synthetic import write_drawings
from gradejax.stores import open_store


@pytest.fixture
def address(mortal_mongodb, tmp_path: Path) -> Iterator[str]:
    store = open_store(mortal_mongodb.uri)
    store.add(write_drawings(30, seed=4))
    store.close()
    # It learns soon that the store is away.
    uri = f"{mortal_mongodb.uri}?serverSelectionTimeoutMS=500"
    process = forked.Process(tmp_path, "web", "--port=0", f"--store={uri}")
    yield process.lines(1)[0].split()[-1]
    process.kill()
    process.wait()


def test_a_drawing_waits_while_the_store_is_away_and_the_page_says_so(
    mortal_mongodb, address: str, open_page: Callable[..., Page]
):
    page = open_page(address)
    gallery = open_page(f"{address}browse")
    expect(gallery.locator("#gallery [role=option]").first).to_be_visible()
    page.get_by_label("Tags").fill("7b")
    expect(page.locator("#prompt strong")).to_have_text(re.compile("[A-E]"))
    note = page.locator("#note")
    mortal_mongodb.kill()
    for count in ("1 drawing is", "2 drawings are"):
        draw(page, A_PLUS)
        page.get_by_role("button", name="Save").click()
        expect(note).to_contain_text(f"{count} waiting to be sent. The store is not answering at the moment.")
    gallery.reload()
    expect(gallery.locator("#note")).to_have_text("The store is not answering at the moment.")
    # Counts are kept for a while. The pages themselves need no store.
    wait_until(lambda: page.request.get(f"{address}api/status").status == 503)
    other = open_page(f"{address}guess")
    expect(other.locator("#note")).to_have_text("The store is not answering at the moment.")
    mortal_mongodb.start()
    expect(page.locator("#mine")).to_have_text("2", timeout=60_000)
    expect(note).to_have_text(re.compile("saved"))
    expect(gallery.get_by_role("heading", name="32 drawings")).to_be_visible()  # by itself
    store = open_store(mortal_mongodb.uri)
    assert store.count() == 32
    store.close()
