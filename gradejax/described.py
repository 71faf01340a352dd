"""What a checkpoint says of its model, which may be a stranger's: checked, and built as a network."""

from collections.abc import Mapping
from typing import Any

import jax

from gradejax import calibration as calibrations
from gradejax import checkpoints, models, scales
from gradejax.errors import UserError
from gradejax.forward import logits_function, variables_of
from gradejax.resampling import METHODS


def network_of(about: Mapping[str, Any]) -> models.Network:
    """The network that a checkpoint describes, with its variables' shapes in their place: nothing is allocated."""
    return models.structure(size=about["size"], n_grades=len(about["labels"]), **about["model"])


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

    network = network_of(about)
    template = variables_of(network)
    jax.eval_shape(logits_function(network), template, jax.ShapeDtypeStruct((1, size, size), "uint8"))
    return None if checkpoints.fits(template, shapes) else "its arrays are not the network's"


def _are_grades(labels: object) -> bool:
    try:
        return isinstance(labels, list) and bool(scales.of_labels(labels))
    except UserError:
        return False
