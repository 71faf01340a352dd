"""The Models page's routes: finished runs, which of them guesses, and the training that is going on."""

import ast
from functools import lru_cache
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException

from gradejax import choice, recipe, shipped
from gradejax.dataset import TEST_TAG
from gradejax.errors import UserError
from gradejax.recogniser import Chosen, load, load_shipped
from gradejax.web import listing
from gradejax.web.examining import TestSet
from gradejax.web.languages import Text, told
from gradejax.web.limits import bounded, no_repeats
from gradejax.web.messages import Name
from gradejax.web.model import Model
from gradejax.web.roles import TEACHER_ONLY
from gradejax.web.run_messages import (
    Cancelled,
    Models,
    NewTraining,
    RecipeShown,
    RunDetail,
    RunName,
    RunShown,
    TestScore,
    Training,
)
from gradejax.web.state import LanguageDep, StoreWorkersDep, from_state
from gradejax.web.training import SHIPPED_NETWORK, Busy, Trainings

_MAX_PARTS = 100  # of a body that holds tags

ModelDep = Annotated[Model, from_state("model")]
TestSetDep = Annotated[TestSet, from_state("test_set")]
TrainingsDep = Annotated[Trainings, from_state("trainings")]

router = APIRouter(prefix="/models", dependencies=[TEACHER_ONLY, Depends(no_repeats)], route_class=bounded(_MAX_PARTS))


@router.get("")
async def models(model: ModelDep, test_set: TestSetDep, workers: StoreWorkersDep, language: LanguageDep) -> Models:
    """Returns the finished runs, and which one guesses."""
    return await workers.run(_models, model, test_set, language)


@router.get("/run")
async def run(
    name: Name, model: ModelDep, test_set: TestSetDep, workers: StoreWorkersDep, language: LanguageDep
) -> RunDetail:
    """Returns a finished run in detail."""
    return await workers.run(_detail, name, model, test_set, language)


@router.post("/use")
async def use(
    wanted: RunName, model: ModelDep, test_set: TestSetDep, workers: StoreWorkersDep, language: LanguageDep
) -> Models:
    """Chooses what guesses, for everybody and from now on; returns what `/models` does."""
    if model.workdir:
        raise HTTPException(409, Text("server.flag-decides", flag=f"--workdir={model.workdir}"))
    if wanted.name != shipped.NAME:
        finished_run(wanted.name)
    await workers.run(model.use, wanted.name)
    return await workers.run(_models, model, test_set, language)


@router.post("/test")
async def test(wanted: RunName, test_set: TestSetDep, workers: StoreWorkersDep) -> TestScore:
    """Returns how a model reads the test set; remembered until the test set changes."""
    run = None if wanted.name == shipped.NAME else finished_run(wanted.name)
    if not await workers.run(len, test_set):
        raise HTTPException(404, Text("server.no-test-set", tag=TEST_TAG))

    def score() -> TestScore:
        known = test_set.known().get(wanted.name)
        return known or test_set.score(wanted.name, run, load(run) if run else load_shipped())

    return await workers.run(score)


@router.get("/training")
async def training(trainings: TrainingsDep, workers: StoreWorkersDep, language: LanguageDep) -> Training:
    """Returns how far the training has come, and how the last one ended."""
    return await workers.run(_training, trainings, language)


@router.post("/training")
async def train(
    wanted: NewTraining, trainings: TrainingsDep, workers: StoreWorkersDep, language: LanguageDep
) -> Training:
    """Begins a training in a process of its own; 409 while another is going on."""
    if wanted.starts_from_shipped and wanted.recipe != SHIPPED_NETWORK:
        raise HTTPException(422, Text("server.other-network", recipe=SHIPPED_NETWORK))
    try:
        await workers.run(
            trainings.begin,
            wanted.recipe, wanted.tags, wanted.seed, starts_from_shipped=wanted.starts_from_shipped,
        )  # fmt: skip
    except Busy:
        raise HTTPException(409, Text("server.training-going-on")) from None
    return await workers.run(_training, trainings, language)


@router.post("/training/cancel")
async def cancel(trainings: TrainingsDep, workers: StoreWorkersDep) -> Cancelled:
    """Ends the training and removes what it has written."""
    return Cancelled(cancelled=await workers.run(trainings.cancel))


def finished_run(name: str) -> Path:
    """Returns the folder of a finished run; raises HTTPException if there is none of that name."""
    try:
        return choice.finished(name)
    except UserError:
        raise HTTPException(404, Text("server.no-such-run")) from None


def _models(model: Model, test_set: TestSet, language: str) -> Models:
    chosen, about = _in_use(model)
    return Models(
        runs=_runs(chosen, test_set, language),
        about=told(about, language),
        is_fixed=model.workdir is not None,
        note=listing.note(chosen, language) if chosen and not model.workdir else None,
        recipes=list(_recipes()),
        test_tag=TEST_TAG,
        n_test=len(test_set),
    )


def _in_use(model: Model) -> tuple[Chosen | None, Text | str]:
    """The recogniser in use and which it is; None and why, if no model reads the store's scale yet."""
    try:
        chosen = model.get()
    except UserError as error:
        return None, str(error)
    return chosen, model.about(chosen) or Text("server.shipped-recogniser")


def _is(run: Path | None, chosen: Chosen | None) -> bool:
    return chosen is not None and run == chosen.run


def _runs(chosen: Chosen | None, test_set: TestSet, language: str) -> list[RunShown]:
    scores = test_set.known()
    shown = [listing.shown_run(run, _is(run, chosen), language) for run in listing.runs.finished_runs()]
    shown.append(listing.shown_shipped(load_shipped(), _is(None, chosen)))
    return [one.model_copy(update={"test": scores.get(one.name)}) for one in shown]


def _detail(name: str, model: Model, test_set: TestSet, language: str) -> RunDetail:
    run = finished_run(name)
    shown = listing.shown_run(run, _is(run, _in_use(model)[0]), language)
    return listing.detail(run, shown.model_copy(update={"test": test_set.known().get(name)}))


def _training(trainings: Trainings, language: str) -> Training:
    progress, ended = trainings.progress(), trainings.ended
    order = progress.order if progress else None
    return Training(
        run=order.run if order else None,
        recipe=order.recipe if order else None,
        tags=list(order.tags) if order else [],
        seed=order.seed if order else None,
        starts_from_shipped=order.starts_from_shipped if order else False,
        phase=progress.phase if progress else None,
        epochs=order.epochs if order else 0,
        history=listing.history_of(progress.history) if progress else [],
        seconds_left=progress.seconds_left if progress else None,
        ended=ended.run if ended else None,
        outcome=ended.outcome if ended else None,
        reason=told(ended.reason, language) if ended and ended.reason else None,
    )


@lru_cache(maxsize=1)
def _recipes() -> tuple[RecipeShown, ...]:
    return tuple(
        RecipeShown(
            name=name,
            about=(ast.get_docstring(ast.parse(file.read_bytes())) or "").partition("\n")[0],
            fits_shipped=name == SHIPPED_NETWORK,
        )
        for name, file in recipe.SHIPPED.items()
    )
