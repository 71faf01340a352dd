"""A trained model as a function from a PNG to grades and confidences.

    python -m gradejax.predict [--workdir=DIR] [--json] FILE.png …

One line a file: path, grade, confidence. For what the model takes for something else the grade is `no grade` and the
confidence that in the likeliest. With --json a line is an object with all fifteen confidences, and `no grade` is null.
Without --workdir the newest finished run below runs/ is used. A file that is no picture is named on standard error, the
others are still read, and the exit status is 1.
"""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import flags
from flax import nnx
from jaxtyping import Array, Float, UInt8

from gradejax import checkpoints, command, models, runs, train
from gradejax.calibration import Calibration
from gradejax.errors import BadDrawing, UserError
from gradejax.grades import GRADES
from gradejax.ink import decode_ink, resample

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
        """The confidence in each label; a row sums to one."""
        rows = np.arange(len(ink))
        return self.calibration.confidences(
            train.logits_in_batches(self.logits_of, self.variables, ink, rows, batch_size=512)
        )

    def probabilities(self, pngs: Sequence[bytes]) -> Float[np.ndarray, "n labels"]:
        """The same for PNGs. Raises BadDrawing for a picture that is none."""
        return self.confidences(np.stack([self.ink(png) for png in pngs]))


def load(workdir: Path) -> Recogniser:
    """The model that a run kept last.

    Raises:
        UserError: where there is none, or it is damaged, or describes no model that gradejax has.
    """
    if not workdir.is_dir():
        raise UserError(f"no run in {workdir}: train one with `{runs.TRAIN_COMMAND} --workdir={workdir}`")
    found = checkpoints.restore(workdir, "model")
    if found is None:
        raise UserError(f"no checkpoint in {workdir}: train one with `{runs.TRAIN_COMMAND} --workdir={workdir}`")
    about = found.about
    network = _network(workdir, about, found.arrays)
    logits_of = train.logits_function(network)
    template = train.initial_variables(network)
    variables = jax.tree.map(jax.numpy.array, checkpoints.unflat(template, found.arrays))
    # Runs of earlier versions have neither.
    resampling = about.get("resampling", "area")
    calibration = Calibration(**about.get("calibration", {}))
    return Recogniser(tuple(about["labels"]), about["size"], resampling, calibration, variables, logits_of)


def _network(workdir: Path, about: dict[str, Any], arrays: checkpoints.Arrays) -> models.Network:
    """The network that a checkpoint says it is of. Nothing is taken on trust: it may be a stranger's."""
    try:
        build = partial(models.build, size=about["size"], seed=0, **about["model"])
        # Without memory for it yet: a size of a million a side would end the process.
        shapes = jax.eval_shape(lambda: nnx.state(build(), (nnx.Param, nnx.BatchStat)))
        fits = sorted(leaf.shape for leaf in jax.tree.leaves(shapes)) == sorted(a.shape for a in arrays.values())
        known = fits and sorted(about["labels"]) == sorted(GRADES)
    except Exception:  # whatever a name or number that means nothing makes the layers say
        known = False
    if not known:
        raise UserError(f"the checkpoint in {workdir} is of no model that gradejax has: train one")
    return build()


def main(files: list[str]) -> None:
    """Guesses the grade on each of the files."""
    if not files:
        raise UserError("which drawings? python -m gradejax.predict [--workdir=DIR] FILE.png …")
    recogniser = load(Path(_FLAGS.workdir) if _FLAGS.workdir else runs.newest_run())
    failed = False
    for file in files:
        try:
            ink = recogniser.ink(Path(file).read_bytes())[None]
        except (BadDrawing, OSError) as error:
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
