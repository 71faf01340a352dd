"""From a store to arrays: decoded once, cached, split without leaks."""

import itertools
import sqlite3
import tempfile
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradejax import mixture, prepare, splits
from gradejax.augment import DistortionRanges
from gradejax.batches import epoch_batches
from gradejax.dataset import Dataset
from gradejax.drawings import Drawing
from gradejax.errors import UserError
from gradejax.hands.synthetic import write_drawings
from gradejax.ink import decode_ink, encode_png
from gradejax.ink_file import InkFile
from gradejax.recipe import base
from gradejax.resampling import resample
from gradejax.scales import LETTERS
from gradejax.stores import Query, open_store

GRADE_INDEX = LETTERS.index

ALL = Query()


@pytest.fixture(scope="module")
def drawings():
    return list(write_drawings(60, writers=4))


@pytest.fixture
def filled(tmp_path, drawings):
    store = open_store(f"sqlite:///{tmp_path}/grades.db")
    store.add(drawings)
    yield store
    store.close()


def drawing(number: int, label: str = "A", png: bytes | None = None, **fields) -> Drawing:
    png = png or encode_png(np.full((20, 20), number, np.uint8))
    return Drawing(f"{number:024x}", fields.pop("tags", ("t",)), label, png, datetime(2026, 1, 1, tzinfo=UTC), **fields)


def same(a: Dataset, b: Dataset) -> bool:
    arrays = all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ("ink", "labels", "writers"))
    return arrays and (a.writer_names, a.digest, a.refused) == (b.writer_names, b.digest, b.refused)


def test_the_arrays_are_the_drawings_in_order(filled, drawings, tmp_path):
    data = prepare.load(filled, ALL, 28, tmp_path / "cache")
    assert data.ink.shape == (60, 28, 28)
    for ink, label, writer, one in zip(data.ink, data.labels, data.writers, drawings, strict=True):
        np.testing.assert_array_equal(ink, resample(decode_ink(one.png), 28))
        assert label == GRADE_INDEX[one.label]
        assert data.writer_names[writer] == f"writer {one.writer}"


def test_the_cache_holds_what_decoding_gives(filled, tmp_path, monkeypatch):
    fresh = prepare.load(filled, ALL, 28, tmp_path / "cache")
    monkeypatch.setattr(filled, "find", lambda *_, **__: pytest.fail("decoded again"))
    cached = prepare.load(filled, ALL, 28, tmp_path / "cache")
    monkeypatch.undo()
    assert same(fresh, cached)
    assert same(fresh, prepare.load(filled, ALL, 28, None))


def test_sizes_and_queries_have_caches_of_their_own(filled, tmp_path):
    cache = tmp_path / "cache"
    assert prepare.load(filled, ALL, 16, cache).ink.shape == (60, 16, 16)
    assert prepare.load(filled, ALL, 28, cache).ink.shape == (60, 28, 28)
    assert len(prepare.load(filled, Query(label="B+"), 28, cache)) == 4
    assert len(prepare.load(filled, ALL, 28, cache)) == 60


@pytest.mark.parametrize("change", ["relabel", "put aside", "add"])
def test_a_stale_cache_is_not_used(filled, drawings, tmp_path, change):
    before = prepare.load(filled, ALL, 28, tmp_path / "cache")
    if change == "relabel":
        filled.relabel([drawings[0].id], "E-" if drawings[0].label != "E-" else "A")
    elif change == "put aside":
        filled.exclude([drawings[0].id])
    else:
        filled.add([drawing(1)])
    after = prepare.load(filled, ALL, 28, tmp_path / "cache")
    assert after.digest != before.digest
    assert same(after, prepare.load(filled, ALL, 28, None))


@pytest.mark.parametrize("harm", ["bit", "truncated", "missing"])
@pytest.mark.parametrize("name", ["ink", "rows", "about.json"])
def test_a_damaged_cache_is_rebuilt(filled, tmp_path, name, harm):
    before = prepare.load(filled, ALL, 28, tmp_path / "cache")
    whole = np.array(before.ink)
    (file,) = (tmp_path / "cache").glob(f"*/{name}")
    content = bytearray(file.read_bytes())
    if harm == "missing":
        file.unlink()
    else:
        content[len(content) // 3] ^= 1
        file.write_bytes(content if harm == "bit" else content[: len(content) // 3])
    after = prepare.load(filled, ALL, 28, tmp_path / "cache")
    np.testing.assert_array_equal(after.ink, whole)
    np.testing.assert_array_equal(after.labels, before.labels)
    assert after.digest == before.digest


def test_bad_documents_are_counted_and_leave_the_others_alone(filled, drawings, tmp_path, caplog):
    good = prepare.load(filled, ALL, 28, None)
    png = drawings[0].png
    filled.add([drawing(1, png=b"no png"), drawing(2, png=png[: len(png) // 2]), drawing(3, png=b"no png")])
    data = prepare.load(filled, ALL, 28, tmp_path / "cache")
    assert sum(data.refused.values()) == 3
    assert data.refused["not a PNG"] == 2
    assert data.digest == good.digest
    assert "skipped 2 of the store's documents: not a PNG" in caplog.text
    assert prepare.load(filled, ALL, 28, tmp_path / "cache").refused == data.refused


def test_without_a_writer_a_set_of_tags_counts_as_one(tmp_path):
    store = open_store(f"sqlite:///{tmp_path}/grades.db")
    store.add([drawing(1, tags=("a", "b")), drawing(2, tags=("b", "a")), drawing(3, tags=("a",))])
    store.add([drawing(4, tags=("a",), writer="w")])
    data = prepare.load(store, ALL, 8, None)
    assert data.writer_names == ("tags a, b", "tags a", "writer w")
    assert data.writers.tolist() == [0, 0, 1, 2]


def test_an_empty_dataset_names_the_existing_tags(filled):
    with pytest.raises(UserError, match=r"no drawings tagged 3c in .*; the tags there: synthetic"):
        prepare.load(filled, Query(tags=("3c",)), 28, None)


def synthetic_data(n: int, writers: int, seed: int) -> Dataset:
    rng = np.random.default_rng(seed)
    labels = np.resize(np.arange(15), n).astype(np.int32)
    by = np.append(np.arange(writers), rng.integers(0, writers, n - writers)).astype(np.int32)
    return Dataset(np.zeros((n, 8, 8), np.uint8), labels, by, tuple(map(str, range(writers))), "")


@settings(deadline=None)
@given(
    n=st.integers(300, 600), writers=st.integers(2, 30), fraction=st.floats(0.05, 0.5), seed=st.integers(0, 1000),
    how=st.sampled_from(["writer", "random", "sequential"]),
)  # fmt: skip
def test_a_split_has_every_drawing_on_one_side(n, writers, fraction, seed, how):
    data = synthetic_data(n, writers, seed)
    try:
        parts = splits.split(data, how, fraction, seed)
    except UserError as error:
        assert "among the" in str(error)
        return
    assert sorted([*parts.train, *parts.validation]) == list(range(n))
    if how == "writer":
        kept_out = set(data.writers[parts.validation])
        assert not kept_out & set(data.writers[parts.train])
        assert len(kept_out) == max(1, min(writers - 1, round(writers * fraction)))
    else:
        assert len(parts.validation) == round(n * fraction)
    if how == "sequential":
        assert parts.train.max() < parts.validation.min()
    again = splits.split(data, how, fraction, seed)
    np.testing.assert_array_equal(parts.validation, again.validation)


def test_another_seed_is_another_split():
    data = synthetic_data(500, 20, 0)
    one, other = (splits.split(data, "writer", 0.2, seed).validation for seed in (0, 1))
    assert not np.array_equal(one, other)


@pytest.mark.parametrize(
    ("data", "how", "fraction", "reason"),
    [
        (synthetic_data(100, 1, 0), "writer", 0.2, "two writers or more"),
        (synthetic_data(15, 2, 0), "by hand", 0.2, "no split is called 'by hand'"),
        (synthetic_data(16, 2, 0), "random", 1.5, "between 0 and 1"),
        (synthetic_data(1, 1, 0), "random", 0.2, "two drawings or more"),
        (synthetic_data(15, 2, 0), "sequential", 0.2, r"no drawing of E\+, E, E- among the 12"),
    ],
)
def test_an_impossible_split_says_why(data, how, fraction, reason):
    with pytest.raises(UserError, match=reason):
        splits.split(data, how, fraction, 0)


@settings(deadline=None)
@given(
    n=st.integers(300, 600), writers=st.integers(2, 30), k=st.integers(2, 12), seed=st.integers(0, 1000),
    test=st.sampled_from([0.0, 0.2]), how=st.sampled_from(["writer", "random", "sequential"]),
)  # fmt: skip
def test_folds_hold_every_drawing_out_once(n, writers, k, seed, test, how):
    data = synthetic_data(n, writers, seed)
    try:
        folds = splits.folds(data, how, k, seed, test)
    except UserError as error:
        few_writers = how == "writer" and len(set(data.writers)) - round(writers * test) < k
        assert few_writers or "among the" in str(error) or "three writers or more" in str(error)
        return
    assert len(folds) == k
    whole = splits.undivided(data, seed, test)
    assert sorted(np.concatenate([fold.validation for fold in folds])) == whole.validation.tolist()
    np.testing.assert_array_equal(whole.train, whole.validation)
    assert sorted([*whole.validation, *whole.test]) == list(range(n))
    sizes = []
    for fold in folds:
        assert sorted([*fold.train, *fold.validation]) == whole.validation.tolist()
        np.testing.assert_array_equal(fold.test, whole.test)
        assert (np.diff(fold.validation) > 0).all()
        people = set(data.writers[fold.validation])
        if how == "writer":
            assert not people & set(data.writers[[*fold.train, *fold.test]])
        sizes.append(len(people) if how == "writer" else len(fold.validation))
    assert max(sizes) - min(sizes) <= 1
    if how == "sequential":
        assert all(a.validation.max() < b.validation.min() for a, b in itertools.pairwise(folds))
    again = splits.folds(data, how, k, seed, test)
    np.testing.assert_array_equal(folds[0].validation, again[0].validation)


def test_another_seed_deals_other_folds():
    data = synthetic_data(500, 20, 0)
    one, other = (splits.folds(data, "writer", 5, seed)[0].validation for seed in (0, 1))
    assert not np.array_equal(one, other)


@pytest.mark.parametrize(
    ("data", "how", "n", "test", "reason"),
    [
        (synthetic_data(100, 3, 0), "writer", 4, 0, "4 folds need as many writers, and here are 3: lower data.folds"),
        (synthetic_data(15, 2, 0), "random", 16, 0, "16 folds need as many drawings, and here are 15"),
        (synthetic_data(100, 4, 0), "writer", 4, 0.25, "4 folds need as many writers, and here are 3"),
        (synthetic_data(100, 4, 0), "by hand", 2, 0, "no split is called 'by hand'"),
        (synthetic_data(15, 2, 0), "sequential", 3, 0, r"no drawing of A\+, A, A-, B\+, B among the 10 to train on"),
        (synthetic_data(100, 2, 0), "writer", 2, 0.2, "three writers or more"),
    ],
)
def test_impossible_folds_say_why(data, how, n, test, reason):
    with pytest.raises(UserError, match=reason):
        splits.folds(data, how, n, 0, test)


def test_a_training_with_folds_is_of_all_that_they_hold_out(filled):
    config = base()
    config.model.name, config.model.hidden, config.model.dropout = "mlp", (8,), (0.1,)
    config.data.folds, config.data.synthetic, config.data.cache = 2, 15, ""
    prepared = prepare.prepare(config, filled)
    assert len(prepared.folds) == 2
    np.testing.assert_array_equal(prepared.split.validation, np.arange(60))
    np.testing.assert_array_equal(prepared.split.train, np.arange(75))
    for fold, other in (prepared.folds, prepared.folds[::-1]):
        np.testing.assert_array_equal(fold.train, [*other.validation, *range(60, 75)])
        assert fold.validation.max() < 60


def test_folds_train_on_as_many_drawings_as_asked(any_split_data):
    folds = splits.folds(any_split_data, "writer", 4, 1, train_drawings=50)
    assert [len(fold.train) for fold in folds] == [50] * 4
    assert [len(fold.validation) for fold in folds] == [60] * 4
    whole = splits.undivided(any_split_data, 1, train_drawings=50)
    assert (len(whole.train), len(whole.validation)) == (50, 240)


def test_drawings_load_without_room_for_a_cache(filled, tmp_path, monkeypatch, caplog):
    (tmp_path / "file").touch()
    assert same(prepare.load(filled, ALL, 28, tmp_path / "file" / "cache"), prepare.load(filled, ALL, 28, None))
    assert "data.cache=DIR" in caplog.text
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "file"))
    for cache in (None, tmp_path / "file" / "cache"):
        with pytest.raises(UserError, match="temporary files: Not a directory; name another one with TMPDIR"):
            prepare.load(filled, ALL, 28, cache)


def test_synthetic_drawings_are_trained_on_and_never_validated_on(filled, tmp_path):
    data = prepare.load(filled, ALL, 28, None)
    config = base()
    config.data.synthetic, config.data.others, config.data.cache = 30, 12, str(tmp_path / "cache")
    parts = splits.split(data, "writer", config.data.validation_fraction, 0)
    mixed, (mixed_parts,) = prepare.split_and_mix(config, data)
    np.testing.assert_array_equal(mixed_parts.validation, parts.validation)
    np.testing.assert_array_equal(mixed_parts.train, [*parts.train, *range(60, 102)])
    np.testing.assert_array_equal(mixed.ink[:60], data.ink)
    assert np.bincount(mixed.labels[60:] + 1, minlength=16).tolist() == [12, *[2] * 15]
    assert not set(mixed.writers[:60]) & set(mixed.writers[60:])
    assert len(set(mixed.writer_names)) == len(mixed.writer_names)
    # Its writers and drawings differ even from those of `gradejax.data generate` with the same seed.
    assert not (mixed.ink[60:, None] == data.ink[None]).all(axis=(2, 3)).any()


def test_synthetic_drawings_are_the_same_for_every_seed_of_a_recipe(filled):
    data = prepare.load(filled, ALL, 28, None)
    mixed = []
    for seed in (0, 1):
        config = base()
        config.seed, config.data.synthetic, config.data.others, config.data.cache = seed, 15, 3, ""
        mixed.append(prepare.split_and_mix(config, data)[0])
    assert same(*mixed)
    assert len(mixed[0]) == 78


def test_synthetic_drawings_are_written_once_and_change_the_digest(filled, tmp_path, monkeypatch):
    data = prepare.load(filled, ALL, 28, None)
    once, uncached = (mixture.mix(data, 15, 3, 0, cache) for cache in (tmp_path / "cache", None))
    other = mixture.mix(data, 15, 3, 1, tmp_path / "cache")
    monkeypatch.setattr(mixture.synthetic, "written_grades", None)  # writing them again would need it
    again = mixture.mix(data, 15, 3, 0, tmp_path / "cache")
    assert same(once, again)
    assert same(once, uncached)
    assert len({data.digest, once.digest, other.digest}) == 3


def test_what_each_model_is_tried_on_is_written_once(tmp_path, monkeypatch):
    once = mixture.others_to_try(28, tmp_path, "area")
    monkeypatch.setattr(mixture.synthetic, "written_others", None)  # writing them again would need it
    again = mixture.others_to_try(28, tmp_path, "area")
    assert len(again) == mixture.N_OTHERS
    np.testing.assert_array_equal(again, once)


@pytest.mark.parametrize("how", ["writer", "random", "sequential"])
def test_test_writers_are_the_same_however_the_rest_is_split(any_split_data, how):
    parts = splits.split(any_split_data, how, 0.25, seed=2, test_fraction=0.25)
    rows = np.concatenate([parts.train, parts.validation, parts.test])
    np.testing.assert_array_equal(np.sort(rows), np.arange(len(any_split_data)))
    tested = any_split_data.writers[parts.test]
    assert not np.isin(any_split_data.writers[parts.train], tested).any()
    assert not np.isin(any_split_data.writers[parts.validation], tested).any()
    np.testing.assert_array_equal(parts.test, splits.split(any_split_data, "writer", 0.5, 2, test_fraction=0.25).test)
    assert splits.split(any_split_data, how, 0.25, seed=2).test.size == 0


def test_a_smaller_training_part_lies_within_a_larger_one(any_split_data):
    few, more, every = (splits.split(any_split_data, "writer", 0.25, 1, train_drawings=n) for n in (20, 50, 0))
    assert (len(few.train), len(more.train)) == (20, 50)
    assert set(few.train) < set(more.train) < set(every.train)
    np.testing.assert_array_equal(few.validation, every.validation)


@pytest.fixture(scope="module")
def any_split_data():
    rng = np.random.default_rng(0)
    labels = np.tile(np.arange(15, dtype=np.int32), 16)
    ink = rng.integers(0, 256, (len(labels), 8, 8), np.uint8)
    return Dataset(ink, labels, np.repeat(np.arange(8, dtype=np.int32), 30), tuple("abcdefgh"), "digest")


@given(st.integers(1, 40), st.integers(1, 9), st.data())
def test_an_ink_file_is_read_like_an_array(n, size, data):
    ink = np.random.default_rng(n).integers(0, 256, (n, size, size), np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "ink")
        ink.tofile(path)
        stored = InkFile.open(path, ink.shape)
        path.unlink()  # as `erase` does while a training goes on
        rows = np.array(data.draw(st.lists(st.integers(-n, n - 1))), np.int64)
        assert np.array_equal(stored[rows], ink[rows])
        assert np.array_equal(stored, ink)
        first = data.draw(st.integers(0, n - 1))
        assert np.array_equal(stored[first:], ink[first:])
        assert np.array_equal(stored[first:][rows[:0]], ink[:0])
        with pytest.raises(IndexError):
            stored[np.array([n])]


def test_a_large_cache_trains_like_a_small_one(filled, tmp_path, monkeypatch):
    """Above some size the drawings are read from the cache's file as they are needed."""
    small = prepare.load(filled, Query(), 28, tmp_path)
    monkeypatch.setattr("gradejax.cache._LARGE", 0)
    large = prepare.load(filled, Query(), 28, tmp_path)
    assert isinstance(large.ink, InkFile)
    options = {"batch_size": 8, "augment": DistortionRanges(rotation=10.0), "seed": 0, "epoch": 1}
    rows = np.arange(len(small))
    for one, other in zip(
        *(epoch_batches(data.ink, data.labels, rows, **options) for data in (small, large)), strict=True
    ):
        assert np.array_equal(one.ink, other.ink)


def test_damaged_strokes_do_not_keep_a_drawing_from_training(tmp_path, draw):
    """A picture and a label are all that it needs."""
    path = tmp_path / "grades.db"
    with closing(open_store(f"sqlite:///{path}")) as store:
        store.add([draw(strokes=[[{"x": 1, "y": 2}]]), draw()])
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("UPDATE drawing SET strokes = '[[7]]' WHERE strokes IS NOT NULL")
            connection.commit()
        assert len(prepare.load(store, Query(), 28, None)) == 2
