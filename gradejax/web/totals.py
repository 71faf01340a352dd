"""How many drawings there are of each grade and tag: counted once for everybody who asks."""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Request

from gradejax.errors import StoreError, UserError
from gradejax.recogniser import Chosen
from gradejax.stores import Store
from gradejax.web.languages import LANGUAGE, Text
from gradejax.web.limits import bounded, no_repeats
from gradejax.web.messages import Counts, Status, TagCounts
from gradejax.web.model import Model
from gradejax.web.quarantine import WAITING
from gradejax.web.roles import NO_RECOGNISER, ROLE, TEACHER_ONLY, Role
from gradejax.web.state import StoreWorkersDep, from_state
from gradejax.web.workers import Workers

MAX_TAGS = 300
_SECONDS = 1.0
_SHARE = 0.1  # the part of the time that counting may take


@dataclass(frozen=True, slots=True)
class Summary:
    """How many drawings are in use.

    Attributes:
        grades: by label.
        tags: by tag, the most used first, and label.
        more_tags: how many tags are left out.
        waiting: how many drawings are in quarantine.
    """

    grades: dict[str, int]
    tags: dict[str, dict[str, int]]
    more_tags: int
    waiting: int


class Totals:
    """The store's summary, at most a second old, or ten times as old as counting takes; an error is a second old.

    While a class draws, every phone asks for it.

    Attributes:
        edits: how often drawings have been relabelled, excluded or restored through this server.
    """

    def __init__(self, store: Store):
        self._store = store
        self._thread = Workers(1)
        self._one_at_a_time = asyncio.Lock()
        self.edits = 0
        self._edits_counted = -1
        self._valid_until = 0.0
        self._summary: Summary | StoreError | None = None

    async def get(self) -> Summary:
        """Returns the summary. Raises StoreError if the store cannot be read."""
        edits = self.edits
        async with self._one_at_a_time:
            if self._summary is None or self._edits_counted < edits or time.monotonic() >= self._valid_until:
                await self._count()
            if isinstance(self._summary, StoreError):
                raise self._summary
            assert self._summary is not None
            return self._summary

    def forget(self) -> None:
        """Makes the next `get` count afresh: whoever changed a drawing wants to see it counted."""
        self.edits += 1

    async def _count(self) -> None:
        edits, began = self.edits, time.monotonic()
        try:
            self._summary = await self._thread.run(_summary, self._store)
            pause = (time.monotonic() - began) / _SHARE
        except StoreError as error:  # remembered, or everybody who waits would try, one after the other
            self._summary, pause = error, 0.0
        self._edits_counted, self._valid_until = edits, time.monotonic() + max(_SECONDS, pause)


TotalsDep = Annotated[Totals, from_state("totals")]

router = APIRouter(dependencies=[Depends(no_repeats)], route_class=bounded(0))


@router.get("/status")
async def status(
    request: Request,
    totals: TotalsDep,
    workers: StoreWorkersDep,
    model: Annotated[Model, from_state("model")],
    retention_days: Annotated[int | None, from_state("retention_days")],
) -> Status:
    """Returns how many drawings the store holds, whether there is a model, and how long drawings are kept."""
    language = request.scope[LANGUAGE]
    name, missing, about, trained_on = None, None, None, None
    try:
        chosen, about = await workers.run(_chosen, model)
        name = chosen.name
        trained_on = None if chosen.run else chosen.recogniser.trained_on
    except UserError as error:
        is_teacher = request.scope.get(ROLE) is Role.TEACHER
        missing = str(error) if is_teacher else NO_RECOGNISER.to(language)
    grades = (await totals.get()).grades
    total = sum(grades.values())
    return Status(
        total=total,
        grades=grades,
        model=name,
        model_missing=missing,
        about=about and about.to(language),
        trained_on=trained_on,
        retention_days=retention_days,
    )


@router.get("/counts", dependencies=[TEACHER_ONLY])
async def counts(totals: TotalsDep) -> Counts:
    """Returns how many drawings in use there are of each grade: in all, and for each of the most used tags."""
    summary = await totals.get()
    tags = [TagCounts(tag=tag, grades=grades) for tag, grades in summary.tags.items()]
    return Counts(grades=summary.grades, tags=tags, more_tags=summary.more_tags, waiting=summary.waiting)


def _chosen(model: Model) -> tuple[Chosen, Text | None]:
    chosen = model.get()
    return chosen, model.about(chosen)


def _summary(store: Store) -> Summary:
    grades: Counter[str] = Counter()
    used: Counter[str] = Counter()
    by_tag: dict[str, dict[str, int]] = {}
    scale = store.scale
    for (tags, label), n in store.summary().items():
        if label not in scale.all_labels:  # another program's document may have any label, and is not a drawing
            continue
        grades[label] += n
        for tag in tags:
            used[tag] += n
            by_label = by_tag.setdefault(tag, {})
            by_label[label] = by_label.get(label, 0) + n
    most_used = [tag for tag, _ in used.most_common(MAX_TAGS)]
    shown_tags = {tag: by_tag[tag] for tag in most_used}
    return Summary(grades, shown_tags, len(used) - len(most_used), store.count(WAITING))
