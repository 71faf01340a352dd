"""Which drawings have been erased: one that was still on its way must not come back."""

import threading
from collections import OrderedDict
from collections.abc import Iterable
from typing import Annotated

from gradejax.web.state import from_state

_MAX_REMEMBERED = 100_000  # a hundred bytes each


class Gone:
    """The drawings that this server has erased; only their ids, and only as long as it runs.

    A page may be sending a drawing at the moment that it is erased, or may not have heard that it was saved, and sends
    it again. Several threads may share one.
    """

    def __init__(self) -> None:
        self._marks: OrderedDict[tuple[str, str | None], None] = OrderedDict()
        self._lock = threading.Lock()

    def mark(self, ids: Iterable[str], writer: str | None = None) -> None:
        """Remembers ids, before their drawings are erased from the store.

        Args:
            ids: the store need not have them yet.
            writer: whose drawings they are: another one's with the same id is not meant. None for anybody's.
        """
        with self._lock:
            for id in ids:
                self._marks[id, writer] = None
            while len(self._marks) > _MAX_REMEMBERED:
                self._marks.popitem(last=False)

    def has(self, id: str, writer: str | None) -> bool:
        """Whether the drawing `id` by `writer` has been erased."""
        with self._lock:
            return (id, None) in self._marks or (id, writer) in self._marks


GoneDep = Annotated[Gone, from_state("gone")]
