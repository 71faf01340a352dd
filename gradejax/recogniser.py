"""A trained model as a function from a PNG to grades and confidences."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Float, UInt8

from gradejax import calibration as calibrations
from gradejax import checkpoints, models, runs
from gradejax.calibration import Calibration
from gradejax.errors import UserError
from gradejax.forward import LogitsFunction, Variables, logits_function, logits_in_batches, variables_of
from gradejax.grades import GRADES
from gradejax.ink import decode_ink, resample

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recogniser:
    """A trained model with its own labels, preprocessing and calibration; made by `load`.

    Attributes:
        labels: the grades, in the order of the confidences.
        size: pixels a side of the ink it takes.
        resampling: how ink is brought to that size; see `ink.resample`.
        calibration: how its logits are read.
        variables: its parameters and statistics.
        logits_of: the jitted function from variables and ink to logits.
        data_digest: `Dataset.digest` of the drawings that it was trained and validated on; empty if it is not known.
    """

    labels: tuple[str, ...]
    size: int
    resampling: str
    calibration: Calibration
    variables: Variables
    logits_of: LogitsFunction
    data_digest: str = ""

    def ink(self, png: bytes) -> UInt8[np.ndarray, "size size"]:
        """Decodes a PNG as this model was trained to see it.

        Raises:
            BadDrawing: when it is not a picture that can be decoded.
        """
        return resample(decode_ink(png), self.size, self.resampling)

    def confidences(self, ink: UInt8[np.ndarray, "n size size"]) -> Float[np.ndarray, "n labels"]:
        """The confidence in each label; each row sums to one.

        Raises:
            UserError: when the model computes numbers that are not finite.
        """
        logits = logits_in_batches(self.logits_of, self.variables, ink, np.arange(len(ink)), batch_size=512)
        if not np.isfinite(logits).all():
            raise UserError("the model's numbers are so large that its confidences overflow: train another")
        return self.calibration.confidences(logits)

    def probabilities(self, pngs: Sequence[bytes]) -> Float[np.ndarray, "n labels"]:
        """`confidences` for PNG files. Raises BadDrawing as `ink` does."""
        return self.confidences(np.stack([self.ink(png) for png in pngs]))


def load(workdir: Path) -> Recogniser:
    """Loads the model that a run kept last. The run may be a stranger's: everything in it is checked.

    Raises:
        UserError: when there is no model, or it is damaged, or it is not one that gradejax can build.
    """
    if not workdir.is_dir():
        raise UserError(f"no run in {workdir}: train one with `{runs.TRAIN_COMMAND} --workdir={workdir}`")
    kept = checkpoints.restore(workdir, "model", partial(_check, workdir))
    if kept is None:
        raise UserError(f"no checkpoint in {workdir}: train one with `{runs.TRAIN_COMMAND} --workdir={workdir}`")
    if not all(np.isfinite(array).all() for array in kept.arrays.values()):
        raise UserError(f"the model in {workdir} has numbers that are not finite: train another")
    about = kept.about
    network, template = _shapes_of(about)
    return Recogniser(
        labels=tuple(about["labels"]),
        size=about["size"],
        resampling=_resampling(about),
        calibration=calibrations.read(about.get("calibration", {})),
        variables=jax.tree.map(jnp.array, checkpoints.unflat(template, kept.arrays)),
        logits_of=logits_function(network),
        data_digest=str(about.get("data_digest", "")),
    )


def load_chosen(workdir: Path | None) -> tuple[Path, Recogniser]:
    """Loads the model of a run.

    Args:
        workdir: the run; None for the newest finished run below `runs/` whose model can be loaded.

    Returns:
        The run and its model.

    Raises:
        UserError: when there is none.
    """
    if workdir:
        return workdir, load(workdir)
    broken: list[UserError] = []
    for run in runs.finished_runs():
        try:
            recogniser = load(run)
        except UserError as error:
            broken.append(error)
            continue
        for error in broken:
            log.warning("%s", error)
        log.info("using the model in %s", run)
        return run, recogniser
    if broken:
        raise broken[0]
    raise UserError(f"no finished run below {runs.ROOT}/: train one with `{runs.TRAIN_COMMAND}`, or give --workdir")


def _shapes_of(about: Mapping[str, Any]) -> tuple[models.Network, Variables]:
    """The network that a checkpoint describes, and its variables' shapes, without allocating them."""
    network = nnx.eval_shape(lambda: models.build(size=about["size"], seed=0, **about["model"]))
    return network, variables_of(network)


def _resampling(about: Mapping[str, Any]) -> str:
    return about.get("resampling", "area")  # the only one there was before checkpoints said it


def _check(workdir: Path, about: Mapping[str, Any], shapes: checkpoints.Shapes) -> None:
    """Raises UserError when a checkpoint does not describe a model that gradejax can build."""
    try:
        reason = _strangeness(about, shapes)
    except UserError as error:
        reason = str(error)[:200]  # it may quote a name of any length
    except MemoryError:
        raise
    except Exception as error:  # whatever the layers raise for names and numbers that make no sense
        reason = type(error).__name__
    if reason:
        raise UserError(f"the checkpoint in {workdir} is not a model that gradejax can build ({reason}): train one")


def _strangeness(about: Mapping[str, Any], shapes: checkpoints.Shapes) -> str | None:
    size, labels = about["size"], about["labels"]
    if type(size) is not int or not 8 <= size <= 512:
        return "its size is not a whole number from 8 to 512"
    if not isinstance(labels, list) or sorted(labels) != sorted(GRADES):
        return "its labels are not the grades"
    if _resampling(about) not in ("area", "point"):
        return "its resampling is neither area nor point"
    calibrations.read(about.get("calibration", {}))

    network, template = _shapes_of(about)
    jax.eval_shape(logits_function(network), template, jax.ShapeDtypeStruct((1, size, size), "uint8"))
    return None if checkpoints.fits(template, shapes) else "its arrays are not the network's"
