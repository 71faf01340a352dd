"""Where drawings live: the same few verbs over one SQLite file or a MongoDB collection."""

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, runtime_checkable

from gradejax.drawings import Drawing, from_document
from gradejax.errors import BadDrawing, StoreError

logger = logging.getLogger(__name__)

DEFAULT_URI = "sqlite:///data/grades.db"


@dataclass(frozen=True, slots=True)
class Query:
    """Which drawings are meant; the default is all that are not put aside.

    Attributes:
        tags: drawings that carry any of these; empty for all.
        label: of this grade only.
        writer: by this hand only.
        since: drawn at this time or later.
        until: drawn before this time.
        deleted: those put aside, instead of those in use; None for both.
    """

    tags: tuple[str, ...] = ()
    label: str | None = None
    writer: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    deleted: bool | None = False


IN_USE = Query()
"""All drawings that are not put aside."""


@runtime_checkable
class Store(Protocol):
    """What both stores do. Every call is safe from several threads, and from several processes at once.

    Raises (every method): StoreError, in one line that names the file or host.
    """

    uri: str
    """The address without its credentials: fit for logs and files."""

    def add(self, drawings: Iterable[Drawing]) -> int:
        """Writes the drawings whose ids are not there yet, all of them durably before it returns; how many."""

    def get(self, id: str) -> Drawing | None:
        """The drawing of that id, put aside or not. Raises BadDrawing where the document is none."""

    def get_many(self, ids: Sequence[str], *, pictures: bool = True) -> dict[str, Drawing]:
        """The drawings of those ids that are there and readable, put aside or not, in the order of `ids`.

        Args:
            pictures: False leaves PNGs and strokes where they are, as `find` does.
        """

    def find(
        self,
        query: Query = IN_USE,
        *,
        newest_first: bool = False,
        after: str | None = None,
        limit: int | None = None,
        pictures: bool = True,
        refused: Callable[[str, BadDrawing], None] | None = None,
    ) -> Iterator[Drawing]:
        """The drawings meant, in order of insertion, streamed.

        Args:
            newest_first: in the reverse order.
            after: begins behind the drawing of this id (for paging: the last id of the page before), which may have
                been put aside since. Raises StoreError where there is none.
            limit: at most so many.
            pictures: False leaves PNGs and strokes unread: `png` is empty, `strokes` None. Whether they are sound is
                then not known.
            refused: called with the id and the reason for each document that is no drawing; without it such
                documents are logged and passed over.
        """

    def count(self, query: Query = IN_USE) -> int:
        """How many documents `query` means."""

    def summary(self) -> Counter[tuple[tuple[str, ...], str]]:
        """How many documents in use there are of each set of tags and label (of the stored, unchecked label)."""

    def relabel(self, ids: Sequence[str], label: str) -> int:
        """Gives drawings another label and appends the one before, with the time, to their history; how many changed.

        Raises: BadDrawing for a label that is none.
        """

    def put_aside(self, ids: Sequence[str]) -> int:
        """Takes drawings out of use without losing them (`deleted` is now); how many changed."""

    def restore(self, ids: Sequence[str]) -> int:
        """Brings back drawings put aside; how many changed."""

    def fingerprint(self, query: Query = IN_USE) -> str:
        """16 hex digits that change whenever what `find(query)` returns would change."""

    def close(self) -> None:
        """Lets go of the connections; the store is not used after."""


def open_store(uri: str, *, patience: float = 60.0) -> Store:
    """The store at `uri`: `sqlite:///relative/file.db`, `sqlite:////absolute/file.db`, `mongodb://…`,
    `mongodb+srv://…`.

    MongoDB's database and collection are `tbs` and `grades` unless the address names others
    (`mongodb://host/school?collection=drawings`). A SQLite file and its folder are made when missing.

    Args:
        patience: seconds for which a MongoDB that has gone away in the middle of the work is waited for; what was
            being written or read then goes on where it was.

    Raises:
        StoreError: for an address of another kind, or a store that cannot be opened or reached.
    """
    scheme, separator, rest = uri.partition("://")
    if separator and scheme == "sqlite":
        from gradejax.stores.sqlite import SqliteStore

        return SqliteStore(rest)
    if separator and scheme in ("mongodb", "mongodb+srv"):
        from gradejax.stores.mongo import MongoStore

        return MongoStore(uri, patience)
    raise StoreError(
        "a store's address begins with sqlite:/// or mongodb://"
        + ("" if separator else f"; for a file write sqlite:///{uri}")
    )


def readable(
    documents: Iterable[Mapping[str, Any]], refused: Callable[[str, BadDrawing], None] | None, pictures: bool = True
) -> Iterator[Drawing]:
    """The drawings among `documents`; the others go to `refused`, or to the log."""
    for document in documents:
        try:
            drawing = from_document(document, pictures=pictures)
        except BadDrawing as error:
            if refused is None:
                logger.warning("passed over document %s: %s", document.get("_id"), error)
            else:
                refused(str(document.get("_id")), error)
        else:
            yield drawing


def checked_id(id: Any) -> str:
    """`id` where it is text; raises BadDrawing for anything else, such as a database's operator."""
    if not isinstance(id, str):
        raise BadDrawing("an id is not text")
    return id


def tag_set(tags: Any) -> tuple[str, ...]:
    """A document's tags, whatever they are, as a key of `summary`: sorted, each once."""
    return tuple(sorted({str(tag) for tag in tags})) if isinstance(tags, list) else ()


def store_uri(flag: str | None = None, config: str | None = None) -> str:
    """The address in force: `flag` (`--store`), else `config` (`data.store`), else GRADEJAX_STORE, else the default."""
    return flag or config or os.environ.get("GRADEJAX_STORE") or DEFAULT_URI
