"""The collection: whether drawings are saved at the moment, and how many devices take part."""

import time
from collections import OrderedDict
from typing import Annotated

from fastapi import APIRouter, HTTPException
from starlette.types import Scope

from gradejax.web.guard import SESSION, source
from gradejax.web.languages import Text
from gradejax.web.limits import bounded
from gradejax.web.messages import Collecting
from gradejax.web.roles import TEACHER_ONLY
from gradejax.web.settings import Settings, SettingsDep
from gradejax.web.state import StoreWorkersDep, from_state

ACTIVE_SECONDS = 60.0
"""A device takes part for this long after it saved or guessed."""

_MAX_DEVICES = 10_000
_MAX_PARTS = 40  # of a body that should hold one truth value
_RETRY = {"Retry-After": "5"}


def device_of(scope: Scope) -> str:
    """Returns what stands for the device that makes a request: its session, or its address where nobody signs in."""
    return scope.get(SESSION) or source(scope)


class Collection:
    """What the teacher pauses and resumes, also for the next start."""

    def __init__(self, settings: Settings):
        self._settings = settings
        self._devices: OrderedDict[str, float] = OrderedDict()  # when each was last active, the longest ago first

    @property
    def paused(self) -> bool:
        """Whether saves are refused. The pages keep what is drawn meanwhile, and send it later."""
        return self._settings.now.paused

    def require_open(self) -> None:
        """Raises HTTPException while the collection is paused."""
        if self.paused:
            raise HTTPException(503, Text("server.paused"), _RETRY)

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
async def pause_or_resume(wanted: Collecting, settings: SettingsDep, workers: StoreWorkersDep) -> Collecting:
    """Pauses or resumes the collection. While it is paused, saves are answered with 503; the pages send them later."""
    await workers.run(settings.change, paused=wanted.paused)
    return wanted
