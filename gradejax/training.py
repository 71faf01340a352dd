"""A training from the drawings in a store to a finished run: by a program with `train`, by the command with `run`."""

import copy
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
from ml_collections import ConfigDict

from gradejax import (
    crossvalidation,
    devices,
    evaluation,
    held_out,
    loop,
    prepare,
    recogniser,
    run_erasure,
    runs,
    shipped,
    stores,
)
from gradejax import recipe as recipes
from gradejax.errors import UserError
from gradejax.loop import Announce, Epoch
from gradejax.prepare import Prepared
from gradejax.progress import progress
from gradejax.recogniser import Recogniser
from gradejax.scales import Scale
from gradejax.stores import Store

log = logging.getLogger(__name__)


class Trained(NamedTuple):
    """What `train` returns.

    Attributes:
        run: the run's folder: config, metrics of each epoch, `summary.json`, checkpoints, and plots.
        accuracy: on the validation drawings, 0 to 1; by default these are of writers that it was not trained on.
        interval: the 95% interval of the accuracy for other writers like these; None if there is only one writer.
        recogniser: the trained model.
    """

    run: Path
    accuracy: float
    interval: tuple[float, float] | None
    recogniser: Recogniser


def train(
    store: Store | str | None = None,
    *,
    tags: str | Sequence[str] = (),
    recipe: str | os.PathLike[str] | ConfigDict = "cnn",
    epochs: int | None = None,
    seed: int | None = None,
    settings: Mapping[str, object] | None = None,
    workdir: str | os.PathLike[str] | None = None,
    on_epoch: Callable[[Epoch], object] | None = None,
) -> Trained:
    """Trains a recogniser on the drawings in a store, and scores it on drawings that it was not trained on.

    It does what `gradejax train` does, but leaves JAX's settings as they are: compiled programs are kept for the next
    process only where JAX_COMPILATION_CACHE_DIR says so.

    Args:
        store: an open store or its address; by default GRADEJAX_STORE, else `sqlite:///data/grades.db`, which is filled
            with 2,250 synthetic drawings if it is empty.
        tags: only drawings with one of these tags; all by default.
        recipe: the name of a recipe that comes with gradejax (`cnn`, `mlp`, `best`), the path of a recipe's file, or
            the config that its `get_config()` returns.
        epochs: how often to go through the drawings; by default as often as the recipe says.
        seed: decides everything random; by default the recipe's.
        settings: more keys of the recipe, such as `{"augment.rotation": 10.0}`; `gradejax/recipe.py` lists them.
        workdir: the run's folder; by default a new one below `runs/`. If a training with the same config was cut off
            there, it goes on.
        on_epoch: called after each epoch with its loss, accuracy and more.

    Raises:
        UserError: for whatever its caller can put right: no such drawings, an unknown recipe or key, a folder that
            cannot be written.
    """
    began = time.perf_counter()
    if jax.process_count() > 1:
        raise UserError(f"gradejax.train is for one process: on several, use `{runs.TRAIN_COMMAND}`")
    named = {"data.tags": tags if isinstance(tags, str) else ",".join(tags), "train.epochs": epochs, "seed": seed}
    given = {name: value for name, value in named.items() if value not in (None, "")}
    config = _config(recipe, {**(settings or {}), **given})
    folder = None if workdir is None else Path(workdir)
    if store is None or isinstance(store, str):
        with closing(stores.open_store(stores.store_uri(store, config.data.store))) as opened:
            uri, start = opened.uri, prepared(config, opened, folder)
    else:
        uri, start = store.uri, prepared(config, store, folder)
    finished = run(config, uri, start, folder, began, _Listener(on_epoch))
    interval = finished.summary["val_interval"]
    return Trained(
        run=finished.workdir,
        accuracy=finished.summary["val_accuracy"],
        interval=interval and (interval[0], interval[1]),
        recogniser=recogniser.load(finished.workdir),
    )


def _config(recipe: str | os.PathLike[str] | ConfigDict, changes: Mapping[str, object]) -> ConfigDict:
    config = copy.deepcopy(recipe) if isinstance(recipe, ConfigDict) else recipes.load(os.fspath(recipe))
    recipes.change(config, changes)
    recipes.check(config)
    return config


class Audience:
    """Is told of a training while it goes on; this one makes nothing of it."""

    def begins(self, config: ConfigDict, prepared: Prepared) -> None:
        """The run's folder is there; the training is about to begin."""

    @contextmanager
    def follows(self, config: ConfigDict, n_train: int) -> Iterator[Announce]:
        """Encloses the training of the network on `n_train` drawings; yields what `loop.fit` calls."""
        yield lambda *_: None

    def reads(self, config: ConfigDict, prepared: Prepared, result: evaluation.Evaluation) -> None:
        """The network has been evaluated."""


class _Listener(Audience):
    """Passes each epoch on to a function."""

    def __init__(self, on_epoch: Callable[[Epoch], object] | None):
        self._on_epoch = on_epoch

    @contextmanager
    def follows(self, config: ConfigDict, n_train: int) -> Iterator[Announce]:
        def announce(epoch: Epoch | None, _: int) -> None:
            if epoch and self._on_epoch:
                self._on_epoch(epoch)

        yield announce


class Finished(NamedTuple):
    """A run that has ended: its folder, and what it wrote to `summary.json`."""

    workdir: Path
    summary: dict[str, Any]


def prepared(config: ConfigDict, store: Store, workdir: Path | None) -> Prepared:
    """What a training starts from. The first process makes the store ready.

    Raises:
        UserError: when `workdir` holds a run with another config, which is found before a drawing is read; or as
            `prepare.prepare` does.
    """
    if devices.is_first():
        prepare.ready(store, config)
        if workdir:
            runs.check(workdir, _settings(config, store.uri, store.scale))
        devices.wait()
    return prepare.prepare(config, store)


def _settings(config: ConfigDict, store_uri: str, scale: Scale) -> dict[str, Any]:
    """What a run's folder keeps of its recipe."""
    kept = {"store": store_uri, "scale": scale.name}
    return recipes.as_json(config) | {"data": recipes.as_json(config.data) | kept}


def run(
    config: ConfigDict, store_uri: str, prepared: Prepared, workdir: Path | None, began: float, audience: Audience
) -> Finished:
    """Trains once, from the drawings to the report.

    Args:
        config: the recipe.
        store_uri: the store's address without its credentials.
        prepared: as `prepared` returns it for this recipe and store.
        workdir: the run's folder; None for a new one.
        began: `time.perf_counter()` at the start, for `wall_seconds`.
        audience: is told how far it is.

    Raises:
        UserError: for whatever the user can put right.
    """
    settings = _settings(config, store_uri, prepared.dataset.scale)
    workdir = workdir or runs.new_workdir(config.model.name)
    with runs.held(workdir):
        runs.begin(workdir, settings)
        audience.begins(config, prepared)
        device = f"{jax.devices()[0].device_kind} x {jax.device_count()}, {os.cpu_count()} CPU cores"
        _log_start(config, prepared, device, workdir)
        if config.train.start_from not in ("", shipped.NAME):
            _warn_of_known(Path(config.train.start_from), prepared)
        out_of_sample = _cross_validated(config, settings, prepared, workdir) if prepared.folds else None
        with audience.follows(config, len(prepared.split.train)) as announce:
            variables = loop.fit(config, prepared, workdir, announce, out_of_sample)
        result = evaluation.evaluate(config, prepared, variables, out_of_sample)
        audience.reads(config, prepared, result)
        history = runs.read_history(workdir)
        summary = evaluation.summarise(config, prepared, result, history)
        summary["held_out"] = held_out.write(workdir, prepared, result)
        summary |= {"wall_seconds": time.perf_counter() - began, "device": device}
        # Before the plots: a run must not be lost for want of a picture.
        runs.write_json(workdir / "summary.json", summary)
        from gradejax import plots  # imports Matplotlib, which nobody need wait for before

        about = _plot_title(config, store_uri, workdir)
        about_data = len(prepared.folds), prepared.dataset.scale
        plots.write_plots(workdir / "plots", about, history, result, config.evaluate.mistakes, *about_data)
        run_erasure.finish(workdir)
    return Finished(workdir, summary)


def _log_start(config: ConfigDict, prepared: Prepared, device: str, workdir: Path) -> None:
    how = f"{config.data.split} split" + (f", {len(prepared.folds)} folds" if prepared.folds else "")
    log.info(
        "training on %s drawings, validating on %s (%s), on %s; run folder %s",
        f"{len(prepared.split.train):,}", f"{len(prepared.split.validation):,}", how, device, workdir,
    )  # fmt: skip


def _warn_of_known(source: Path, prepared: Prepared) -> None:
    """Warns if the run that training starts from was trained on drawings that are validated on here."""
    trained_on, ink = held_out.trained_on(source), prepared.dataset.ink[prepared.split.validation]
    known = 0 if trained_on is None else held_out.seen(trained_on, ink).sum()
    if known:
        log.warning(
            "%s was trained on %d of the %d validation drawings, which flatter this run: score it on others with "
            "gradejax.evaluate", source, known, len(ink),
        )  # fmt: skip


def _cross_validated(
    config: ConfigDict, settings: Mapping[str, Any], prepared: Prepared, workdir: Path
) -> crossvalidation.OutOfSample:
    """Trains the folds' networks, or takes what they made of the drawings from the run's folder."""
    path, dataset, folds = workdir / "out_of_sample.json", prepared.dataset, prepared.folds
    if kept := crossvalidation.load(path, settings, dataset, folds):
        log.info("the %d folds have been trained already", len(folds))
        return kept
    with progress(f"training {len(folds)} folds", config.train.epochs, log) as update:
        result = crossvalidation.cross_validate(config, dataset, folds, partial(update, 1))
    crossvalidation.save(path, result, settings, dataset)
    return result


def _plot_title(config: ConfigDict, uri: str, workdir: Path) -> str:
    """Names the run, its data and the split: `cnn-1: class.db, tags 7b, writer split`."""
    tags = f", tags {config.data.tags}" if config.data.tags else ""
    return f"{workdir.resolve().name}: {uri.rstrip('/').rpartition('/')[2]}{tags}, {config.data.split} split"
