"""From a trained network to predictions, scores, a summary and plots."""

import platform
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from ml_collections import ConfigDict

from gradejax import calibration, intervals, loop, metrics, mixture, models, prepare
from gradejax.calibration import Calibration
from gradejax.crossvalidation import OutOfSample
from gradejax.dataset import Dataset
from gradejax.forward import Variables, logits_function, logits_in_batches
from gradejax.prepare import Prepared
from gradejax.recogniser import Recogniser


class Predictions(NamedTuple):
    """What a model makes of labelled drawings.

    Attributes:
        ink: `(n, size, size)`.
        labels: class indices, `(n,)`; -1 for a drawing of no grade.
        confidences: in the order of the scale, `(n, grades)`.
        likeness: how much each drawing looks like a grade, `Calibration.scores`, `(n,)`.
        are_grades: False where the model rejects a drawing as no grade, `(n,)`.
        writers: an index per writer, `(n,)`.
    """

    ink: UInt8[np.ndarray, "n size size"]
    labels: Int[np.ndarray, " n"]
    confidences: Float[np.ndarray, "n grades"]
    likeness: Float[np.ndarray, " n"]
    are_grades: Bool[np.ndarray, " n"]
    writers: Int[np.ndarray, " n"]

    def at(self, rows: Bool[np.ndarray, " n"]) -> "Predictions":
        """Those of some drawings."""
        return Predictions(*(values[rows] for values in self))

    def guesses(self) -> Int[np.ndarray, " n"]:
        """Class indices, also where the drawing is rejected."""
        return self.confidences.argmax(axis=1)

    def scores(self) -> metrics.Scores:
        """Accuracy, loss and expected calibration error."""
        return metrics.scores(self.confidences, self.labels)

    def rejected(self) -> float:
        """The share of drawings that the model rejects."""
        return float(1 - self.are_grades.mean())

    def certainty(self) -> Float[np.ndarray, " n"]:
        """The confidence in each guess."""
        return self.confidences.max(axis=1)

    def n_writers(self) -> int:
        """How many people drew the drawings."""
        return len(np.unique(self.writers))

    def interval(self) -> intervals.Interval:
        """The accuracy, with its interval for other writers."""
        return intervals.accuracy(self.guesses() == self.labels, self.writers)

    def summary(self) -> dict[str, Any]:
        """The scores as plain numbers: `n`, `writers`, `accuracy`, `loss`, `ece`, `interval` and `refused`."""
        return {
            "n": len(self.labels),
            "writers": self.n_writers(),
            **self.scores()._asdict(),
            "interval": _bounds(self.interval()),
            "refused": self.rejected(),
        }


class Evaluation(NamedTuple):
    """How good a freshly trained model is.

    Attributes:
        predictions: on the validation drawings. Each is calibrated on the other writers' drawings.
        uncalibrated: the confidences before calibration, `(n, grades)`.
        others_rejected: share rejected of `mixture.N_OTHERS` synthetic drawings that show no grade.
        test: on the test drawings; None where there are none.
        others: on the drawings of no grade that were held out; None where there are none.
    """

    predictions: Predictions
    uncalibrated: Float[np.ndarray, "n grades"]
    others_rejected: float
    test: Predictions | None = None
    others: Predictions | None = None

    def rejection(self) -> dict[str, Any]:
        """For JSON, how the drawings of no grade that were held out compare with the validation drawings."""
        return rejection(self.predictions, self.others)


def evaluate(
    config: ConfigDict, prepared: Prepared, variables: Variables, out_of_sample: OutOfSample | None = None
) -> Evaluation:
    """Evaluates a model that was trained as `config` says.

    Args:
        config: the recipe.
        prepared: what the model was trained from.
        variables: the model's.
        out_of_sample: as in `loop.fit`.
    """
    data, split, network, about = prepared[:4]
    n_grades = len(data.scale.labels)
    logits_of = prepared.programs.logits_of if prepared.programs else logits_function(network)

    def logits_on(rows: np.ndarray) -> Float[np.ndarray, "rows grades"]:
        return logits_in_batches(logits_of, variables, data.ink, rows, config.evaluate.batch_size)

    held_out_logits = out_of_sample.logits_of if out_of_sample else logits_on
    logits = held_out_logits(split.validation)
    labels = data.labels[split.validation]
    strangers = loop.logits_of_strangers(config, prepared, logits_of, variables)
    writers, ink = data.writers[split.validation], data.ink[split.validation]
    read = calibration.cross_fit(logits, labels, writers, ink, strangers, n_grades)
    recogniser = Recogniser(
        labels=about["labels"],
        size=about["size"],
        resampling=about["resampling"],
        calibration=calibration.fit(logits, labels, strangers, n_grades),
        network=network,
        variables=variables,
        logits_of=logits_of,
    )

    def read_as_kept(rows: np.ndarray, logits_of_rows: Callable[[np.ndarray], np.ndarray]) -> Predictions | None:
        if not len(rows):
            return None
        ink = data.ink[rows]
        return _predictions(data, rows, ink, _read(recogniser.calibration, logits_of_rows(rows), ink))

    return Evaluation(
        predictions=_predictions(data, split.validation, ink, read),
        uncalibrated=Calibration(n_grades=n_grades).confidences(logits),
        others_rejected=others_rejected(recogniser, prepare.cache_folder(config)),
        test=read_as_kept(split.test, logits_on),
        others=read_as_kept(split.others, held_out_logits),
    )


def predict(recogniser: Recogniser, dataset: Dataset) -> Predictions:
    """Applies a recogniser to all drawings of a dataset, which has its scale."""
    # A model carries its own labels, whose order need not be this version's.
    columns = [recogniser.labels.index(grade) for grade in dataset.scale.labels]
    ink = np.asarray(dataset.ink)
    confidences, likeness, are_grades = _read(recogniser.calibration, recogniser.logits(ink), ink)
    return Predictions(ink, dataset.labels, confidences[:, columns], likeness, are_grades, dataset.writers)


def rejection(grades: Predictions, others: Predictions | None) -> dict[str, Any]:
    """For JSON, how a model tells grades from drawings of no grade; the numbers are null if there are none of these.

    `others` is how many there are, `others_refused` the share that the model rejects; `auroc`, `let_in_at_95` and
    `let_in_at_99` do not depend on its threshold; see `metrics.Rejection`.
    """
    if others is None or not len(others.labels) or not len(grades.labels):
        return {"others": 0, "others_refused": None, "auroc": None, "let_in_at_95": None, "let_in_at_99": None}
    of_scores = metrics.rejection(grades.likeness, others.likeness)
    return {"others": len(others.labels), "others_refused": others.rejected(), **of_scores._asdict()}


_Reading = tuple[Float[np.ndarray, "n grades"], Float[np.ndarray, " n"], Bool[np.ndarray, " n"]]


def _read(fitted: Calibration, logits: np.ndarray, ink: UInt8[np.ndarray, "n size size"]) -> _Reading:
    return fitted.confidences(logits), fitted.scores(logits), fitted.are_grades(logits, ink)


def _predictions(
    data: Dataset, rows: Int[np.ndarray, " n"], ink: UInt8[np.ndarray, "n size size"], reading: _Reading
) -> Predictions:
    return Predictions(ink, data.labels[rows], *reading, data.writers[rows])


def _bounds(interval: intervals.Interval) -> list[float] | None:
    """The interval for JSON, which has no NaN: None where there is none."""
    return None if np.isnan(interval.low) else [interval.low, interval.high]


def others_rejected(recogniser: Recogniser, cache_folder: Path | None) -> float:
    """The share that a recogniser rejects of `mixture.N_OTHERS` synthetic drawings of other letters, digits and marks,
    which are kept in `cache_folder` unless it is None."""
    ink = mixture.others_to_try(recogniser.size, cache_folder, recogniser.resampling, recogniser.scale)
    return float(1 - recogniser.calibration.are_grades(recogniser.logits(ink), ink).mean())


def summarise(
    config: ConfigDict, prepared: Prepared, evaluation: Evaluation, history: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """What `summary.json` says of a run, except for its time and device.

    Args:
        config: the run's recipe.
        prepared: what it was trained from.
        evaluation: of its model.
        history: the lines of `metrics.jsonl`.
    """
    data, split, network, folds = prepared.dataset, prepared.split, prepared.network, prepared.folds
    validation = evaluation.predictions.summary()
    best = max(history, key=lambda epoch: epoch["val_accuracy"])
    summary = {
        "val_accuracy": validation["accuracy"],
        "val_interval": validation["interval"],
        "best_val_accuracy": best["val_accuracy"],
        "best_epoch": best["epoch"],
        "val_loss": validation["loss"],
        "ece": validation["ece"],
        "ece_uncalibrated": metrics.scores(evaluation.uncalibrated, evaluation.predictions.labels).ece,
        "val_refused": validation["refused"],
        "others_refused": evaluation.others_rejected,
        "no_grade": evaluation.rejection(),
        "epochs": len(history),
        "n_train": len(split.train),
        "n_val": validation["n"],
        "val_writers": validation["writers"],
        "split": config.data.split,
        "folds": len(folds),
        "parameters": models.parameters(network),
        "images_per_second": sorted(epoch["images_per_second"] for epoch in history)[len(history) // 2],
        "train_seconds": history[-1]["elapsed"],
        "data_fingerprint": data.digest,
        "refused": data.refused,
        "versions": _versions(),
    }
    if evaluation.test:
        summary |= {"n_test": len(split.test), "test_accuracy": evaluation.test.scores().accuracy}
    return summary


def _versions() -> dict[str, str]:
    names = ("gradejax", "jax", "flax", "optax", "orbax-checkpoint", "numpy", "opencv-python-headless")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}
