"""Which drawings a request is about, as query parameters."""

from dataclasses import replace
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from gradejax.dataset import QUARANTINE_TAG
from gradejax.drawings import MAX_TAGS, checked_label
from gradejax.scales import Scale
from gradejax.stores import Query
from gradejax.web.messages import Label, Moment, Name


class Filters(BaseModel):
    """Which drawings, as query parameters; see `gradejax.stores.Query`."""

    model_config = ConfigDict(extra="forbid")
    tag: Annotated[list[Name], Field(max_length=MAX_TAGS)] = []
    label: Label | None = None
    writer: Name | None = None
    since: Moment | None = None
    until: Moment | None = None
    aside: Annotated[
        bool | Literal["both", "quarantine"],
        Field(description="excluded drawings instead; `both` for all; or those that wait for the teacher"),
    ] = False

    def query(self, scale: Scale) -> Query:
        """Returns what to look for in a store with a scale. Raises BadDrawing for a label that is not in it."""
        if self.label is not None:
            checked_label(self.label, scale)
        excluded = None if self.aside == "both" else bool(self.aside)
        query = Query(tuple(self.tag), self.label, self.writer, self.since, self.until, excluded)
        if self.aside == "quarantine":
            return replace(query, with_tag=QUARANTINE_TAG)
        return replace(query, without_tag=QUARANTINE_TAG) if self.aside is True else query


class GuessFilters(Filters):
    guess: Annotated[Label | None, Field(description="what the model takes a drawing for; sorts by disagreement")] = (
        None
    )
    by: Literal["date", "disagreement"] = "date"

    def query(self, scale: Scale) -> Query:
        if self.guess is not None:
            checked_label(self.guess, scale)
        return super().query(scale)

    def is_ranked(self) -> bool:
        """Whether a model is asked."""
        return self.by == "disagreement" or self.guess is not None


class Page(GuessFilters):
    after: Name | None = Field(None, description="the last id of the previous page")
    limit: Annotated[int, Field(ge=1, le=500)] = 100


class ListPage(GuessFilters):
    after: Name | None = Field(None, description="the last id of the previous page")
