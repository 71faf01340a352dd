"""From a recipe to what a training begins with: drawings, their split, and a network."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from flax import nnx
from jaxtyping import UInt8
from ml_collections import ConfigDict

from gradejax import cache, checkpoints, mixture, models, programs, recipe, recogniser, scales, shipped, splits
from gradejax.dataset import TEST_TAG, Dataset, Picture, subset
from gradejax.errors import UserError
from gradejax.forward import Variables, variables_of
from gradejax.hands import synthetic
from gradejax.ink import decode_ink
from gradejax.programs import Programs
from gradejax.recogniser import Recogniser
from gradejax.resampling import METHODS
from gradejax.scales import LETTERS, Scale
from gradejax.splits import Split
from gradejax.stores import DEFAULT_URI, Query, Store

log = logging.getLogger(__name__)

_FIRST_DRAWINGS, _FIRST_OF_EACH, _FIRST_WRITERS = 2250, 150, 30


class Prepared(NamedTuple):
    """What a training starts from.

    Attributes:
        dataset: the drawings, synthetic ones included.
        split: which of them are trained on.
        network: as `network` returns it.
        about: plain facts kept in each checkpoint, from which `recogniser.load` builds the network again.
        folds: with `data.folds`, the splits of the networks that score the drawings in the place of `network`, which
            is trained on all of them.
        strangers: with `model.no_grade`, synthetic drawings of no grade that are not trained on, for the threshold.
        programs: compiled; None where that has to wait for the drawings.
    """

    dataset: Dataset
    split: Split
    network: models.Network
    about: dict[str, Any]
    folds: Sequence[Split] = ()
    strangers: UInt8[np.ndarray, "n size size"] | None = None
    programs: Programs | None = None


def prepare(config: ConfigDict, store: Store) -> Prepared:
    """Prepares a training.

    Raises:
        UserError: when the store holds no such drawings, too few for the split, or none for an output for no grade, or
            when no such model can be built.
    """
    query = Query(tags=recipe.tags(config))
    if not store.count(query):  # before anything is compiled
        _raise_empty(store, query)
    # What does not fit is refused before minutes are spent on drawings.
    given = network(config, store.scale) if config.train.start_from else None

    def built() -> models.Network:
        return given or network(config, store.scale)

    if not programs.are_known_before_the_drawings(config):
        return _prepared(config, store, built)
    with ThreadPoolExecutor(2) as background:
        structure = models.structure(**_model(config, store.scale))
        compiled = programs.of(config, structure)
        compiling = background.submit(programs.compile_steps, config, structure, compiled)
        building = background.submit(built)
        prepared = _prepared(config, store, building.result)
        if len(prepared.split.validation) and not prepared.folds:
            programs.compile_logits(config, prepared.network, compiled, prepared.dataset, prepared.split)
        compiling.result()
    return prepared._replace(programs=compiled)


def _prepared(config: ConfigDict, store: Store, built: Callable[[], models.Network]) -> Prepared:
    real = dataset(config, store)
    data, splits_of_data = split_and_mix(config, real)
    about = {
        "labels": real.scale.labels,
        "size": config.data.size,
        "resampling": config.data.resampling,
        "model": recipe.as_json(config.model),
        "data_digest": data.digest,
    }
    settings = config.data
    strangers = None
    if config.model.get("no_grade"):
        if not config.train.start_from and (data.labels >= 0).all():
            raise UserError(
                "model.no_grade is True, but all drawings show grades: add synthetic ones that do not with "
                "data.others, import some with --as-no-grade, or set model.no_grade to False"
            )
        strangers = mixture.strangers(settings.size, cache_folder(config), settings.resampling, real.scale)
    if not settings.folds:
        return Prepared(data, splits_of_data[0], built(), about, strangers=strangers)
    whole = splits.undivided(real, config.seed, settings.test_fraction, settings.train_drawings)
    return Prepared(data, _with_mixed(whole, real, data), built(), about, splits_of_data, strangers)


def dataset(config: ConfigDict, store: Store) -> Dataset:
    """The store's drawings that a recipe asks for; see `load`. Those tagged `TEST_TAG` are kept out."""
    settings = config.data
    query = Query(tags=recipe.tags(config))
    loaded = load(store, query, settings.size, cache_folder(config), settings.resampling)
    # Not by the query, so that stores without such drawings keep their caches.
    tested = [drawing.id.encode() for drawing in store.find(Query(tags=(TEST_TAG,)), pictures=False)]
    rows = np.flatnonzero(~np.isin(loaded.ids, np.array(tested, np.bytes_)))
    n = len(loaded) - len(rows)
    if not len(rows):
        raise UserError(f"all of these drawings are tagged {TEST_TAG}, which keeps them out of training: draw others")
    if not n:
        return loaded
    log.info(
        "%s tagged %s %s kept out of training",
        f"{n:,} drawings" if n > 1 else "1 drawing",
        TEST_TAG,
        "are" if n > 1 else "is",
    )
    return subset(loaded, rows)


def split_and_mix(config: ConfigDict, dataset: Dataset) -> tuple[Dataset, list[Split]]:
    """Divides a dataset as a recipe says, and adds the synthetic drawings that it asks for to each training part.

    These are the same for every `seed` of a recipe, so that they are made only once.

    Returns:
        The drawings, and one split; with `data.folds` as many.
    """
    settings = config.data
    drawn = {"test_fraction": settings.test_fraction, "train_drawings": settings.train_drawings}
    if settings.folds:
        parts = splits.folds(dataset, settings.split, settings.folds, config.seed, **drawn)
    else:
        parts = [splits.split(dataset, settings.split, settings.validation_fraction, config.seed, **drawn)]
    mixed = dataset
    if settings.synthetic or settings.others:
        mixed = mixture.mix(dataset, settings.synthetic, settings.others, 0, cache_folder(config), settings.resampling)
    return mixed, [_with_mixed(part, dataset, mixed) for part in parts]


def _with_mixed(split: Split, dataset: Dataset, mixed: Dataset) -> Split:
    """A split of `dataset` that is also trained on the drawings that `mixed` has after it."""
    added = np.arange(len(dataset), len(mixed))
    return replace(split, train=np.concatenate([split.train, added]))


def network(config: ConfigDict, scale: Scale = LETTERS) -> models.Network:
    """The network of a recipe, freshly initialised, or with the trained parameters that it starts from.

    Raises:
        UserError: where it cannot be built, or they are another network's.
    """
    if not config.train.start_from:
        return models.build(seed=config.seed, **_model(config, scale))
    built = models.structure(**_model(config, scale))
    nnx.update(built, *_start(config, scale, variables_of(built)))
    return built


def _model(config: ConfigDict, scale: Scale) -> dict[str, Any]:
    """The arguments of `models.structure`."""
    return {"size": config.data.size, "n_grades": len(scale.labels), **recipe.as_json(config.model)}


def _start(config: ConfigDict, scale: Scale, wanted: Variables) -> Variables:
    """The variables of the model that a recipe starts from, a run's or the shipped recogniser's, shaped as `wanted`."""
    source = config.train.start_from
    is_shipped = source == shipped.NAME
    kept = recogniser.load_shipped() if is_shipped else _read(Path(source))
    name = "the recogniser that comes with gradejax" if is_shipped else f"the model in {source}"
    if kept.scale != scale:
        raise UserError(
            f"{name} reads the scale {kept.scale.name}, and these drawings have {scale.name}: choose another "
            "train.start_from, or none"
        )
    same = (kept.size, kept.labels) == (config.data.size, scale.labels)
    if not same or not checkpoints.fits(wanted, checkpoints.named(kept.variables)):
        raise UserError(
            f"{name} is of another size or has other layers, so training cannot start from it: set model.* and "
            f"data.size as in {'configs/best.py' if is_shipped else f'{source}/config.json'}, or choose another "
            "train.start_from"
        )
    return kept.variables


def _read(run: Path) -> Recogniser:
    """A run's model, read once for all trainings that start from it."""
    checkpoint = run / "checkpoints"
    return _read_once(run, checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0)


@lru_cache(maxsize=1)
def _read_once(run: Path, changed: int) -> Recogniser:  # `changed` says when it was
    return recogniser.of_run(run).recogniser


def load(store: Store, query: Query, size: int, cache_folder: Path | None, resampling: str = "area") -> Dataset:
    """A store's drawings as a dataset.

    Documents that are no drawings are skipped, counted by reason and logged.

    Args:
        store: where the drawings lie.
        query: which of them are wanted.
        size: pixels a side of the ink.
        cache_folder: as `folder` in `cache.decode`.
        resampling: `area` or `point`; see `ink.resample`.

    Raises:
        UserError: when nothing is left; it names the tags that exist.
    """
    if resampling not in METHODS:
        raise UserError(f"no resampling is called {resampling!r}: data.resampling is one of {', '.join(METHODS)}")
    refused: Counter[str] = Counter()

    def pictures() -> Iterator[Picture]:
        # Nothing here looks at strokes, and reading them takes as long as all else.
        for drawing in store.find(query, strokes=False, refused=lambda _, reason: refused.update([str(reason)])):
            writer = f"writer {drawing.writer}" if drawing.writer else f"tags {', '.join(sorted(drawing.tags))}"
            yield Picture(drawing.label, writer, partial(decode_ink, drawing.png), drawing.id)

    source = {"store": store.uri, "query": repr(query)}
    fingerprint = store.fingerprint(query) if cache_folder else ""
    count = partial(store.count, query)
    loaded = cache.decode(pictures, count, refused, size, resampling, source, fingerprint, cache_folder, store.scale)
    for reason, n in loaded.refused.items():
        log.warning("skipped %d of the store's documents: %s", n, reason)
    if not len(loaded):
        _raise_empty(store, query)
    return loaded


def ready(store: Store, config: ConfigDict) -> None:
    """Gives a store the scale that a recipe names, and fills the default store with synthetic drawings if it is empty.

    No other store is filled unasked.

    Raises:
        UserError: when the store has drawings whose labels the scale lacks.
    """
    if config.data.scale:
        store.set_scale(scales.parse(config.data.scale))
    query = Query(tags=recipe.tags(config))
    if store.uri != DEFAULT_URI or query.tags or store.count() or store.count(Query(deleted=True)):
        return
    n = max(_FIRST_DRAWINGS, _FIRST_OF_EACH * len(store.scale.labels))
    log.info(
        "%s is empty: filling it with %s synthetic drawings by %d synthetic writers, tagged 'synthetic'",
        store.uri, f"{n:,}", _FIRST_WRITERS,
    )  # fmt: skip
    # In one transaction: after an interruption nobody must go on with a part.
    store.add(synthetic.write_drawings(n, writers=_FIRST_WRITERS, scale=store.scale))


def cache_folder(config: ConfigDict) -> Path | None:
    """The folder for decoded drawings that a recipe names; None for no cache."""
    return Path(config.data.cache) if config.data.cache else None


def _raise_empty(store: Store, query: Query) -> None:
    if query.tags:
        existing = sorted({tag for tags, _ in store.summary() for tag in tags})
        names = ", ".join(existing[:20]) + (", …" if len(existing) > 20 else "")
        raise UserError(f"no drawings tagged {', '.join(query.tags)} in {store.uri}; the tags there: {names or 'none'}")
    raise UserError(
        f"no drawings in {store.uri}: import some (`python -m gradejax.data import FILE --store=…`), "
        "or make some (`python -m gradejax.data generate 2250 --store=…`)"
    )
