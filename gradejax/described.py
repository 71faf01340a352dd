"""What a checkpoint says of its model, which may be a stranger's: checked, and built as a network."""

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import jax

from gradejax import calibration as calibrations
from gradejax import checkpoints, models, scales
from gradejax.errors import UserError
from gradejax.forward import LogitsFunction, logits_function, variables_of
from gradejax.network import Network
from gradejax.resampling import METHODS


class Described(NamedTuple):
    """A model without its numbers.

    Attributes:
        network: has its variables' shapes in their place: nothing is allocated.
        logits_of: see `forward.logits_function`.
    """

    network: Network
    logits_of: LogitsFunction


def model_of(about: Mapping[str, Any]) -> Described:
    """The model that a checkpoint describes. Those described alike are one, so that its programs are compiled once."""
    return _model(json.dumps([about["size"], len(about["labels"]), about["model"]], sort_keys=True))


@lru_cache(maxsize=8)
def _model(description: str) -> Described:
    size, n_grades, options = json.loads(description)
    network = models.structure(size=size, n_grades=n_grades, **options)
    return Described(network, logits_function(network))


def resampling_of(about: Mapping[str, Any]) -> str:
    """How ink is brought to the network's size; see `ink.resample`."""
    return about.get("resampling", "area")  # the only one there was before checkpoints said it


def check(name: str, about: Mapping[str, Any], shapes: checkpoints.Shapes) -> None:
    """Raises UserError when metadata and arrays, whose place `name` says, are no model that gradejax can build."""
    try:
        reason = _strangeness(about, shapes)
    except UserError as error:
        reason = str(error)[:200]  # it may quote a name of any length
    except MemoryError:
        raise
    except Exception as error:  # whatever the layers raise for names and numbers that make no sense
        reason = type(error).__name__
    if reason:
        raise UserError(f"{name} is not a model that gradejax can build ({reason}): train one")


def _strangeness(about: Mapping[str, Any], shapes: checkpoints.Shapes) -> str | None:
    size, labels = about["size"], about["labels"]
    if type(size) is not int or not 8 <= size <= 512:
        return "its size is not a whole number from 8 to 512"
    if not _are_grades(labels):
        return "its labels are not the grades of a scale"
    if resampling_of(about) not in METHODS:
        return f"its resampling is none of {', '.join(METHODS)}"
    calibrations.read(about.get("calibration", {}))

    network, logits_of = model_of(about)
    template = variables_of(network)
    jax.eval_shape(logits_of, template, jax.ShapeDtypeStruct((1, size, size), "uint8"))
    return None if checkpoints.fits(template, shapes) else "its arrays are not the network's"


def _are_grades(labels: object) -> bool:
    try:
        return isinstance(labels, list) and bool(scales.of_labels(labels))
    except UserError:
        return False
