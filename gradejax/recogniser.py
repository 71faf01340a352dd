"""A trained model as a function from a PNG to grades and confidences, and which model a command takes."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, UInt8

from gradejax import calibration as calibrations
from gradejax import checkpoints, choice, runs, scales, shipped
from gradejax.calibration import Calibration
from gradejax.described import check, model_of, resampling_of
from gradejax.errors import UserError
from gradejax.forward import LogitsFunction, Variables, logits_in_batches, variables_of
from gradejax.ink import decode_ink
from gradejax.network import Network
from gradejax.resampling import resample
from gradejax.scales import Scale

log = logging.getLogger(__name__)


class Reading(NamedTuple):
    """What a recogniser reads in a picture.

    Attributes:
        grade: the likeliest grade, such as `B-`; None where the picture does not look like a grade.
        confidence: in the likeliest grade, 0 to 1; of no meaning where the picture shows no grade.
        confidences: in each grade; they sum to one.
    """

    grade: str | None
    confidence: float
    confidences: dict[str, float]


@dataclass(frozen=True)
class Recogniser:
    """A trained model with its own labels, preprocessing and calibration; made by `load`.

    `read` is what most programs need; the rest is for those that read many drawings at once.

    Attributes:
        labels: the grades, in the order of the confidences.
        size: pixels a side of the ink it takes.
        resampling: how ink is brought to that size; see `ink.resample`.
        calibration: how its logits are read.
        network: its layers; `forward.merged` puts the variables into them.
        variables: its parameters and statistics.
        logits_of: the jitted function from variables and ink to logits.
        data_digest: `Dataset.digest` of the drawings that it was trained and validated on; empty if it is not known.
        trained_on: a sentence about these drawings, which names their licence; empty for a run's model.
    """

    labels: tuple[str, ...]
    size: int
    resampling: str
    calibration: Calibration
    network: Network
    variables: Variables
    logits_of: LogitsFunction
    data_digest: str = ""
    trained_on: str = ""

    @cached_property
    def scale(self) -> Scale:
        """The scale that has the labels."""
        return scales.of_labels(self.labels)

    def read(self, png: bytes) -> Reading:
        """Reads the grade in a picture.

        Args:
            png: a PNG file: the ink in its alpha channel, or dark on a light ground, or the reverse.

        Raises:
            BadDrawing: when it is not a picture that can be decoded.
        """
        ink = self.ink(png)[None]
        logits = self.logits(ink)
        confidences = dict(zip(self.labels, self.calibration.confidences(logits)[0].tolist(), strict=True))
        likeliest = max(confidences, key=confidences.__getitem__)
        (is_grade,) = self.calibration.are_grades(logits, ink)
        return Reading(likeliest if is_grade else None, confidences[likeliest], confidences)

    def ink(self, png: bytes) -> UInt8[np.ndarray, "size size"]:
        """Decodes a PNG as this model was trained to see it.

        Raises:
            BadDrawing: when it is not a picture that can be decoded.
        """
        return resample(decode_ink(png), self.size, self.resampling)

    def logits(self, ink: UInt8[np.ndarray, "n size size"]) -> Float[np.ndarray, "n outputs"]:
        """What `calibration` reads confidences from, and whether a drawing shows a grade.

        Raises:
            UserError: when the model computes numbers that are not finite.
        """
        logits = logits_in_batches(self.logits_of, self.variables, ink, np.arange(len(ink)), batch_size=512)
        if not np.isfinite(logits).all():
            raise UserError("the model's numbers are so large that its confidences overflow: train another")
        return logits

    def confidences(self, ink: UInt8[np.ndarray, "n size size"]) -> Float[np.ndarray, "n labels"]:
        """The confidence in each label; each row sums to one. Raises UserError as `logits` does."""
        return self.calibration.confidences(self.logits(ink))

    def probabilities(self, pngs: Sequence[bytes]) -> Float[np.ndarray, "n labels"]:
        """`confidences` for PNG files. Raises BadDrawing as `ink` does."""
        return self.confidences(np.stack([self.ink(png) for png in pngs]))


def check_scale(recogniser: Recogniser, scale: Scale, name: str = "the model") -> None:
    """Raises UserError if a recogniser reads another scale; `name` says in the error which it is."""
    if recogniser.scale != scale:
        raise UserError(
            f"{name} reads the scale {recogniser.scale.name}, and the store has {scale.name}: train one with "
            f"`{runs.TRAIN_COMMAND}`"
        )


def load(run: str | PathLike[str] | None = None) -> Recogniser:
    """Loads the recogniser of a run. The run may be a stranger's: everything in it is checked.

    Args:
        run: its folder, its name below `runs/`, or `shipped` for the recogniser that comes with gradejax. By default
            the run that was chosen on the pages, else the newest finished one below `runs/`, else the shipped
            recogniser.

    Raises:
        UserError: when there is no such run, or its model is damaged or not one that gradejax can build.
    """
    return named(run).recogniser


def _load_run(workdir: Path) -> Recogniser:
    if not workdir.is_dir():
        raise UserError(f"no run in {workdir}: train one with `{runs.TRAIN_COMMAND} --workdir={workdir}`")
    name = f"the checkpoint in {workdir}"
    kept = checkpoints.restore(workdir, "model", partial(check, name))
    if kept is None:
        raise UserError(f"no checkpoint in {workdir}: train one with `{runs.TRAIN_COMMAND} --workdir={workdir}`")
    return _build(name, kept.about, kept.arrays)


@cache
def load_shipped() -> Recogniser:
    """Loads the recogniser that comes with gradejax; in each process once, so that its programs are compiled once.

    Raises:
        UserError: when its file is missing or damaged.
    """
    return load_file(shipped.FILE)


def load_file(file: Path) -> Recogniser:
    """Loads a recogniser that `shipped.write` wrote, with the same checks as a run's.

    Raises:
        UserError: when the file is missing or damaged.
    """
    name = f"the model in {file}"
    about, arrays = shipped.read(file, partial(check, name))
    return _build(name, about, arrays)


def named(run: str | PathLike[str] | None) -> "Chosen":
    """What `load` loads, with its name."""
    if run is None:
        return load_chosen(None)
    folder = Path(run)
    if not folder.exists() and choice.is_name(str(run)):
        if str(run) == shipped.NAME:
            return load_own()
        if (runs.ROOT / folder).is_dir():
            return of_run(runs.ROOT / folder)
    return of_run(folder)


class Chosen(NamedTuple):
    """The recogniser that a command uses.

    Attributes:
        name: to show: the run's, or `shipped`.
        recogniser: the model.
        run: its folder; None for the shipped recogniser.
    """

    name: str
    recogniser: Recogniser
    run: Path | None


def load_chosen(workdir: Path | None, scale: Scale | None = None) -> Chosen:
    """Loads the model of a run, or the shipped one.

    Args:
        workdir: the run; None for the one that was chosen on the pages, else the newest finished run below `runs/`
            whose model can be loaded, else the shipped recogniser. The log says which it is.
        scale: the one to read; None for any.

    Raises:
        UserError: when the run has no model that can be loaded, or no model reads the scale.
    """
    if workdir:
        return of_run(workdir, scale)
    name = choice.chosen()
    if name != shipped.NAME:
        found = load_first([*([runs.ROOT / name] if name else []), *runs.finished_runs()], scale)
        if found:
            return found
    return load_own(scale)


def load_first(candidates: Iterable[Path], scale: Scale | None = None) -> Chosen | None:
    """Loads the first run whose model can be loaded, and logs the name of it and why others cannot be loaded.

    Args:
        candidates: folders of runs, the preferred one first.
        scale: as in `load_chosen`.

    Returns:
        None if there is no such run.
    """
    for run in candidates:
        try:
            found = of_run(run, scale)
        except UserError as error:
            log.warning("%s", error)
        else:
            was_chosen = ", which was chosen on the pages" if run.name == choice.chosen() else ""
            log.info("using the model in %s%s", run, was_chosen)
            return found
    return None


def load_own(scale: Scale | None = None) -> Chosen:
    """Loads the shipped recogniser, and logs that it is used. Raises UserError if it does not read a scale."""
    recogniser = load_shipped()
    if scale is not None:
        check_scale(recogniser, scale, "the recogniser that comes with gradejax")
    log.info(
        "using the recogniser that comes with gradejax. %s `%s` trains one of your own",
        recogniser.trained_on, runs.TRAIN_COMMAND,
    )  # fmt: skip
    return Chosen(shipped.NAME, recogniser, None)


def of_run(run: Path, scale: Scale | None = None) -> Chosen:
    """Loads the model of a run, with its name. Raises UserError as `load` does, or if it does not read a scale."""
    recogniser = _load_run(run)
    if scale is not None:
        check_scale(recogniser, scale, f"the model in {run}")
    return Chosen(run.resolve().name, recogniser, run)


def _build(name: str, about: Mapping[str, Any], arrays: checkpoints.Arrays) -> Recogniser:
    """The recogniser that checked metadata and arrays describe; `name` says in errors where they are from."""
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise UserError(f"{name} has numbers that are not finite: train another")
    network, logits_of = model_of(about)
    return Recogniser(
        labels=tuple(about["labels"]),
        size=about["size"],
        resampling=resampling_of(about),
        calibration=calibrations.read(about.get("calibration", {}), len(about["labels"])),
        network=network,
        variables=jax.device_put(checkpoints.unflat(variables_of(network), arrays)),
        logits_of=logits_of,
        data_digest=str(about.get("data_digest", "")),
        trained_on=str(about.get("trained_on", "")),
    )
