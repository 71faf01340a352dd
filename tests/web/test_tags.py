"""The teacher's tags and the pupils': two devices, in a real browser, over a real server."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import httpx2 as httpx
import pytest
from conftest import CODE, TEACHERS_CODE, Server, serve
from playwright.sync_api import Page, expect
from test_class import at_class, draw_one, phone
from test_desk import SIZES, crowd

from gradejax.hands.synthetic import write_drawings
from gradejax.stores import Query

CODES = (f"--access-code={CODE}", f"--teacher-code={TEACHERS_CODE}")


@pytest.fixture(scope="module")
def school(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve(tmp_path_factory.mktemp("school"), *CODES) as server:
        yield server


@pytest.fixture
def start(school: Server) -> Callable[..., Server]:
    """Begins with a class: an empty store, and what pupils may choose from or type."""

    def start(tags: Sequence[str] = (), free: bool = False) -> Server:
        school.store.erase([drawing.id for drawing in school.store.find(Query(deleted=None))])
        with httpx.Client(base_url=school.url) as teacher:
            teacher.post("/sign-in", json={"code": TEACHERS_CODE}).raise_for_status()
            teacher.post("/api/tags", json={"tags": tags, "free": free}).raise_for_status()
        return school

    return start


def teacher(open_page: Callable[..., Page], server: Server, path: str) -> Page:
    page = open_page(f"{at_class(server)}{path}#code={TEACHERS_CODE}")
    expect(page.get_by_role("button", name="Sign out")).to_be_enabled()
    return page


def saved(page: Page) -> None:
    expect(page.locator("#note")).to_contain_text("saved.")


def tags_in(server: Server) -> list[tuple[str, ...]]:
    return [drawing.tags for drawing in server.store.find()]


def offer(page: Page, *tags: str) -> None:
    for tag in tags:
        page.get_by_label("New tag").fill(tag)
        page.get_by_role("button", name="Offer").click()
        expect(page.get_by_role("button", name=f"Withdraw {tag}")).to_be_visible()


def open_counts(page: Page) -> None:
    page.get_by_text("Counts by tag and label").click()
    expect(page.locator("#counts table")).to_be_visible()


def rename(page: Page, old: str, new: str) -> None:
    page.get_by_role("button", name=f"Rename {old}", exact=True).click()
    page.get_by_label("New name").fill(new)
    page.get_by_role("dialog").get_by_role("button", name="Rename").click()


def test_pupils_choose_what_the_teacher_offers(start: Callable[..., Server], open_page: Callable[..., Page]):
    server = start()
    pupil = phone(open_page, server)
    expect(pupil.get_by_label("Tag")).to_have_count(0)
    draw_one(pupil)  # nothing is offered: nothing to choose
    saved(pupil)
    page = teacher(open_page, server, "/class")
    page.get_by_role("button", name="Tags").click()
    offer(page, "7b")
    pupil.reload()
    expect(pupil.locator("#tagging")).to_have_text("Tag 7b")
    draw_one(pupil)
    saved(pupil)
    offer(page, "8c")
    pupil.reload()
    pupil.get_by_label("Tag").select_option("8c")
    pupil.reload()
    expect(pupil.get_by_label("Tag")).to_have_value("8c")  # it is remembered
    draw_one(pupil)
    saved(pupil)
    assert tags_in(server) == [("class",), ("7b",), ("8c",)]
    # Whoever has not chosen is asked.
    other = phone(open_page, server)
    draw_one(other)
    expect(other.locator("#note")).to_have_text("Choose a tag first: your class or team.")
    expect(other.get_by_label("Tag")).to_be_focused()
    # The teacher takes the last change back, and lets pupils type.
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("button", name="Withdraw 8c")).to_have_count(0)
    page.get_by_label("Pupils may type other tags").check()
    expect(page.locator("#offering-about")).to_have_text("Pupils choose one of these tags, or type another.")
    other.reload()
    expect(other.get_by_label("Tags")).to_have_value("")
    assert other.locator("datalist option").evaluate_all("all => all.map(({ value }) => value)") == ["7b"]
    # The teacher's own links still work.
    page.goto(f"{at_class(server)}/?tags=test-set")
    expect(page.get_by_label("Tags")).to_have_value("test-set")


def test_a_drawing_with_a_withdrawn_tag_is_refused_and_not_lost(
    start: Callable[..., Server], open_page: Callable[..., Page]
):
    server = start(tags=["7b", "8c"])
    pupil = phone(open_page, server)
    pupil.get_by_label("Tag").select_option("7b")
    page = teacher(open_page, server, "/class")
    page.get_by_role("button", name="Tags").click()
    offer(page, "9d")
    page.get_by_role("button", name="Withdraw 7b").click()
    expect(page.locator("#offering-note")).to_contain_text("7b is no longer offered. Drawings keep it.")
    draw_one(pupil)
    refused = pupil.get_by_role("region", name="Drawings that could not be saved")
    expect(refused).to_contain_text("Your teacher no longer offers the tag 7b: choose another.")
    refused.get_by_role("button", name="Send again").click()
    expect(pupil.locator("#note")).to_have_text("Choose a tag first: your class or team.")
    refused.get_by_label("Change the tag").select_option("8c")
    refused.get_by_role("button", name="Send again").click()
    expect(refused).to_be_hidden()
    saved(pupil)
    assert tags_in(server) == [("8c",)]
    assert pupil.locator("#tagging option").evaluate_all("all => all.map(({ value }) => value)") == ["", "8c", "9d"]


def test_an_insult_is_gone_from_every_page(start: Callable[..., Server], open_page: Callable[..., Page]):
    """Also from a phone that typed it, and from a drawing that waits there without a connection."""
    server = start(free=True)
    pupil = phone(open_page, server)
    pupil.get_by_label("Tags").fill("insult")
    draw_one(pupil)
    saved(pupil)
    pupil.context.set_offline(True)
    draw_one(pupil)
    expect(pupil.locator("#note")).to_contain_text("1 drawing is waiting to be sent.")
    page = teacher(open_page, server, "/browse")
    page.goto(f"{at_class(server)}/browse?tag=insult")
    expect(page.locator("#heading")).to_have_text("1 drawing")
    open_counts(page)
    rename(page, "insult", "7b")
    expect(page.locator("#note")).to_have_text("insult is now 7b, on 1 drawing.")
    expect(page.locator("#heading")).to_have_text("1 drawing")
    assert page.url.endswith("tag=7b")  # the filter follows
    pupil.context.set_offline(False)
    saved(pupil)
    expect(pupil.get_by_label("Tags")).to_have_value("7b")
    assert tags_in(server) == [("7b",), ("7b",)]
    page.reload()
    expect(page.locator("#heading")).to_have_text("2 drawings")
    open_counts(page)
    for one, paths in ((page, ("/browse", "/class", "/models", "/")), (pupil, ("/guess", "/"))):
        for path in paths:
            one.goto(at_class(server) + path)
            expect(one.get_by_role("button", name="Sign out")).to_be_enabled()
            assert "insult" not in one.content()
    assert "insult" not in pupil.evaluate("JSON.stringify(localStorage)")


def test_merging_is_asked_for_and_undone_exactly(start: Callable[..., Server], open_page: Callable[..., Page]):
    server = start()
    kinds = [("7x",), ("7b",), ("7x", "7b"), ("room", "7x")]
    server.store.add(replace(one, tags=kinds[i % 4]) for i, one in enumerate(write_drawings(12, seed=3)))
    server.store.exclude([next(iter(server.store.find())).id])
    before = [drawing.tags for drawing in server.store.find(Query(deleted=None))]
    page, other = teacher(open_page, server, "/browse"), teacher(open_page, server, "/browse")
    open_counts(page)
    open_counts(other)
    rename(page, "7x", "7b")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("7b exists: its 6 drawings and these 9 will be together.")
    assert [drawing.tags for drawing in server.store.find(Query(deleted=None))] == before
    dialog.get_by_role("button", name="Put them together").click()
    expect(page.locator("#note")).to_have_text("7x is now 7b, on 9 drawings.")
    expect(page.get_by_role("button", name="Rename 7b")).to_be_focused()
    for one in (page, other):  # the other follows by itself
        expect(one.locator("#counts tbody th")).to_have_text([re.compile("7b"), re.compile("room"), "all"])
        expect(one.locator("#filters [name=tag] option")).to_have_text(["All", "7b", "room"])
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#note")).to_have_text("9 drawings as before.")
    assert [drawing.tags for drawing in server.store.find(Query(deleted=None))] == before
    expect(other.get_by_role("button", name="Rename 7x")).to_be_visible()


def test_there_is_room_to_draw_beside_a_choice_of_tags(start: Callable[..., Server], open_page: Callable[..., Page]):
    server = start(tags=["7b", "the class with the longest name of all classes in the school", *"12345678"])
    page = open_page(f"{at_class(server)}/#code={CODE}")
    expect(page.get_by_role("button", name="Sign out")).to_be_enabled()
    for path in ("/", "/guess"):
        page.goto(at_class(server) + path)
        expect(page.get_by_role("combobox", name="Tag")).to_be_visible()
        for is_crowded in (False, True):
            if is_crowded:
                crowd(page)
            for across, down in SIZES:
                page.set_viewport_size({"width": across, "height": down})
                assert page.locator("#paper").bounding_box()["width"] >= 200, (across, down)
                assert page.evaluate("document.documentElement.scrollWidth") <= across, (across, down)
