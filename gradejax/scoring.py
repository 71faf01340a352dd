"""How well a trained model reads the drawings of stores: tables for people, JSON for programs."""

import json
import logging
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from gradejax import evaluation, held_out, prepare, recogniser, report, stores
from gradejax.errors import UserError
from gradejax.recogniser import Recogniser

log = logging.getLogger("gradejax.evaluate")


def print_scores(workdir: Path | None, uris: Sequence[str | None], tags: tuple[str, ...]) -> None:
    """Prints a table of a model's scores on stores, and a line of JSON for each store.

    Args:
        workdir: the model's run; see `recogniser.load_chosen`.
        uris: the stores' addresses; None for the default one.
        tags: only drawings with one of these; all if empty.

    Raises:
        UserError: if there is no such model, or a store has another scale or no grades with these tags.
    """
    with closing(stores.open_store(stores.store_uri(uris[0]))) as store:
        chosen = recogniser.load_chosen(workdir, store.scale)
    trained_on = held_out.trained_on(chosen.run) if chosen.run else None
    query = stores.Query(tags=tags)
    scores, tables = zip(*(_score(chosen.recogniser, trained_on, uri, query) for uri in uris), strict=True)
    Console().print(tables[0] if len(tables) == 1 else report.stores_table(scores))
    for of_store in scores:
        print(json.dumps(of_store))


def _score(
    model: Recogniser, trained_on: held_out.Digests | None, uri: str | None, query: stores.Query
) -> tuple[dict[str, Any], Table]:
    """Scores a model on a store, and warns if it was trained on drawings there.

    Args:
        model: to score.
        trained_on: the drawings that it was trained on; None if they are not known.
        uri: the store's address; None for the default one.
        query: which of its drawings.

    Returns:
        The scores for JSON, and in detail as a table.
    """
    with closing(stores.open_store(stores.store_uri(uri))) as store:
        name = store.uri
        recogniser.check_scale(model, store.scale)
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
        "Accuracy", predictions, [*notes, *report.rejection_notes(scores["no_grade"])], new, dataset.scale
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
