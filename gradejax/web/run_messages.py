"""The messages of the Models page, from which the API's schema is generated."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from gradejax.drawings import MAX_TAGS
from gradejax.recipe import SHIPPED
from gradejax.web.messages import Message, Name

if TYPE_CHECKING:
    RecipeName = str
else:
    RecipeName = Literal[tuple(SHIPPED)]

Pair = tuple[float, float]


class RunName(Message):
    name: Annotated[Name, Field(description="of a finished run's folder below `runs/`, or `shipped`")]


class NewTraining(Message):
    recipe: RecipeName
    tags: Annotated[
        tuple[Name, ...], Field(strict=False, max_length=MAX_TAGS, description="only drawings with one of these")
    ] = ()
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    starts_from_shipped: bool = Field(False, description="only for the recipe whose network is the shipped one's")


class TestScore(Message):
    """How a model reads the drawings tagged `test-set` that it was not trained on."""

    n: int
    trained_on: int = Field(description="how many more there are, which it was trained on")
    accuracy: float | None
    interval: Pair | None = Field(description="where the accuracy lies for other writers, with 95% confidence")


class RunShown(Message):
    name: str
    in_use: bool
    date: datetime | None = Field(description="when it was finished")
    recipe: str | None = Field(description="the network, and what its training started from")
    tags: str = Field(description="only drawings with these were trained on; empty for all")
    n_train: int | None = Field(description="drawings trained on, without synthetic ones that were mixed in")
    n_mixed: int | None = Field(description="how many synthetic ones were")
    n_val: int | None
    writers: int | None = Field(description="who drew the validation drawings")
    split: str | None
    accuracy: float | None
    interval: Pair | None
    ece: float | None
    parameters: int | None
    bytes: int = Field(description="on disk")
    trained_on: str | None = Field(description="of the recogniser that comes with gradejax: a sentence")
    test: TestScore | None = Field(description="null until it is asked for, and when the test set has changed")


class RecipeShown(Message):
    name: str
    about: str
    fits_shipped: bool = Field(description="whether it can start from the recogniser that comes with gradejax")


class Models(Message):
    runs: list[RunShown] = Field(description="finished ones, the newest first, then the shipped recogniser")
    about: str = Field(description="what guesses, and how good it is")
    is_fixed: bool = Field(description="whether the command line has chosen the run, so that it cannot be changed")
    note: str | None = Field(description="if a newer run is not used: why")
    recipes: list[RecipeShown]
    test_tag: str
    n_test: int = Field(description="how many drawings have that tag")


class EpochShown(Message):
    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float


class Bin(Message):
    """Predictions of similar confidence."""

    n: int
    confidence: float
    accuracy: float
    interval: Pair


class Mistake(Message):
    id: str
    label: str
    guess: str
    confidence: float


class RunDetail(Message):
    run: RunShown
    history: list[EpochShown]
    labels: list[str]
    groups: list[int] = Field(description="the labels at which another group of neighbours begins")
    confusion: list[list[int]] | None = Field(description="rows are labels, columns guesses; null if it is not known")
    bins: list[Bin] = Field(description="of a reliability diagram, without empty ones")
    mistakes: list[Mistake] = Field(description="the most confident first")
    n_mistakes: int
    facts: dict[str, str] = Field(description="the rest of the summary")


class Training(Message):
    """The training that is going on, and how the last one ended."""

    run: str | None
    recipe: str | None
    tags: list[str]
    seed: int | None
    starts_from_shipped: bool
    phase: Literal["preparing", "training", "evaluating"] | None
    epochs: int
    history: list[EpochShown]
    seconds_left: float | None = Field(description="null while that cannot be told")
    ended: str | None = Field(description="the run whose training ended last")
    outcome: Literal["finished", "cancelled", "failed"] | None
    reason: str | None = Field(description="if it failed: why")


class Cancelled(Message):
    cancelled: bool
