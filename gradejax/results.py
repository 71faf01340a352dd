"""What a finished run says of itself in `summary.json`, checked: it may be an earlier gradejax's, or a stranger's."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from gradejax import runs
from gradejax.errors import UserError


class Result(NamedTuple):
    """A run's figures.

    Attributes:
        accuracy: on the validation drawings.
        interval: of the accuracy, for other writers; None where there is none.
        ece: the calibrated confidence's.
        n_val: how many validation drawings there were.
        n_train: how many drawings it was trained on, synthetic ones included.
        writers: who drew the validation drawings; 0 if it is not known.
        split: how the drawings were split: `writer`, `random` or `sequential`.
        parameters: of the network; 0 if it is not known.
        epochs: how many it was trained.
        seconds: that the training took.
    """

    accuracy: float
    interval: tuple[float, float] | None
    ece: float
    n_val: int
    n_train: int
    writers: int
    split: str
    parameters: int
    epochs: int
    seconds: float


def read(run: Path) -> Result | None:
    """The result of a finished run; None if its summary cannot be read, or lacks figures."""
    try:
        summary = runs.read_json(run / "summary.json")
        return _checked(summary) if isinstance(summary, Mapping) else None
    except (UserError, KeyError, TypeError, ValueError, OverflowError):
        return None


def merit(result: Result | None) -> tuple[bool, float]:
    """What runs are compared by: whether the accuracy is for unseen writers, then the accuracy."""
    return (result.split == "writer", result.accuracy) if result else (False, -1.0)


def sentence(name: str, result: Result | None) -> str:
    """Which run it is and how good: `cnn-1, 98.9% (97.9 to 99.5%) on 440 drawings of unseen writers`."""
    if result is None:
        return f"{name}, whose accuracy is not known"
    drawings = f"{result.n_val:,} drawing{'' if result.n_val == 1 else 's'}"
    whose = "unseen writers" if result.split == "writer" else "writers it was trained on"
    return f"{name}, {accuracy_text(result)} on {drawings} of {whose}"


def accuracy_text(result: Result) -> str:
    """The accuracy with its interval: `98.9% (97.9 to 99.5%)`."""
    if result.interval is None:
        return f"{result.accuracy:.1%}"
    low, high = result.interval
    return f"{result.accuracy:.1%} ({100 * low:.1f} to {high:.1%})"


def _checked(summary: Mapping[str, Any]) -> Result:
    """Raises KeyError, TypeError or ValueError for anything else than a run's figures."""
    interval = summary.get("val_interval")
    if interval is not None:
        low, high = interval
        interval = _share(low), _share(high)
    return Result(
        accuracy=_share(summary["val_accuracy"]),
        interval=interval,
        ece=_share(summary["ece"]),
        n_val=_whole(summary["n_val"]),
        n_train=_whole(summary["n_train"]),
        writers=_whole(summary.get("val_writers", 0)),
        split=str(summary["split"])[:20],
        parameters=_whole(summary.get("parameters", 0)),
        epochs=_whole(summary["epochs"]),
        seconds=float(max(0.0, min(summary["train_seconds"], 1e9))),
    )


def _share(value: Any) -> float:
    if isinstance(value, bool) or not 0 <= value <= 1:
        raise ValueError(value)
    return float(value)


def _whole(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**53:
        raise ValueError(value)
    return value
