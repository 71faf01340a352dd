"""`python -m gradejax.data relabel`: corrects the labels that `audit` doubted and a person has looked at."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from gradejax import ids, regular
from gradejax.data.extended_json import parsed
from gradejax.drawings import checked_label
from gradejax.errors import BadDrawing, UserError
from gradejax.scales import Scale
from gradejax.stores import open_store

_MAX_BYTES = 2**28


class Correction(NamedTuple):
    """A line of the file: the drawing `id`, whose label is `label`, is a `guess`."""

    id: str
    label: str
    guess: str


def relabel(uri: str, name: str) -> None:
    """Relabels drawings and prints how many; the store keeps the earlier labels in the drawings' histories.

    Args:
        uri: the store's address.
        name: the NDJSON file.

    Raises:
        UserError: if the file cannot be read or a line is malformed; nothing is changed then.
    """
    by_guess: dict[str, list[str]] = {}
    already = gone = 0
    with closing(open_store(uri)) as store:
        corrections = list(_read(name, store.scale))
        drawings = store.get_many([one.id for one in corrections], pictures=False)
        for id, label, guess in corrections:
            drawing = drawings.get(id)
            if drawing is None or drawing.deleted is not None or drawing.label not in (label, guess):
                gone += 1
            elif drawing.label == guess:
                already += 1
            else:
                by_guess.setdefault(guess, []).append(id)
        changed = sum(store.relabel(of_guess, guess) for guess, of_guess in by_guess.items())
    print(f"relabelled {changed}, already so {already}, gone or changed since {gone}")


def _read(name: str, scale: Scale) -> Iterator[Correction]:
    try:
        content = regular.read(Path(name), _MAX_BYTES, follow=True)
    except OSError as error:
        raise UserError(f"{name} cannot be read: {error.strerror}") from None
    except regular.Irregular as error:
        raise UserError(f"{name} cannot be read: it is {error}") from None
    lines: dict[str, int] = {}
    for number, line in enumerate(content.splitlines(), 1):
        if not line.strip():
            continue
        try:
            document = parsed(line)
            if isinstance(document, dict) and "kind" in document:  # not about a label
                continue
            correction = _correction(document, scale)
        except BadDrawing as error:
            raise UserError(f"{name}, line {number}: {error}; nothing was changed") from None
        if correction.id in lines:
            earlier = lines[correction.id]
            raise UserError(f"{name}, line {number}: the same drawing as in line {earlier}; nothing was changed")
        lines[correction.id] = number
        yield correction
    if not lines:
        raise UserError(f"nothing to relabel in {name}: write one with python -m gradejax.data audit --out=FILE")


def _correction(document: Any, scale: Scale) -> Correction:
    """Raises BadDrawing if `document` is no correction."""
    if not isinstance(document, dict) or not {"_id", "label", "guess"} <= document.keys():
        raise BadDrawing("not an object with _id, label and guess")
    id = ids.to_text(document["_id"])
    if id is None:
        raise BadDrawing("_id is not text, a number, a date or binary")
    return Correction(id, checked_label(document["label"], scale), checked_label(document["guess"], scale))
