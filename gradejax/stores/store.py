"""What a store does, whichever database it is in, and what the stores of both databases share."""

import json
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Protocol, runtime_checkable

from gradejax.drawings import MAX_TAGS, Drawing, checked_label, from_document, utc_milliseconds
from gradejax.errors import BadDrawing, StoreError, UserError
from gradejax.scales import NO_GRADE, Scale, parse
from gradejax.traces import Trace

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Query:
    """Selects drawings; the default selects all in use, that is, all that are not excluded.

    Attributes:
        tags: drawings with any of these tags; empty for all.
        label: drawings with this label only.
        writer: drawings by this writer only.
        since: drawn at this time or later.
        until: drawn before this time.
        deleted: False for drawings in use, True for excluded ones, None for both.
        with_tag: drawings with this tag only, whatever else `tags` asks for.
        without_tag: drawings without this tag only.
    """

    tags: tuple[str, ...] = ()
    label: str | None = None
    writer: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    deleted: bool | None = False
    with_tag: str | None = None
    without_tag: str | None = None

    def selects(self, drawing: Drawing) -> bool:
        """Whether this query selects a drawing."""
        return (
            (not self.tags or not set(self.tags).isdisjoint(drawing.tags))
            and (self.with_tag is None or self.with_tag in drawing.tags)
            and self.without_tag not in drawing.tags
            and self.label in (None, drawing.label)
            and self.writer in (None, drawing.writer)
            and (self.since is None or drawing.date >= utc_milliseconds(self.since))
            and (self.until is None or drawing.date < utc_milliseconds(self.until))
            and self.deleted in (None, drawing.deleted is not None)
        )


IN_USE = Query()
"""All drawings that are not excluded."""


@runtime_checkable
class Store(Protocol):
    """The methods of both stores. Each may be called from several threads and processes at once.

    Every method may raise StoreError, whose one line names the file or host.
    """

    uri: str
    """The address without its credentials, safe to log and to write to files."""

    scale: Scale
    """The scale of the drawings: the last one that was set, by any program until this one used the store last."""

    def set_scale(self, scale: Scale) -> None:
        """Sets the scale, for good.

        Raises:
            ScaleKept: if drawings, excluded ones too, have labels that it lacks; names them.
        """
        ...

    def add(self, drawings: Iterable[Drawing]) -> int:
        """Adds drawings with new ids, durably; returns how many.

        Raises:
            BadDrawing: if a label is not in the store's scale; then none is added.
        """
        ...

    def get(self, id: str) -> Drawing | None:
        """Returns one drawing, excluded or not, or None if no drawing has this id.

        Raises:
            BadDrawing: if the document is not a valid drawing.
        """
        ...

    def get_many(self, ids: Sequence[str], *, pictures: bool = True) -> dict[str, Drawing]:
        """Returns the valid drawings with these ids, excluded or not, in the order of `ids`.

        Args:
            ids: ids that no drawing has are ignored.
            pictures: False skips PNGs and strokes, as in `find`.
        """
        ...

    def find(
        self,
        query: Query = IN_USE,
        *,
        newest_first: bool = False,
        after: str | None = None,
        limit: int | None = None,
        pictures: bool = True,
        strokes: bool = True,
        refused: Callable[[str, BadDrawing], None] | None = None,
    ) -> Iterator[Drawing]:
        """Streams the selected drawings in order of insertion.

        Args:
            query: which drawings.
            newest_first: reverses the order.
            after: starts after the drawing with this id, which may have been excluded since. To page, pass the last
                id of the previous page.
            limit: the most drawings to yield.
            pictures: False skips PNGs and strokes: `png` is empty and `strokes` None, and neither is validated.
            strokes: False skips only strokes, which take five times as long to validate as all else.
            refused: called with the id and the reason for each invalid document; by default these are logged and
                skipped.

        Raises:
            StoreError: if no drawing has the id `after`.
        """
        ...

    def count(self, query: Query = IN_USE) -> int:
        """Counts the selected documents, valid or not."""
        ...

    def summary(self) -> Counter[tuple[tuple[str, ...], str]]:
        """Counts the documents in use by their set of tags and their stored, unvalidated label."""
        ...

    def relabel(self, ids: Sequence[str], label: str) -> int:
        """Changes labels, and appends the previous label with the time to each history; returns how many changed.

        Raises:
            BadDrawing: if `label` is neither in the store's scale nor `no grade`.
        """
        ...

    def retag(self, ids: Sequence[str], *, add: Sequence[str] = (), remove: Sequence[str] = ()) -> int:
        """Adds tags to drawings that lack them, and removes others; returns how many drawings changed.

        The tags that remain keep their order; a drawing that would have none or too many stays as it is.

        Raises:
            BadDrawing: if a tag to add is not valid.
        """
        ...

    def exclude(self, ids: Sequence[str]) -> int:
        """Takes drawings out of use by setting `deleted`, without losing them; returns how many changed."""
        ...

    def restore(self, ids: Sequence[str]) -> int:
        """Puts excluded drawings back in use; returns how many changed."""
        ...

    def erase(self, ids: Sequence[str]) -> int:
        """Deletes drawings for good, excluded ones too; returns how many. Ids that no drawing has are ignored.

        In SQLite all or none of them go, and no byte of them is left in the store's files when this returns; if a
        program that reads prevents that, the log says so, and it is done as soon as possible. In MongoDB they go in
        parts, and its server uses the space again as it likes.
        """
        ...

    def remains(self) -> list[Trace]:
        """Says where erased drawings may be left, because the store cannot erase there."""
        ...

    def fingerprint(self, query: Query = IN_USE) -> str:
        """Returns 16 hex digits that change whenever the result of `find(query)` would."""
        ...

    def close(self) -> None:
        """Closes all connections; the store must not be used afterwards."""
        ...


def valid_drawings(
    documents: Iterable[Mapping[str, Any]],
    scale: Scale,
    refused: Callable[[str, BadDrawing], None] | None,
    pictures: bool = True,
) -> Iterator[Drawing]:
    """Yields the valid drawings among `documents`; the others go to `refused`, or to the log if it is None."""
    for document in documents:
        try:
            drawing = from_document(document, scale=scale, pictures=pictures)
        except BadDrawing as error:
            if refused is None:
                log.warning("skipped document %s: %s", document.get("_id"), error)
            else:
                refused(str(document.get("_id")), error)
        else:
            yield drawing


class ScaleKept(UserError):
    """A store cannot have another scale.

    Attributes:
        labels: those of its drawings that the other scale lacks.
    """

    def __init__(self, labels: Sequence[str], message: str):
        super().__init__(message)
        self.labels = labels


def check_scale(scale: Scale, before: Scale, labels: Iterable[Any]) -> None:
    """Raises ScaleKept if a store with the scale `before` and these unvalidated labels cannot have another scale."""
    used = [label for label in before.all_labels if label in set(map(str, labels))]
    outside = [label for label in used if label not in scale.index and label != NO_GRADE]
    if outside:
        raise ScaleKept(
            outside,
            f"the store has drawings of {', '.join(outside)}, which the scale {scale.name} lacks: "
            f"it keeps the scale {before.name}; name another store with --store",
        )


def labelled(drawings: Iterable[Drawing], scale: Scale) -> list[Drawing]:
    """Returns the drawings as a list; raises BadDrawing if one has a label that the scale lacks."""
    checked = list(drawings)
    for label in {drawing.label for drawing in checked}:
        checked_label(label, scale)
    return checked


@lru_cache(maxsize=16)
def remembered(name: str) -> Scale:
    """Returns the scale that a store names. Raises StoreError if this gradejax does not know it."""
    try:
        return parse(name)
    except UserError:
        raise StoreError(f"the store has the scale {name[:40]!r}, which this gradejax lacks: update gradejax") from None


def retagged(tags: Any, add: Sequence[str], remove: Sequence[str]) -> list[str] | None:
    """Returns a document's tags after `Store.retag`; None if they stay as they are."""
    if not isinstance(tags, list):
        return None
    kept = [tag for tag in tags if tag not in remove]
    changed = [*kept, *(tag for tag in dict.fromkeys(add) if tag not in kept)]
    return changed if changed != tags and 0 < len(changed) <= MAX_TAGS else None


def checked_id(id: Any) -> str:
    """Returns `id` if it is text; raises BadDrawing for anything else, such as a MongoDB operator."""
    if not isinstance(id, str):
        raise BadDrawing("an id is not text")
    return id


def tag_set(tags: Any) -> tuple[str, ...]:
    """Returns a document's unvalidated tags as `summary` groups them: sorted, without duplicates."""
    return tuple(sorted({str(tag) for tag in tags})) if isinstance(tags, list) else ()


def from_json(text: Any) -> Any:
    """Returns what a JSON text says, and anything else as it is."""
    try:
        return json.loads(text) if isinstance(text, str) else text
    except (ValueError, RecursionError):
        return text
