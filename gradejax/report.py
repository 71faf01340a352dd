"""The tables that commands print, of layers and of scores, and what they say of these."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Bool
from rich import box
from rich.markup import escape
from rich.table import Table

from gradejax import intervals, metrics, models
from gradejax.evaluation import Predictions
from gradejax.network import Network
from gradejax.scales import LETTERS, Scale

_INTERVAL, _NEW = "95% interval", "not trained on"


def population(writers: int, unseen: bool) -> str:
    """Whom the interval of an accuracy is about, who are like those that it comes from.

    Args:
        writers: how many drew the drawings.
        unseen: whether the model was trained on nothing of theirs.
    """
    return f"unseen writers like these {writers}" if unseen else f"writers trained on, like these {writers}"


def interval_note(writers: int, unseen: bool) -> str:
    """What the intervals in `score_table` are about; the arguments are those of `population`."""
    if writers < 2:
        return "no interval: all drawings are by one writer"
    return f"{_INTERVAL}: {population(writers, unseen)}"


def rejection_notes(rejection: Mapping[str, Any]) -> list[str]:
    """What to print of `evaluation.rejection`; empty where there are no drawings of no grade."""
    if not rejection["others"]:
        return []
    at_99, at_95 = rejection["let_in_at_99"], rejection["let_in_at_95"]
    return [
        f"drawings of no grade: {rejection['others']:,}, rejected {rejection['others_refused']:.2%}, "
        f"AUROC {rejection['auroc']:.4f}",
        f"a threshold that keeps 99% of grades lets in {at_99:.2%} of them; 95%: {at_95:.2%}",
    ]


def readers(folds: int, unseen: bool) -> str:
    """Who read the validation drawings, with `data.folds`; `unseen` as in `population`."""
    return f"each drawing read by a network that has not seen {'its writer' if unseen else 'it'} ({folds} folds)"


def score_table(
    title: str,
    predictions: Predictions,
    notes: Sequence[str],
    new: Bool[np.ndarray, " n"] | None = None,
    scale: Scale = LETTERS,
) -> Table:
    """A printable table: accuracy overall, by group and by sign; the most confused pair; ECE; fraction rejected.

    Args:
        title: of the table.
        predictions: what it is about.
        notes: lines to print below it.
        new: the drawings that the model was not trained on, to be shown in a row of their own; None for no such row.
        scale: of the drawings.
    """
    labels, confidences, are_grades = predictions.labels, predictions.confidences, predictions.are_grades
    table = Table("drawings", title=title, title_justify="left", caption_justify="left")
    for name in ("n", "accuracy", _INTERVAL):
        table.add_column(name, justify="right")

    def add(name: str, rows: Bool[np.ndarray, " n"]) -> None:
        if rows.any():
            interval = predictions.at(rows).interval()
            table.add_row(name, f"{rows.sum():,}", f"{interval.mean:.2%}", str(interval))

    add("all", np.ones(len(labels), bool))
    if new is not None:
        add(_NEW, new)
    table.add_section()
    for name, indices in scale.parts():
        add(name, np.isin(labels, indices))
    table.add_section()
    for sign, indices in scale.signs():
        add(f"with {sign}" if sign else "without a sign", np.isin(labels, indices))
    counts = metrics.confusion(confidences, labels)
    pairs = np.triu(counts + counts.T, 1)
    confused = "no mistakes"
    if pairs.any():
        one, other = np.unravel_index(pairs.argmax(), pairs.shape)
        confused = f"most confused: {scale.labels[one]} and {scale.labels[other]}, {pairs.max()} times"
    ece, rejected = metrics.reliability(confidences, labels).ece, np.mean(~are_grades)
    table.caption = "\n".join([confused, f"ECE {ece:.4f}, rejected {rejected:.2%}", *notes])
    return table


def stores_table(scores: Sequence[Mapping[str, Any]]) -> Table:
    """A printable table with a row for each store.

    Args:
        scores: of each store, as `gradejax.evaluate` prints them.
    """
    # Addresses are long, and the beginning that all have in common says nothing.
    parts = [row["store"].split("/") for row in scores]
    shared = sum(
        1 for _ in takewhile(lambda same: len(set(same)) == 1, zip(*(part[:-1] for part in parts), strict=False))
    )
    # Dense, to leave room for the rest of them in 80 columns.
    table = Table(
        title="Accuracy", title_justify="left", caption_justify="left", box=box.SIMPLE, padding=0, show_edge=False
    )
    table.add_column("store", overflow="fold")
    for name in ("n", "writers", "accuracy", _INTERVAL, "ECE", "rejected", "trained on"):
        table.add_column(name, justify="right", no_wrap=True)
    for row, name in zip(scores, parts, strict=True):
        trained_on = "unknown" if row["trained_on"] is None else f"{row['trained_on']:,}"
        table.add_row(escape("/".join(name[shared:])), *_cells(row), trained_on)
        if row["new"]:
            table.add_row(_NEW, *_cells(row["new"]), "0")
    table.caption = f"{_INTERVAL}: other writers like those of the store"
    return table


def _cells(scores: Mapping[str, Any]) -> tuple[str, ...]:
    low, high = scores["interval"] or (np.nan, np.nan)
    interval = str(intervals.Interval(scores["accuracy"], low, high))
    n, writers = (f"{scores[name]:,}" for name in ("n", "writers"))
    return n, writers, f"{scores['accuracy']:.2%}", interval, f"{scores['ece']:.4f}", f"{scores['refused']:.2%}"


def layer_table(model: Network, size: int) -> Table:
    """A printable table of the layers, their output shapes and their parameters."""
    table = Table("layer", "output", title="Model", title_justify="left")
    table.add_column("parameters", justify="right")
    for name, shape, count in _layer_rows(model, size):
        table.add_row(name, " x ".join(map(str, shape)), f"{count:,}" if count else "")
    table.add_section()
    table.add_row("total", "", f"{models.parameters(model):,}")
    return table


def _layer_rows(model: Network, size: int) -> Iterator[tuple[str, tuple[int, ...], int]]:
    """For each layer its name, the shape of its output for one drawing, and the number of its parameters."""
    model = nnx.clone(model)
    model.eval()
    out = jax.ShapeDtypeStruct((1, size, size), jnp.float32)
    for layer in model.layers:
        out = jax.eval_shape(layer, out)
        yield getattr(layer, "__name__", type(layer).__name__), out.shape[1:], models.parameters(layer)
