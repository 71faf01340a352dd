"""The messages about tags between the pages and the server."""

from typing import Annotated

from pydantic import AfterValidator, Field

from gradejax.dataset import QUARANTINE_TAG, TEST_TAG
from gradejax.drawings import checked_tags
from gradejax.errors import BadDrawing
from gradejax.web.languages import Text, Wrong
from gradejax.web.messages import Message, Name
from gradejax.web.settings import MAX_OFFERED

GUESS_TAG = "guess"
"""Of drawings that were saved on the page Guess."""
RESERVED = (TEST_TAG, GUESS_TAG, QUARANTINE_TAG)
"""These mean the same everywhere: they can neither be offered nor renamed."""


def _free_to_choose(tag: str) -> str:
    """Rejects what the pages' text fields could not hold, and tags that have a meaning."""
    try:
        checked_tags([tag])
    except BadDrawing as error:
        raise ValueError(str(error)) from None
    if tag != tag.strip() or "," in tag:
        raise Wrong(Text("server.tag-with-comma"))
    if tag in RESERVED:
        raise Wrong(Text("server.tag-reserved", tag=tag))
    return tag


def _not_reserved(tag: str) -> str:
    if tag in RESERVED:
        raise Wrong(Text("server.tag-keeps-name", tag=tag))
    return tag


Tag = Annotated[Name, AfterValidator(_free_to_choose)]


class Offering(Message):
    tags: Annotated[list[Tag], Field(max_length=MAX_OFFERED, description="what pupils choose from")]
    free: bool = Field(description="whether pupils may type others")


class Offered(Message):
    tags: list[str] = Field(description="what pupils choose from")
    free: bool = Field(description="whether pupils may type others")
    may_type: bool = Field(description="whether whoever asks may type others")


class Renaming(Message):
    old: Annotated[Name, AfterValidator(_not_reserved), Field(alias="from")]
    new: Annotated[Tag, Field(alias="to")]
    merge: Annotated[bool, Field(description="whether `to` may have drawings already")] = False


class Renamed(Message):
    changed: int
    left: int = Field(description="how many drawings still have the tag: send the request again until there are none")
    undo: str = Field(description="for `/api/tags/undo`, until another tag is renamed or the server is stopped")


class Undoing(Message):
    undo: Name


class Undone(Message):
    changed: int
    left: int = Field(description="how many drawings are yet to be put back: send the request again")
