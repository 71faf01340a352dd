"""Cross-validation: each drawing is read by a network that has not seen its writer."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from ml_collections import ConfigDict

from gradejax import metrics, population, regular, runs
from gradejax.calibration import Calibration
from gradejax.dataset import Dataset
from gradejax.errors import UserError
from gradejax.population import Member
from gradejax.splits import Split

_MAX_BYTES = 2**29  # a drawing takes 300


class OutOfSample(NamedTuple):
    """What the folds' networks make of the drawings that were held out from them.

    Attributes:
        rows: of the dataset, ascending, `(n,)`; drawings of no grade too.
        logits: after the last epoch, `(n, grades)`.
        epochs: the scores of all grades together, after each epoch.
    """

    rows: Int[np.ndarray, " n"]
    logits: Float[np.ndarray, "n grades"]
    epochs: Sequence[metrics.Scores]

    def logits_of(self, rows: Int[np.ndarray, " some"]) -> Float[np.ndarray, "some grades"]:
        """The logits of some of the rows, given as rows of the dataset."""
        return self.logits[np.searchsorted(self.rows, rows)]


def cross_validate(
    config: ConfigDict, dataset: Dataset, folds: Sequence[Split], after_epoch: Callable[[], None] = lambda: None
) -> OutOfSample:
    """Trains a network for each fold, all in one program, and lets each score what its fold holds out.

    Args:
        config: the recipe.
        dataset: the drawings.
        folds: from `splits.folds`.
        after_epoch: is called after each epoch of all networks.

    Raises:
        UserError: when the network cannot be built.
    """
    members = [Member(config, dataset, fold) for fold in folds]
    rows, order = _held_out(folds)
    labels = dataset.labels[rows]
    logits, reading = np.empty((0, 0)), Calibration(n_grades=len(dataset.scale.labels))
    epochs = []
    for epoch in population.epochs(members, population.build_program(config, scale=dataset.scale)):
        parts = []
        for of_fold, fold in zip(epoch, folds, strict=True):
            validation, _, others = np.split(of_fold.logits, np.cumsum([len(fold.validation), len(fold.test)]))
            parts += [validation, others]
        logits = np.concatenate(parts)[order]
        epochs.append(metrics.scores(reading.confidences(logits[labels >= 0]), labels[labels >= 0]))
        after_epoch()
    return OutOfSample(rows, logits, epochs)


def _held_out(folds: Sequence[Split]) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """What the folds hold out, ascending, and where it lies in their grades and others, one fold after another."""
    rows = np.concatenate([part for fold in folds for part in (fold.validation, fold.others)])
    order = np.argsort(rows)
    return rows[order], order


def save(path: Path, result: OutOfSample, settings: Mapping[str, Any], dataset: Dataset) -> None:
    """Writes a result to a JSON file, atomically, with what it was made from.

    Args:
        path: of the file.
        result: from `cross_validate`.
        settings: the recipe as JSON, with no password in it.
        dataset: the drawings.
    """
    content = {
        "digest": dataset.digest,
        "settings": settings,
        "logits": result.logits.tolist(),
        "epochs": result.epochs,
    }
    runs.write_text(path, json.dumps(content))


def load(path: Path, settings: Mapping[str, Any], dataset: Dataset, folds: Sequence[Split]) -> OutOfSample | None:
    """Reads what `save` wrote; None if there is no such file, or if it was made with other settings.

    Args:
        path: of the file.
        settings: as in `save`.
        dataset: the drawings.
        folds: from `splits.folds`.

    Raises:
        UserError: when the file cannot be read, is damaged, or belongs to other drawings.
    """
    try:
        content = json.loads(regular.read(path, _MAX_BYTES))
        if content["digest"] != dataset.digest:
            raise UserError(f"the drawings have changed since {path} was written: use another --workdir")
        if content["settings"] != settings:
            return None
        rows, _ = _held_out(folds)
        logits = np.array(content["logits"], np.float32)
        epochs = [metrics.Scores(*map(float, epoch)) for epoch in content["epochs"]]
        outputs = len(dataset.scale.labels) + bool(settings["model"].get("no_grade"))
        if logits.shape == (len(rows), outputs) and len(epochs) == settings["train"]["epochs"]:
            return OutOfSample(rows, logits, epochs)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    except (regular.Irregular, KeyError, TypeError, ValueError, RecursionError):
        pass
    raise UserError(f"{path} is damaged: delete it to train the folds again")
