"""Draws the ten worst mistakes of a model on a store: grades misread, or with --others no grades that it let in.

    python docs/mistakes.py --workdir=DIR --store=sqlite:///data/unipen.db docs/mistakes-unipen.png
    python docs/mistakes.py --others --workdir=DIR --store=sqlite:///data/unipen.db docs/let-in-unipen.png

A mistake is the worse, the surer the model is of it.
"""

from contextlib import closing
from pathlib import Path

import matplotlib
import numpy as np
from absl import flags

from gradejax import cli, evaluation, plots, prepare, recogniser, stores
from gradejax.errors import UserError
from gradejax.ink import decode_ink
from gradejax.resampling import resample
from gradejax.scales import LETTERS, NO_GRADE
from gradejax.stores import Query

GRADES = LETTERS.labels

_FLAGS = flags.FlagValues()
cli.define_workdir(_FLAGS, "The run whose model is used.")
cli.define_store(_FLAGS)
flags.DEFINE_bool("others", False, "Draw what shows no grade and was let in.", flag_values=_FLAGS)
_SHOWN = 10


def main(files: list[str]) -> None:
    """Writes the picture."""
    if len(files) != 1:
        raise UserError("which picture? python docs/mistakes.py --workdir=DIR --store=ADDRESS OUT.png")
    model = recogniser.load_chosen(cli.workdir(_FLAGS)).recogniser
    with closing(stores.open_store(stores.store_uri(_FLAGS.store))) as store:
        dataset = prepare.load(store, Query(), model.size, None, model.resampling)
        predictions = evaluation.predict(model, dataset)
        guesses, wanted = predictions.guesses(), (dataset.labels < 0) == _FLAGS.others
        wrong = np.flatnonzero(wanted & (predictions.are_grades if _FLAGS.others else guesses != dataset.labels))
        worst = wrong[np.argsort(-predictions.likeness[wrong], kind="stable")][:_SHOWN]
        ids = [id.decode() for id in dataset.ids[worst]]
        drawings = store.get_many(ids)
    ink = np.stack([resample(decode_ink(drawings[id].png), 84) for id in ids])
    labels = [GRADES[label] if label >= 0 else NO_GRADE for label in dataset.labels[worst]]
    titles = [f"{label} read as {GRADES[guess]}" for label, guess in zip(labels, guesses[worst], strict=True)]
    kind = f"drawings of {NO_GRADE} were let in" if _FLAGS.others else "grades were misread"
    with matplotlib.rc_context({"savefig.dpi": 80}):
        plots.sheet(ink, titles, f"{len(wrong):,} of {wanted.sum():,} {kind}").savefig(Path(files[0]))


if __name__ == "__main__":
    cli.run(main, _FLAGS)
