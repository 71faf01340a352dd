"""The collection: whether drawings are saved at the moment, and how many devices take part."""

import logging
import time
from collections import OrderedDict
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, HTTPException
from starlette.types import Scope

from gradejax.web.guard import SESSION, source
from gradejax.web.limits import bounded
from gradejax.web.messages import Collecting
from gradejax.web.roles import TEACHER_ONLY
from gradejax.web.state import StoreWorkersDep, from_state

log = logging.getLogger(__name__)

ACTIVE_SECONDS = 60.0
"""A device takes part for this long after it saved or guessed."""

_MAX_DEVICES = 10_000
_MAX_PARTS = 40  # of a body that should hold one truth value
_RETRY = {"Retry-After": "5"}


def device_of(scope: Scope) -> str:
    """Returns what stands for the device that makes a request: its session, or its address where nobody signs in."""
    return scope.get(SESSION) or source(scope)


class Collection:
    """What the teacher pauses and resumes.

    Attributes:
        paused: whether saves are refused. The pages keep what is drawn meanwhile, and send it later.
    """

    def __init__(self, store_uri: str):
        """A collection over a SQLite file that was paused is still paused after a restart."""
        scheme, _, path = store_uri.partition("://")
        self._file = Path(f"{path[1:]}-paused") if scheme == "sqlite" else None
        self.paused = self._file is not None and self._file.exists()
        self._devices: OrderedDict[str, float] = OrderedDict()  # when each was last active, the longest ago first

    def require_open(self) -> None:
        """Raises HTTPException while the collection is paused."""
        if self.paused:
            raise HTTPException(503, "The teacher has paused the collection.", _RETRY)

    def keep(self, paused: bool) -> None:
        """Pauses or resumes, also for the next start."""
        self.paused = paused
        if self._file is None:
            return
        try:
            if paused:
                self._file.touch()
            else:
                self._file.unlink(missing_ok=True)
        except OSError as error:
            log.warning("a restart will not know whether the collection is paused: %s: %s", self._file, error.strerror)

    def note(self, device: str) -> None:
        """Notes that `device` has saved or guessed."""
        self._devices[device] = time.monotonic()
        self._devices.move_to_end(device)
        if len(self._devices) > _MAX_DEVICES:
            self._devices.popitem(last=False)

    def devices(self) -> int:
        """Returns how many devices have been active within ACTIVE_SECONDS."""
        earliest = time.monotonic() - ACTIVE_SECONDS
        while self._devices and next(iter(self._devices.values())) < earliest:
            self._devices.popitem(last=False)
        return len(self._devices)


CollectionDep = Annotated[Collection, from_state("collection")]

router = APIRouter(dependencies=[TEACHER_ONLY], route_class=bounded(_MAX_PARTS))


@router.post("/collection")
async def pause_or_resume(wanted: Collecting, collection: CollectionDep, workers: StoreWorkersDep) -> Collecting:
    """Pauses or resumes the collection. While it is paused, saves are answered with 503; the pages send them later."""
    await workers.run(collection.keep, wanted.paused)
    return wanted
