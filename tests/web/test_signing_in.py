"""Signing in and out in a real browser, and what the browser keeps."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import forked
import pytest
from playwright.sync_api import Page, expect

from gradejax.hands.synthetic import write_drawings
from gradejax.stores import open_store

CODE = "7b+c&d%41#ü x"
TEACHERS_CODE = "three-wise-owls"


class Class(NamedTuple):
    url: str
    invitation: str


@pytest.fixture(scope="module")
def odd_class(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Class]:
    """A server over 30 drawings; the pupils' code has every character that has a meaning in a URL."""
    folder: Path = tmp_path_factory.mktemp("odd")
    uri = f"sqlite:///{folder}/grades.db"
    store = open_store(uri)
    store.add(write_drawings(30, seed=5))
    store.close()
    codes = [f"--access-code={CODE}", f"--teacher-code={TEACHERS_CODE}"]
    server = forked.Process(folder, "web", "--port=0", f"--store={uri}", *codes)
    try:
        url, _, _, invitation = (line.split()[-1] for line in server.lines(4))
        # Not loopback's name, as in a class: not a secure context.
        yield Class(*(one.replace("127.0.0.1", "class.test") for one in (url, invitation)))
    finally:
        server.terminate()
        server.wait(timeout=20)


@pytest.fixture
def gallery(open_page: Callable[..., Page], odd_class: Class) -> Page:
    page = open_page(odd_class.url)
    sign_in(page, TEACHERS_CODE)
    page.get_by_role("link", name="Browse").click()
    expect(page.locator("#gallery img").first).to_be_visible()
    return page


def sign_in(page: Page, code: str) -> None:
    page.get_by_label("Access code").fill(code)
    page.get_by_role("button", name="Sign in").click()


def shows(page: Page, picture: str) -> bool:
    """Whether the browser can show the picture at that URL."""
    return page.evaluate(
        """(source) => new Promise((resolve) => {
            const image = new Image();
            image.onload = () => resolve(true);
            image.onerror = () => resolve(false);
            image.src = source;
        })""",
        picture,
    )


def test_the_printed_link_signs_in_and_does_not_stay(open_page: Callable[..., Page], odd_class: Class):
    page = open_page(odd_class.invitation)
    expect(page.locator("#prompt strong")).to_be_visible()
    assert page.url == odd_class.url
    # A second scan finds the visitor signed in.
    page.goto("about:blank")
    page.goto(odd_class.invitation)
    page.wait_for_url(odd_class.url)
    expect(page.locator("#prompt strong")).to_be_visible()
    page.go_back()
    assert page.url == "about:blank"


def test_signing_out_leaves_no_picture_behind(gallery: Page, odd_class: Class):
    picture = gallery.locator("#gallery img").first.evaluate("image => image.src")
    assert shows(gallery, picture)
    gallery.get_by_role("link", name="Draw", exact=True).click()
    gallery.get_by_role("button", name="Sign out").click()
    expect(gallery.get_by_label("Access code")).to_be_visible()
    assert not shows(gallery, picture)
    for _ in range(2):
        gallery.go_back()
        expect(gallery.get_by_label("Access code")).to_be_visible()
        assert gallery.locator("#gallery img").count() == 0
    gallery.goto(f"{odd_class.url}browse")
    expect(gallery.get_by_label("Access code")).to_be_visible()


def test_without_its_cookie_the_browser_shows_no_picture(gallery: Page):
    picture = gallery.locator("#gallery img").first.evaluate("image => image.src")
    gallery.context.clear_cookies()
    gallery.reload()
    expect(gallery.get_by_label("Access code")).to_be_visible()
    assert not shows(gallery, picture)


def test_without_a_code_there_is_no_sign_out_button(open_page: Callable[..., Page], server):
    page = open_page(f"{server.url}/")
    expect(page.locator("#prompt strong")).to_be_visible()
    expect(page.get_by_role("button", name="Sign out")).to_be_hidden()


def test_the_bar_does_not_move_while_the_page_loads(open_page: Callable[..., Page], odd_class: Class):
    """Else a link moves away from under the finger."""
    page = open_page(odd_class.invitation)
    sign_out, link = page.get_by_role("button", name="Sign out"), page.get_by_role("link", name="Guess")
    expect(sign_out).to_be_enabled()
    loaded = link.bounding_box()
    page.route("**/static/sign-out.js", lambda route: route.abort())
    page.reload()
    expect(page.locator("#prompt strong")).to_be_visible()
    assert link.bounding_box() == loaded
    expect(sign_out).to_be_disabled()


@pytest.mark.parametrize("code", [CODE, TEACHERS_CODE])
def test_the_bar_fits_a_narrow_phone(open_page: Callable[..., Page], odd_class: Class, code: str):
    page = open_page(f"{odd_class.url}browse")
    sign_in(page, code)
    for path in ("browse", "guess", ""):
        if path != "browse":
            page.goto(odd_class.url + path)
        for width in (320, 360):
            page.set_viewport_size({"width": width, "height": 640})
            expect(page.get_by_role("button", name="Sign out")).to_be_in_viewport(ratio=1)
            if path == "browse" and code == TEACHERS_CODE:
                expect(page.get_by_role("button", name="Select all")).to_be_visible()
            links = page.get_by_role("navigation").get_by_role("link")
            assert links.count() >= (3 if code == TEACHERS_CODE else 2)
            for link in links.all():
                expect(link).to_be_in_viewport(ratio=1)
            assert page.evaluate("document.documentElement.scrollWidth") <= width


# Two roles.


def test_a_pupil_sees_neither_the_teachers_links_nor_pages(open_page: Callable[..., Page], odd_class: Class):
    page = open_page(odd_class.invitation)
    expect(page.locator("#prompt strong")).to_be_visible()
    assert page.get_by_role("navigation").get_by_role("link").all_inner_texts() == ["Draw", "Guess", "Mine"]
    page.goto(f"{odd_class.url}browse")
    expect(page.get_by_text("Only the teacher can open this page.")).to_be_visible()
    page.get_by_role("link", name="Guess").click()
    expect(page.get_by_role("button", name="Undo")).to_be_visible()


def test_a_pupils_pages_load_nothing_of_others(open_page: Callable[..., Page], odd_class: Class):
    page = open_page("about:blank")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(urlsplit(request.url).path))
    page.goto(odd_class.invitation)
    expect(page.locator("#prompt strong")).to_be_visible()
    for path in ("guess", "browse"):
        page.goto(odd_class.url + path, wait_until="networkidle")
    assert "/api/status" in asked
    assert {path for path in asked if path.startswith("/api/")} == {"/api/status", "/api/tags"}


def test_the_teacher_takes_over_a_pupils_phone(open_page: Callable[..., Page], odd_class: Class):
    page = open_page(odd_class.invitation)
    expect(page.locator("#prompt strong")).to_be_visible()
    page.goto(f"{odd_class.url}browse")
    code, button = page.get_by_label("Teacher’s code"), page.get_by_role("button", name="Sign in as teacher")
    for wrong, said in (("a guess", "That is not the code."), (CODE, "That is the pupils’ code.")):
        code.fill(wrong)
        button.click()
        expect(page.get_by_role("alert")).to_have_text(said)
    code.fill(TEACHERS_CODE.upper())
    button.click()
    expect(page.locator("#gallery img").first).to_be_visible()
    # And hands it back.
    page.get_by_role("button", name="Sign out").click()
    sign_in(page, CODE)
    expect(page.locator("#prompt strong")).to_be_visible()
    expect(page.get_by_role("link", name="Browse")).to_be_hidden()


def test_a_pupil_can_sign_out_on_the_teachers_page(open_page: Callable[..., Page], odd_class: Class):
    page = open_page(odd_class.invitation)
    expect(page.locator("#prompt strong")).to_be_visible()
    page.goto(f"{odd_class.url}browse")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Access code")).to_be_visible()
