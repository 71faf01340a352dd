"""A recogniser as a page: one HTML file that draws and guesses without a server, a network or a build step."""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, date, datetime
from importlib.resources import files
from typing import Any

import jax
import numpy as np

from gradejax import __version__, results, shipped, views
from gradejax.errors import UserError
from gradejax.export import layers, modules
from gradejax.recogniser import Chosen, Recogniser
from gradejax.web.about import about
from gradejax.web.languages import DEFAULT, LANGUAGES, TEXTS, Text

MAX_BYTES = 1_000_000
"""Of the file; about 340,000 parameters."""
MAX_MULTIPLICATIONS = 200_000_000
"""For a guess, which then takes a laptop's browser a sixth of a second; the shipped recogniser's takes 8 million."""

_source = modules.reader(files("gradejax.export").joinpath("static"))
_STYLES = ("style.css", "desk.css", "page.css")


def to_page(chosen: Chosen) -> bytes:
    """Exports a recogniser as a page.

    Raises:
        UserError: when its file would be too large, a guess too slow, or its numbers overflow; says so in one line.
    """
    script = modules.as_one(_source, "page.js")
    texts = {language: _texts(script, language) for language in LANGUAGES}
    style = "".join(map(_source, _STYLES))
    values = {
        "policy": "; ".join([
            "default-src 'none'", f"script-src {_hash(script)}", f"style-src {_hash(style)}", "img-src data:",
            "base-uri 'none'", "form-action 'none'",
        ]),
        "icon": f"data:image/svg+xml;base64,{base64.b64encode((modules.PAGES / 'icon.svg').read_bytes()).decode()}",
        "version": __version__,
        "licence": _source("vendor/signature_pad.LICENSE"),
        "style": style,
        "texts": _json(texts[DEFAULT]),
        "languages": _json({
            language: {"name": name, "texts": texts[language], "source": _said(chosen, language)}
            for language, name in LANGUAGES.items()
        }),
        "model": _json(_model(chosen.recogniser)),
        "script": script,
    }  # fmt: skip
    html = _source("page.html")
    page = re.sub(r"\{(\w+)\}", lambda name: values[name[1]], html).encode()
    if len(page) > MAX_BYTES:
        n = sum(leaf.size for leaf in jax.tree.leaves(chosen.recogniser.variables))
        raise UserError(
            f"a page with the {n:,} parameters of {chosen.name} would have {len(page):,} bytes, and {MAX_BYTES:,} are"
            " the most: train a smaller model"
        )
    return page


def _model(recogniser: Recogniser) -> dict[str, Any]:
    """What recogniser.js takes."""
    size = recogniser.size
    network = layers.layers_of(recogniser)
    maps = views.maps(size) if recogniser.network.test_time_augmentation else views.maps(size)[:1]
    effort = len(maps) * layers.multiplications(network, size)
    if effort > MAX_MULTIPLICATIONS:
        raise UserError(
            f"a guess takes {effort:,} multiplications, and {MAX_MULTIPLICATIONS:,} are the most for a page: train a"
            " model with a smaller data.size or fewer model.channels"
        )
    extremes = np.stack([np.full((size, size), ink, np.uint8) for ink in (0, 255)])
    outputs = recogniser.logits(extremes).shape[1]
    return {
        "labels": recogniser.labels,
        "outputs": outputs,
        "size": size,
        "resampling": recogniser.resampling,
        **recogniser.calibration.as_json(),
        "ink_divisor": recogniser.network.ink_divisor,
        "views": maps.astype(np.float32).reshape(-1, 6).tolist(),
        **layers.packed(network),
    }


def _texts(script: str, language: str) -> dict[str, str | Mapping[str, str]]:
    """The texts that a script uses."""
    keys = sorted(set(re.findall(r'\bt\(\s*"([\w-]+\.[\w-]+)"', script)))
    return {key: TEXTS[language][key] for key in keys}


def _said(chosen: Chosen, language: str) -> str:
    """Says which model guesses, how good it is, and from when."""
    if chosen.run:
        texts = [Text("guess.by", about=about(chosen.name, results.read(chosen.run)))]
    else:
        texts = [Text("export.by-shipped"), Text("guess.trained-on")]
    made = _date(chosen)
    if made:
        texts.append(Text("export.dated", date=made))
    return " ".join(text.to(language) for text in texts)


def _date(chosen: Chosen) -> date | None:
    """When the training ended, or the shipped recogniser was written."""
    if chosen.run is None:
        return date.fromisoformat(shipped.read(shipped.FILE, lambda about, shapes: None)[0]["date"])
    with suppress(OSError):
        return datetime.fromtimestamp((chosen.run / "summary.json").lstat().st_mtime, UTC).date()
    return None


def _hash(text: str) -> str:
    """An inline script or style, as a content security policy names it."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _json(value: Any) -> str:
    """JSON inside an element, which nothing in it may end."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")
