"""`python -m gradejax.data audit`: probably wrong labels, near-duplicates, and drawings by another writer than said."""

import logging
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from bson import json_util
from jaxtyping import Float
from matplotlib.figure import Figure
from ml_collections import ConfigDict
from numpy import ndarray
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gradejax import audits, labels, plots, prepare, recipe, runs, similar, splits, styles
from gradejax.calibration import Calibration
from gradejax.crossvalidation import cross_validate
from gradejax.data.exporting import check_is_not_store
from gradejax.data.extended_json import EXTENDED_JSON
from gradejax.dataset import Dataset, of_grades
from gradejax.drawings import printable, stored_id
from gradejax.errors import UserError
from gradejax.labels import Doubts
from gradejax.progress import progress
from gradejax.scales import Scale
from gradejax.similar import Pair
from gradejax.splits import Split
from gradejax.stores import Query, Store, open_store
from gradejax.styles import Stranger

log = logging.getLogger(__name__)

_FOLDS = 5
_FEWEST_OF_EACH = 10
_FEWEST_LISTED, _LISTED_SHARE = 100, 1.5
_EPOCHS, _MOST_EPOCHS = 12, 40
_SMALL = 1000
_FEWEST_SEEN = 8_000  # drawings, counted again in each epoch
_SHOWN, _SHOWN_PAIRS = 20, 10  # rows of the printed tables
_PICTURES = 60
_CONSOLE_WIDTH = 120


class Findings(NamedTuple):
    """What an audit has found.

    Attributes:
        doubts: about the labels.
        suspects: rows to look at, the most suspect first.
        pairs: near-duplicates.
        strangers: drawings that look like another writer's.
    """

    doubts: Doubts
    suspects: Sequence[int]
    pairs: Sequence[Pair]
    strangers: Sequence[Stranger]


def audit(uri: str, tags: tuple[str, ...], out: str, scale: Scale | None = None) -> None:
    """Looks for wrong labels with networks that were not trained on them; prints, draws and writes the findings.

    Args:
        uri: the store's address.
        tags: only drawings with one of these; empty for all.
        out: gets the findings as NDJSON; none if empty. The picture of the suspects goes beside it.
        scale: as in `open_store`.
    """
    picture = Path(out).with_suffix(".png") if out else audits.PICTURE
    with closing(open_store(uri, scale=scale)) as store:
        _check_output(store, Path(out) if out else None, picture)
        settings = recipe.base().data
        dataset = of_grades(prepare.load(store, Query(tags=tags), settings.size, Path(settings.cache)))
        uri = store.uri
    confidences = out_of_fold(dataset)
    findings = examine(dataset, confidences)
    names = [id.decode() for id in dataset.ids.tolist()]
    audits.save(uri, names, confidences, scale=dataset.scale)
    _print(dataset, names, findings)
    try:
        _sheet(dataset, findings).savefig(picture)
        if out:
            runs.write_text(Path(out), "".join(line + "\n" for line in _lines(dataset, names, findings)))
    except OSError as error:
        raise UserError(f"{error.filename or out} cannot be written: {error.strerror}") from None
    print(f"the first of them are drawn in {picture}" + (f"; all are in {out}, for data relabel" if out else ""))


def audit_recipe(n_drawings: int) -> ConfigDict:
    """The CNN of configs/cnn.py with faster averages and fewer epochs; a small store takes more and smaller steps."""
    config = recipe.base()
    config.model.name = "cnn"
    config.model.channels = (32, 64)
    config.model.hidden = 128
    config.model.dropout = 0.3
    # The usual 0.99 needs more steps than are taken here to forget the statistics it began with.
    config.model.batch_norm_momentum = 0.9
    config.train.epochs = min(max(_EPOCHS, _FEWEST_SEEN // n_drawings), _MOST_EPOCHS)
    if n_drawings < _SMALL:
        config.train.batch_size = 16
    config.train.warmup_epochs = 1.0
    config.train.learning_rate = 3e-3
    config.train.label_smoothing = 0.1
    config.train.ema_decay = 0.97
    config.augment.rotation = 5.0
    config.augment.shift = 0.05
    config.augment.shear = 0.05
    config.augment.zoom = 0.05
    return config


def out_of_fold(dataset: Dataset) -> Float[ndarray, "n grades"]:
    """The confidences of networks that saw neither the drawing nor, with five writers or more, its writer.

    Raises:
        UserError: when there are too few drawings.
    """
    folds, config = _folds(dataset), audit_recipe(len(dataset))
    with progress("training five networks (epochs)", config.train.epochs, log) as update:
        logits = cross_validate(config, dataset, folds, lambda: update(1)).logits
    return Calibration(n_grades=len(dataset.scale.labels)).confidences(logits)


def examine(dataset: Dataset, confidences: Float[ndarray, "n grades"]) -> Findings:
    """Everything that an audit looks for, once the drawings have been read out of fold."""
    doubts = labels.doubts(confidences, dataset.labels)
    listed = max(_FEWEST_LISTED, round(_LISTED_SHARE * doubts.n_wrong))
    differing = [int(row) for row in doubts.order if doubts.guesses[row] != dataset.labels[row]]
    with progress("comparing drawings", len(dataset), log) as update:
        pairs = similar.near_duplicates(dataset.ink, update)
    with progress("comparing writers", len(dataset), log) as update:
        strangers = styles.strangers(dataset.ink, dataset.labels, dataset.writers, update)
    return Findings(doubts, differing[:listed], pairs, strangers)


def _check_output(store: Store, out: Path | None, picture: Path) -> None:
    """Raises UserError for files that cannot be meant, before minutes of work."""
    for path in (out, picture) if out else (picture,):
        check_is_not_store(store, path)
        if not path.parent.is_dir():
            raise UserError(f"there is no folder {path.parent} for {path.name}: create it, or name another --out")
        if path.is_dir():
            raise UserError(f"{path} is a folder: name a file with --out")
    if out == picture:
        raise UserError(f"{out} will be the picture: name the NDJSON otherwise, such as --out=suspects.ndjson")


def _folds(dataset: Dataset) -> list[Split]:
    fewest = _FEWEST_OF_EACH * len(dataset.scale.labels)
    if len(dataset) < fewest:
        raise UserError(f"an audit needs {fewest} drawings or more, and here are {len(dataset)}: collect some first")
    n_writers = len(dataset.writer_names)
    if n_writers >= _FOLDS:
        return splits.folds(dataset, "writer", _FOLDS, seed=0)
    log.info("fewer than %d writers (%d): the folds are drawn at random, and a writer's habits pass", _FOLDS, n_writers)
    return splits.folds(dataset, "random", _FOLDS, seed=0)


def _print(dataset: Dataset, names: Sequence[str], findings: Findings) -> None:
    doubts, suspects, pairs, strangers = findings
    n, console, grades = len(dataset), Console(width=_CONSOLE_WIDTH), dataset.scale.labels
    print(f"{n:,} drawings by {len(dataset.writer_names):,} writers; about {doubts.n_wrong:.0f} labels are wrong")
    if suspects:
        table = _table("most suspect labels", ("drawing", "writer", "label", "guess"), "confidence in the label")
        for row in suspects[:_SHOWN]:
            score = f"{doubts.scores[row]:.1%}"
            table.add_row(*_about(dataset, names, row), grades[doubts.guesses[row]], score)
        console.print(table, highlight=False)
        counts = Counter((grades[dataset.labels[row]], grades[doubts.guesses[row]]) for row in suspects)
        print(f"{len(suspects)} listed: " + ", ".join(f"{a} read as {b} {k}x" for (a, b), k in counts.most_common(12)))
    print(f"near-duplicates: {len(pairs)} pairs")
    if pairs:
        table = _table("", ("drawing", "writer", "label", "nearly the same as", "writer", "label"), "similarity")
        for first, second, similarity in pairs[:_SHOWN_PAIRS]:
            table.add_row(*_about(dataset, names, first), *_about(dataset, names, second), f"{similarity:.4f}")
        console.print(table, highlight=False)
    print(f"perhaps by another writer than said: {len(strangers)}")
    if strangers:
        table = _table("", ("drawing", "writer", "label", "more like"), "")
        for row, writer, _ in strangers[:_SHOWN]:
            table.add_row(*_about(dataset, names, row), Text(printable(dataset.writer_names[writer])))
        console.print(table, highlight=False)


def _table(title: str, columns: Sequence[str], number: str) -> Table:
    table = Table(*columns, title=title or None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    if number:
        table.add_column(number, justify="right")
    return table


def _about(dataset: Dataset, names: Sequence[str], row: int) -> tuple[Text, Text, str]:
    writer = dataset.writer_names[dataset.writers[row]]
    return Text(printable(names[row])), Text(printable(writer)), dataset.scale.labels[dataset.labels[row]]


def _sheet(dataset: Dataset, findings: Findings) -> Figure:
    """The picture of the most suspect drawings."""
    doubts, rows, grades = findings.doubts, list(findings.suspects[:_PICTURES]), dataset.scale.labels
    titles = [
        f"{grades[dataset.labels[row]]}, or {grades[doubts.guesses[row]]}?\n{doubts.scores[row]:.1%} confidence"
        for row in rows
    ]
    return plots.sheet(dataset.ink[rows], titles, f"{len(rows)} suspect labels in {len(dataset):,} drawings")


def _lines(dataset: Dataset, names: Sequence[str], findings: Findings) -> list[str]:
    """The findings as NDJSON. What `relabel` must leave alone has a `kind`."""
    doubts, suspects, pairs, strangers = findings
    grades = dataset.scale.labels

    def line(**fields: object) -> str:
        return json_util.dumps(fields, json_options=EXTENDED_JSON)

    return [
        *(
            line(
                _id=stored_id(names[row]),
                label=grades[dataset.labels[row]],
                guess=grades[doubts.guesses[row]],
                score=round(float(doubts.scores[row]), 6),
            )
            for row in suspects
        ),
        *(
            line(kind="duplicate", ids=[stored_id(names[row]) for row in (first, second)], similarity=similarity)
            for first, second, similarity in pairs
        ),
        *(
            line(
                kind="writer",
                id=stored_id(names[row]),
                writer=dataset.writer_names[dataset.writers[row]],
                guess=dataset.writer_names[writer],
            )
            for row, writer, _ in strangers
        ),
    ]
