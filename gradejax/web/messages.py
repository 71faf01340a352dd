"""What the pages and the server say to each other; the API's schema is made from these."""

import re
from datetime import datetime
from typing import Annotated, Literal, NotRequired

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field
from typing_extensions import TypedDict  # pydantic asks for it below Python 3.12

from gradejax.drawings import MAX_NAME_LENGTH, MAX_TAGS
from gradejax.grades import GRADES
from gradejax.stores import Query

MAX_STROKES = 200
MAX_POINTS = 10_000
"""In one stroke."""
MAX_SELECTED = 1000
"""Drawings changed by one request."""

Grade = Literal[GRADES]
Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME_LENGTH)]
NewId = Annotated[str, Field(pattern="^[0-9a-f]{24}$", description="made by the client, so that it can ask twice")]
Picture = Annotated[str, Field(min_length=1, description="a PNG file as base64")]
_DATE_AND_TIME = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt]")


def _written_out(moment: object) -> object:
    """Refuses a number, which pydantic would take for seconds since 1970, even from text."""
    if not isinstance(moment, str) or not _DATE_AND_TIME.match(moment):
        raise ValueError("a moment is written as 2026-03-01T10:00:00Z")
    return moment


Moment = Annotated[AwareDatetime, Field(strict=False), BeforeValidator(_written_out)]
Coordinate = Annotated[float, Field(ge=-1e5, le=1e5, allow_inf_nan=False)]


class Message(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Point(TypedDict):
    """Where the pen was, in canvas units (0 to 280), `t` milliseconds after the drawing's first point."""

    __pydantic_config__ = ConfigDict(strict=True, extra="forbid")
    x: Coordinate
    y: Coordinate
    t: NotRequired[Annotated[float, Field(ge=0, le=1e9)]]
    pressure: NotRequired[Annotated[float, Field(ge=0, le=1)]]


class NewDrawing(Message):
    id: NewId
    tags: Annotated[list[Name], Field(min_length=1, max_length=MAX_TAGS)]
    label: Grade
    data: Picture
    date: Annotated[Moment, Field(description="by the client's clock")]
    writer: Name | None = None
    strokes: (
        Annotated[list[Annotated[list[Point], Field(max_length=MAX_POINTS)]], Field(max_length=MAX_STROKES)] | None
    ) = None


class Code(Message):
    code: Name


class Saved(Message):
    id: str


class Refused(Message):
    """Any answer of 400 or more."""

    detail: str


class Status(Message):
    total: int
    grades: dict[str, int]
    tags: list[str]
    model: str | None = Field(description="the run whose model guesses")
    model_missing: str | None = Field(description="without a model: how to make one")


class Guess(Message):
    label: str
    confidence: float


class Guesses(Message):
    guesses: list[Guess] = Field(description="the likeliest, best first")
    is_grade: bool = Field(description="false where the model takes the drawing for something else")


class ToGuess(Message):
    data: Picture


class Selection(Message):
    ids: Annotated[list[Name], Field(min_length=1, max_length=MAX_SELECTED)]


class Relabelling(Selection):
    label: Grade


class Changed(Message):
    changed: int


class Filters(BaseModel):
    """Which drawings, as the address's query; see `gradejax.stores.Query`."""

    model_config = ConfigDict(extra="forbid")
    tag: Annotated[list[Name], Field(max_length=MAX_TAGS)] = []
    label: Grade | None = None
    writer: Name | None = None
    since: Moment | None = None
    until: Moment | None = None
    aside: bool = False

    def query(self) -> Query:
        return Query(tuple(self.tag), self.label, self.writer, self.since, self.until, self.aside)


class Page(Filters):
    after: Name | None = Field(None, description="the last id of the page before")
    limit: Annotated[int, Field(ge=1, le=500)] = 100
    by: Literal["date", "disagreement"] = "date"


class Shown(Message):
    """A drawing in the gallery; its picture is at `/api/picture?id=…`."""

    id: str
    tags: list[str]
    label: str
    date: datetime
    writer: str | None
    earlier: list[str] = Field(description="labels it had before, oldest first")
    guess: str | None = Field(None, description="the grade that the model takes it for")
    is_grade: bool = Field(True, description="false where the model takes it for something else")
    confidence: float | None = Field(None, description="of the model in the drawing's own label")


class Shelf(Message):
    drawings: list[Shown]
    next: str | None = Field(description="`after` for the next page; null on the last")
    total: int | None = Field(None, description="how many are meant; on the first page only")
    done: int | None = Field(None, description="how many the model has judged, while it is not through")


class Count(Message):
    tags: list[str]
    label: str
    count: int


class Counts(Message):
    counts: list[Count]
