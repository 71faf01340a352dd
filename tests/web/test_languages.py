"""The pages' languages: each has all the texts, and a visitor sees no other."""

import re
from collections.abc import Callable
from functools import cache, partial

import pytest
from conftest import CODE
from playwright.sync_api import Page, expect
from test_accessibility import assert_accessible
from test_desk import crowd
from test_pages import A_PLUS, draw, prompted

from gradejax.drawings import new_id
from gradejax.recogniser import load_shipped
from gradejax.web.languages import DEFAULT, LANGUAGES, TEXTS, Text, preferred, translated
from gradejax.web.pages import STATIC

OTHERS = [language for language in LANGUAGES if language != DEFAULT]
SIZES = [(360, 640), (320, 568), (640, 360), (568, 320), (1440, 900)]
SEEN = """() => {
  const seen = [document.title];
  for (const node of document.body.querySelectorAll("*:not(script)")) {
    for (const name of ["aria-label", "alt", "title", "placeholder"]) seen.push(node.getAttribute(name));
    for (const { nodeType, data } of node.childNodes) if (nodeType === Node.TEXT_NODE) seen.push(data);
  }
  return seen.map((text) => text?.replace(/\\s+/g, " ").trim()).filter(Boolean);
}"""
"""Returns the texts of the page, also those that are only read out, or not shown yet."""


def forms(language: str, key: str) -> list[str]:
    text = TEXTS[language][key]
    return [text] if isinstance(text, str) else list(text.values())


def keys_in(files: str, pattern: str) -> set[str]:
    return {key for file in STATIC.parent.glob(files) for key in re.findall(pattern, file.read_text("utf-8"))}


# The texts.


def test_each_text_is_there_and_is_used():
    in_markup = r"(?<!\{)\{\{(?:\{\{)?([\w-]+\.[\w.-]+)\}\}"  # twice as many braces in an f-string
    in_scripts = keys_in("static/*.js", r'\bt\(\s*"([\w.-]+)"')
    in_scripts |= keys_in("../export/static/*.js", r'\bt\(\s*"([\w.-]+)"')
    in_modules = r'\bText\(\s*"([\w.-]+)"'
    used = in_scripts | keys_in("static/*.html", in_markup)
    used |= keys_in("*.py", in_markup) | keys_in("*.py", in_modules) | keys_in("../export/*.py", in_modules)
    used |= keys_in("pages.py", r'"(page\.\w+)"')
    assert not [key for key in in_scripts if key.startswith("server.")]  # these stay on the server
    for language in LANGUAGES:
        assert set(TEXTS[language]) == used, language


def test_the_languages_agree_on_values_and_plurals():
    for key in TEXTS[DEFAULT]:
        names = set(re.findall(r"\{(\w+)\}", forms(DEFAULT, key)[-1]))
        for language in LANGUAGES:
            text = TEXTS[language][key]
            assert isinstance(text, str) == isinstance(TEXTS[DEFAULT][key], str), (language, key)
            assert isinstance(text, str) or list(text) == ["one", "other"], (language, key)
            for form in forms(language, key):
                missing = names ^ set(re.findall(r"\{(\w+)\}", form))
                assert missing <= ({"n"} if form != forms(language, key)[-1] else set()), (language, key)


def test_french_punctuation_does_not_begin_a_line():
    texts = [form for key in TEXTS["fr"] for form in forms("fr", key)]
    assert not [text for text in texts if re.search(r" [:;?!»%]|« ", text)]


def test_numbers_are_written_as_in_the_language():
    accuracy = Text("server.accuracy", points=98.86)
    about = Text("server.about-unseen", name="cnn-1", accuracy=accuracy, n=1440)
    assert str(about) == "cnn-1, 98.9% on 1,440 drawings of unseen writers"
    assert about.to("de") == "cnn-1, 98,9\u00a0% bei 1.440 Zeichnungen unbekannter Personen"
    none = Text("server.about-unseen", name="cnn-1", accuracy=accuracy, n=0)
    assert none.to("fr").endswith("0 dessin d’auteurs inconnus")
    assert "1440" in about.to("es") and "1440" in about.to("it")  # no point before the fifth digit


def test_what_the_shipped_recogniser_was_trained_on_is_said_in_each_language():
    assert TEXTS[DEFAULT]["guess.trained-on"] == load_shipped().trained_on


@pytest.mark.parametrize(
    ("chosen", "accepted", "language"),
    [
        ([], "", "en"),
        ([], "de-CH,de;q=0.9,en;q=0.8", "de"),
        ([], "nl, es;q=0.1, it;q=0.7", "it"),
        ([], "fr;q=0, *", "en"),
        ([], "fr;q=much, ;;;,", "en"),
        (["es"], "de", "es"),
        (["nl", "it"], "de", "it"),
    ],
)
def test_a_visitors_language(chosen: list[str], accepted: str, language: str):
    assert preferred(chosen, accepted) == language


def test_no_text_ends_the_element_that_holds_the_texts(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(TEXTS["de"], "page.draw", "</script><b>")
    html = translated('<html lang="en"><head></head>{{page.draw}}', "de")
    assert html.startswith('<html lang="de">')
    assert html.endswith("</head>&lt;/script&gt;&lt;b&gt;")
    assert html.count("</script>") == 1


# The pages.


@cache
def english(language: str) -> list[re.Pattern[str]]:
    """Returns what a page in `language` must not say: texts of one word only at the beginning, for it may be common."""
    patterns = []
    for key in TEXTS[DEFAULT]:
        for form in set(forms(DEFAULT, key)) - set(forms(language, key)):
            parts = [re.escape(part) for part in re.split(r"\{\w+\}", form)]
            words = re.findall("[A-Za-z]+", "".join(parts))
            if len(words) > 1:
                patterns.append(re.compile(r"\b" + ".+".join(parts) + r"(?!\w)"))
            elif words:  # nor is it the name of a file
                patterns.append(re.compile("^" + r"(?:\S+|[\d ]+)".join(parts) + r"(?!\.?\w)"))
    return patterns


@pytest.fixture
def visit(open_page: Callable[..., Page], class_server) -> Callable[..., Page]:
    """Opens a page in a class with a browser in a language."""

    def visit(path: str, language: str) -> Page:
        return open_page(f"{class_server.url}{path}", locale=f"{language}-{language.upper()}")

    return visit


@pytest.fixture(params=OTHERS)
def language(request: pytest.FixtureRequest) -> str:
    return request.param


def assert_no_english(page: Page, language: str) -> None:
    assert page.evaluate("document.documentElement.lang") == language
    assert [text for text in page.evaluate(SEEN) for pattern in english(language) if pattern.search(text)] == []


@pytest.fixture
def assert_translated(language: str) -> Callable[[Page], None]:
    return partial(assert_no_english, language=language)


def assert_fits(page: Page) -> None:
    for across, down in SIZES:
        page.set_viewport_size({"width": across, "height": down})
        content, paper, lowest = page.evaluate(
            """() => [
                document.documentElement.scrollWidth,
                document.getElementById("paper").getBoundingClientRect().width,
                Math.max(...[...document.querySelectorAll(".tools button")].map((e) => e.getBoundingClientRect().y)),
            ]"""
        )
        assert content <= across, f"{across}x{down}"
        assert paper >= 200, f"{across}x{down}"
        # Else the page scrolls beside the paper.
        assert lowest + 40 < down or down < across < 1000, f"{across}x{down}"
    page.set_viewport_size({"width": 360, "height": 640})


def test_nothing_is_in_english(visit: Callable[..., Page], language: str, assert_translated: Callable[[Page], None]):
    page = visit("/", language)
    page.locator("#code").fill("six-wasps")
    page.locator("#form button").click()
    expect(page.locator("#refusal")).to_have_text(Text("server.wrong-code").to(language))
    assert_translated(page)
    page.locator("#code").fill(CODE)
    page.locator("#form button").click()
    prompted(page)
    assert_translated(page)
    expect(page.locator("#tags")).to_be_visible()
    draw(page, A_PLUS)
    page.locator("#save").click()
    expect(page.locator("#note")).to_have_text(Text("tagging.add-first").to(language))
    page.locator("#tags").fill(f"test-{new_id()}")
    page.locator("#save").click()
    expect(page.locator("#note button")).to_have_text(Text("desk.take-back").to(language))
    crowd(page)
    assert_translated(page)
    assert_fits(page)

    page.locator("nav a").nth(1).click()
    expect(page.locator("#source")).not_to_be_empty()
    draw(page, A_PLUS)
    expect(page.locator("#guess")).not_to_be_empty()
    page.locator("#wrong").click()
    assert_translated(page)
    assert_fits(page)

    page.locator("nav a").nth(2).click()
    page.get_by_role("checkbox").check()
    page.locator("#delete").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    assert_translated(page)
    page.locator("dialog button[type=button]").click()
    page.locator("#somebody-else").click()
    assert_translated(page)
    page.goto(page.url.replace("/mine", "/browse"))
    expect(page.locator("#form")).to_be_visible()
    assert_translated(page)


def test_a_chosen_language_is_remembered(visit: Callable[..., Page]):
    page = visit("/", "fr")
    page.locator("#language").select_option("it")
    expect(page.locator("html")).to_have_attribute("lang", "it")
    page.wait_for_load_state()  # its scripts have run
    page.locator("#code").fill("six-wasps")
    page.locator("#form button").click()
    expect(page.get_by_role("alert")).to_have_text("Il codice non è questo.")
    page.locator("#code").fill(CODE)
    page.locator("#form button").click()
    expect(page.locator("#save")).to_have_text("Salva")
    expect(page.locator("#sign-out")).to_be_enabled()  # the bar's scripts have run
    page.get_by_role("combobox", name="Lingua").select_option("de")
    expect(page.locator("#save")).to_have_text("Speichern")
    page.reload()
    expect(page.locator("#save")).to_have_text("Speichern")
    page.locator("nav a").nth(2).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Meine Zeichnungen")
    refusal = page.evaluate("""async () => (await (await fetch("api/counts")).json()).detail""")
    assert refusal == Text("server.teacher-only").to("de")
    expect(page.locator("#language")).to_have_value("de")


def test_draw_in_german_is_accessible(visit: Callable[..., Page]):
    page = visit(f"/#code={CODE}", "de")
    prompted(page)
    crowd(page)
    assert_accessible(page)
