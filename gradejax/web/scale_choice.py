"""The teacher's choice of the grades that the store's drawings have, while there are none."""

from typing import Annotated

from fastapi import APIRouter, HTTPException

from gradejax.errors import UserError
from gradejax.scales import parse
from gradejax.stores.store import ScaleKept
from gradejax.web.languages import Text
from gradejax.web.limits import bounded
from gradejax.web.messages import Scaling
from gradejax.web.model import Model
from gradejax.web.roles import TEACHER_ONLY
from gradejax.web.state import StoreDep, StoreWorkersDep, from_state

_MAX_PARTS = 400  # of a body whose text lists up to a hundred labels

router = APIRouter(dependencies=[TEACHER_ONLY], route_class=bounded(_MAX_PARTS))


@router.post("/scale")
async def choose(
    wanted: Scaling, store: StoreDep, workers: StoreWorkersDep, model: Annotated[Model, from_state("model")]
) -> Scaling:
    """Gives the store a scale; 409 while it has drawings of grades that are not in it. Returns the scale's name."""
    try:
        scale = parse(wanted.scale)
    except UserError:
        raise HTTPException(422, Text("server.no-scale")) from None
    try:
        await workers.run(store.set_scale, scale)
    except ScaleKept as kept:
        raise HTTPException(409, Text("server.scale-kept", labels=", ".join(kept.labels))) from None
    model.look_now()
    return Scaling(scale=scale.name)
