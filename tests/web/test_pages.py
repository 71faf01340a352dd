"""The pages in a real browser: what the visitor does ends up in the store."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from conftest import serve
from playwright.sync_api import Page, expect
from waiting import wait_until

from gradejax.dataset import QUARANTINE_TAG
from gradejax.drawings import Drawing, new_id
from gradejax.hands.synthetic import write_drawings
from gradejax.ink import decode_ink
from gradejax.scales import LETTERS, NO_GRADE
from gradejax.stores import Query, Store

GRADES = LETTERS.labels

Strokes = Sequence[Sequence[tuple[float, float]]]

# In canvas units, 280 x 280: an A and its plus.
A_PLUS: Strokes = [
    [(60, 220), (110, 50), (160, 220)],
    [(80, 160), (140, 160)],
    [(190, 120), (250, 120)],
    [(220, 90), (220, 150)],
]
DOT: Strokes = [[(140, 140), (141, 141)]]

SLOWLY = tuple(np.linspace(0.1, 1, 10))  # for `draw`


@pytest.fixture
def tag() -> str:
    """A tag of the test's own: tests share a server."""
    return f"test-{new_id()}"


def on_paper(page: Page, stroke: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Converts a stroke to CSS pixels of the page."""
    box = page.locator("#paper").bounding_box()
    return [(box["x"] + x * box["width"] / 280, box["y"] + y * box["height"] / 280) for x, y in stroke]


def draw(page: Page, strokes: Strokes, shares: Sequence[float] = ()) -> None:
    """Draws with the mouse; `shares` as in `between`."""
    for stroke in strokes:
        first, *others = on_paper(page, between(stroke, shares))
        page.mouse.move(*first)
        page.mouse.down()
        for point in others:
            page.mouse.move(*point)
        page.mouse.up()


def draw_by_finger(page: Page, strokes: Strokes) -> None:
    session = page.context.new_cdp_session(page)
    for stroke in strokes:
        for i, (x, y) in enumerate(on_paper(page, between(stroke))):
            kind = "touchMove" if i else "touchStart"
            session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y}]})
        session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def between(stroke: Sequence[tuple[float, float]], shares: Sequence[float] = ()) -> list[tuple[float, float]]:
    """Returns where a pen is seen on its way: at the start, and after these shares of each straight line.

    By default these are few, for each event waits for a frame: at a corner as many as of a slow pen, elsewhere only so
    many that its way is straight.
    """
    if not shares:
        shares = (0.1, 0.5, 0.9, 1) if len(stroke) > 2 else (1,)
    start, *_ = stroke
    return [start] + [
        (x0 + share * (x1 - x0), y0 + share * (y1 - y0)) for (x0, y0), (x1, y1) in pairwise(stroke) for share in shares
    ]


def prompted(page: Page) -> str:
    """Returns the grade that the page asks for."""
    strong = page.locator("#prompt strong")
    expect(strong).to_have_text(re.compile("[A-E]"))
    return strong.inner_text().replace("−", "-")


def saved(page: Page, store: Store, tag: str, n: int = 1) -> list[Drawing]:
    """Waits until the page says that a drawing is saved; returns those with `tag`."""
    expect(page.locator("#note")).to_have_text(re.compile("saved", re.IGNORECASE))
    drawings = list(store.find(Query(tags=(tag,))))
    assert len(drawings) == n
    return drawings


def assert_inked(drawing: Drawing, strokes: Strokes) -> None:
    """Asserts that there is ink where the pen went, as wide as the pen, and none elsewhere."""
    ink = decode_ink(drawing.png)
    assert ink.shape == (280, 280)
    rows, columns = np.mgrid[:280, :280] + 0.5
    distance = np.full(ink.shape, np.inf)
    for stroke in strokes:
        for (x0, y0), (x1, y1) in pairwise(stroke):
            along = ((columns - x0) * (x1 - x0) + (rows - y0) * (y1 - y0)) / ((x1 - x0) ** 2 + (y1 - y0) ** 2)
            along = along.clip(0, 1)
            away = np.hypot(columns - x0 - along * (x1 - x0), rows - y0 - along * (y1 - y0))
            distance = np.minimum(distance, away)
    # Half the pen's width, give or take rounded corners and the size of a pixel.
    assert ink[distance < 6.5].min() == 255
    assert ink[distance > 11.5].max() == 0


@pytest.fixture
def drawing_page(open_page: Callable[..., Page], server, tag: str) -> Page:
    page = open_page(f"{server.url}/")
    page.get_by_label("Tags").fill(tag)
    return page


def test_what_the_mouse_draws_is_in_the_store(drawing_page: Page, server, tag: str):
    grade = prompted(drawing_page)
    draw(drawing_page, A_PLUS, SLOWLY)
    drawing_page.get_by_role("button", name="Save").click()
    (drawing,) = saved(drawing_page, server.store, tag)
    assert drawing.label == grade
    assert_inked(drawing, A_PLUS)
    assert [len(stroke) > 5 for stroke in drawing.strokes] == [True] * 4
    ends = [(stroke[0]["x"], stroke[0]["y"], stroke[-1]["x"], stroke[-1]["y"]) for stroke in drawing.strokes]
    np.testing.assert_allclose(ends, [(*stroke[0], *stroke[-1]) for stroke in A_PLUS], atol=1)
    times = [point["t"] for stroke in drawing.strokes for point in stroke]
    assert times[0] == 0
    assert times == sorted(times)
    assert drawing.writer.startswith("hand-")
    assert prompted(drawing_page) != grade
    expect(drawing_page.locator("#mine")).to_have_text("1")
    # The picture is black ink on nothing.
    shape = (int.from_bytes(drawing.png[16:20]), int.from_bytes(drawing.png[20:24]), drawing.png[24], drawing.png[25])
    assert shape == (280, 280, 8, 6)  # RGBA, 8 bits
    pixel = drawing_page.evaluate(
        """async (id) => {
            const image = new Image();
            image.src = "/api/picture?id=" + id;
            await image.decode();
            const canvas = new OffscreenCanvas(280, 280).getContext("2d");
            canvas.drawImage(image, 0, 0);
            return [160, 20].map((at) => [...canvas.getImageData(110, at, 1, 1).data]);
        }""",
        drawing.id,
    )
    assert pixel == [[0, 0, 0, 255], [0, 0, 0, 0]]


def test_what_a_finger_draws_is_in_the_store(open_page: Callable[..., Page], server, tag: str):
    page = open_page(f"{server.url}/", has_touch=True, is_mobile=True, device_scale_factor=2.625)
    page.get_by_label("Tags").fill(tag)
    prompted(page)
    before = page.evaluate("scrollY")
    draw_by_finger(page, A_PLUS)
    page.get_by_role("button", name="Save").tap()
    (drawing,) = saved(page, server.store, tag)
    assert_inked(drawing, A_PLUS)
    assert page.evaluate("scrollY") == before


def test_a_tap_is_a_dot(drawing_page: Page, server, tag: str):
    prompted(drawing_page)
    x, y = on_paper(drawing_page, [(140, 140)])[0]
    drawing_page.mouse.click(x, y)
    drawing_page.keyboard.press("Enter")
    expect(drawing_page.locator("#note")).to_have_text(re.compile("Saved"))
    (drawing,) = server.store.find(Query(tags=(tag,), deleted=True))  # the teacher looks at it first
    assert_inked(drawing, [[(140, 140), (140.01, 140)]])


def test_undo_takes_the_last_stroke_back(drawing_page: Page, server, tag: str):
    prompted(drawing_page)
    draw(drawing_page, A_PLUS)
    drawing_page.get_by_role("button", name="Undo").click()
    drawing_page.locator("body").press("Control+z")
    drawing_page.get_by_role("button", name="Save").click()
    (drawing,) = saved(drawing_page, server.store, tag)
    assert_inked(drawing, A_PLUS[:2])
    assert len(drawing.strokes) == 2


def test_clear_skip_and_nothing_to_save(drawing_page: Page, server, tag: str):
    grade = prompted(drawing_page)
    draw(drawing_page, A_PLUS)
    drawing_page.get_by_role("button", name="Clear").click()
    drawing_page.get_by_role("button", name="Save").click()
    expect(drawing_page.locator("#note")).to_contain_text("first")
    assert prompted(drawing_page) == grade
    drawing_page.get_by_role("button", name="Skip").click()
    assert prompted(drawing_page) != grade
    assert server.store.count(Query(tags=(tag,))) == 0


def test_tags_are_asked_for_and_kept(open_page: Callable[..., Page], server, tag: str):
    page = open_page(f"{server.url}/")
    prompted(page)
    draw(page, A_PLUS)
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#note")).to_contain_text("tag")
    expect(page.get_by_label("Tags")).to_be_focused()
    page.get_by_label("Tags").fill("\u00ad")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#note")).to_have_text("A tag must contain something visible.")
    expect(page.get_by_label("Tags")).to_be_focused()
    page.keyboard.press("Control+a")
    page.keyboard.type(f"{tag}, room 12")
    page.get_by_role("button", name="Save").click()
    (drawing,) = saved(page, server.store, tag)
    assert drawing.tags == (tag, "room 12")
    page.reload()
    expect(page.get_by_label("Tags")).to_have_value(f"{tag}, room 12")


def test_the_prompts_even_out_the_store(open_page: Callable[..., Page], tmp_path: Path):
    """A store without any B, and with thirty of each other grade, is asked for B."""
    with serve(tmp_path) as server:
        drawing, *_ = write_drawings(1, seed=11)
        others = [grade for grade in GRADES if grade != "B"]
        server.store.add([replace(drawing, id=new_id(), label=grade) for grade in others for _ in range(30)])
        page = open_page(server.url)
        prompted(page)
        skip = page.get_by_role("button", name="Skip")
        asked = skip.evaluate(
            """(skip) => Array.from({ length: 30 }, () => {
                skip.click();
                return document.querySelector("#prompt strong").textContent;
            })"""
        )
    # Never twice in a row, so at most every other time; seven times in ten where the last was not.
    assert asked.count("B") > 5


def test_the_prompt_does_not_wait_for_a_slow_network(drawing_page: Page, server, tag: str):
    drawing_page.route("**/api/status", lambda route: None)  # never answered
    drawing_page.reload()
    drawing_page.get_by_label("Tags").fill(tag)
    draw(drawing_page, A_PLUS)
    grade = prompted(drawing_page)
    drawing_page.get_by_role("button", name="Save").click()
    (drawing,) = saved(drawing_page, server.store, tag)
    assert drawing.label == grade


def test_what_is_drawn_offline_arrives_once_each(drawing_page: Page, server, tag: str):
    prompted(drawing_page)
    drawing_page.context.set_offline(True)
    for n, word in ((1, "1 drawing is waiting"), (2, "2 drawings are waiting")):
        draw(drawing_page, A_PLUS[:n])
        drawing_page.get_by_role("button", name="Save").click()
        expect(drawing_page.locator("#note")).to_contain_text(word)
    assert server.store.count(Query(tags=(tag,))) == 0
    drawing_page.context.set_offline(False)
    expect(drawing_page.locator("#mine")).to_have_text("2")
    first, second = saved(drawing_page, server.store, tag, n=2)
    assert_inked(first, A_PLUS[:1])
    assert_inked(second, A_PLUS[:2])


def test_what_waits_survives_the_page_and_a_lost_answer(drawing_page: Page, server, tag: str):
    prompted(drawing_page)
    lost = []

    def lose_the_answer(route):
        route.fetch()  # the server gets it
        lost.append(route.request)
        route.abort()

    drawing_page.route("**/api/drawings", lose_the_answer)
    draw(drawing_page, A_PLUS)
    drawing_page.get_by_role("button", name="Save").click()
    expect(drawing_page.locator("#note")).to_contain_text("1 drawing is waiting")
    assert lost
    drawing_page.unroute("**/api/drawings")
    drawing_page.reload()
    expect(drawing_page.locator("#mine")).to_have_text("1")
    saved(drawing_page, server.store, tag)


# Fills IndexedDB as an earlier version of the page might have; `drawings` are [label, tags, id or null].
LEAVE_BEHIND = """async (drawings) => {
    const open = indexedDB.open("gradejax", 1);
    open.onupgradeneeded = () => open.result.createObjectStore("waiting", { keyPath: "id" });
    await new Promise((resolve) => (open.onsuccess = resolve));
    const transaction = open.result.transaction("waiting", "readwrite");
    const sheet = document.createElement("canvas");
    sheet.width = sheet.height = 280;
    const pen = Object.assign(sheet.getContext("2d"), { lineWidth: 16, lineCap: "round", lineJoin: "round" });
    pen.stroke(new Path2D("M60 220 L110 50 L160 220 M80 160 H140 M190 120 H250 M220 90 V150"));  // A+
    drawings.forEach(([label, tags, id], i) => transaction.objectStore("waiting").put({
        id: id ?? `${i}`.padStart(24, "f"), tags, label, data: sheet.toDataURL().split(",")[1],
        date: new Date(1.7e12 + i).toISOString(), writer: "hand-1", strokes: [[{ x: 1, y: 2, t: -5, pressure: 0.5 }]],
    }));
    await new Promise((resolve) => (transaction.oncomplete = resolve));
}"""


def leave_behind(page: Page, *drawings: tuple[str, list[str], str | None]) -> None:
    """Puts drawings in the queue, without a page that sends them."""
    page.route("**/static/draw.js", lambda route: route.abort())
    page.reload()
    page.evaluate(LEAVE_BEHIND, drawings)
    page.unroute("**/static/draw.js")


def test_refused_drawings_are_retagged_or_discarded_by_the_visitor(drawing_page: Page, server, tag: str):
    leave_behind(
        drawing_page,
        ("A+", ["\u200b"], new_id()),
        ("B-", ["\u200b"], new_id()),
        ("C", [tag], new_id()),
        ("D", ["7b", "half \ud83d"], new_id()),
    )
    refused = drawing_page.get_by_role("region", name="Drawings that could not be saved").get_by_role("group")
    for _ in range(2):  # a reload forgets nothing
        drawing_page.reload()
        expect(refused).to_have_count(2)
    assert [one.label for one in server.store.find(Query(tags=(tag,)))] == ["C"]
    expect(refused.nth(0)).to_contain_text("2 drawings could not be saved (A+, B−).")
    expect(refused.nth(1)).to_contain_text("1 drawing could not be saved (D).")
    expect(refused.nth(1)).to_contain_text("half a character")
    refused.nth(0).get_by_label("tags").fill("\u200b")
    refused.nth(0).get_by_role("button", name="Send again").click()
    expect(drawing_page.locator("#note")).to_have_text("A tag must contain something visible.")
    refused.nth(0).get_by_label("tags").fill(tag)
    refused.nth(0).get_by_role("button", name="Send again").click()
    expect(refused).to_have_count(1)
    assert [one.label for one in server.store.find(Query(tags=(tag,)))] == ["C", "A+", "B-"]
    refused.get_by_role("button", name="Discard").click()
    expect(refused).to_have_count(1)
    refused.get_by_role("button", name="Discard this drawing?").click()
    expect(refused).to_have_count(0)
    drawing_page.reload()
    prompted(drawing_page)
    expect(refused).to_have_count(0)


def test_a_drawing_whose_id_is_taken_gets_a_new_one(drawing_page: Page, server, tag: str):
    """Even if two tabs send it at the same time, it is saved once."""
    ids = [new_id() for _ in range(5)]
    theirs = zip(write_drawings(5, seed=3), ids, strict=True)
    server.store.add([replace(one, id=id, tags=(f"{tag}-theirs",)) for one, id in theirs])
    leave_behind(drawing_page, *(("A", [tag], id) for id in ids))
    other_tab = drawing_page.context.new_page()
    for page in (drawing_page, other_tab):
        page.goto(server.url, wait_until="commit")
    wait_until(lambda: drawing_page.evaluate(NOTHING_WAITS))
    assert server.store.count(Query(tags=(tag,))) == 5
    assert server.store.count(Query(tags=(f"{tag}-theirs",))) == 5


NOTHING_WAITS = """() => new Promise((resolve) => {
    indexedDB.open("gradejax", 1).onsuccess = ({ target }) => {
        const count = target.result.transaction("waiting").objectStore("waiting").count();
        count.onsuccess = () => resolve(count.result === 0);
    };
})"""


NAMES = [
    *(
        "7b",
        "Ä",
        "a b",
        "a\u00a0b",
        "soft\u00adhyphen",
        "می\u200cخواهم",
        "👩\u200d🏫",
        "\U000e0041a",
        "\ue000",
        "\uffff",
        "\u0378",
    ),
    *(
        "\u00ad",
        "\u200b\u2060",
        "\u00a0",
        "\u3000",
        "\ufeff",
        "a\nb",
        "a\tb",
        "a\0b",
        "a\u0085b",
        "a\u2028b",
        "a\u2029b",
    ),
    *(
        "\ud83d",
        "a\udc00",
        "x" * 200,
        "x" * 201,
        "👩" * 200,
        "👩" * 201,
        "",
        " ",
        "[/red]",
        "<b>",
        "\u0301",
        "\u180e",
        "\U0001f1e9",
    ),
]


def test_the_page_and_the_server_have_one_rule_for_tags(drawing_page: Page, server):
    """The page and the server accept the same tags."""
    outcomes = drawing_page.evaluate(
        """async (names) => {
            const { drawing, problemWith } = await import("/static/drawings.js");
            const sheet = document.createElement("canvas");
            sheet.width = sheet.height = 1;
            const pad = { png: () => sheet.toDataURL().split(",")[1], strokes: [] };
            const status = async (name) => (await fetch("/api/drawings", {
                method: "POST",
                headers: { "Content-Type": "application/json" },
                body: JSON.stringify(drawing(pad, "A", [name])),
            })).status;
            return Promise.all(names.map(async (name) => [problemWith([name]) === "", await status(name)]));
        }""",
        NAMES,
    )
    assert {status for _, status in outcomes} == {201, 422}
    assert [
        ascii(name) for name, (valid, status) in zip(NAMES, outcomes, strict=True) if valid != (status == 201)
    ] == []


def test_a_long_drawing_is_thinned_out_not_refused(drawing_page: Page, server, tag: str):
    prompted(drawing_page)
    saved_as = drawing_page.evaluate(
        """async (tag) => {
            const { drawing, sendable } = await import("/static/drawings.js");
            const sheet = document.createElement("canvas");
            sheet.width = sheet.height = 1;
            const stroke = Array.from({ length: 9000 }, (_, i) => ({ x: i / 40, y: 3, t: i - 50, pressure: 0.5 }));
            const pad = { png: () => sheet.toDataURL().split(",")[1], strokes: [stroke, stroke, [stroke[7]]] };
            const finished = drawing(pad, "A", [tag]);
            const { ask } = await import("/static/server.js");
            return (await ask("/api/drawings", sendable(finished))).id;
        }""",
        tag,
    )
    strokes = server.store.get(saved_as).strokes
    assert 4000 < sum(map(len, strokes)) <= 5000
    assert [(stroke[0]["x"], stroke[-1]["x"]) for stroke in strokes] == [(0, 8999 / 40)] * 2 + [(7 / 40, 7 / 40)]


def assert_the_tab_keeps_what_waits(page: Page, store: Store, tag: str) -> None:
    page.context.set_offline(True)
    draw(page, A_PLUS)
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#note")).to_contain_text("1 drawing is waiting to be sent. Keep this tab open.")
    page.context.set_offline(False)
    (drawing,) = saved(page, store, tag)
    assert_inked(drawing, A_PLUS)


def test_a_browser_that_blocks_site_data_draws_and_warns_before_anything_is_lost(
    without_site_data: Page, server, tag: str
):
    page = without_site_data
    page.goto(server.url)
    assert "Access is denied" in page.evaluate("(() => { try { localStorage } catch (e) { return String(e) } })()")
    prompted(page)
    expect(page.locator("#note")).to_have_text(re.compile("cannot store anything.*keep the tab open"))
    page.get_by_label("Tags").fill(tag)
    assert_the_tab_keeps_what_waits(page, server.store, tag)
    expect(page.locator("#mine")).to_have_text("1")
    page.get_by_role("link", name="Guess").click()
    expect(page.locator("#note")).to_have_text(re.compile("cannot store anything"))
    draw(page, DOT)  # which does not outlive the page
    asked = []
    page.on("dialog", lambda dialog: asked.append(dialog.type) or dialog.accept())
    page.get_by_role("link", name="Browse").click()
    expect(page.locator("#gallery [role=option]").first).to_be_visible()
    assert asked == ["beforeunload"]


def test_a_browser_without_space_loses_no_drawing(drawing_page: Page, server, tag: str):
    prompted(drawing_page)
    session = drawing_page.context.new_cdp_session(drawing_page)
    session.send("Storage.overrideQuotaForOrigin", {"origin": server.url, "quotaSize": 1})
    assert_the_tab_keeps_what_waits(drawing_page, server.store, tag)


# Guess.


@pytest.fixture
def guess_page(open_page: Callable[..., Page], server, tag: str) -> Page:
    page = open_page(f"{server.url}/guess")
    page.get_by_label("Tags").fill(tag)
    expect(page.locator("#hint")).to_be_visible()
    expect(page.get_by_role("button", name="Undo")).to_be_disabled()
    return page


def test_the_hint_makes_way_for_the_pen(guess_page: Page):
    hint = guess_page.locator("#hint")
    guess_page.mouse.move(*on_paper(guess_page, [(140, 140)])[0])
    guess_page.mouse.down()
    guess_page.mouse.move(*on_paper(guess_page, [(150, 160)])[0])
    expect(hint).to_be_hidden()
    guess_page.mouse.up()
    guess_page.get_by_role("button", name="Clear").click()
    expect(hint).to_be_visible()


def test_the_guess_follows_the_pen(guess_page: Page, server, tag: str):
    right = guess_page.get_by_role("button", name="Right")
    expect(right).to_be_disabled()
    asked = []
    guess_page.on("request", lambda request: asked.append(request.url) if "/api/guess" in request.url else None)
    for n, stroke in enumerate(A_PLUS, start=1):
        with guess_page.expect_response("**/api/guess"):
            draw(guess_page, [stroke])
        assert len(asked) == n
    expect(right).to_be_enabled()
    rows = guess_page.locator("#bars li")
    expect(rows).to_have_count(5)
    shares = [int(text.rstrip("%")) for text in guess_page.locator("#bars .share").all_inner_texts()]
    assert shares == sorted(shares, reverse=True)
    best = rows.first.inner_text().split()[0].replace("−", "-")
    assert best in GRADES
    expect(guess_page.locator("#said")).to_have_text(re.compile(rf"{best[0]}.* percent"))
    right.click()
    (drawing,) = saved(guess_page, server.store, tag)
    assert (drawing.label, drawing.tags) == (best, (tag, "guess"))
    assert_inked(drawing, A_PLUS)


def test_a_rejected_drawing_is_called_so(guess_page: Page, server, tag: str):
    note, bars = guess_page.get_by_role("status"), guess_page.locator("#bars")
    right = guess_page.get_by_role("button", name="Right")
    draw(guess_page, DOT)
    expect(note).to_have_text("This does not look like a grade.")
    expect(bars).to_have_class(re.compile("dim"))
    expect(right).to_have_text("Right, no grade")
    guess_page.get_by_role("button", name="Clear").click()
    expect(note).to_have_text("")
    expect(right).to_be_disabled()
    draw(guess_page, A_PLUS)
    expect(right).to_be_enabled()
    expect(bars).not_to_have_class(re.compile("dim"))
    expect(note).to_have_text("")
    guess_page.get_by_role("button", name="Clear").click()
    # The visitor knows better, perhaps: that is for the teacher to see.
    draw(guess_page, DOT)
    guess_page.get_by_role("button", name="No, it is").click()
    guess_page.get_by_role("button", name="B minus").click()
    expect(note).to_contain_text("Saved. gradejax could not read your B−, so your teacher will have a look.")
    (drawing,) = server.store.find(Query(tags=(tag,), deleted=True))
    assert (drawing.label, drawing.tags) == ("B-", (tag, "guess", QUARANTINE_TAG))


def test_a_drawing_of_no_grade_is_saved_as_that(guess_page: Page, server, tag: str):
    draw(guess_page, A_PLUS)
    guess_page.get_by_role("button", name="No, it is").click()
    guess_page.get_by_role("button", name="no grade", exact=True).click()
    (drawing,) = saved(guess_page, server.store, tag)
    assert (drawing.label, drawing.tags) == (NO_GRADE, (tag, "guess"))
    draw(guess_page, DOT)
    with guess_page.expect_response("**/api/drawings"):
        guess_page.get_by_role("button", name="Right, no grade").click()
    drawings = list(server.store.find(Query(tags=(tag,))))
    assert [(drawing.label, drawing.tags) for drawing in drawings] == [(NO_GRADE, (tag, "guess"))] * 2


def test_the_page_names_the_shipped_recogniser_until_there_is_a_run(
    open_page: Callable[..., Page], run: Path, tmp_path: Path
):
    with serve(tmp_path) as server:
        page = open_page(f"{server.url}/guess")
        source = page.locator("#source")
        expect(source).to_contain_text("These guesses are by the model that comes with gradejax")
        expect(source).to_contain_text(re.compile(r"UNIPEN .*CC BY 4\.0.* synthetic"))
        draw(page, A_PLUS)
        expect(page.locator("#bars .share").first).to_have_text(re.compile("%"))
        expect(source).to_contain_text("gradejax")
        (tmp_path / "runs").mkdir()
        (tmp_path / "runs" / "mine").symlink_to(run)

        def has_changed() -> bool:
            with page.expect_response("**/api/guess") as response:
                draw(page, DOT)
            return not response.value.json()["is_shipped"]

        wait_until(has_changed, pause=0.5)
        expect(source).to_have_text(re.compile("^These guesses are by .*run"))


def test_a_wrong_guess_is_corrected(guess_page: Page, server, tag: str):
    draw(guess_page, A_PLUS)
    guess_page.get_by_role("button", name="No, it is").click()
    guess_page.get_by_role("button", name="A plus").click()
    (drawing,) = saved(guess_page, server.store, tag)
    assert (drawing.label, drawing.tags) == ("A+", (tag, "guess"))


def test_a_picture_is_gone_with_the_cookie(open_page: Callable[..., Page], class_server):
    """The browser caches none: after signing out, nobody sees what needed the code."""
    class_server.store.add(write_drawings(3, seed=8))
    page = open_page(f"{class_server.url}/browse#code=three-wise-owls")
    picture = page.locator("#gallery [role=option] img").first
    expect(picture).to_be_visible()
    # wait_for_function would poll with eval, which the page's policy forbids.
    picture.evaluate("image => image.decode()")
    address = picture.evaluate("image => image.src")
    page.context.clear_cookies()
    answer = page.goto(address)
    assert (answer.status, answer.from_service_worker) == (401, False)


# A class.


def test_a_class_draws_over_plain_http(open_page: Callable[..., Page], class_server, tag: str):
    page = open_page(f"{class_server.url}/#code=three-wise-owls", has_touch=True, is_mobile=True)
    prompted(page)
    assert not page.evaluate("isSecureContext")
    assert page.evaluate("crypto.randomUUID === undefined")
    assert "three-wise-owls" not in page.url
    page.get_by_label("Tags").fill(tag)
    draw_by_finger(page, A_PLUS)
    page.get_by_role("button", name="Save").tap()
    (drawing,) = saved(page, class_server.store, tag)
    assert_inked(drawing, A_PLUS)
    page.get_by_role("link", name="Browse").tap()
    expect(page.locator("#gallery [role=option]").first).to_be_visible()
    page.get_by_role("link", name="Guess").tap()
    source = page.locator("#source")
    expect(source).to_contain_text("the model that comes with gradejax")
    assert source.evaluate("line => line.scrollWidth <= line.clientWidth")
    assert page.evaluate("document.cookie") == ""


def test_a_wrong_code_stays_outside(open_page: Callable[..., Page], class_server):
    page = open_page(f"{class_server.url}/browse")
    page.get_by_label("Access code").fill("six-wasps")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_have_text("That is not the code.")
    page.get_by_label("Access code").fill("three-wise-owls")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="drawing")).to_be_visible()
    assert page.url == f"{class_server.url}/browse"


# Every page.


@pytest.mark.parametrize("path", ["/", "/guess", "/browse", "/models"])
def test_every_page_suits_the_keyboard_a_narrow_phone_and_both_colour_schemes(
    open_page: Callable[..., Page], server, path: str
):
    server.store.add(write_drawings(15, seed=9))
    page = open_page(server.url + path, color_scheme="dark")
    page.wait_for_load_state("networkidle")
    for details in page.locator("summary").all():
        details.click()
    if path == "/browse":
        expect(page.get_by_role("region", name="Counts by tag and label")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    for scheme in ("dark", "light"):
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate(CONTRAST) >= 4.5  # as WCAG 2.2 asks at level AA
    assert_every_control_has_a_name_and_can_be_reached(page)


def assert_every_control_has_a_name_and_can_be_reached(page: Page) -> None:
    controls = page.locator("button:visible:enabled, a:visible, input:visible, select:visible, [role=listbox]")
    for control in controls.all():
        expect(control).to_have_accessible_name(re.compile(r"\w"))
    # By their descriptions, for the page may draw its counts anew meanwhile.
    wanted = controls.evaluate_all(f"nodes => nodes.map({DESCRIBED})")
    page.evaluate(
        f"() => {{ window.reached = []; addEventListener('focusin', (e) => reached.push(({DESCRIBED})(e.target))); }}"
    )
    for _ in range(len(wanted) + 12):  # a date field takes several
        page.keyboard.press("Tab")
    assert set(wanted) <= set(page.evaluate("reached"))


DESCRIBED = """
    node => [node.localName, node.id, node.name, node.ariaLabel, node.role ? '' : node.innerText, node.href].join()
"""


# The lowest contrast of any visible, enabled text with its background.
CONTRAST = """() => {
    const light = (color) => {
        const [r, g, b] = color.match(/[\\d.]+/g).slice(0, 3).map((v) => v / 255)
            .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const ground = (node) => {
        const color = getComputedStyle(node).backgroundColor;
        return color === "rgba(0, 0, 0, 0)" ? ground(node.parentElement) : color;
    };
    const texts = [...document.querySelectorAll("body *")].filter((node) =>
        node.checkVisibility() && !node.closest(":disabled, svg, option") &&
        [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim()));
    return Math.min(...texts.map((node) => {
        const [a, b] = [light(getComputedStyle(node).color), light(ground(node))].sort((x, y) => y - x);
        return (a + 0.05) / (b + 0.05);
    }));
}"""
