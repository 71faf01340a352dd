"""Scores a trained model on any drawings.

    python -m gradejax.evaluate [--workdir=DIR] [--store=URI] [--store=ANOTHER] [--tags=a,b]

Without --workdir the run chosen on the pages is used, else the newest finished run below runs/, else the recogniser
that comes with gradejax. The last line is JSON with `accuracy`, `n`, `ece`, `loss`, `refused`, the share of grades that
the model rejects as no grade, and more. `interval` is where the accuracy lies on drawings by other people like these
`writers`, with 95% confidence; it is null if all are by one. Several stores are shown in one table, and there is such a
line for each.

Drawings that are labelled `no grade` do not count in these. `no_grade` says how many `others` there are, which share of
them the model rejects (`others_refused`), and how well its confidence tells grades from them whatever the threshold:
`auroc`, and the share that would pass one that keeps 95% or 99% of the grades (`let_in_at_95`, `let_in_at_99`).

Drawings that the model was trained on flatter it. A run lists them in its `drawings.csv`: `trained_on` says how many of
the store's are among them, null if there is no such list; if only some are, `new` has the scores on the others.
"""

import json
import logging
from contextlib import closing
from typing import Any

from absl import flags
from rich.console import Console
from rich.table import Table

from gradejax import cli, evaluation, held_out, prepare, recogniser, report, stores
from gradejax.errors import UserError
from gradejax.recogniser import Recogniser

log = logging.getLogger("gradejax.evaluate")

_FLAGS = flags.FlagValues()
flags.DEFINE_multi_string(
    "store",
    None,
    "Address of the drawings; sqlite:///data/grades.db by default. Repeat it to compare stores.",
    flag_values=_FLAGS,
)
cli.define_workdir(_FLAGS, "The run whose model is used; by default the one chosen on the pages, else the newest.")
flags.DEFINE_list("tags", [], "Only drawings with one of these tags.", flag_values=_FLAGS)


def main(arguments: list[str]) -> None:
    """Evaluates as the flags say."""
    if arguments:
        raise UserError(f"what is {arguments[0]!r}? Drawings come from --store; for PNG files see gradejax.predict")
    chosen = recogniser.load_chosen(cli.workdir(_FLAGS))
    trained_on = held_out.trained_on(chosen.run) if chosen.run else None
    scores, tables = zip(*(_score(chosen.recogniser, trained_on, uri) for uri in _FLAGS.store or [None]), strict=True)
    Console().print(tables[0] if len(tables) == 1 else report.stores_table(scores))
    for of_store in scores:
        print(json.dumps(of_store))


def _score(model: Recogniser, trained_on: held_out.Digests | None, uri: str | None) -> tuple[dict[str, Any], Table]:
    """Scores a model on a store, and warns if it was trained on drawings there.

    Args:
        model: to score.
        trained_on: the drawings that it was trained on; None if they are not known.
        uri: the value of --store.

    Returns:
        The scores for JSON, and in detail as a table.
    """
    query = stores.Query(tags=tuple(_FLAGS.tags))
    with closing(stores.open_store(stores.store_uri(uri))) as store:
        name = store.uri
        dataset = prepare.load(store, query, model.size, cache_folder=None, resampling=model.resampling)
    if (dataset.labels < 0).all():
        raise UserError(f"no drawing in {name} shows a grade: import grades into the same store to compare")
    everything = evaluation.predict(model, dataset)
    predictions, others = everything.at(dataset.labels >= 0), everything.at(dataset.labels < 0)
    scores = {"store": name, **predictions.summary(), "no_grade": evaluation.rejection(predictions, others)}
    scores |= {"trained_on": None, "new": None}
    new = None
    if trained_on is not None:
        seen = held_out.seen(trained_on, predictions.ink)
        scores["trained_on"] = int(seen.sum())
        if seen.any() and not seen.all():
            new = ~seen
            scores["new"] = predictions.at(new).summary()
    warning = _warning(scores, model.data_digest == dataset.digest)
    if warning:
        log.warning("%s", warning)
    notes = [report.interval_note(predictions.n_writers(), unseen=not warning)]
    return scores, report.score_table(
        "Accuracy", predictions, [*notes, *report.rejection_notes(scores["no_grade"])], new
    )


def _warning(scores: dict[str, Any], is_same_data: bool) -> str:
    """What to bear in mind if the model was trained on some of the drawings; else empty."""
    n, known, new, name = (scores[key] for key in ("n", "trained_on", "new", "store"))
    if known is None and is_same_data:
        return f"the model was trained on part of the drawings in {name}, which flatter it, and does not say which"
    if not known:
        return ""
    on_others = f"; its accuracy on the other {new['n']:,} is {new['accuracy']:.2%}" if new else ""
    return f"the model was trained on {known:,} of the {n:,} drawings in {name}, which flatter it{on_others}"


if __name__ == "__main__":
    cli.run(main, _FLAGS)
