"""The pages' languages: which there are, which one a visitor prefers, and the texts in each.

The texts of a language are in `texts/<language>.json`: key → text, or for a text that depends on a number `n`
{"one": text, "other": text}. `{name}` in a text stands for a value. Keys that begin with "server." are for the server's
answers; all others are sent along with the pages, whose scripts use them, too (`static/language.js`).
"""

import json
import re
from collections.abc import Iterable, Mapping
from datetime import date
from functools import cache
from html import escape
from operator import itemgetter
from pathlib import Path

LANGUAGES = {"de": "Deutsch", "en": "English", "es": "Español", "fr": "Français", "it": "Italiano"}
"""Each language's code and its own name."""
DEFAULT = "en"
"""For visitors who prefer none of these, and for programs that do not say."""
COOKIE = "gradejax-language"
"""Set by the page, once a visitor chooses another language than the browser's."""
LANGUAGE = "gradejax.language"
"""The key in a request's scope of the language to answer in."""
TEXTS: Mapping[str, Mapping[str, str | Mapping[str, str]]] = {
    language: json.loads((Path(__file__).parent / f"texts/{language}.json").read_text("utf-8"))
    for language in LANGUAGES
}
"""Language → key → text, or its plural forms."""

_SEPARATORS = {"de": ".", "en": ",", "es": ".", "fr": "\u202f", "it": "."}  # between thousands
_UNGROUPED = {"es": 9_999, "it": 9_999}  # the highest number without them, as browsers write it
_POINTS = {"en": "."}  # before the decimals; a comma elsewhere
_DAYS = {"de": "%d.%m.%Y", "en": "%Y-%m-%d", "es": "%d/%m/%Y", "fr": "%d/%m/%Y", "it": "%d/%m/%Y"}
_MAX_PREFERENCES = 20


class Text:
    """One of the texts with its values, in no language yet: that of whoever reads it decides.

    `str` of it is English, as it is for a log.
    """

    def __init__(self, key: str, /, **values: object):
        """Creates it; `n` decides on the plural.

        Numbers and days are given as such, for each language writes them in its own way: floats with one decimal. A
        value may be another Text.
        """
        self.key, self.values = key, values

    def __str__(self) -> str:
        return self.to(DEFAULT)

    def to(self, language: str) -> str:
        """Returns the text in `language`."""
        text = TEXTS[language][self.key]
        if not isinstance(text, str):
            n = self.values["n"]
            text = text["one" if n == 1 or (n == 0 and language == "fr") else "other"]
        return text.format_map({name: _written(value, language) for name, value in self.values.items()})


class Wrong(ValueError):
    """What a validator says of a value that somebody has typed, in the language of whoever it was."""

    def __init__(self, text: Text):
        super().__init__(str(text))
        self.text = text


def _written(value: object, language: str) -> str:
    if isinstance(value, int):
        separator = _SEPARATORS[language] if value > _UNGROUPED.get(language, 999) else ""
        return f"{value:,}".replace(",", separator)
    if isinstance(value, float):
        return f"{value:.1f}".replace(".", _POINTS.get(language, ","))
    if isinstance(value, date):
        return value.strftime(_DAYS[language])
    return told(value, language)


def told(detail: object, language: str) -> str:
    """Returns a Text in `language`, anything else as it is."""
    return detail.to(language) if isinstance(detail, Text) else str(detail)


def preferred(chosen: Iterable[str], accepted: str) -> str:
    """Returns a visitor's language.

    Args:
        chosen: values of the cookie; the first that is a language decides.
        accepted: the header Accept-Language, which decides otherwise (RFC 9110, section 12.5.4).
    """
    for language in chosen:
        if language in LANGUAGES:
            return language
    preferences = map(_preference, accepted.split(",")[:_MAX_PREFERENCES])
    known = [(quality, language) for quality, language in preferences if language in LANGUAGES and quality > 0]
    return max(known, key=itemgetter(0), default=(1.0, DEFAULT))[1]


def _preference(text: str) -> tuple[float, str]:
    """Reads `de-CH;q=0.8` as (0.8, "de")."""
    name, _, quality = text.partition(";")
    language = name.strip().lower().partition("-")[0]
    try:
        return float(quality.strip().removeprefix("q=") or 1), language
    except ValueError:
        return 0.0, language


def translated(html: str, language: str) -> str:
    """Returns a page in `language`: with its texts in place of {{keys}}, and the texts that its scripts use."""
    html = re.sub(r"\{\{([\w.-]+)\}\}", lambda found: escape(Text(found[1]).to(language)), html)
    html = html.replace('<html lang="en">', f'<html lang="{language}">')
    return html.replace("</head>", f"{_for_scripts(language)}\n</head>")


@cache
def _for_scripts(language: str) -> str:
    own = {key: text for key, text in TEXTS[language].items() if not key.startswith("server.")}
    # Nothing in it may end the element.
    data = json.dumps(own, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    return f'  <script type="application/json" id="texts">{data}</script>'
