"""Tags that the teacher offers: which ones pupils may choose, and what becomes of the others."""

from collections.abc import Sequence

from fastapi import APIRouter, Request

from gradejax.dataset import TEST_TAG
from gradejax.web.languages import Text
from gradejax.web.limits import bounded
from gradejax.web.roles import ROLE, TEACHER_ONLY, Role
from gradejax.web.settings import MAX_OFFERED, ClassSettings, SettingsDep
from gradejax.web.state import StoreWorkersDep
from gradejax.web.tag_messages import GUESS_TAG, Offered, Offering

DEFAULT_TAG = "class"
"""Of a pupil's drawing if no tags are offered. A page that does not know yet that there are some may send it, too."""

_ALWAYS = (TEST_TAG, GUESS_TAG, DEFAULT_TAG)
_MAX_PARTS = MAX_OFFERED + 100  # commas in names are refused later, in words


def tags_now(tags: Sequence[str], settings: ClassSettings) -> list[str]:
    """Returns a drawing's tags by the names that they have now: it may have waited since before they were renamed."""
    return list(dict.fromkeys(settings.renamed.get(tag, tag) for tag in tags))


def why_refused(tags: Sequence[str], settings: ClassSettings, role: Role) -> Text | None:
    """Returns why a drawing with these tags is not accepted, in a sentence for whoever drew it; None if it is."""
    if role is Role.TEACHER or settings.free_tags:
        return None
    refused = next((tag for tag in tags if tag not in settings.tags and tag not in _ALWAYS), None)
    if refused is None:
        return None
    if not settings.tags:
        return Text("server.tag-not-offered-any-more", tag=refused)
    return Text("server.tag-not-offered", tag=refused)


router = APIRouter(route_class=bounded(_MAX_PARTS))


@router.get("/tags")
async def offered(request: Request, settings: SettingsDep) -> Offered:
    """Returns the tags that pupils choose from, and whether others may be typed."""
    return _offered(settings.now, request.scope[ROLE])


@router.post("/tags", dependencies=[TEACHER_ONLY])
async def offer(offering: Offering, request: Request, settings: SettingsDep, workers: StoreWorkersDep) -> Offered:
    """Offers these tags and no others. One that had been renamed may be used again under its earlier name."""
    tags = tuple(dict.fromkeys(offering.tags))
    renamed = {old: new for old, new in settings.now.renamed.items() if old not in tags}
    changed = await workers.run(settings.change, tags=tags, free_tags=offering.free, renamed=renamed)
    return _offered(changed, request.scope[ROLE])


def _offered(settings: ClassSettings, role: Role) -> Offered:
    may_type = role is Role.TEACHER or settings.free_tags
    return Offered(tags=list(settings.tags), free=settings.free_tags, may_type=may_type)
