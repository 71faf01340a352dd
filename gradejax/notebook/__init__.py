"""Widgets for notebooks: `Pad` collects drawings, `Guess` reads them while they are drawn.

    from gradejax.notebook import Guess, Pad

    Pad(store="sqlite:///data/class.db", tags="7b")
    Guess("runs/cnn-20261124-101500")

They work wherever anywidget does: Jupyter, VS Code, Colab. They need the extra `notebook`, and no network.
"""

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

import numpy as np

from gradejax import recogniser, results, stores
from gradejax.calibration import is_too_small
from gradejax.drawings import checked_tags, from_document, png_from_base64
from gradejax.errors import UserError
from gradejax.export import modules
from gradejax.ink import decode_ink
from gradejax.stores import Store

try:
    import anywidget
    import traitlets
    from anywidget.experimental import command
except ImportError:
    raise UserError("widgets need anywidget: pip install -e '.[notebook]'") from None

__all__ = ["Guess", "Pad"]

_source = modules.reader(files("gradejax.notebook"))
_PATIENCE = 5.0  # seconds that the notebook may wait for a MongoDB server that went away
_LIKELIEST = 5

_Answer = tuple[dict[str, Any], list[bytes]]
"""What a widget's command returns: a message, and no buffers."""


def _module(name: str) -> str:
    """A widget's module with all that it imports, so that it loads nothing."""
    return f"{modules.as_one(_source, name)}export default ${name.removesuffix('.js').replace('-', '_')};\n"


class Pad(anywidget.AnyWidget):
    """Asks for grades, mostly for those that the store has fewest drawings of, and saves what is drawn.

    A drawing that cannot be saved stays on the paper, and the widget says why.

    Attributes:
        saved: how many drawings this widget has saved.
    """

    _esm = _module("pad-widget.js")
    _css = _source("widgets.css")
    counts = traitlets.Dict().tag(sync=True)
    saved = traitlets.Int(0).tag(sync=True)

    def __init__(
        self, store: Store | str | None = None, tags: str | Sequence[str] = "notebook", *, writer: str | None = None
    ):
        """Creates the widget; the last line of a cell shows it.

        Args:
            store: an open store or its address; by default GRADEJAX_STORE, else `sqlite:///data/grades.db`.
            tags: names of the class, team or session.
            writer: an anonymous id of the person who draws. Without one, all drawings with the same tags count as one
                writer's.

        Raises:
            UserError: when the store cannot be opened, or a tag is not a name.
        """
        self._tags = checked_tags([tags] if isinstance(tags, str) else list(tags))
        self._writer = writer
        if store is None or isinstance(store, str):
            store = stores.open_store(stores.store_uri(store), patience=_PATIENCE)
        self._store = store
        counts = dict.fromkeys(store.scale.labels, 0)
        for (_, label), n in store.summary().items():
            if label in counts:
                counts[label] += n
        super().__init__(counts=counts)

    @command
    def _save(self, drawing: Mapping[str, Any], _: list[bytes]) -> _Answer:
        """Saves a drawing: `label`, `data` and `strokes` as in a document."""
        document = {"tags": self._tags, "writer": self._writer, "date": datetime.now(UTC)}
        try:
            examined = from_document({**drawing, **document}, scale=self._store.scale)
            if is_too_small(decode_ink(examined.png)):
                raise UserError("that is hardly more than a dot: draw the whole grade")
            self._store.add([examined])
        except UserError as error:
            return {"error": str(error)}, []
        self.counts = {**self.counts, examined.label: self.counts[examined.label] + 1}
        self.saved += 1
        return {}, []


class Guess(anywidget.AnyWidget):
    """Shows what a recogniser reads while a grade is drawn."""

    _esm = _module("guess-widget.js")
    _css = _source("widgets.css")
    source = traitlets.Unicode().tag(sync=True)

    def __init__(self, run: str | os.PathLike[str] | None = None):
        """Creates the widget; the last line of a cell shows it.

        Args:
            run: as for `gradejax.load`: a run's folder, or its name below `runs/`; by default the run chosen on the
                pages, else the newest, else the recogniser that comes with gradejax.

        Raises:
            UserError: when there is no such run, or its model cannot be loaded.
        """
        chosen = recogniser.named(run)
        self._recogniser = chosen.recogniser
        size = self._recogniser.size
        self._recogniser.logits(np.zeros((1, size, size), np.uint8))  # compiled now, or the first stroke would wait
        if chosen.run:
            source = results.sentence(chosen.name, results.read(chosen.run))
        else:
            source = f"the recogniser that comes with gradejax. {self._recogniser.trained_on}"
        super().__init__(source=source)

    @command
    def _read(self, drawing: Mapping[str, Any], _: list[bytes]) -> _Answer:
        """Reads the PNG in `data`: the `grade`, or None, and the `likeliest` ones with their confidences."""
        try:
            grade, _confidence, confidences = self._recogniser.read(png_from_base64(str(drawing.get("data"))))
        except UserError as error:
            return {"error": str(error)}, []
        likeliest = sorted(confidences.items(), key=lambda item: item[1], reverse=True)[:_LIKELIEST]
        return {"grade": grade, "likeliest": likeliest}, []
