"""Draw and Guess on every screen: room to draw, nothing dropped silently, the keyboard; and pages on printers."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import CODE
from playwright.sync_api import Page, expect
from test_pages import A_PLUS, DOT, assert_inked, draw, prompted, saved
from waiting import wait_until

from gradejax.drawings import new_id
from gradejax.hands.synthetic import write_drawings
from gradejax.stores import Query

SIDEWAYS = [(740, 360), (667, 375), (683, 384), (568, 320), (320, 256)]  # phones, and 200% and 400% zoom
UPRIGHT = [(360, 740), (320, 568), (768, 1024)]
WIDE = [(1024, 768), (1440, 900), (1920, 1080)]
SIZES = [*SIDEWAYS, *UPRIGHT, *WIDE]
A_LONG_NOTE = "The server refused this drawing for a reason that takes more than one line on a phone. " * 3


@pytest.fixture
def tag() -> str:
    return f"test-{new_id()}"


@pytest.fixture
def class_page(open_page: Callable[..., Page], class_server) -> Callable[..., Page]:
    """Opens a page as in a class: over plain HTTP, signed in, so with the button to sign out."""

    def class_page(path: str, **options: object) -> Page:
        page = open_page(f"{class_server.url}{path}#code={CODE}", **options)
        expect(page.get_by_role("button", name="Sign out")).to_be_enabled()
        expect(page.get_by_role("button", name="Undo")).to_be_disabled()
        return page

    return class_page


def width(page: Page) -> float:
    return page.locator("#paper").bounding_box()["width"]


def crowd(page: Page) -> None:
    """Shows all at once what a page can have to say."""
    page.evaluate(
        """async (text) => {
            const { note } = await import("/static/note.js");
            const { showRefused } = await import("/static/refused.js");
            const queue = new EventTarget();
            const error = new Error(text);
            queue.refused = ["A+", "B-"].map((label) => ({ drawing: { id: label, label, tags: ["7b"] }, error }));
            showRefused(document.getElementById("refused"), queue);
            queue.dispatchEvent(new Event("change"));
            note(text, true);
        }""",
        A_LONG_NOTE,
    )
    expect(page.locator("#refused")).to_be_visible()


@pytest.mark.parametrize("path", ["/", "/guess"])
def test_there_is_room_to_draw_on_every_screen(class_page: Callable[..., Page], path: str):
    page = class_page(path)
    for is_crowded in (False, True):
        if is_crowded:
            crowd(page)
        for across, down in SIZES:
            page.set_viewport_size({"width": across, "height": down})
            box = page.locator("#paper").bounding_box()
            shape = f"{across}x{down}"
            assert box["width"] >= 200, shape
            assert box["width"] == pytest.approx(box["height"], abs=1), shape
            assert page.evaluate("document.documentElement.scrollWidth") <= across, shape
            # On the paper each touch is a stroke: there is room beside it to scroll by.
            assert across - box["width"] >= 40, shape
            assert page.locator("main button:visible, main input:visible").evaluate_all(OUT_OF_REACH) == [], shape


# Of some controls, those that scrolling does not bring into the window.
OUT_OF_REACH = """async (controls) => {
    const outside = (some) => new Promise((resolve) => {
        const observer = new IntersectionObserver((entries) => {
            observer.disconnect();
            // Pages scroll by whole pixels.
            resolve(entries.filter((entry) => entry.intersectionRatio < 0.98).map((entry) => entry.target));
        });
        for (const control of some) observer.observe(control);
    });
    const unreachable = [];
    for (const control of await outside(controls)) {
        control.scrollIntoView({ block: "center", inline: "center", behavior: "instant" });
        unreachable.push(...(await outside([control])));
    }
    return unreachable.map((control) => control.outerHTML);
}"""


@pytest.mark.parametrize("path", ["/", "/guess"])
def test_wide_screens_have_the_paper_on_the_left_and_phones_held_sideways_show_all_that_is_needed(
    class_page: Callable[..., Page], path: str
):
    page = class_page(path)
    for across, down in WIDE:
        page.set_viewport_size({"width": across, "height": down})
        paper = page.locator("#paper").bounding_box()
        side = page.locator(".side").bounding_box()
        assert paper["x"] + paper["width"] < side["x"]
        assert paper["width"] > 450
    for across, down in SIDEWAYS[:4] if path == "/" else SIDEWAYS[:3]:
        page.set_viewport_size({"width": across, "height": down})
        for name in ("#paper", "#undo", "#clear", "#save" if path == "/" else "#right"):
            expect(page.locator(name)).to_be_in_viewport(ratio=1)


@pytest.mark.parametrize("path", ["/", "/guess"])
def test_a_drawing_keeps_its_size_when_the_window_turns(
    class_page: Callable[..., Page], class_server, tag: str, path: str
):
    page = class_page(path)

    def turn(across: int, down: int) -> None:
        page.set_viewport_size({"width": across, "height": down})

    turns = [((360, 740), (740, 360)), ((768, 1024), (1024, 768)), ((740, 360), (360, 740))]
    empty = {}
    for _, after in turns:
        turn(*after)
        empty[after] = width(page)
    for i, (before, after) in enumerate(turns):
        page.get_by_label("Tags").fill(f"{tag}-{i}")
        turn(*before)
        draw(page, A_PLUS[:2])
        drawn = width(page)
        turn(*after)
        assert width(page) == drawn
        page.locator("#paper").scroll_into_view_if_needed()
        draw(page, A_PLUS[2:])
        with page.expect_response("**/api/drawings"):
            page.get_by_role("button", name="Save" if path == "/" else "Right").click()
        (drawing,) = class_server.store.find(Query(tags=(f"{tag}-{i}",)))
        assert_inked(drawing, A_PLUS)
        assert width(page) == empty[after]  # an empty paper fits the window again


def test_the_page_scrolls_by_what_is_beside_the_paper(class_page: Callable[..., Page]):
    page = class_page("/", has_touch=True, is_mobile=True)
    page.set_viewport_size({"width": 320, "height": 256})
    box = page.locator("#paper").bounding_box()
    session = page.context.new_cdp_session(page)
    for x, scrolls in ((box["x"] + box["width"] / 2, False), (box["x"] / 2, True)):
        for i in range(13):
            kind = "touchMove" if i else "touchStart"
            session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": 220 - 10 * i}]})
        session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        assert (page.evaluate("scrollY") > 50) == scrolls


# Nothing is dropped silently.


@pytest.fixture
def desk(open_page: Callable[..., Page], server, tag: str) -> Callable[[str], Page]:
    """Opens Draw or Guess, with tags."""

    def desk(path: str) -> Page:
        page = open_page(f"{server.url}{path}")
        page.get_by_label("Tags").fill(tag)
        expect(page.get_by_role("button", name="Undo")).to_be_disabled()
        return page

    return desk


def strokes(page: Page, n: int) -> None:
    """Waits until the paper has `n` strokes."""
    count = "empty" if n == 0 else "1 stroke" if n == 1 else f"{n} strokes"
    expect(page.locator("#paper")).to_have_accessible_name(f"Drawing area, {count}")


def clear_and_undo(page: Page) -> None:
    page.get_by_role("button", name="Clear").click()
    strokes(page, 0)
    page.keyboard.press("Control+z")
    strokes(page, 4)


def test_undo_brings_back_what_was_cleared_or_skipped(desk: Callable[[str], Page], server, tag: str):
    page = desk("/")
    grade = prompted(page)
    draw(page, A_PLUS)
    clear_and_undo(page)
    page.get_by_role("button", name="Skip").click()
    assert prompted(page) != grade
    expect(page.locator("#note")).to_contain_text("skipped. Undo brings your drawing back.")
    draw(page, DOT)
    for n in (0, 4):
        page.get_by_role("button", name="Undo").click()
        strokes(page, n)
    assert prompted(page) == grade
    page.get_by_role("button", name="Save").click()
    (drawing,) = saved(page, server.store, tag)
    assert drawing.label == grade
    assert_inked(drawing, A_PLUS)
    expect(page.get_by_role("button", name="Undo")).to_be_disabled()


@pytest.mark.parametrize("path", ["/", "/guess"])
def test_what_is_on_the_paper_outlives_the_page(desk: Callable[[str], Page], server, tag: str, path: str):
    page = desk(path)
    grade = prompted(page) if path == "/" else "A+"
    draw(page, A_PLUS)
    for way in ("link", "reload", "tab"):
        if way == "link":
            page.get_by_role("link", name="Browse").click()
            page.get_by_role("link", name="Draw" if path == "/" else "Guess", exact=True).click()
        elif way == "reload":
            page.reload()
        else:
            another = page.context.new_page()
            page.close(run_before_unload=True)
            page = another
            page.goto(server.url + path)
        strokes(page, 4)
        expect(page.locator("#note")).to_contain_text("unfinished")
        draw(page, DOT)
        page.get_by_role("button", name="Undo").click()
        if path == "/":
            assert prompted(page) == grade
    if path == "/":
        page.get_by_role("button", name="Save").click()
    else:
        page.get_by_role("button", name="No, it is").click()
        page.get_by_role("button", name="A plus", exact=True).click()
    (drawing,) = saved(page, server.store, tag)
    assert drawing.label == grade
    assert_inked(drawing, A_PLUS)
    page.reload()
    strokes(page, 0)  # only once


@pytest.mark.parametrize("path", ["/", "/guess"])
def test_a_saved_drawing_is_taken_back(desk: Callable[[str], Page], server, tag: str, path: str):
    page = desk(path)
    draw(page, A_PLUS)
    grade = prompted(page) if path == "/" else None
    page.get_by_role("button", name="Save" if path == "/" else "Right").click()
    (drawing,) = saved(page, server.store, tag)
    with page.expect_response("**/api/drawings/take-back"):
        page.get_by_role("button", name="Take back").press("Enter")
    expect(page.locator("#note")).to_contain_text("taken back")
    expect(page.locator("#paper")).to_be_focused()
    strokes(page, 4)  # to be drawn better
    assert server.store.count(Query(tags=(tag,))) == 0
    assert [one.id for one in server.store.find(Query(tags=(tag,), deleted=True))] == [drawing.id]
    if path == "/":
        assert prompted(page) == grade
        expect(page.locator("#mine")).to_have_text("0")


def test_a_drawing_that_waits_is_taken_back(desk: Callable[[str], Page], server, tag: str):
    """Also if the server may have it, because the answer was lost."""
    page = desk("/")
    sent = []

    def lose_the_answer(route) -> None:
        route.fetch()  # the server gets it
        sent.append(route.request)
        route.abort()

    prompted(page)
    page.route("**/api/drawings", lose_the_answer)
    draw(page, A_PLUS)
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#note")).to_contain_text("1 drawing is waiting")
    page.get_by_role("button", name="Take back").click()
    expect(page.locator("#note")).to_contain_text("taken back")
    strokes(page, 4)
    page.unroute_all(behavior="wait")
    assert sent
    page.evaluate("dispatchEvent(new Event('online'))")
    wait_until(lambda: server.store.count(Query(tags=(tag,))) == 0)


def test_a_drawing_that_was_never_sent_is_just_removed(desk: Callable[[str], Page], server, tag: str):
    page = desk("/")
    prompted(page)
    page.context.set_offline(True)
    for _ in range(2):
        draw(page, A_PLUS)
        page.get_by_role("button", name="Save").click()
        expect(page.locator("#note")).to_contain_text("waiting")
    page.get_by_role("button", name="Take back").click()
    strokes(page, 4)
    page.context.set_offline(False)
    expect(page.locator("#mine")).to_have_text("1")
    page.wait_for_load_state("networkidle")
    assert server.store.count(Query(tags=(tag,))) == 1


def test_the_tags_of_draw_are_on_drawings_saved_on_guess(open_page: Callable[..., Page], server, tag: str):
    guess = open_page(f"{server.url}/guess")
    draw(guess, A_PLUS)
    page = guess.context.new_page()
    page.goto(server.url)
    page.get_by_label("Tags").press_sequentially(tag)  # and the field keeps the focus
    expect(guess.get_by_label("Tags")).to_have_value(tag)
    guess.get_by_role("button", name="Right").click()
    expect(guess.locator("#note")).to_contain_text(f"tagged {tag}, guess.")
    assert [one.tags for one in server.store.find(Query(tags=(tag,)))] == [(tag, "guess")]
    page.reload()  # with the focus still in the field
    expect(page.get_by_label("Tags")).to_have_value(tag)


# The keyboard.


def test_the_focus_does_not_fall_to_the_body(desk: Callable[[str], Page]):
    page = desk("/guess")
    paper = page.locator("#paper")
    for choose in (
        lambda: page.get_by_role("button", name="Undo").press("Enter"),
        lambda: page.get_by_role("button", name="Clear").press("Space"),
        lambda: page.get_by_role("button", name="Right").press("Enter"),
        lambda: (page.get_by_role("button", name="No, it is").press("Enter"), page.keyboard.press("Enter")),
    ):
        draw(page, DOT)
        expect(page.get_by_role("button", name="Right")).to_be_enabled()
        choose()
        strokes(page, 0)
        expect(paper).to_be_focused()
        page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        expect(paper).to_be_focused()
    draw(page, A_PLUS)
    page.get_by_role("button", name="Undo").press("Enter")
    expect(page.get_by_role("button", name="Undo")).to_be_focused()  # there is more to undo


def test_undo_brings_back_what_was_cleared_and_escape_closes_the_list_of_grades(desk: Callable[[str], Page]):
    page = desk("/guess")
    draw(page, A_PLUS)
    clear_and_undo(page)
    wrong, grades = page.get_by_role("button", name="No, it is"), page.get_by_role("group", name="Which grade is it?")
    wrong.press("Enter")
    expect(wrong).to_have_attribute("aria-expanded", "true")
    expect(grades.get_by_role("button", name="A plus")).to_be_focused()
    page.keyboard.press("Escape")
    expect(grades).to_be_hidden()
    expect(wrong).to_be_focused()
    expect(wrong).to_have_attribute("aria-expanded", "false")
    strokes(page, 4)


# The answer.


def test_the_answer_is_huge_beside_the_visitors_own_hand(desk: Callable[[str], Page]):
    page = desk("/guess")
    answer, copy = page.locator("#guess"), page.locator("#copy")
    expect(copy).to_be_hidden()
    for size, height in (((360, 740), 100), ((740, 360), 60), ((1440, 900), 160)):
        page.set_viewport_size({"width": size[0], "height": size[1]})
        draw(page, A_PLUS)
        expect(page.get_by_role("button", name="Right")).to_be_enabled()
        best = page.locator("#bars li span").first
        expect(answer).to_have_text(best.inner_text())
        assert answer.evaluate("node => parseFloat(getComputedStyle(node).fontSize)") >= height
        assert answer.evaluate("node => node.scrollWidth <= node.clientWidth")
        inked = copy.evaluate(
            """(canvas) => {
                const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
                return data.filter((value, i) => i % 4 === 3 && value > 0).length / (canvas.width * canvas.height);
            }"""
        )
        assert 0.05 < inked < 0.6
        page.get_by_role("button", name="Clear").click()
        expect(copy).to_be_hidden()
        expect(answer).to_be_empty()
    draw(page, DOT)
    expect(answer).to_have_text("no grade")


def test_the_page_says_which_run_guesses_and_how_good_it_is(open_page: Callable[..., Page], run: Path, server):
    page = open_page(f"{server.url}/guess")
    expect(page.locator("#source")).to_have_text(re.compile(r"^These guesses are by .*run"))

    def with_accuracy(route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, json=answer.json() | {"about": "best, 99.8% (99.2 to 100%) on 440 drawings"})

    page.route("**/api/status", with_accuracy)
    page.reload()
    expect(page.locator("#source")).to_have_text("These guesses are by best, 99.8% (99.2 to 100%) on 440 drawings.")


# Printed, and in the system's own colours.


def test_pages_print_black_on_white_from_the_dark_scheme(open_page: Callable[..., Page], server):
    page = open_page(server.url, color_scheme="dark")
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 718, "height": 1000})  # A4 less its margins, at 96 pixels an inch
    for path in ("/", "/guess", "/browse"):
        page.goto(server.url + path)
        for name, value in (("backgroundColor", "rgb(255, 255, 255)"), ("color", "rgb(0, 0, 0)")):
            assert page.locator("body").evaluate(f"node => getComputedStyle(node).{name}") == value
        assert page.evaluate("document.documentElement.scrollWidth") <= 718
        expect(page.get_by_role("button").locator("visible=true")).to_have_count(0)
        if path != "/browse":
            assert page.locator("#paper").evaluate("node => getComputedStyle(node).filter") == "none"


def test_the_gallery_prints_in_rows(open_page: Callable[..., Page], server):
    one, *_ = write_drawings(1, seed=31)
    server.store.add([replace(one, id=new_id()) for _ in range(60)])
    page = open_page(f"{server.url}/browse", color_scheme="dark")
    page.set_viewport_size({"width": 1440, "height": 900})
    tiles = page.locator("#gallery [role=option]")
    expect(tiles.nth(40)).to_be_attached()
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 718, "height": 1000})
    # All at once, for the gallery takes away tiles that a narrower window has no room for.
    boxes = tiles.evaluate_all("nodes => nodes.map((node) => node.getBoundingClientRect().toJSON())")
    assert len(boxes) >= 5
    assert all(box["x"] >= 0 and box["x"] + box["width"] <= 718 for box in boxes)
    places = {(round(box["x"]), round(box["y"])) for box in boxes}
    assert len(places) == len(boxes)  # none on top of another
    assert len({x for x, _ in places}) >= 5


def test_the_systems_own_colours_show_the_paper_the_bars_and_the_selection(open_page: Callable[..., Page], server):
    page = open_page(f"{server.url}/guess", forced_colors="active", color_scheme="dark")
    paper = page.locator(".paper")
    assert paper.evaluate("node => getComputedStyle(node).backgroundColor") == "rgb(255, 255, 255)"  # ink is black
    assert paper.evaluate("node => getComputedStyle(node).outlineStyle") == "solid"
    draw(page, A_PLUS)
    bar = page.locator("#bars .track span").first
    expect(page.get_by_role("button", name="Right")).to_be_enabled()
    colours = bar.evaluate("node => [node, node.parentElement].map((one) => getComputedStyle(one).backgroundColor)")
    assert colours[0] != colours[1]
    page.goto(f"{server.url}/browse")
    tile = page.locator("#gallery [role=option]").first
    tile.click()
    assert tile.evaluate("node => getComputedStyle(node).outlineStyle") == "solid"
    assert (
        page.locator("#gallery [role=option]").nth(1).evaluate("node => getComputedStyle(node).outlineStyle") == "none"
    )
