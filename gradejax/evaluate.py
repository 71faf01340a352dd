"""Says how good a trained model is on any drawings.

    python -m gradejax.evaluate [--workdir=DIR] [--store=URI] [--tags=a,b]

Without --workdir the newest finished run below runs/ is used. The last line is JSON with `accuracy`, `n`, `ece`,
`loss` and `refused`, the share of the drawings that the model takes for no grade. Drawings the model was trained on
flatter it: name tags it has not seen.
"""

import json
from contextlib import closing
from pathlib import Path

import numpy as np
from absl import flags
from rich.console import Console

from gradejax import command, metrics, predict, report, runs, stores
from gradejax import dataset as datasets
from gradejax.errors import UserError
from gradejax.grades import GRADE_INDEX

_FLAGS = flags.FlagValues()
flags.DEFINE_string("workdir", None, "The run whose model is used; the newest by default.", flag_values=_FLAGS)
flags.DEFINE_string("store", None, "Address of the drawings; sqlite:///data/grades.db by default.", flag_values=_FLAGS)
flags.DEFINE_list("tags", [], "Only drawings with one of these tags.", flag_values=_FLAGS)


def main(arguments: list[str]) -> None:
    """Evaluates, as the flags say."""
    if arguments:
        raise UserError(f"what is {arguments[0]!r}? Drawings come from --store; for PNG files see gradejax.predict")
    recogniser = predict.load(Path(_FLAGS.workdir) if _FLAGS.workdir else runs.newest_run())
    query = stores.Query(tags=tuple(_FLAGS.tags))
    with closing(stores.open_store(stores.store_uri(_FLAGS.store))) as store:
        data = datasets.load(store, query, recogniser.size, cache=None, resampling=recogniser.resampling)
    # A model carries its own labels, whose order need not be this version's.
    columns = [recogniser.labels.index(grade) for grade in GRADE_INDEX]
    ink = np.asarray(data.ink)
    guesses = recogniser.confidences(ink)[:, columns]
    are_grades = recogniser.calibration.are_grades(guesses, ink)
    Console().print(report.score_table("Accuracy", guesses, data.labels, are_grades))
    scores = metrics.scores(guesses, data.labels)
    refused = float(1 - are_grades.mean())
    print(json.dumps({"n": len(data), **scores._asdict(), "refused": refused}))


if __name__ == "__main__":
    command.run(main, _FLAGS)
