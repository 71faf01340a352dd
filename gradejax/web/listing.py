"""Finished runs for the Models page: what their folders say of them, none of which is trusted."""

import os
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import jax
import numpy as np
from pydantic import ValidationError

from gradejax import choice, held_out, intervals, results, runs, shipped
from gradejax.errors import UserError
from gradejax.held_out import Reading
from gradejax.recogniser import Chosen, Recogniser
from gradejax.scales import Scale
from gradejax.web.languages import Text
from gradejax.web.run_messages import Bin, EpochShown, Mistake, RunDetail, RunShown

_BINS = 15
_MAX_MISTAKES = 60
_MAX_FACTS, _MAX_FACT_LENGTH = 60, 200


def shown_run(run: Path, in_use: bool, language: str) -> RunShown:
    """Returns what the page shows, in `language`, of a finished run."""
    config, result = _config(run), results.read(run)
    data, train, model = (_group(config, name) for name in ("data", "train", "model"))
    mixed = sum(n for name in ("synthetic", "others") if isinstance(n := data.get(name), int))
    start = str(train.get("start_from") or "")
    recipe = str(model.get("name", ""))
    if start:
        recipe = Text("server.recipe-from", recipe=recipe, start=Path(start).name).to(language)
    date = None
    with suppress(OSError):
        date = datetime.fromtimestamp((run / "summary.json").lstat().st_mtime, UTC)
    return RunShown(
        name=run.name, in_use=in_use, date=date, recipe=recipe[:60] or None, tags=str(data.get("tags", ""))[:200],
        n_train=max(0, result.n_train - mixed) if result else None,
        n_mixed=mixed if result else None,
        n_val=result.n_val if result else None,
        writers=result.writers if result else None,
        split=result.split if result else None,
        accuracy=result.accuracy if result else None,
        interval=result.interval if result else None,
        ece=result.ece if result else None,
        parameters=result.parameters if result else None,
        bytes=_size(run), trained_on=None, test=None,
    )  # fmt: skip


def shown_shipped(recogniser: Recogniser, in_use: bool) -> RunShown:
    """Returns what the page shows of the recogniser that comes with gradejax."""
    n = sum(leaf.size for leaf in jax.tree.leaves(recogniser.variables))
    return RunShown(
        name=shipped.NAME, in_use=in_use, date=None, recipe="cnn", tags="", n_train=None, n_mixed=None, n_val=None,
        writers=None, split=None, accuracy=None, interval=None, ece=None, parameters=n,
        bytes=shipped.FILE.stat().st_size, trained_on=recogniser.trained_on, test=None,
    )  # fmt: skip


def note(in_use: Chosen, language: str) -> str | None:
    """Says in `language` why the newest run is not the one in use; None if it is, or nobody would expect it to be."""
    finished = runs.finished_runs()
    if not finished or finished[0] == in_use.run or in_use.run not in [None, *finished]:
        return None
    name, newest = finished[0].name, results.read(finished[0])
    used = results.read(in_use.run) if in_use.run else None
    if newest is None:
        return Text("server.newest-says-nothing", run=name).to(language)
    if used is None or results.merit(newest) >= results.merit(used):
        if choice.chosen() is None:
            return None
        use = Text("models.use")
        return Text("server.newer-run", run=name, points=100 * newest.accuracy, use=use).to(language)
    if newest.split == used.split:
        worse = Text("server.newest-is-worse", run=name, points=100 * newest.accuracy, other=100 * used.accuracy)
    else:
        worse = Text("server.newest-not-on-unseen", run=name)
    texts = [worse]
    with suppress(UserError):
        if in_use.run and _validated_on(finished[0]) != _validated_on(in_use.run):
            texts.append(Text("server.validated-on-others"))
    return " ".join(text.to(language) for text in texts)


def _validated_on(run: Path) -> set[str] | None:
    read = held_out.readings(run)
    return None if read is None else {one.id for one in read}


def detail(run: Path, shown: RunShown) -> RunDetail:
    """Returns a finished run in detail.

    Raises:
        UserError: if its files are damaged.
    """
    read, scale = held_out.readings(run) or [], runs.scale(run)
    wrong = sorted((one for one in read if one.label != one.guess), key=lambda one: -one.confidence)
    return RunDetail(
        run=shown,
        history=history_of(runs.read_history(run)),
        labels=list(scale.labels),
        groups=list(scale.groups),
        confusion=_confusion(read, scale) if read else None,
        bins=_bins(read),
        mistakes=[
            Mistake(id=one.id, label=one.label, guess=one.guess, confidence=one.confidence)
            for one in wrong[:_MAX_MISTAKES]
        ],
        n_mistakes=len(wrong),
        facts=_facts(run),
    )


def history_of(rows: list[dict[str, Any]]) -> list[EpochShown]:
    """Returns the lines of a `metrics.jsonl` for the page, up to one that is not what was written."""
    shown = []
    with suppress(ValidationError, KeyError):
        for row in rows:
            shown.append(EpochShown(**{name: row[name] for name in EpochShown.model_fields}))
    return shown


def _confusion(read: list[Reading], scale: Scale) -> list[list[int]]:
    counts = Counter((one.label, one.guess) for one in read)
    return [[counts[label, guess] for guess in scale.labels] for label in scale.labels]


def _bins(read: list[Reading]) -> list[Bin]:
    if not read:
        return []
    confidence = np.array([one.confidence for one in read])
    right = np.array([one.label == one.guess for one in read], float)
    places = np.clip(np.ceil(confidence * _BINS).astype(int) - 1, 0, _BINS - 1)
    bins = []
    for place in np.unique(places):
        inside = places == place
        (low,), (high,) = intervals.binomial(right[inside].sum(keepdims=True), inside.sum(keepdims=True).astype(float))
        bins.append(
            Bin(
                n=int(inside.sum()),
                confidence=float(confidence[inside].mean()),
                accuracy=float(right[inside].mean()),
                interval=(float(low), float(high)),
            )
        )
    return bins


def _facts(run: Path) -> dict[str, str]:
    try:
        summary = runs.read_json(run / "summary.json")
    except UserError:
        return {}
    facts: dict[str, str] = {}
    for name, value in summary.items() if isinstance(summary, Mapping) else ():
        of_name = {f"{name}.{key}": one for key, one in value.items()} if isinstance(value, Mapping) else {name: value}
        for key, one in of_name.items():
            facts[key[:_MAX_FACT_LENGTH]] = (f"{one:.6g}" if isinstance(one, float) else str(one))[:_MAX_FACT_LENGTH]
    return dict(islice(facts.items(), _MAX_FACTS))


def _config(run: Path) -> Mapping[str, Any]:
    try:
        config = runs.read_json(run / "config.json")
    except UserError:
        return {}
    return config if isinstance(config, Mapping) else {}


def _group(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    group = config.get(name)
    return group if isinstance(group, Mapping) else {}


def _size(folder: Path) -> int:
    total = 0
    for path, _, files in os.walk(folder):
        for name in files:
            with suppress(OSError):  # a training may be replacing a checkpoint
                total += os.lstat(os.path.join(path, name)).st_size  # noqa: PTH118
    return total
