"""The messages between the pages and the server, from which the API's schema is generated."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, NotRequired

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, with_config
from typing_extensions import TypedDict  # pydantic requires it below Python 3.12

from gradejax.dataset import QUARANTINE_TAG
from gradejax.drawings import MAX_NAME_LENGTH, MAX_TAGS, utc_milliseconds
from gradejax.scales import NO_GRADE
from gradejax.web.roles import Role
from gradejax.web.writers import WriterKey

MAX_POINTS = 5000
"""In all strokes together: 40 s of drawing at 120 points a second; the pages thin out longer drawings."""
MAX_TAG_CHARACTERS = 500
"""In all tags together; the pages' text field takes 400, commas included."""
MAX_SCALE = 600
"""Characters of a scale of one's own, spaces included."""
MAX_SELECTED = 1000
"""Drawings changed by one request."""

Label = Annotated[
    str, Field(min_length=1, max_length=len(NO_GRADE), description="a grade of the store's scale, or `no grade`")
]


def _whole_characters(name: object) -> object:
    if isinstance(name, str) and any("\ud800" <= character <= "\udfff" for character in name):
        raise ValueError("half a character is not text")
    return name


Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME_LENGTH), BeforeValidator(_whole_characters)]
NewId = Annotated[
    str, Field(pattern="^[0-9a-f]{24}$", description="chosen by the client, so that it can send the drawing again")
]
Picture = Annotated[str, Field(min_length=1, description="a PNG file as base64")]
_DATE_AND_TIME = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt]")


def _in_iso_format(moment: object) -> object:
    """Rejects a number, which pydantic would read as seconds since 1970, even in text."""
    if not isinstance(moment, str) or not _DATE_AND_TIME.match(moment):
        raise ValueError("write a time as 2026-03-01T10:00:00Z")
    return moment


def _in_utc(moment: datetime) -> datetime:
    """Converts to UTC, which at the ends of the calendar may be out of range."""
    try:
        return utc_milliseconds(moment)
    except OverflowError:
        raise ValueError("a time must be in the years 1 to 9999, in UTC") from None


def _givable(tags: Sequence[str]) -> Sequence[str]:
    if QUARANTINE_TAG in tags:
        raise ValueError(f"the tag {QUARANTINE_TAG} is not for people to give: choose another")
    if sum(map(len, tags)) > MAX_TAG_CHARACTERS:
        raise ValueError(f"all tags together may have at most {MAX_TAG_CHARACTERS} characters")
    return tags


def _not_too_many(strokes: Sequence[Sequence[object]] | None) -> Sequence[Sequence[object]] | None:
    if strokes and sum(map(len, strokes)) > MAX_POINTS:
        raise ValueError(f"all strokes together may have at most {MAX_POINTS:,} points")
    return strokes


Moment = Annotated[AwareDatetime, Field(strict=False), BeforeValidator(_in_iso_format), AfterValidator(_in_utc)]
Coordinate = Annotated[float, Field(ge=-1e5, le=1e5, allow_inf_nan=False)]


class Message(BaseModel):
    """A message, checked strictly."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


@with_config(ConfigDict(strict=True, extra="forbid"))
class Point(TypedDict):
    """The pen's position in canvas units (0 to 280), `t` milliseconds after the drawing's first point."""

    x: Coordinate
    y: Coordinate
    t: NotRequired[Annotated[float, Field(ge=0, le=1e9)]]
    pressure: NotRequired[Annotated[float, Field(ge=0, le=1)]]


class NewDrawing(Message):
    id: NewId
    tags: Annotated[list[Name], Field(min_length=1, max_length=MAX_TAGS), AfterValidator(_givable)]
    label: Label
    data: Picture
    date: Annotated[Moment, Field(description="by the client's clock")]
    writer: Annotated[Name | None, Field(description="as other programs name one; not together with a key")] = None
    writer_key: Annotated[WriterKey | None, Field(repr=False)] = None
    strokes: Annotated[
        list[Annotated[list[Point], Field(max_length=MAX_POINTS)]] | None,
        Field(max_length=MAX_POINTS),
        AfterValidator(_not_too_many),
    ] = None


class Code(Message):
    code: Name


class SignedIn(Message):
    role: Role


class Saved(Message):
    id: str
    receipt: str = Field(description="for `take-back`, within a day")
    tags: list[str] = Field(description="as they were saved: the teacher may have renamed some")
    in_quarantine: bool = Field(description="whether it looks like no grade, and waits for the teacher")


class TakingBack(Message):
    id: NewId
    receipt: Name


class Refused(Message):
    """Any answer with a status of 400 or more."""

    detail: str


class Status(Message):
    total: int
    grades: dict[str, int]
    model: str | None = Field(description="the run whose model guesses, or `shipped`")
    model_missing: str | None = Field(description="if there is no model: what to do")
    about: str | None = Field(description="if a run's model guesses: which run it is and how good, in words")
    trained_on: str | None = Field(
        description="if the recogniser that comes with gradejax guesses: a sentence about what it was trained on"
    )
    retention_days: int | None = Field(description="after how many days drawings are erased; null for never")


class Guess(Message):
    label: str
    confidence: float


class Guesses(Message):
    guesses: list[Guess] = Field(description="the likeliest grades, best first")
    is_grade: bool = Field(description="false if the model rejects the drawing as not a grade")
    model: str = Field(description="the run whose model guesses, or `shipped`")
    is_shipped: bool = Field(description="whether the recogniser that comes with gradejax guesses, not a run's model")


class ToGuess(Message):
    data: Picture


class Selection(Message):
    ids: Annotated[list[Name], Field(min_length=1, max_length=MAX_SELECTED)]


class Relabelling(Selection):
    label: Label


class Changed(Message):
    changed: int


class Shown(Message):
    """A drawing in the gallery; its picture is at `/api/picture?id=…`."""

    id: str
    tags: list[str]
    label: str
    date: datetime
    writer: str | None
    earlier: list[str] = Field(description="the last few earlier labels, oldest first")
    guess: str | None = Field(None, description="the model's likeliest grade")
    is_grade: bool = Field(True, description="false if the model rejects it as not a grade")
    confidence: float | None = Field(None, description="the model's confidence in the drawing's label")


class Listed(Message):
    """A drawing of which only this is needed, to change it."""

    id: str
    label: str
    guess: str | None = Field(None, description="what the model takes it for, which may be no grade")


class Listing(Message):
    """Some of all drawings that match, in the gallery's order."""

    drawings: list[Listed]
    next: str | None = Field(description="`after` for the next page; null on the last")


class Shelf(Message):
    """A page of the gallery; shorter than requested if it would be too many bytes."""

    drawings: list[Shown]
    next: str | None = Field(description="`after` for the next page; null on the last")
    total: int | None = Field(None, description="how many drawings match; on the first page only")
    done: int | None = Field(None, description="how many the model has judged so far, until it is done")
    ranked_by: str | None = Field(
        default=None, description="what a ranking rests on, in words: the store's last audit, or the model"
    )
    ranked_by_model: str | None = Field(default=None, description="the model's name, if it rests on the model")


class Collecting(Message):
    paused: bool


class Scaling(Message):
    scale: str = Field(max_length=MAX_SCALE, description="its name, or its labels, parted by commas")


class Invited(Message):
    """How a class gets to the pages."""

    address: str
    code: str | None
    is_reachable: bool = Field(description="whether other machines can reach the address")


class Live(Message):
    """The data of an event `counts`."""

    total: int
    grades: dict[str, int]
    waiting: int = Field(description="how many drawings are in quarantine")
    devices: int = Field(description="how many have saved or guessed within the last minute")
    paused: bool


class SavedNow(Message):
    """The data of an event `saved`."""

    id: str
    label: str


class TagCounts(Message):
    tag: str
    grades: dict[str, int]


class Counts(Message):
    """How many drawings in use there are of each grade: in all, and for each of the most used tags."""

    grades: dict[str, int]
    tags: list[TagCounts] = Field(description="the most used first")
    more_tags: int = Field(description="how many less used tags are left out")
    waiting: int = Field(description="how many drawings are in quarantine, and so not in use")
