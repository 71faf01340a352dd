"""How many drawings there are of each grade and tag: counted once for all who ask."""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from gradejax.errors import StoreError
from gradejax.grades import GRADE_INDEX
from gradejax.stores import Store

MOST_TAGS = 300
_SECONDS = 1.0
_SHARE = 0.1  # of the time, that counting may take


@dataclass(frozen=True, slots=True)
class Summary:
    """Drawings in use, by label; of all, and of each of the most used tags."""

    grades: Mapping[str, int]
    tags: Mapping[str, Mapping[str, int]]
    """The most used first."""
    more_tags: int


class Totals:
    """The store's summary, at most a second old, or ten times as old as it takes to make.

    While a class draws, every telephone asks for it.
    """

    def __init__(self, store: Store):
        self._store = store
        self._thread = ThreadPoolExecutor(1)
        self._one_at_a_time = asyncio.Lock()
        self._changes = 0
        self._seen = -1
        self._until = 0.0
        self._summary: Summary | StoreError

    async def get(self) -> Summary:
        """Raises StoreError."""
        wanted = self._changes
        async with self._one_at_a_time:
            if self._seen < wanted or time.monotonic() >= self._until:
                seen, began = self._changes, time.monotonic()
                try:
                    self._summary = await asyncio.get_running_loop().run_in_executor(
                        self._thread, _summary, self._store
                    )
                except StoreError as error:  # or all who wait here would try, one after the other
                    self._summary = error
                ended = time.monotonic()
                self._seen, self._until = seen, ended + max(_SECONDS, (ended - began) / _SHARE)
            if isinstance(self._summary, StoreError):
                raise self._summary
            return self._summary

    def forget(self) -> None:
        """Makes the next look a fresh one: who has changed a drawing wants to see it counted."""
        self._changes += 1


def _summary(store: Store) -> Summary:
    grades: Counter[str] = Counter()
    used: Counter[str] = Counter()
    by_tag: dict[str, Counter[str]] = {}
    for (tags, label), n in store.summary().items():
        if label not in GRADE_INDEX:  # a stranger's document may have any, and is no drawing
            continue
        grades[label] += n
        for tag in tags:
            used[tag] += n
            by_tag.setdefault(tag, Counter())[label] += n
    most = [tag for tag, _ in used.most_common(MOST_TAGS)]
    return Summary(grades, {tag: by_tag[tag] for tag in most}, len(used) - len(most))
