"""Erasing drawings by age, while the pages are served: `--retention=30d`."""

import logging
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from gradejax.errors import UserError
from gradejax.stores import Query, Store
from gradejax.web.dates import WRITTEN
from gradejax.web.erasing import Eraser

log = logging.getLogger(__name__)

_SECONDS = 3600.0
_JOIN_SECONDS = 1.0
_WRONG_CLOCK = timedelta(days=1)


class Retention:
    """Erases what is older than an age, at the start and every hour, in a thread of its own.

    A drawing is as old as its date says, which comes from a phone. Where that phone's clock is far behind, saving has
    corrected the date (`Saver`); a drawing that is dated in the future stays, and the log counts those.
    """

    def __init__(self, store: Store, age: timedelta, eraser: Eraser):
        self._store = store
        self._age = age
        self._eraser = eraser
        self._closing = threading.Event()

    @contextmanager
    def open(self) -> Iterator[None]:
        """While the application runs. An erasure that its end cuts off is completed after the next start."""
        worker = threading.Thread(target=self._work, daemon=True)
        worker.start()
        try:
            yield
        finally:
            self._closing.set()
            worker.join(_JOIN_SECONDS)

    def _work(self) -> None:
        while True:
            try:
                self._erase(datetime.now(UTC))
            except UserError as error:
                log.warning("drawings that are too old will be erased later: %s", error)
            if self._closing.wait(_SECONDS):
                return

    def _erase(self, now: datetime) -> None:
        if now < WRITTEN:
            log.warning("this machine's clock is wrong: it says %s; nothing is erased by age", now)
            return
        ids: list[str] = []
        too_old = Query(until=now - self._age, deleted=None)
        for drawing in self._store.find(too_old, pictures=False, refused=lambda id, _: ids.append(id)):
            ids.append(drawing.id)
            if self._closing.is_set():
                return
        if ids:
            n = self._eraser.erase_here(ids).drawings
            log.info("drawings older than %d days: %d erased", self._age.days, n)
        else:
            self._store.erase([])  # an earlier erasure may have had to leave something
        if ahead := self._store.count(Query(since=now + _WRONG_CLOCK, deleted=None)):
            log.warning("drawings dated in the future, whose age is not known: %d stay", ahead)


def parsed(text: str) -> timedelta:
    """The age that `--retention` names: `30d`.

    Raises:
        UserError: if it is none.
    """
    if not re.fullmatch(r"[1-9]\d{0,4}d", text, re.ASCII):
        raise UserError(f"--retention={text} is no number of days: write it as --retention=30d")
    return timedelta(days=int(text[:-1]))
