"""The page for the projector, and the phones of a class beside it: in a real browser, over a real server."""

import re
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest
from conftest import CODE, TEACHERS_CODE, Server, serve
from playwright.sync_api import Locator, Page, expect
from test_pages import A_PLUS, draw

from gradejax.hands.synthetic import write_drawings
from gradejax.scales import LETTERS, NO_GRADE
from gradejax.stores import Query, open_store

GRADES = LETTERS.labels

PROJECTOR = {"width": 1024, "height": 768}


REACHABLE = ("--host=0.0.0.0", f"--access-code={CODE}", f"--teacher-code={TEACHERS_CODE}")


@pytest.fixture(scope="module")
def building(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve(tmp_path_factory.mktemp("building"), *REACHABLE, "--whole-minutes") as server:
        yield server


@pytest.fixture
def room(building: Server) -> Server:
    """A server that phones can reach, with codes, over an empty store; it may remember who drew for earlier tests."""
    building.store.erase([drawing.id for drawing in building.store.find(Query(deleted=None))])
    return building


def at_class(server: Server) -> str:
    """Returns the server's URL under a name that is not loopback's."""
    return f"http://class.test:{urlsplit(server.url).port}"


def projector(open_page: Callable[..., Page], server: Server, **options: object) -> Page:
    page = open_page(f"{at_class(server)}/class#code={TEACHERS_CODE}", **options)
    page.set_viewport_size(PROJECTOR)
    expect(page.locator("#total")).to_have_text(re.compile(r"\d"))
    return page


def phone(open_page: Callable[..., Page], server: Server) -> Page:
    page = open_page(f"{at_class(server)}/#code={CODE}")
    expect(page.locator("#prompt strong")).to_have_text(re.compile("[A-E]"))
    return page


def draw_one(page: Page) -> str:
    """Saves a drawing; returns the grade that it was asked for as."""
    grade = page.locator("#prompt strong").inner_text()
    draw(page, A_PLUS)
    page.get_by_role("button", name="Save").click()
    return grade


def tiles(page: Page) -> Locator:
    return page.locator("#newest li.shown")


def count_of(page: Page, grade: str) -> Locator:
    return page.locator("#goals li").filter(has=page.get_by_text(grade, exact=True)).locator(".count")


def test_a_phone_can_read_the_invitation(room: Server, open_page: Callable[..., Page]):
    page = projector(open_page, room)
    expect(page.locator("#address")).to_have_text(room.url.removeprefix("http://"))
    expect(page.locator("#code")).to_have_text(CODE)
    expect(page.locator("#qr")).to_have_attribute("src", re.compile("invitation"))
    expect(page.locator("#qr")).to_have_js_property("complete", True)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert scanned(page.screenshot()) == f"{room.url}/#code={CODE}"


def scanned(screenshot: bytes) -> str:
    picture = cv2.imdecode(np.frombuffer(screenshot, np.uint8), cv2.IMREAD_GRAYSCALE)
    return cv2.QRCodeDetector().detectAndDecode(picture)[0]


def test_a_pupil_is_shown_nothing_of_it(room: Server, open_page: Callable[..., Page]):
    pupil = phone(open_page, room)
    statuses = pupil.evaluate(
        """async () => {
            const paths = ["/class", "/api/events", "/api/invitation", "/api/invitation.svg"];
            const answers = await Promise.all(paths.map((path) => fetch(path)));
            const pause = fetch("/api/collection", {
                method: "POST", headers: {"Content-Type": "application/json"}, body: '{"paused": true}',
            });
            return [...answers, await pause].map(({status}) => status);
        }"""
    )
    assert statuses == [403] * 5
    pupil.goto(f"{at_class(room)}/class")
    expect(pupil.get_by_text("Only the teacher can open this page.")).to_be_visible()


def test_on_loopback_the_page_says_how_to_invite(server: Server, open_page: Callable[..., Page]):
    page = open_page(f"{server.url}/class")
    expect(page.locator("#alone")).to_contain_text("phones cannot reach")
    expect(page.locator("#alone")).to_contain_text("--host=0.0.0.0")
    expect(page.locator("#qr")).to_be_hidden()
    expect(page.locator("#note")).to_be_empty()


def test_what_another_program_imports_appears(room: Server, open_page: Callable[..., Page]):
    """The first ones fill the page; later ones take the places of the oldest."""
    page = projector(open_page, room)
    drawings = list(write_drawings(30, seed=8))
    room.store.add(drawings[:27])
    expect(tiles(page)).to_have_count(24)
    room.store.add(drawings[27:])
    for drawing in drawings[27:]:
        expect(page.locator(f"#newest img[src*='{drawing.id}']")).to_be_visible()
    expect(page.locator("#total")).to_have_text("30")


def test_dates_are_kept_to_the_minute_where_asked(room: Server, open_page: Callable[..., Page]):
    pupil = phone(open_page, room)
    draw_one(pupil)
    expect(pupil.locator("#mine")).to_have_text("1")
    (drawing,) = room.store.find()
    assert abs((datetime.now(UTC) - drawing.date).total_seconds()) < 120
    assert (drawing.date.second, drawing.date.microsecond) == (0, 0)
    assert int(drawing.id[:8], 16) % 60 == 0, "nor does the id say more"


@pytest.fixture
def new_room(tmp_path: Path) -> Iterator[Server]:
    with serve(tmp_path, *REACHABLE) as server:
        yield server


def test_what_one_device_draws_the_other_shows(new_room: Server, open_page: Callable[..., Page]):
    room = new_room
    page, pupil = projector(open_page, room), phone(open_page, room)
    expect(page.locator("#devices")).to_have_text("0")
    grade = draw_one(pupil)
    expect(pupil.locator("#mine")).to_have_text("1")
    expect(tiles(page)).to_have_count(1, timeout=2000)
    expect(tiles(page)).to_contain_text(grade)
    expect(count_of(page, grade)).to_have_text("1", timeout=2000)
    expect(page.locator("#total")).to_have_text("1")
    expect(page.locator("#devices")).to_have_text("1")
    draw_one(phone(open_page, room))
    expect(page.locator("#devices")).to_have_text("2")
    expect(tiles(page)).to_have_count(2)
    room.store.exclude([drawing.id for drawing in room.store.find()])  # from outside: the counts follow
    expect(page.locator("#total")).to_have_text("0")


def test_a_paused_collection_loses_nothing(room: Server, open_page: Callable[..., Page]):
    page, pupil = projector(open_page, room), phone(open_page, room)
    page.get_by_role("button", name="Pause collecting").click()
    expect(page.locator("#paused")).to_contain_text("Paused")
    expect(page.get_by_role("button", name="Resume collecting")).to_be_focused()
    draw_one(pupil)
    waiting = "1 drawing is waiting to be sent. The teacher has paused the collection."
    expect(pupil.locator("#note")).to_contain_text(waiting)
    pupil.reload()  # a page that is closed meanwhile keeps it, too
    expect(pupil.locator("#note")).to_contain_text(waiting)
    assert room.store.count() == 0
    page.get_by_role("button", name="Resume collecting").click()
    expect(page.locator("#paused")).to_be_empty()
    expect(pupil.locator("#mine")).to_have_text("1", timeout=60_000)
    expect(tiles(page)).to_have_count(1)
    assert room.store.count() == 1


def test_the_page_goes_on_when_the_server_is_back(tmp_path: Path, open_page: Callable[..., Page]):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with ExitStack() as first:
        server = first.enter_context(serve(tmp_path, f"--port={port}"))
        page = open_page(f"{server.url}/class")
        expect(page.locator("#total")).to_have_text("0")
        first.close()
        expect(page.locator("#note")).to_have_text("The server cannot be reached.")
    store = open_store(f"sqlite:///{tmp_path}/grades.db")
    store.add(write_drawings(5, seed=4))
    store.close()
    with serve(tmp_path, f"--port={port}"):
        expect(page.locator("#total")).to_have_text("5", timeout=60_000)
        expect(tiles(page)).to_have_count(5)
        expect(page.locator("#note")).to_be_empty()


def test_the_newest_drawings_are_few_and_in_use(room: Server, open_page: Callable[..., Page]):
    room.store.add(write_drawings(25, seed=6))
    page, pupil = projector(open_page, room), phone(open_page, room)
    expect(tiles(page)).to_have_count(24)
    kept = page.locator("#newest li").nth(1).element_handle()
    grade = draw_one(pupil)
    expect(page.locator("#newest li").first).to_contain_text(grade)  # in place of the oldest
    assert kept.evaluate("tile => tile.isConnected && tile === tile.parentNode.children[1]")
    # The gallery excludes it.
    newest = next(iter(room.store.find(newest_first=True)))
    page.evaluate(
        """(ids) => fetch("/api/drawings/put-aside", {
            method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify({ids}),
        })""",
        [newest.id],
    )
    shown = page.locator(f'#newest img[src$="{newest.id}"]')
    expect(shown).to_have_count(0)
    expect(tiles(page)).to_have_count(24)


def test_the_goal_is_the_teachers_and_stays(room: Server, open_page: Callable[..., Page]):
    room.store.add(
        replace(drawing, label=label) for drawing, label in zip(write_drawings(4, seed=1), "AABC", strict=True)
    )
    room.store.add(replace(drawing, label=NO_GRADE) for drawing in write_drawings(1, seed=2))
    page = projector(open_page, room)
    reached = page.locator("#goals .reached")
    expect(reached).to_have_count(0)
    page.get_by_label("Goal per grade").fill("2")
    expect(reached).to_have_count(1)
    expect(reached).to_contain_text("A: 2 of 2")
    expect(page.locator("#others")).to_have_text("1 of these show no grade.")
    assert page.url.endswith("/class?goal=2")
    page.reload()
    expect(reached).to_have_count(1)
    page.goto(f"{at_class(room)}/class")
    expect(page.get_by_label("Goal per grade")).to_have_value("2")
    for nonsense in ("0", "-3", "", "1.5"):
        page.get_by_label("Goal per grade").fill(nonsense)
        expect(reached).to_have_count(1)
    page.get_by_label("Goal per grade").blur()
    expect(page.get_by_label("Goal per grade")).to_have_value("2")
    page.get_by_label("Goal per grade").fill("1")
    expect(reached).to_have_count(3)
    expect(page.locator("#goals li")).to_have_count(len(GRADES))


def test_a_projector_shows_all_of_it_and_a_phone_scrolls_down_only(room: Server, open_page: Callable[..., Page]):
    room.store.add(write_drawings(25, seed=6))
    page = projector(open_page, room)
    expect(tiles(page)).to_have_count(24)
    for size in ((1024, 768), (1366, 640), (1366, 768), (1920, 1080)):
        page.set_viewport_size({"width": size[0], "height": size[1]})
        measured = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.scrollHeight]")
        assert measured == list(size)
        boxes = [page.locator(part).bounding_box() for part in ("#qr", ".invitation dl", ".steering")]
        # None covers another.
        assert all(above["y"] + above["height"] <= below["y"] for above, below in pairwise(boxes))
        assert min(boxes[0]["width"], boxes[0]["height"]) >= 230
        expect(tiles(page)).to_have_count(24)
    for size in ((360, 740), (320, 256), (740, 360)):
        page.set_viewport_size({"width": size[0], "height": size[1]})
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
        assert page.locator("#qr").bounding_box()["width"] >= 200
        expect(tiles(page)).to_have_count(24)


def test_with_reduced_motion_drawings_appear_at_once(room: Server, open_page: Callable[..., Page]):
    room.store.add(write_drawings(3, seed=6))
    page = projector(open_page, room, reduced_motion="reduce")
    expect(tiles(page)).to_have_count(3)
    assert page.evaluate("document.getAnimations().length") == 0


def test_a_hidden_page_takes_no_stream(room: Server, open_page: Callable[..., Page]):
    """A browser opens six connections to one server: with as many such pages open nothing else would load."""
    page = projector(open_page, room)
    others = [page.context.new_page() for _ in range(7)]
    for other in others:
        other.goto(f"{at_class(room)}/class")
        expect(other.locator("#total")).to_have_text("0")
        set_hidden(other, True)
    room.store.add(write_drawings(2, seed=6))
    expect(page.locator("#total")).to_have_text("2")
    page.context.new_page().goto(f"{at_class(room)}/browse")
    expect(others[0].locator("#total")).to_have_text("0")
    set_hidden(others[0], False)
    expect(others[0].locator("#total")).to_have_text("2")
    expect(tiles(others[0])).to_have_count(2)


def set_hidden(page: Page, hidden: bool) -> None:
    """Tells the page what a browser tells one in the background: Playwright keeps all pages in the foreground."""
    page.evaluate(
        """(hidden) => {
            Object.defineProperty(document, "hidden", {value: hidden, configurable: true});
            document.dispatchEvent(new Event("visibilitychange"));
        }""",
        hidden,
    )
