"""A trained model as a function from a PNG to grades and confidences.

    python -m gradejax.predict [--workdir=DIR] [--json] FILE.png …

One line a file: path, grade, confidence. For what the model takes for something else the grade is `no grade` and the
confidence that in the likeliest. With --json a line is an object with all fifteen confidences, and `no grade` is null.
Without --workdir the newest finished run below runs/ is used. A file that is no picture is named on standard error, the
others are still read, and the exit status is 1.
"""

import json
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import flags
from flax import nnx
from jaxtyping import Array, Float, UInt8

from gradejax import calibration as calibrations
from gradejax import checkpoints, command, models, regular, runs, train
from gradejax.calibration import Calibration
from gradejax.errors import BadDrawing, UserError
from gradejax.grades import GRADES
from gradejax.ink import MAX_PNG_BYTES, decode_ink, resample

log = logging.getLogger(__name__)

_FLAGS = flags.FlagValues()
flags.DEFINE_string(
    "workdir", None, "Folder of the run whose model is used; the newest by default.", flag_values=_FLAGS
)
flags.DEFINE_bool("json", False, "Print a JSON object a line, with all confidences.", flag_values=_FLAGS)


@dataclass(frozen=True)
class Recogniser:
    """A trained model with its own labels, preprocessing and calibration; made by `load`.

    Attributes:
        labels: the grades, in the order of the confidences.
        size: pixels a side of the ink it takes.
        resampling: how it is brought to that size.
        calibration: how its logits are read.
        variables: its numbers.
        logits_of: the jitted function from variables and ink to logits.
    """

    labels: tuple[str, ...]
    size: int
    resampling: str
    calibration: Calibration
    variables: train.Variables
    logits_of: Callable[[train.Variables, Array], Array]

    def ink(self, png: bytes) -> UInt8[np.ndarray, "size size"]:
        """A PNG as this model was trained to see it. Raises BadDrawing for a picture that is none."""
        return resample(decode_ink(png), self.size, self.resampling)

    def confidences(self, ink: UInt8[np.ndarray, "n size size"]) -> Float[np.ndarray, "n labels"]:
        """The confidence in each label; a row sums to one. Raises UserError where the model computes none."""
        rows = np.arange(len(ink))
        logits = train.logits_in_batches(self.logits_of, self.variables, ink, rows, batch_size=512)
        if not np.isfinite(logits).all():
            raise UserError("the model's numbers are so large that it finds none: train one")
        return self.calibration.confidences(logits)

    def probabilities(self, pngs: Sequence[bytes]) -> Float[np.ndarray, "n labels"]:
        """The same for PNGs. Raises BadDrawing for a picture that is none."""
        return self.confidences(np.stack([self.ink(png) for png in pngs]))


def load(workdir: Path) -> Recogniser:
    """The model that a run kept last. Nothing is taken on trust: the run may be a stranger's.

    Raises:
        UserError: where there is none, or it is damaged, or describes no model that gradejax has.
    """
    if not workdir.is_dir():
        raise UserError(f"no run in {workdir}: train one with `{runs.TRAIN_COMMAND} --workdir={workdir}`")
    found = checkpoints.restore(workdir, "model", partial(_check, workdir))
    if found is None:
        raise UserError(f"no checkpoint in {workdir}: train one with `{runs.TRAIN_COMMAND} --workdir={workdir}`")
    if not all(np.isfinite(array).all() for array in found.arrays.values()):
        raise UserError(f"the model in {workdir} has numbers that are not finite: train one")
    about = found.about
    network, template = _shapes_of(about)
    logits_of = train.logits_function(network)
    variables = jax.tree.map(jax.numpy.array, checkpoints.unflat(template, found.arrays))
    calibration = calibrations.read(about.get("calibration", {}))
    return Recogniser(tuple(about["labels"]), about["size"], _resampling(about), calibration, variables, logits_of)


def load_chosen(workdir: Path | None) -> tuple[Path, Recogniser]:
    """The model of a run, or without one of the newest finished run below runs/ whose model opens; and the run.

    Raises:
        UserError: where there is none.
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


def _shapes_of(about: Mapping[str, Any]) -> tuple[models.Network, train.Variables]:
    """The network that a checkpoint says it is of, and its variables, all without their numbers."""
    network = nnx.eval_shape(lambda: models.build(size=about["size"], seed=0, **about["model"]))
    _, parameters, statistics = nnx.split(network, nnx.Param, ...)
    return network, train.Variables(parameters, statistics)


def _resampling(about: Mapping[str, Any]) -> str:
    return about.get("resampling", "area")  # as all runs did before there was a choice


def _check(workdir: Path, about: Mapping[str, Any], shapes: checkpoints.Shapes) -> None:
    """Raises UserError where a checkpoint's facts, or its arrays' shapes, are of no model that gradejax has."""
    try:
        reason = _strangeness(about, shapes)
    except UserError as error:
        reason = str(error)[:200]  # it may hold a name of any length
    except MemoryError:
        raise
    except Exception as error:  # whatever a name or number that means nothing makes the layers say
        reason = type(error).__name__
    if reason:
        raise UserError(f"the checkpoint in {workdir} is of no model that gradejax has ({reason}): train one")


def _strangeness(about: Mapping[str, Any], shapes: checkpoints.Shapes) -> str | None:
    size, labels = about["size"], about["labels"]
    if type(size) is not int or not 8 <= size <= 512:
        return "its size is none"
    if not isinstance(labels, list) or sorted(labels) != sorted(GRADES):
        return "its labels are not the grades"
    if _resampling(about) not in ("area", "point"):
        return "its resampling is none"
    calibrations.read(about.get("calibration", {}))

    network, template = _shapes_of(about)
    jax.eval_shape(train.logits_function(network), template, jax.ShapeDtypeStruct((1, size, size), "uint8"))
    return None if checkpoints.fits(template, shapes) else "its arrays are not the network's"


def main(files: list[str]) -> None:
    """Guesses the grade on each of the files."""
    if not files:
        raise UserError("which drawings? python -m gradejax.predict [--workdir=DIR] FILE.png …")
    _, recogniser = load_chosen(Path(_FLAGS.workdir) if _FLAGS.workdir else None)
    failed = False
    for file in files:
        try:
            ink = recogniser.ink(regular.read(Path(file), MAX_PNG_BYTES, follow=True))[None]
        except (BadDrawing, regular.Irregular, OSError) as error:
            print(f"error: {file}: {error.strerror if isinstance(error, OSError) else error}", file=sys.stderr)
            failed = True
            continue
        (confidences,) = found = recogniser.confidences(ink)
        best = int(confidences.argmax())
        (is_grade,) = recogniser.calibration.are_grades(found, ink)
        grade = recogniser.labels[best] if is_grade else None
        if _FLAGS.json:
            shares = [round(float(confidence), 6) for confidence in confidences]
            guess = {"path": file, "grade": grade, "confidence": shares[best]}
            print(json.dumps({**guess, "confidences": dict(zip(recogniser.labels, shares, strict=True))}))
        else:
            print(f"{file}\t{grade or 'no grade'}\t{confidences[best]:.3f}")
    if failed:
        sys.exit(1)


if __name__ == "__main__":
    command.run(main, _FLAGS)
