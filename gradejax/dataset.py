"""Drawings as arrays, decoded once and cached; splits; made-up drawings mixed with a store's."""

import errno
import hashlib
import json
import logging
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, Int32, UInt8
from ml_collections import ConfigDict
from rich.console import Console
from rich.progress import Progress

from gradejax import allographs, movement, others, slips, synthetic
from gradejax.config import tags
from gradejax.drawings import BadDrawing, decode_ink, resample
from gradejax.errors import UserError
from gradejax.exchange import in_threads
from gradejax.grades import GRADE_INDEX, GRADES
from gradejax.stores import Query, Store

log = logging.getLogger(__name__)

_FORMAT = 1
"""Raise it when decoding or resampling changes what comes out: caches of another format are rebuilt."""
_DECODED_TOGETHER = 32
"""By a thread at a time: handing over each picture alone would take a fifth of the time of decoding it."""
_MODEL_OF_THE_HAND = (allographs, movement, others, slips, synthetic)


@dataclass(frozen=True)
class Dataset:
    """Drawings as arrays, in order of insertion.

    Attributes:
        ink: `(n, size, size)`, 0 ground to 255 stroke; memory-mapped where it comes from a cache.
        labels: class indices, `(n,)`; -1 for what is no grade (`mix` alone adds such drawings).
        writers: an index into `writer_names` for each drawing, `(n,)`. Drawings whose hand is not known count as
            one writer per set of tags.
        writer_names: `writer NAME` or `tags a, b`.
        digest: SHA-256 of all of these: the same in whatever store the drawings lie.
        refused: how many documents were passed over, by reason.
    """

    ink: UInt8[np.ndarray, "n size size"]
    labels: Int32[np.ndarray, " n"]
    writers: Int32[np.ndarray, " n"]
    writer_names: tuple[str, ...]
    digest: str
    refused: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.labels)


class _Picture(NamedTuple):
    """A drawing before its ink is there; its label may be no grade."""

    label: str
    writer: str
    ink: Callable[[], UInt8[np.ndarray, "height width"]]


@dataclass(frozen=True)
class Split:
    """Which drawings are trained on, looked at epoch by epoch, and looked at in the end: indices, ascending."""

    train: Int[np.ndarray, " n_train"]
    validation: Int[np.ndarray, " n_validation"]
    test: Int[np.ndarray, " n_test"]


def load(store: Store, query: Query, size: int, cache: Path | None, resampling: str = "area") -> Dataset:
    """The drawings that `query` means, as ink of `size` x `size`.

    Documents that are no drawings are passed over, counted by reason and logged.

    Arguments:
        cache: a folder for the decoded arrays. What lies there is used when the store's fingerprint, the query and
            the preprocessing are the same and its digest is right, and replaced otherwise. None: no cache.
        resampling: `area` or `point`; see `drawings.resample`.

    Raises:
        UserError: when nothing is left, naming the tags that exist.
    """
    if resampling not in ("area", "point"):
        raise UserError(f"no resampling is called {resampling!r}: data.resampling is one of area, point")
    refused: Counter[str] = Counter()

    def found() -> Iterator[_Picture]:
        for drawing in store.find(query, refused=lambda _, reason: refused.update([str(reason)])):
            hand = f"writer {drawing.writer}" if drawing.writer else f"tags {', '.join(sorted(drawing.tags))}"
            yield _Picture(drawing.label, hand, partial(decode_ink, drawing.png))

    about = {"format": _FORMAT, "size": size, "resampling": resampling, "store": store.uri, "query": repr(query)}
    fingerprint = store.fingerprint(query) if cache else ""
    dataset = _decoded(found, lambda: store.count(query), refused, about, fingerprint, cache)
    return _not_empty(dataset, store, query)


def mix(
    dataset: Dataset,
    parts: Split,
    n_grades: int,
    n_others: int,
    seed: int,
    cache: Path | None,
    resampling: str = "area",
) -> tuple[Dataset, Split]:
    """A dataset with made-up drawings added, and the split with these on the training side.

    They are held in memory together.

    Arguments:
        n_grades: how many drawings of grades, fifteen by each hand.
        n_others: how many drawings of what is no grade; their label is -1.
        seed: another seed is other drawings by other hands.
        cache, resampling: as in `load`.
    """
    # Hands of their own: a store that `gradejax.data generate` filled must not be validated on hands trained on.
    made_by = {"seed": 10**9 + seed, "writers": -(-max(n_grades, n_others) // len(GRADES))}
    source = b"".join(Path(module.__file__).read_bytes() for module in _MODEL_OF_THE_HAND)

    def made() -> Iterator[_Picture]:
        grades, others = synthetic.written_grades(n_grades, **made_by), synthetic.written_others(n_others, **made_by)
        for written in chain(grades, others):
            yield _Picture(written.name, f"writer {written.writer}", partial(synthetic.ink_strokes, written.strokes))

    about = {"format": _FORMAT, "size": dataset.ink.shape[1], "resampling": resampling}
    about |= {"grades": n_grades, "others": n_others, "seed": seed}
    added = _decoded(made, lambda: n_grades + n_others, Counter(), about, hashlib.sha256(source).hexdigest(), cache)
    mixed = Dataset(
        np.concatenate([dataset.ink, added.ink]),
        np.concatenate([dataset.labels, added.labels]),
        np.concatenate([dataset.writers, added.writers + len(dataset.writer_names)]),
        (*dataset.writer_names, *added.writer_names),
        hashlib.sha256(f"{dataset.digest} {added.digest}".encode()).hexdigest(),
        dataset.refused,
    )
    rows = np.arange(len(dataset), len(mixed))
    return mixed, Split(np.concatenate([parts.train, rows]), parts.validation, parts.test)


def split(
    dataset: Dataset,
    how: str,
    validation_fraction: float,
    seed: int,
    test_fraction: float = 0.0,
    train_drawings: int = 0,
) -> Split:
    """Divides a dataset.

    Arguments:
        how: `writer`: whole writers to either side, so that validation is on hands not seen. `random`: drawings at
            random. `sequential`: the last ones inserted. The latter two exist to show what they hide.
        validation_fraction: of the writers, or of the drawings.
        seed: for all that is drawn at random.
        test_fraction: of the writers, put aside whole before the rest is divided, so that they are the same hands
            however that is.
        train_drawings: as many of the training side, the same ones among more; 0: all.

    Raises:
        UserError: when one side would be empty, or the training side lacks a grade.
    """
    if not 0 < validation_fraction < 1:
        raise UserError(f"data.validation_fraction is {validation_fraction}: it must lie between 0 and 1")
    everyone = np.unique(dataset.writers)
    tested = np.zeros(len(dataset), bool)
    if test_fraction:
        if len(everyone) < 3:
            raise UserError(
                "data.test_fraction needs drawings by three writers or more: collect some by others, or leave it at 0"
            )
        chosen = np.random.default_rng((seed, 0x7E57)).permutation(everyone)
        tested = np.isin(dataset.writers, chosen[: min(_share(len(everyone), test_fraction), len(everyone) - 2)])
    rest = np.flatnonzero(~tested)
    rng = np.random.default_rng((seed, 0x5011))
    if how == "writer":
        writers = np.unique(dataset.writers[rest])
        if len(writers) < 2:
            raise UserError(
                "a split by writer needs drawings by two writers or more, and here they are all of one: "
                "collect some by others, or see what --config.data.split=random hides"
            )
        held = np.isin(dataset.writers[rest], rng.permutation(writers)[: _share(len(writers), validation_fraction)])
    elif how in ("random", "sequential"):
        if len(rest) < 2:
            raise UserError("a split needs two drawings or more, and here is one: collect some first")
        order = rng.permutation(len(rest)) if how == "random" else np.arange(len(rest))
        held = np.zeros(len(rest), bool)
        held[order[len(rest) - _share(len(rest), validation_fraction) :]] = True
    else:
        raise UserError(f"no split is called {how!r}: data.split is one of writer, random, sequential")
    train = rest[~held]
    missing = np.flatnonzero(np.bincount(dataset.labels[train], minlength=len(GRADES)) == 0)
    if missing.size:
        names = ", ".join(GRADES[index] for index in missing)
        raise UserError(
            f"no drawing of {names} among the {len(train)} to train on: every grade needs some "
            "(see `python -m gradejax.data stats`)"
        )
    if train_drawings:
        train = np.sort(np.random.default_rng((seed, 0x5012)).permutation(train)[:train_drawings])
    return Split(train, rest[held], np.flatnonzero(tested))


def load_as(config: ConfigDict, store: Store) -> Dataset:
    """`load` with what a config says."""
    settings = config.data
    cache = Path(settings.cache) if settings.cache else None
    return load(store, Query(tags=tags(config)), settings.size, cache, settings.resampling)


def split_as(config: ConfigDict, dataset: Dataset) -> Split:
    """`split` with what a config says."""
    settings = config.data
    fractions = {"validation_fraction": settings.validation_fraction, "test_fraction": settings.test_fraction}
    return split(dataset, settings.split, seed=config.seed, train_drawings=settings.train_drawings, **fractions)


def mix_as(config: ConfigDict, dataset: Dataset, parts: Split) -> tuple[Dataset, Split]:
    """`mix` with what a config says; where it asks for no made-up drawings, what was given.

    They are the same for every `seed` of a config, so that they are made once for all.
    """
    settings = config.data
    if not settings.synthetic and not settings.others:
        return dataset, parts
    cache = Path(settings.cache) if settings.cache else None
    return mix(dataset, parts, settings.synthetic, settings.others, 0, cache, settings.resampling)


def _share(n: int, fraction: float) -> int:
    return min(max(round(n * fraction), 1), n - 1)


def _not_empty(dataset: Dataset, store: Store, query: Query) -> Dataset:
    for reason, n in dataset.refused.items():
        log.warning("passed over %d of the store's documents: %s", n, reason)
    if len(dataset):
        return dataset
    if query.tags:
        there = sorted({tag for tags, _ in store.summary() for tag in tags})
        names = ", ".join(there[:20]) + (", …" if len(there) > 20 else "")
        raise UserError(f"no drawings tagged {', '.join(query.tags)} in {store.uri}; the tags there: {names or 'none'}")
    raise UserError(
        f"no drawings in {store.uri}: import some (`python -m gradejax.data import FILE --store=…`), "
        "or make some (`python -m gradejax.data generate 2250 --store=…`)"
    )


def _decoded(
    pictures: Callable[[], Iterator[_Picture]],
    count: Callable[[], int],
    refused: Counter[str],
    about: dict,
    fingerprint: str,
    cache: Path | None,
) -> Dataset:
    """The pictures as arrays: from the cache if it holds those of `about` with that fingerprint, else decoded."""
    if cache is None:
        try:
            with tempfile.TemporaryDirectory() as folder:
                _decode(pictures(), count(), refused, Path(folder), about)
                return _read(Path(folder), about, in_memory=True)
        except OSError as error:
            where = tempfile.tempdir or "a temporary folder"
            raise UserError(
                f"cannot write decoded drawings to {where}: {error.strerror}; name another folder with TMPDIR"
            ) from None
    home = cache / hashlib.sha256(json.dumps(about).encode()).hexdigest()[:16]
    about["fingerprint"] = fingerprint
    try:
        return _read(home, about)
    except (OSError, ValueError, KeyError, TypeError) as error:
        if home.exists():
            log.info("the cache of decoded drawings is stale or damaged (%s): decoding again", error)
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        # Made beside its place and renamed, so that a cache is whole or not there.
        folder = Path(tempfile.mkdtemp(dir=home.parent, prefix=home.name))
        try:
            _decode(pictures(), count(), refused, folder, about)
            shutil.rmtree(home, ignore_errors=True)
            folder.rename(home)
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:  # if it is, another training from the same store was quicker
                raise
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        raise UserError(
            f"cannot write decoded drawings to {cache}: {error.strerror}; "
            "name another folder with --config.data.cache=DIR"
        ) from None
    return _read(home, about)


def _decode(pictures: Iterator[_Picture], total: int, refused: Counter[str], folder: Path, about: dict) -> None:
    """Streams pictures into the files of a cache; `about.json`, written last, makes it one."""
    writers: dict[str, int] = {}
    content = hashlib.sha256()

    def ink_or_reason(picture: _Picture) -> np.ndarray | BadDrawing:
        try:
            return resample(picture.ink(), about["size"], about["resampling"])
        except BadDrawing as error:
            return error

    batches = iter(lambda: list(islice(pictures, _DECODED_TOGETHER)), [])
    with (
        (folder / "ink").open("wb") as ink_file,
        (folder / "rows").open("wb") as row_file,
        Progress(transient=True, disable=not sys.stderr.isatty(), console=Console(stderr=True)) as progress,
    ):
        task = progress.add_task("decoding drawings", total=total)
        for some, inks in in_threads(lambda some: list(map(ink_or_reason, some)), batches):
            for (label, writer, _), ink in zip(some, inks, strict=True):
                if isinstance(ink, BadDrawing):
                    refused[str(ink)] += 1
                    continue
                ink_file.write(ink)
                row_file.write(
                    np.array([GRADE_INDEX.get(label, -1), writers.setdefault(writer, len(writers))], np.int32)
                )
                content.update(ink)
                content.update(f"{label} {writer};".encode())
            progress.update(task, advance=len(some))
    about = {**about, "writers": list(writers), "refused": refused, "digest": content.hexdigest()}
    about["files"] = _file_digest(folder)
    (folder / "about.json").write_text(json.dumps(about))


def _read(folder: Path, about: dict, in_memory: bool = False) -> Dataset:
    """The arrays in a cache's files. Raises ValueError, KeyError or OSError unless they are whole and of `about`."""
    found = json.loads((folder / "about.json").read_text())
    if any(found[key] != value for key, value in about.items()):
        raise ValueError("the store has changed")
    if found["files"] != _file_digest(folder):
        raise ValueError("its digest is wrong")
    rows = np.fromfile(folder / "rows", np.int32).reshape(-1, 2)
    shape = (len(rows), about["size"], about["size"])
    if in_memory or not len(rows):
        ink = np.fromfile(folder / "ink", np.uint8).reshape(shape)
    else:
        ink = np.memmap(folder / "ink", np.uint8, mode="r", shape=shape)
    labels, writers = np.ascontiguousarray(rows.T)
    return Dataset(ink, labels, writers, tuple(found["writers"]), found["digest"], found["refused"])


def _file_digest(folder: Path) -> str:
    whole = hashlib.sha256()
    for name in ("ink", "rows"):
        with (folder / name).open("rb") as file:
            while block := file.read(2**20):
                whole.update(block)
    return whole.hexdigest()
