"""The gallery in a real browser: found, looked at, selected, changed and undone."""

import re
import time
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Page, expect

from gradejax.drawings import Drawing, new_id
from gradejax.hands.synthetic import write_drawings
from gradejax.scales import LETTERS, NO_GRADE
from gradejax.stores import Query

GRADES = LETTERS.labels

DRAWINGS = 4 * list(write_drawings(100, seed=5, writers=3))


@pytest.fixture
def tag() -> str:
    """A tag of the test's own: tests share a server."""
    return f"test-{new_id()}"


@pytest.fixture
def tagged(server, tag: str) -> list[Drawing]:
    """400 drawings by three writers with `tag`, newest first, as the gallery shows them."""
    server.store.add(replace(drawing, id=new_id(), tags=(tag,), strokes=None) for drawing in DRAWINGS)
    return list(server.store.find(Query(tags=(tag,)), newest_first=True, pictures=False))


@pytest.fixture
def gallery(open_page: Callable[..., Page], server, tag: str, tagged: list[Drawing]) -> Page:
    """The gallery of these."""
    page = open_page(f"{server.url}/browse?tag={tag}")
    expect(page.get_by_role("heading", name="400 drawings")).to_be_visible()
    page.get_by_text("Filter and sort").click()
    return page


@pytest.fixture
def doubtful(open_page: Callable[..., Page], server, tag: str, tagged: list[Drawing]) -> Page:
    """The gallery of these, with those first that the model doubts most."""
    page = open_page(f"{server.url}/browse?tag={tag}&by=disagreement")
    expect(page.get_by_role("heading", name="400 drawings")).to_be_visible()
    return page


def shown_ids(page: Page) -> list[str]:
    """The ids of the drawings in the page, in their order."""
    images = page.locator("#gallery [role=option] img")
    pairs = images.evaluate_all(
        "nodes => nodes.map((n) => [Number(n.parentElement.id.split('-')[1]), new URL(n.src).searchParams.get('id')])"
    )
    return [id for _, id in sorted(pairs)]


def label_filter(page: Page):
    return page.get_by_role("combobox", name="Label", exact=True)


def test_relabel_in_the_gallery(gallery: Page, server, tagged: list[Drawing]):
    first, second, *_ = tagged
    options = gallery.locator("#gallery [role=option]")
    options.nth(0).click()
    options.nth(1).click()
    expect(gallery.locator("#selected")).to_have_text("2 selected")
    gallery.get_by_label("New label").select_option("E-")
    gallery.get_by_role("button", name="Relabel").click()
    expect(gallery.locator("#note")).to_have_text("2 drawings relabelled as E−.")
    for before in (first, second):
        after = server.store.get(before.id)
        assert after.label == "E-"
        assert [entry["label"] for entry in after.history] == [before.label]
    expect(options.nth(0)).to_have_accessible_name("E minus")
    gallery.get_by_role("button", name="Undo").click()
    expect(gallery.locator("#note")).to_have_text("2 drawings as before.")
    assert {server.store.get(before.id).label for before in (first, second)} == {first.label, second.label}


def test_the_keyboard_stays_in_the_gallery(gallery: Page):
    listbox = gallery.locator("#gallery")
    for key in ("Home", "Space"):
        listbox.press(key)
    gallery.get_by_label("New label").select_option("E-")
    gallery.get_by_role("button", name="Relabel").press("Enter")
    expect(gallery.locator("#note")).to_contain_text("relabelled")
    expect(listbox).to_be_focused()
    gallery.evaluate("scrollBy(0, 2 * innerHeight)")
    expect(gallery.locator("#note")).to_be_in_viewport()
    # The active drawing is not behind the bar at the bottom.
    listbox.press("Space")
    for _ in range(12):
        listbox.press("ArrowDown")
    active = gallery.locator("#gallery .active").bounding_box()
    assert active["y"] + active["height"] <= gallery.locator("#selection").bounding_box()["y"]


def test_an_empty_gallery_says_why(gallery: Page):
    note = gallery.locator("#note")
    gallery.get_by_label("Writer").fill("nobody")
    gallery.get_by_label("Writer").press("Enter")
    expect(note).to_have_text("No drawings match: clear the filters.")
    gallery.route("**/api/drawings?*", lambda route: route.abort())
    gallery.get_by_role("button", name="Clear filters").click()
    expect(note).to_have_text("The server cannot be reached.")
    expect(gallery.get_by_role("heading", level=1)).to_have_text("Drawings")  # and not how many there were
    gallery.unroute("**/api/drawings?*")
    gallery.get_by_label("Writer").fill("nobody else")
    gallery.get_by_label("Writer").press("Enter")
    expect(note).to_have_text("No drawings match: clear the filters.")
    expect(gallery.get_by_role("heading", level=1)).to_have_text("0 drawings")
    expect(gallery.locator("#gallery")).to_be_hidden()  # an empty box would take the focus


def test_a_tag_that_the_counts_do_not_know_yet_is_not_gone(gallery: Page):
    """Counts may be older than the drawings, and another filter may leave none of these."""
    gallery.route("**/api/counts", lambda route: route.fulfill(json={**route.fetch().json(), "tags": []}))
    gallery.get_by_label("Writer").fill("nobody")
    gallery.get_by_label("Writer").press("Enter")
    expect(gallery.locator("#note")).to_have_text("No drawings match: clear the filters.")


def test_exclude_and_restore(gallery: Page, server, tag: str):
    newest = next(server.store.find(Query(tags=(tag,)), newest_first=True))
    gallery.locator("#gallery [role=option]").first.click()
    gallery.get_by_role("button", name="Exclude").click()
    expect(gallery.get_by_role("heading", name="399 drawings")).to_be_visible()
    assert [one.id for one in server.store.find(Query(tags=(tag,), deleted=True))] == [newest.id]
    gallery.get_by_role("combobox", name="Show", exact=True).select_option("Excluded")
    expect(gallery.get_by_role("heading", name="1 excluded drawing")).to_be_visible()
    gallery.locator("#gallery [role=option]").first.click()
    gallery.get_by_role("button", name="Restore").click()
    expect(gallery.get_by_role("heading", name="0 excluded drawings")).to_be_visible()
    assert server.store.count(Query(tags=(tag,))) == 400


def test_shift_and_keys_select_many(gallery: Page):
    options = gallery.locator("#gallery [role=option]")
    options.nth(0).click()
    options.nth(5).click(modifiers=["Shift"])
    expect(gallery.locator("#selected")).to_have_text("6 selected")
    gallery.locator("#gallery").press("Escape")
    expect(gallery.locator("#selection")).to_be_hidden()
    for key in ("Home", "Space", "Shift+ArrowRight", "Shift+ArrowDown"):
        gallery.locator("#gallery").press(key)
    expect(gallery.locator("#selected")).to_have_text("5 selected")
    expect(gallery.locator("#gallery")).to_have_attribute("aria-activedescendant", "drawing-4")


def test_scrolling_shows_all_and_keeps_few(gallery: Page, tagged: list[Drawing]):
    expected = [drawing.id for drawing in tagged]
    seen: set[str] = set()
    options = gallery.locator("#gallery [role=option] img")
    most = 0
    deadline = time.monotonic() + 30
    while len(seen) < 400:
        assert time.monotonic() < deadline
        pictures = options.evaluate_all("nodes => nodes.map((n) => new URL(n.src).searchParams.get('id'))")
        most = max(most, len(pictures))
        seen.update(pictures)
        gallery.evaluate("scrollBy(0, innerHeight)")
        gallery.evaluate("new Promise(requestAnimationFrame)")
    assert seen == set(expected)
    assert most < 80


def test_filters_counts_and_download(gallery: Page, server, tag: str):
    label_filter(gallery).select_option("B+")
    n = server.store.count(Query(tags=(tag,), label="B+"))
    expect(gallery.get_by_role("heading", name=f"{n} drawings")).to_be_visible()
    with gallery.expect_download() as download:
        gallery.get_by_role("link", name="Download").click()
    assert len(download.value.path().read_text().splitlines()) == n
    gallery.get_by_text("Counts by tag and label").click()
    row = gallery.locator("table tr", has_text=tag)
    expect(row.locator("td").last).to_have_text("400")
    expect(row.locator("td").nth(GRADES.index("B+"))).to_have_text(str(n))
    gallery.locator("#gallery [role=option]").first.click()
    gallery.get_by_role("button", name="Only this writer").click()
    writer = gallery.get_by_label("Writer").input_value()
    n = server.store.count(Query(tags=(tag,), label="B+", writer=writer))
    expect(gallery.get_by_role("heading", name=f"{n} drawings")).to_be_visible()


def test_drawings_of_no_grade_in_the_gallery(gallery: Page, server, tag: str):
    gallery.locator("#gallery [role=option]").first.click()
    gallery.get_by_label("New label").select_option("no grade")
    gallery.get_by_role("button", name="Relabel").click()
    expect(gallery.locator("#note")).to_have_text("1 drawing relabelled as no grade.")
    label_filter(gallery).select_option("no grade")
    expect(gallery.get_by_role("heading", name="1 drawing", exact=True)).to_be_visible()
    expect(gallery.locator("#gallery [role=option]")).to_have_accessible_name(re.compile("^no grade"))
    gallery.get_by_text("Counts by tag and label").click()
    row = gallery.locator("table tr", has_text=tag)
    expect(row.locator("td").nth(len(GRADES))).to_have_text("1")
    expect(gallery.locator("svg.chart")).to_contain_text("no grade")
    assert server.store.count(Query(tags=(tag,), label=NO_GRADE)) == 1


def test_doubtful_labels_can_come_first(gallery: Page):
    gallery.get_by_role("combobox", name="Sort").select_option("disagreement")
    expect(gallery.locator("#gallery .doubt").first).to_have_text(re.compile(r"[A-E].?\?|no grade\?"))
    first = gallery.locator("#gallery [role=option]").first
    expect(first).to_have_accessible_name(re.compile(r"perhaps .*, \d+% sure of the label"))


def test_exclusion_leaves_the_gallery_as_it_is(doubtful: Page, server, tagged: list[Drawing]):
    """The place, the order and the focus stay, and nothing is ranked again; so also after Undo."""
    doubtful.evaluate("scrollTo(0, 2 * innerHeight)")
    option = doubtful.locator("#drawing-30")
    option.click()
    doubtful.locator("#drawing-32").click()
    before, top = shown_ids(doubtful), doubtful.evaluate("scrollY")
    chosen = [option.locator("img").get_attribute("src"), doubtful.locator("#drawing-32 img").get_attribute("src")]
    asked: list[str] = []
    doubtful.on("request", lambda request: asked.append(request.url))
    doubtful.get_by_role("button", name="Exclude").press("Enter")
    expect(doubtful.locator("#note")).to_have_text("2 drawings excluded.")
    expect(doubtful.get_by_role("heading", name="398 drawings")).to_be_visible()
    expect(doubtful.locator("#gallery")).to_be_focused()
    gone = [id for id in before if any(id in src for src in chosen)]
    assert len(gone) == 2
    after = shown_ids(doubtful)
    assert [id for id in before if id not in gone and id in after] == [id for id in after if id in before]
    assert doubtful.evaluate("scrollY") == top
    assert not [url for url in asked if "/api/drawings?" in url and "limit=120" in url and "after" not in url]
    assert all(server.store.get(id).deleted for id in gone)
    doubtful.get_by_role("button", name="Undo").press("Enter")
    expect(doubtful.locator("#note")).to_have_text("2 drawings as before.")
    expect(doubtful.locator("#drawing-30 img")).to_have_attribute("src", chosen[0])
    expect(doubtful.locator("#gallery")).to_be_focused()
    assert not any(server.store.get(id).deleted for id in gone)


def test_all_that_match_are_selected(gallery: Page, server, tag: str):
    """Not only the 120 that are loaded; and as many can be changed."""
    gallery.locator("#gallery").press("Control+a")
    expect(gallery.locator("#selected")).to_have_text("All 400 selected")
    gallery.get_by_role("button", name="Exclude").click()
    expect(gallery.locator("#note")).to_have_text("400 drawings excluded.")
    assert server.store.count(Query(tags=(tag,))) == 0
    expect(gallery.get_by_role("heading", name="0 drawings")).to_be_visible()
    expect(gallery.locator("select[name=tag]")).to_have_value(tag)
    gallery.get_by_role("button", name="Undo").click()
    expect(gallery.locator("#note")).to_have_text("400 drawings as before.")
    expect(gallery.get_by_role("heading", name="400 drawings")).to_be_visible()
    assert server.store.count(Query(tags=(tag,))) == 400


def test_more_than_one_request_can_change(open_page: Callable[..., Page], server, tag: str):
    server.store.add(replace(DRAWINGS[i % 400], id=new_id(), tags=(tag,), strokes=None) for i in range(2250))
    page = open_page(f"{server.url}/browse?tag={tag}")
    page.get_by_role("button", name="Select all").click()
    expect(page.locator("#selected")).to_have_text("All 2,250 selected")
    page.get_by_label("New label").select_option("C")
    n = server.store.count(Query(tags=(tag,), label="C"))
    page.get_by_role("button", name="Relabel").click()
    expect(page.locator("#note")).to_have_text(f"{2250 - n:,} drawings relabelled as C.")
    assert server.store.count(Query(tags=(tag,), label="C")) == 2250


def test_guesses_are_accepted_in_bulk(doubtful: Page, server, tag: str):
    """The menu of labels begins with them."""
    first = doubtful.locator("#gallery [role=option]").first
    guess = doubtful.locator("#gallery .doubt:not(.sure)").first.inner_text().removesuffix("?")
    first.click()
    option = doubtful.get_by_label("New label").locator("option").first
    expect(option).to_have_text(f"as guessed: {guess}")
    expect(doubtful.get_by_label("New label")).to_have_value("")
    doubtful.locator("#gallery").press("Control+a")
    expect(doubtful.locator("#selected")).to_have_text("All 400 selected")
    doubtful.get_by_role("button", name="Accept guesses").click()
    expect(doubtful.locator("#note")).to_have_text(re.compile("drawings relabelled as guessed"))
    label = guess.replace("−", "-")
    assert server.store.get(shown_ids(doubtful)[0]).label == label
    doubtful.reload()
    expect(doubtful.locator("#gallery .sure").first).to_be_visible()
    expect(doubtful.locator("#gallery .doubt:not(.sure)")).to_have_count(0)


def test_a_cell_of_the_confusion_matrix(open_page: Callable[..., Page], server, doubtful: Page, tag: str):
    """What other pages link to: drawings with this label that the model takes for that."""
    first = doubtful.locator("#gallery [role=option]").first
    label, guess = re.fullmatch(r"(.*), perhaps (.*), \d+%.*", first.get_attribute("aria-label")).groups()
    label, guess = (name.replace(" plus", "+").replace(" minus", "-") for name in (label, guess))
    page = open_page(server.url + "/browse?" + urlencode({"tag": tag, "label": label, "guess": guess}))
    options = page.locator("#gallery [role=option]")
    expect(options.first).to_have_accessible_name(re.compile("perhaps"))
    expect(page.locator("select[name=by]")).to_have_value("disagreement")
    expect(page.get_by_role("heading", level=1)).to_have_text(re.compile(f"^{options.count()} drawing"))
    assert {server.store.get(id).label for id in shown_ids(page)} == {label}
    page.get_by_text("Filter and sort").click()
    page.get_by_role("combobox", name="Sort").select_option("date")
    expect(page.locator("select[name=guess]")).to_have_value("")


def test_filters_are_in_the_address(gallery: Page, server, tag: str):
    label_filter(gallery).select_option("B+")
    n = server.store.count(Query(tags=(tag,), label="B+"))
    heading = gallery.get_by_role("heading", name=f"{n} drawings")
    expect(heading).to_be_visible()
    gallery.reload()
    expect(heading).to_be_visible()
    gallery.get_by_role("link", name="Guess").click()
    expect(gallery).to_have_url(re.compile("/guess"))
    gallery.go_back()
    expect(heading).to_be_visible()
    expect(gallery.locator("select[name=label]")).to_have_value("B+")
    gallery.get_by_text("Filter and sort").click()
    gallery.get_by_role("button", name="Clear filters").click()
    expect(gallery).to_have_url(f"{server.url}/browse")


def test_a_tag_that_is_gone_leaves_the_filter(open_page: Callable[..., Page], server, tag: str):
    server.store.add(DRAWINGS[:1])
    page = open_page(f"{server.url}/browse?tag={tag}")
    expect(page.locator("#note")).to_contain_text(f"No drawing in use has the tag {tag} any more.")
    expect(page.locator("#gallery [role=option]").first).to_be_visible()
    assert tag not in page.url


def test_a_tag_that_the_counts_do_not_know_yet_stays_in_the_filter(open_page: Callable[..., Page], server, tag: str):
    """They may be a second old, and older where counting takes long."""
    page = open_page("about:blank")
    page.route(
        "**/api/counts", lambda route: route.fulfill(json={"grades": {}, "tags": [], "more_tags": 0, "waiting": 0})
    )
    server.store.add([replace(DRAWINGS[0], id=new_id(), tags=(tag,))])
    page.goto(f"{server.url}/browse?tag={tag}")
    expect(page.get_by_role("heading", name="1 drawing")).to_be_visible()
    assert tag in page.url


def test_a_drawing_is_opened_large(doubtful: Page):
    options, listbox = doubtful.locator("#gallery [role=option]"), doubtful.locator("#gallery")
    dialog = doubtful.get_by_role("dialog")
    picture = dialog.get_by_role("img")

    def look_and_close() -> None:
        expect(dialog).to_be_visible()
        assert picture.bounding_box()["width"] >= 200
        expect(picture).to_have_attribute("src", options.first.locator("img").get_attribute("src"))
        expect(dialog.get_by_text("1 of 400")).to_be_visible()
        doubtful.keyboard.press("ArrowRight")
        expect(dialog.get_by_text("2 of 400")).to_be_visible()
        expect(dialog).to_contain_text("synthetic-5-")  # the writer
        expect(picture).to_have_attribute("src", options.nth(1).locator("img").get_attribute("src"))
        doubtful.keyboard.press("ArrowLeft")
        doubtful.keyboard.press("ArrowLeft")
        expect(dialog.get_by_text("1 of 400")).to_be_visible()
        doubtful.keyboard.press("Escape")
        expect(dialog).to_be_hidden()
        expect(listbox).to_be_focused()
        listbox.press("Escape")  # nothing is selected
        expect(doubtful.locator("#selection")).to_be_hidden()

    options.first.dblclick()
    look_and_close()
    options.first.click()
    listbox.press("Enter")
    look_and_close()
    options.first.click()
    doubtful.get_by_text("Open").click()
    look_and_close()
    # Where the bar appears.
    box = options.first.bounding_box()
    doubtful.set_viewport_size({"width": 1280, "height": int(box["y"]) + 60})
    box = options.first.bounding_box()
    doubtful.mouse.dblclick(box["x"] + 60, box["y"] + 30)
    look_and_close()
