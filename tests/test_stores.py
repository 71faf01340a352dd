"""One suite for both stores, and tests of what only one of them can meet."""

import multiprocessing
import os
import re
import sqlite3
import stat
import threading
import uuid
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from itertools import pairwise, product
from pathlib import Path
from urllib.parse import quote, urlsplit

import pymongo
import pytest
from bson import Binary, DatetimeMS, Int64, ObjectId, Regex, Timestamp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gradejax.data import exchange, ndjson
from gradejax.drawings import Drawing, new_id, to_document
from gradejax.errors import BadDrawing, StoreError
from gradejax.ids import to_text
from gradejax.stores import Query, open_store
from gradejax.stores.sqlite_file import SqliteFile

MISSING = object()
SCALARS = st.one_of(
    st.integers(-(2**31), 2**31 - 1),
    st.integers(-(2**63), 2**63 - 1).map(Int64),
    st.floats(allow_nan=False, allow_infinity=False).map(lambda x: x or 0.0),  # FerretDB keeps no -0.0
    st.text('ab{$"', min_size=1, max_size=3),
    st.binary(max_size=3),
    st.uuids().map(Binary.from_uuid),
    st.binary(min_size=12, max_size=12).map(ObjectId),
    st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)).map(lambda d: d.replace(microsecond=0, tzinfo=UTC)),
    st.builds(Timestamp, st.integers(0, 9), st.integers(0, 9)),
)
# Not valid as a drawing's id.
UNNAMEABLE = st.one_of(st.none(), st.booleans(), st.dictionaries(st.sampled_from("ab"), st.integers(0, 3), max_size=2))
IDS = st.one_of(SCALARS, UNNAMEABLE)
OURS = st.sampled_from([ObjectId(f"{n:024x}") for n in range(3)])
ADDED = st.one_of(
    st.just(MISSING), st.none(), OURS, SCALARS, st.booleans(), st.lists(st.one_of(SCALARS, OURS, st.none()), max_size=3)
)
WRITERS = 8
DRAWINGS_EACH = 100


def ids(drawings):
    return [drawing.id for drawing in drawings]


def test_a_new_store_is_empty(store):
    assert list(store.find()) == []
    assert store.count() == 0
    assert store.summary() == Counter()
    assert store.get(new_id()) is None
    assert store.add([]) == 0


def test_a_drawing_comes_back_as_it_was(store, draw):
    date = datetime(1999, 12, 31, 23, 59, 59, 999000, UTC)
    strokes = [[{"x": 1, "y": 2.5, "t": 0, "pressure": 0.1 + 0.2}, {"x": -3.25, "y": 4}], []]
    rich = draw(
        tags=("7b", "Grüße 👋", 'a "quoted" one', "$ne"),
        label="C-",
        date=date,
        writer="pupil 7",
        strokes=strokes,
        history=({"label": "C", "date": date - timedelta(milliseconds=1)},),
        deleted=date + timedelta(days=1),
    )
    for drawing in (rich, draw(id="not an ObjectId"), draw(id="$where"), draw(date=datetime(1, 1, 1, tzinfo=UTC))):
        assert store.add([drawing]) == 1
        assert store.get(drawing.id) == drawing
        assert drawing in list(store.find(Query(deleted=drawing.deleted is not None)))


def test_drawings_are_there_when_the_store_is_opened_again(any_store_uri, draw):
    drawings = [draw() for _ in range(3)]
    first = open_store(any_store_uri)
    first.add(drawings)
    first.close()
    second = open_store(any_store_uri)
    assert list(second.find()) == drawings
    second.close()


def test_adding_again_changes_nothing_and_is_not_counted(store, draw):
    old = [draw(), draw(id="named by someone")]
    assert store.add(old) == 2
    changed = [replace(drawing, label="E-") for drawing in old]
    assert store.add([*changed, new := draw()]) == 1
    assert list(store.find()) == [*old, new]
    assert store.add([draw(id="twice"), draw(id="twice")]) == 1


def test_the_order_is_that_of_insertion_whatever_the_ids(store, draw):
    drawings = [draw() for _ in range(30)]
    drawings[3:3] = [draw(id="zebra"), draw(id="ant")]
    drawings = [*drawings[20:], *drawings[:20]]
    store.add(drawings[:7])
    for drawing in drawings[7:12]:
        store.add([drawing])
    store.add(iter(drawings[12:]))
    assert ids(store.find()) == ids(drawings)
    assert ids(store.find(newest_first=True)) == ids(reversed(drawings))


def test_drawings_without_their_pictures(store, draw):
    strokes = [[{"x": 1, "y": 2}]]
    store.add(drawings := [draw(strokes=strokes, writer="ann"), draw(), draw()])
    store.exclude([drawings[2].id])
    bare = [replace(drawing, png=b"", strokes=None) for drawing in drawings]
    assert list(store.find(pictures=False)) == bare[:2]
    assert list(store.find(pictures=False, newest_first=True, limit=1)) == bare[1:2]
    assert list(store.get_many(ids(drawings[:2]), pictures=False).values()) == bare[:2]
    assert list(store.find(strokes=False)) == [replace(drawing, strokes=None) for drawing in drawings[:2]]


def test_many_at_once_by_id(store, draw):
    store.add(drawings := [draw() for _ in range(250)])
    store.exclude([drawings[2].id])
    asked = [*ids(reversed(drawings)), "nowhere", drawings[0].id]
    by_id = store.get_many(asked)
    assert list(by_id) == ids(reversed(drawings))
    assert by_id[drawings[5].id] == drawings[5]
    assert by_id[drawings[2].id].deleted
    assert store.get_many([]) == {}


def test_queries(store, draw):
    noon = datetime(2026, 11, 24, 12, tzinfo=UTC)
    a = draw(tags=("7a", "guess"), label="A+", writer="ann", date=noon)
    b = draw(tags=("7b",), label="B", writer="ben", date=noon + timedelta(milliseconds=1))
    c = draw(tags=("guess", "7b"), label="A+", date=noon + timedelta(hours=1))
    d = draw(tags=("7b",), label="A+", writer="ben", date=noon, deleted=noon)
    store.add([a, b, c, d])
    expected = {
        Query(): [a, b, c],
        Query(deleted=True): [d],
        Query(deleted=None): [a, b, c, d],
        Query(tags=("7b",)): [b, c],
        Query(tags=("guess", "7b", "guess")): [a, b, c],
        Query(tags=("nobody",)): [],
        Query(label="A+"): [a, c],
        Query(label="A+", tags=("7b", "7c")): [c],
        Query(writer="ben"): [b],
        Query(writer="ben", deleted=None): [b, d],
        Query(since=noon + timedelta(milliseconds=1)): [b, c],
        Query(until=noon + timedelta(hours=1)): [a, b],
        Query(since=noon, until=noon + timedelta(milliseconds=1), deleted=None): [a, d],
        Query(since=noon.astimezone().replace(tzinfo=None).astimezone()): [a, b, c],
        Query(since=noon.replace(tzinfo=None)): [a, b, c],
    }
    for query, drawings in expected.items():
        assert list(store.find(query)) == drawings, query
        assert list(store.find(query, newest_first=True)) == drawings[::-1], query
        assert store.count(query) == len(drawings), query


def test_pages_add_up_to_the_whole(store, draw):
    drawings = [draw(tags=("a", "b")[i % 2 :], label="D" if i % 3 else "E") for i in range(40)]
    store.add(drawings)
    query = Query(tags=("a", "b"), label="D")
    whole = ids(store.find(query))
    assert len(whole) == 26
    for newest_first in (False, True):
        pages, after = [], None
        while page := ids(store.find(query, newest_first=newest_first, after=after, limit=7)):
            pages += page
            after = page[-1]
        assert pages == (whole[::-1] if newest_first else whole)
    assert ids(store.find(limit=0)) == []
    with pytest.raises(StoreError, match="no drawing 'nowhere'"):
        list(store.find(after="nowhere"))


def test_a_page_may_start_after_an_excluded_drawing(store, draw):
    drawings = [draw() for _ in range(5)]
    store.add(drawings)
    store.exclude([drawings[2].id])
    assert ids(store.find(after=drawings[2].id)) == ids(drawings[3:])


def test_a_slow_reader_does_not_block_writers(store, draw):
    store.add([draw() for _ in range(300)])
    reader = store.find()
    next(reader)
    assert store.add([draw()]) == 1
    assert len(list(reader)) >= 299


def test_the_summary_counts_sets_of_tags_by_label(store, draw):
    store.add([draw(tags=("a", "b")), draw(tags=("b", "a")), draw(tags=("a",)), draw(tags=("a",), label="C")])
    store.add([excluded := draw(tags=("a",), label="C")])
    store.exclude([excluded.id])
    assert store.summary() == Counter({(("a", "b"), "A+"): 2, (("a",), "A+"): 1, (("a",), "C"): 1})


def test_relabelling_keeps_the_previous_label(store, draw):
    drawing, other = draw(label="A"), draw(id="text id", label="B")
    store.add([drawing, other])
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    assert store.relabel([drawing.id, other.id, "nowhere"], "B") == 1
    assert store.relabel([drawing.id], "B") == 0
    assert store.relabel([drawing.id, other.id, drawing.id], "C-") == 2
    changed = store.get(drawing.id)
    assert [entry["label"] for entry in changed.history] == ["A", "B"]
    assert all(before <= entry["date"] <= datetime.now(UTC) for entry in changed.history)
    assert replace(changed, label="A", history=()) == drawing
    assert [entry["label"] for entry in store.get(other.id).history] == ["B"]
    with pytest.raises(BadDrawing, match="unknown label 'F'"):
        store.relabel([drawing.id], "F")
    assert store.relabel([], "A") == 0


def test_relabelling_from_many_threads_loses_no_label(store, draw):
    store.add([drawing := draw(label="A+")])
    labels = ["A", "A-", "B+", "B", "B-", "C+"]
    with ThreadPoolExecutor(len(labels)) as threads:
        changed = sum(threads.map(lambda label: store.relabel([drawing.id], label), labels))
    end = store.get(drawing.id)
    chain = [entry["label"] for entry in end.history] + [end.label]
    assert chain[0] == "A+"
    assert len(chain) == changed + 1
    assert all(one != next_one for one, next_one in pairwise(chain))
    assert set(chain) == {"A+", *labels}


def test_tags_are_added_and_removed(store, draw):
    one, other, third = draw(tags=("7a", "red")), draw(id="text id", tags=("7b",)), draw(tags=("red",))
    store.add([one, other, third])
    assert store.retag([one.id, other.id, one.id, "nowhere"], add=["7ä", "red"], remove=["7a"]) == 2
    assert store.get(one.id) == replace(one, tags=("red", "7ä"))
    assert store.get(other.id) == replace(other, tags=("7b", "7ä", "red"))
    assert ids(store.find(Query(tags=("7ä",)))) == [one.id, other.id]
    assert not store.count(Query(tags=("7a",)))
    assert store.retag([one.id, third.id], remove=["red"]) == 1, "the third would have none left"
    assert store.retag([one.id], add=["7ä"], remove=["unknown"]) == 0
    assert store.get(third.id) == third
    with pytest.raises(BadDrawing):
        store.retag([one.id], add=["\n"])
    assert store.retag([], add=["7a"]) == 0


def test_excluded_and_restored(store, draw):
    drawings = [draw() for _ in range(4)]
    store.add(drawings)
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    chosen = ids(drawings[1:3])
    assert store.exclude([*chosen, chosen[0], "nowhere"]) == 2
    assert store.exclude(chosen) == 0
    assert ids(store.find()) == [drawings[0].id, drawings[3].id]
    excluded = list(store.find(Query(deleted=True)))
    assert [replace(drawing, deleted=None) for drawing in excluded] == drawings[1:3]
    assert all(before <= drawing.deleted <= datetime.now(UTC) for drawing in excluded)
    assert store.restore([*chosen, drawings[0].id]) == 2
    assert list(store.find()) == drawings


def test_the_fingerprint_follows_each_change(store, draw):
    drawings = [draw() for _ in range(3)]
    changes = [
        lambda: store.add(drawings[:2]),
        lambda: store.add(drawings[2:]),
        lambda: store.relabel([drawings[0].id], "E"),
        lambda: store.exclude([drawings[1].id]),
        lambda: store.restore([drawings[1].id]),
        lambda: store.relabel([drawings[0].id], drawings[0].label),
        lambda: store.retag([drawings[0].id], add=["7z"]),
    ]
    seen = {store.fingerprint()}
    for change in changes:
        assert change()
        seen.add(fingerprint := store.fingerprint())
        assert fingerprint == store.fingerprint()
        assert len(fingerprint) == 16 and int(fingerprint, 16) >= 0
    # A store that is back in an earlier state may have the earlier fingerprint; a new state must have a new one.
    assert len(seen) >= len(changes)
    store.add(drawings)
    assert store.fingerprint() == fingerprint
    store.exclude([drawings[1].id])
    assert store.fingerprint(Query(deleted=True)) != store.fingerprint()


@pytest.mark.parametrize("id", [{"$ne": None}, ["a"], None, 5])
def test_an_id_is_text(store, draw, id):
    store.add([draw()])
    refused = (BadDrawing, TypeError)  # TypeError if the tests run under a type checker
    batch_calls = (lambda id: store.exclude([id]), lambda id: store.relabel([id], "E"), lambda id: store.get_many([id]))
    for call in (store.get, *batch_calls):
        with pytest.raises(refused):
            call(id)
    with pytest.raises(refused):
        list(store.find(after={"$ne": None}))
    assert store.count() == 1


def test_an_operator_in_a_query_matches_nothing(store, draw):
    store.add([draw(writer="ann")])
    for conditions in ({"label": {"$ne": None}}, {"writer": {"$gt": ""}}, {"tags": ({"$ne": None},)}):
        with suppress(StoreError, TypeError):  # TypeError if the tests run under a type checker
            assert list(store.find(Query(**conditions))) == []


def test_eight_threads_lose_nothing(store, draw):
    drawings = [draw() for _ in range(WRITERS * DRAWINGS_EACH)]
    with ThreadPoolExecutor(WRITERS) as threads:
        added = list(threads.map(lambda drawing: store.add([drawing]), drawings))
    assert sum(added) == len(drawings)
    assert {drawing.id: drawing for drawing in store.find()} == {drawing.id: drawing for drawing in drawings}


def test_a_file_that_grows_while_another_thread_looks_at_it_is_not_overwritten(tmp_path, draw, monkeypatch):
    path = tmp_path / "grades.db"
    snapshot, meanwhile = SqliteFile._snapshot, []

    def slowly(file: SqliteFile):
        seen = snapshot(file)
        if meanwhile:
            other = threading.Thread(target=meanwhile.pop())
            other.start()
            other.join()
        return seen

    def grow() -> None:
        store.add([draw() for _ in range(200)])
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA wal_checkpoint")
        assert store.count() == 200

    monkeypatch.setattr(SqliteFile, "_snapshot", slowly)
    with closing(open_store(f"sqlite:///{path}")) as store:
        before = path.stat().st_size
        meanwhile.append(grow)
        store.add([draw()])
        assert path.stat().st_size > before
        assert store.count() == 201


def _add_from_a_process(uri: str, number: int, png: bytes) -> int:
    store = open_store(uri)
    date = datetime(2026, 11, 24, tzinfo=UTC)
    drawings = [
        Drawing(id=f"{number}-{i}", tags=(f"process {number}",), label="A+", png=png, date=date)
        for i in range(DRAWINGS_EACH)
    ]
    half = DRAWINGS_EACH // 2
    added = sum(store.add([drawing]) for drawing in drawings[:half]) + store.add(drawings[half:])
    store.close()
    return added


def test_eight_processes_lose_nothing(any_store_uri, draw):
    # They also open a new store all at once.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["gradejax.stores", "hypothesis", "pytest"])
    with ProcessPoolExecutor(WRITERS, context) as processes:
        working = [processes.submit(_add_from_a_process, any_store_uri, i, draw().png) for i in range(WRITERS)]
        added = [process.result(timeout=120) for process in working]
    assert added == [DRAWINGS_EACH] * WRITERS
    store = open_store(any_store_uri)
    assert store.count() == WRITERS * DRAWINGS_EACH
    for number in range(WRITERS):
        added = ids(store.find(Query(tags=(f"process {number}",))))
        assert added == [f"{number}-{i}" for i in range(DRAWINGS_EACH)]
    store.close()


def test_a_new_store_may_be_opened_by_many_at_once(any_store_uri, draw):
    together = threading.Barrier(WRITERS)

    def open_and_add(drawing):
        together.wait(timeout=60)
        store = open_store(any_store_uri)
        added = store.add([drawing])
        store.close()
        return added

    with ThreadPoolExecutor(WRITERS) as threads:
        assert list(threads.map(open_and_add, [draw() for _ in range(WRITERS)])) == [1] * WRITERS


def test_an_address_of_another_kind_is_refused(tmp_path):
    for uri in ("postgres://localhost/grades", "grades.db", "", "sqlite://grades.db", "sqlite:///", "mysql:x"):
        with pytest.raises(StoreError) as error:
            open_store(uri)
        assert "sqlite:///" in str(error.value)


@pytest.fixture
def read_only():
    """Makes a store read-only for a while, even for root, who becomes nobody."""

    @contextmanager
    def without(path: Path, folder: bool = True):
        parents = dict.fromkeys(path.parents, 0o011) if os.geteuid() == 0 else {}
        with ExitStack() as stack:
            for entry in (*path.parents, *path.parent.glob(f"{path.name}*")):
                mode = stat.S_IMODE(entry.stat().st_mode)
                wanted = 0o444 if entry.is_file() else mode | parents.get(entry, 0)
                if entry == path.parent:
                    wanted = 0o555 if folder else 0o777
                if wanted != mode:
                    entry.chmod(wanted)
                    stack.callback(lambda entry=entry, mode=mode: entry.exists() and entry.chmod(mode))
            if parents:
                os.setresuid(65534, 65534, 0)
                stack.callback(os.setresuid, 0, 0, 0)
            yield

    return without


class TestSqlite:
    @pytest.fixture
    def path(self, tmp_path):
        return tmp_path / "new" / "folder" / "grades.db"

    @pytest.fixture
    def store(self, path):
        opened = open_store(f"sqlite:///{path}")
        yield opened
        opened.close()

    def test_the_folder_is_created_and_one_file_is_left(self, store, path, draw):
        store.add([draw()])
        store.close()
        assert [file.name for file in path.parent.iterdir()] == ["grades.db"]

    def test_a_relative_address(self, tmp_path, monkeypatch, draw):
        monkeypatch.chdir(tmp_path)
        store = open_store("sqlite:///data/grades.db")
        monkeypatch.chdir("/")
        store.add([draw()])
        store.close()
        assert (tmp_path / "data" / "grades.db").exists()
        assert store.uri == "sqlite:///data/grades.db"

    @pytest.mark.parametrize("name", ["a?b#c%41.db", "ü 漢 'x' \".db", "file:x.db", ":memory:", "link.db"])
    def test_a_file_may_have_any_name(self, tmp_path, draw, name):
        (tmp_path / "link.db").symlink_to(tmp_path / "elsewhere.db")
        store = open_store(f"sqlite:///{tmp_path}/{name}")
        store.add([draw()])
        store.close()
        assert (tmp_path / name).is_file()
        store = open_store(f"sqlite:///{tmp_path}/{name}")
        assert store.count() == 1
        store.close()

    def test_new_files_are_for_their_owner_only(self, store, path, draw):
        store.add([draw()])
        store.file.copy_to(path.with_name("copy.db"), lambda done, total: None)
        files = {file.name: oct(stat.S_IMODE(file.stat().st_mode)) for file in path.parent.iterdir()}
        assert files == dict.fromkeys(["grades.db", "grades.db-wal", "grades.db-shm", "copy.db"], "0o600")
        assert oct(stat.S_IMODE(path.parent.stat().st_mode)) == "0o700"
        store.close()
        path.chmod(0o640)  # a shared file stays shared
        store = open_store(f"sqlite:///{path}")
        modes = {file.name: oct(stat.S_IMODE(file.stat().st_mode)) for file in path.parent.glob("grades.db*")}
        assert modes == dict.fromkeys(["grades.db", "grades.db-wal", "grades.db-shm"], "0o640")
        store.close()

    def test_the_file_is_whole_whichever_program_closes_it_last(self, store, path, draw):
        store.add([draw() for _ in range(3)])
        other = open_store(f"sqlite:///{path}")
        other.add([draw()])
        other.close()
        assert path.with_name("grades.db-wal").exists()  # the first has it open
        copy = path.with_name("copy.db")
        copy.write_bytes(path.read_bytes())
        with closing(open_store(f"sqlite:///{copy}")) as copied:
            assert copied.count() == 4
        store.add([draw()])
        store.close()
        assert not path.with_name("grades.db-wal").exists()

    def test_it_works_without_a_log(self, path, monkeypatch, draw):
        """Some file systems have no shared memory, nor has this VFS, so SQLite keeps its rollback journal."""
        connect = sqlite3.connect
        monkeypatch.setattr(
            sqlite3, "connect", lambda address, **options: connect(f"{address}&vfs=unix-dotfile", **options)
        )
        store = open_store(f"sqlite:///{path}")
        with ThreadPoolExecutor(4) as threads:
            assert sum(threads.map(lambda drawing: store.add([drawing]), [draw() for _ in range(20)])) == 20
        assert store.count() == len(list(store.find())) == 20
        with store._connection() as connection:
            assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        store.close()
        assert [file.name for file in path.parent.iterdir()] == ["grades.db"]

    @pytest.mark.parametrize("folder_too", [True, False])
    def test_a_read_only_store_is_read_and_no_file_is_created(self, store, path, read_only, draw, folder_too):
        drawings = [draw() for _ in range(120)]
        store.add(drawings)
        store.close()
        with read_only(path, folder_too):
            with closing(open_store(f"sqlite:///{path}")) as reader:
                assert list(reader.find()) == drawings
                assert reader.count() == 120 and reader.fingerprint() and reader.get(drawings[0].id)
                for write in (
                    lambda: reader.add([draw()]),
                    lambda: reader.relabel([drawings[0].id], "E"),
                    lambda: reader.exclude([drawings[0].id]),
                ):
                    with pytest.raises(StoreError, match=r"grades\.db: .*readonly.*: make it and its folder writable"):
                        write()
            assert [file.name for file in path.parent.iterdir()] == ["grades.db"]

    @pytest.fixture(scope="class")
    def filtered(self, draw):
        """Drawings, and the ids of those that each query selects."""
        noon = datetime(2026, 11, 24, 12, tzinfo=UTC)
        tags, labels, writers = [("a",), ("b",), ("a", "b"), ("b", "c")], ["A", "B+"], ["ann", "ben", None]
        drawings = [
            draw(
                tags=tags[n % 4], label=labels[n % 2], writer=writers[n % 3], date=noon + timedelta(hours=n * 7 % 10),
                deleted=noon if n % 5 == 2 else None,
            )
            for n in range(60)
        ]  # fmt: skip
        parts = (
            [(), ("a",), ("c", "a")], [None, "A"], [None, "ann"], [None, noon + timedelta(hours=2)],
            [None, noon + timedelta(hours=8)], [False, True, None], [None, "b"], [None, "c"],
        )  # fmt: skip
        queries = [Query(*part) for part in product(*parts)]
        return drawings, {query: ids(filter(query.selects, drawings)) for query in queries}

    @staticmethod
    def make_earlier(path: Path) -> None:
        """Gives a store the indexes that an earlier version made."""
        with closing(sqlite3.connect(path)) as connection:
            for name in ("drawing_listed", "drawing_excluded", "drawing_labelled"):
                connection.execute(f"DROP INDEX {name}")
            connection.execute("CREATE INDEX drawing_label ON drawing (label) WHERE deleted IS NULL")
            connection.execute("CREATE INDEX drawing_aside ON drawing (seq) WHERE deleted IS NOT NULL")
            connection.execute("PRAGMA journal_mode = DELETE")

    def test_an_earlier_store_gets_the_indexes_of_a_new_one(self, store, path):
        def indexes():
            with closing(sqlite3.connect(path)) as connection:
                return set(connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'index'"))

        store.close()
        of_a_new_one = indexes()
        self.make_earlier(path)
        assert indexes() != of_a_new_one
        open_store(f"sqlite:///{path}").close()
        assert indexes() == of_a_new_one

    @pytest.mark.parametrize("kind", ["new", "earlier, to read only"])
    def test_any_filters_together_select_the_same_with_the_indexes_of_any_version(
        self, store, path, read_only, filtered, kind
    ):
        drawings, selected = filtered
        middle, later = drawings[29].id, set(ids(drawings[30:]))
        store.add(drawings)
        store.close()
        if kind != "new":
            self.make_earlier(path)
        with ExitStack() as stack:
            if kind == "earlier, to read only":
                stack.enter_context(read_only(path))
            opened = stack.enter_context(closing(open_store(f"sqlite:///{path}")))
            for query, expected in selected.items():
                assert ids(opened.find(query)) == expected, query
                assert ids(opened.find(query, newest_first=True, limit=7)) == expected[::-1][:7], query
                assert ids(opened.find(query, after=middle)) == [id for id in expected if id in later], query
                assert opened.count(query) == len(expected), query

    def test_no_query_of_the_gallery_reads_all_rows(self, store, path, draw):
        """They are large: a million of them would take seconds."""
        noon = datetime(2026, 11, 24, 12, tzinfo=UTC)
        parts = ([(), ("a",)], [None, "A"], [None, "ann"], [None, noon], [None, noon], [False, True, None])
        store.add([draw()])
        for query in (Query(*part) for part in product(*parts)):
            with store._connection() as connection:
                statement, values = store._selected(query)
                for order in ("", " ORDER BY seq DESC LIMIT 120"):
                    plan = connection.execute(f"EXPLAIN QUERY PLAN {statement}{order}", values).fetchall()
                    for *_, step in plan:
                        assert "drawing" not in step or " USING INDEX " in step or " USING COVERING INDEX " in step, (
                            query, step
                        )  # fmt: skip

    def test_a_read_only_store_may_be_written_by_others(self, store, path, read_only, draw):
        store.add([draw() for _ in range(120)])
        with read_only(path):
            with_a_log = open_store(f"sqlite:///{path}")
        store.close()
        with read_only(path):
            without = open_store(f"sqlite:///{path}")
        for n in (121, 122):
            store = open_store(f"sqlite:///{path}")
            store.add([draw()])
            for end in (lambda: None, store.close):  # in the log, and in the file
                end()
                with read_only(path):
                    assert with_a_log.count() == without.count() == n
        with pytest.raises(StoreError, match="written to while it was read"), without._connection():
            store = open_store(f"sqlite:///{path}")
            store.add([draw()])
            store.close()

    def test_a_log_that_cannot_be_merged_is_named(self, store, path, tmp_path, read_only, draw):
        store.add([draw()])
        (tmp_path / "media").mkdir()
        for end in ("", "-wal"):  # as after a crash, or in a copy made while in use
            copy = tmp_path / "media" / f"grades.db{end}"
            copy.write_bytes(Path(f"{path}{end}").read_bytes())
        with read_only(copy.with_name("grades.db")), pytest.raises(StoreError, match=r"grades\.db-wal.*: copy both to"):
            open_store(f"sqlite:///{tmp_path}/media/grades.db")
        with closing(open_store(f"sqlite:///{tmp_path}/media/grades.db")) as merged:
            assert merged.count() == 1

    def test_nothing_is_written_to_a_file_that_is_overwritten(self, store, path, draw):
        store.add([draw() for _ in range(50)])
        store.close()
        backup = path.read_bytes()
        store = open_store(f"sqlite:///{path}")
        store.add([draw(png=draw().png + bytes(10_000)) for _ in range(500)])  # more than the log holds for long
        path.write_bytes(backup)
        for _ in range(3):
            with pytest.raises(StoreError, match="overwritten while in use: stop this program"):
                store.add([draw()])
        store.close()

    def test_a_newer_schema_is_named_and_left_alone(self, store, path):
        store.close()
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA user_version = 99")
        content = path.read_bytes()
        with pytest.raises(StoreError, match=r"grades\.db has schema version 99 .* update gradejax"):
            open_store(f"sqlite:///{path}")
        assert path.read_bytes() == content

    def test_other_files_are_refused_and_left_alone(self, tmp_path):
        text, other = tmp_path / "text.db", tmp_path / "other.db"
        text.write_text("no database at all, but long enough to be taken for one" * 100)
        with sqlite3.connect(other) as connection:
            connection.execute("CREATE TABLE drawing (seq, id)")
        os.mkfifo(pipe := tmp_path / "pipe")
        reasons = {text: "not a database", other: "of another program"}
        reasons |= {path: "not a regular file" for path in (tmp_path, pipe, Path("/dev/null"))}
        for path, reason in reasons.items():
            with pytest.raises(StoreError, match=reason) as error:
                open_store(f"sqlite:///{path}")
            assert path.name in str(error.value)
        assert text.read_text().startswith("no database")

    def test_a_folder_that_cannot_be_created(self, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(StoreError, match=r"cannot create the folder of .*file.*grades\.db"):
            open_store(f"sqlite:///{tmp_path}/file/grades.db")

    def test_a_commit_survives_a_power_cut(self, store, path):
        """SQLite promises that with these settings (https://www.sqlite.org/pragma.html)."""
        with sqlite3.connect(path) as connection:
            assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        with store._connection() as connection:
            assert connection.execute("PRAGMA synchronous").fetchone() == (3,)

    def test_what_other_programs_change_is_noticed(self, store, path, draw):
        store.add([draw(tags=("a", "b")), draw()])
        seen = {store.fingerprint()}
        with sqlite3.connect(path) as connection:
            for change in (
                "UPDATE drawing SET tags = json('[\"c\"]') WHERE seq = 1",
                "UPDATE drawing SET writer = 'ann'",
                "DELETE FROM drawing WHERE seq = 2",
            ):
                connection.execute(change)
                connection.commit()
                seen.add(store.fingerprint())
        assert len(seen) == 4
        assert store.count(Query(tags=("a", "b", "class"))) == 0
        assert [drawing.writer for drawing in store.find(Query(tags=("c",)))] == ["ann"]

    def test_diverged_copies_have_different_fingerprints(self, store, path, draw):
        store.add([draw()])
        store.close()
        copy = path.with_name("copy.db")
        copy.write_bytes(path.read_bytes())
        stores = [open_store(f"sqlite:///{path}"), open_store(f"sqlite:///{copy}")]
        assert stores[0].fingerprint() == stores[1].fingerprint()
        for one in stores:
            one.add([draw()])
        assert stores[0].fingerprint() != stores[1].fingerprint()

    def test_invalid_rows_do_not_affect_others(self, store, path, draw):
        drawings = [draw() for _ in range(8)]
        store.add(drawings)
        bad = {
            "label = 'F'": "unknown label 'F', a grade of us",
            "tags = '{}'": "tags are not a list",
            "png = x'00'": "not a PNG",
            "png = 'text'": "not a PNG|not base64",
            "date = 9223372036854775807": "date is not a date",
            "writer = CAST(x'ff00' AS TEXT)": "writer is not 1 to 200 printable",
            "strokes = 'no JSON'": "strokes are not a list",
        }
        with sqlite3.connect(path) as connection:
            for seq, change in enumerate(bad, 1):
                connection.execute(f"UPDATE drawing SET {change} WHERE seq = {seq}")
        refused = []
        assert ids(store.find(refused=lambda id, reason: refused.append((id, str(reason))))) == [drawings[7].id]
        assert [id for id, _ in refused] == ids(drawings[:7])
        assert ids(store.find(limit=1)) == [drawings[7].id]
        for (_, reason), expected in zip(refused, bad.values(), strict=True):
            assert re.search(expected, reason)
        with pytest.raises(BadDrawing, match="unknown label 'F'"):
            store.get(drawings[0].id)
        assert store.summary()[("class",), "F"] == 1

    def test_another_program_that_writes_is_waited_for(self, store, path, draw):
        other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        other.execute("BEGIN IMMEDIATE")
        release = threading.Timer(0.3, lambda: other.execute("COMMIT"))
        release.start()
        assert store.add([draw()]) == 1
        release.join()
        other.close()

    def test_a_full_disk_is_one_line_and_nothing_is_half_written(self, store, path, draw):
        store.add([draw()])
        with store._connection() as connection:
            (pages,) = connection.execute("PRAGMA page_count").fetchone()
            connection.execute(f"PRAGMA max_page_count = {pages + 2}")
        with pytest.raises(StoreError, match=r"grades\.db: database or disk is full"):
            store.add([draw() for _ in range(100)])
        assert store.count() == 1
        assert store.add([draw()]) == 1


class TestMongo:
    @pytest.fixture
    def store(self, mongodb_uri):
        opened = open_store(mongodb_uri)
        yield opened
        opened.close()

    @pytest.fixture
    def grades(self, mongodb_uri):
        """The collection, as another program sees it."""
        with pymongo.MongoClient(mongodb_uri) as client:
            yield client.get_default_database()["grades"]

    @pytest.fixture
    def others(self, draw):
        """Documents as other programs write them: only the four fields, and the last one's id as text."""
        documents = [to_document(draw()) for _ in range(6)]
        documents[-1]["_id"] = str(documents[-1]["_id"])
        assert all(set(document) == {"_id", "tags", "label", "data", "date"} for document in documents)
        return documents

    def test_documents_by_others_are_read_and_come_first(self, store, grades, others, draw):
        store.add(mine := [draw(id="aaa"), draw()])
        for document in others:
            grades.insert_one(document)
        # MongoDB's own order of mixed ids: text before ObjectIds.
        expected = [str(others[-1]["_id"]), *sorted(str(document["_id"]) for document in others[:-1]), *ids(mine)]
        assert ids(store.find()) == expected
        assert ids(store.find(newest_first=True)) == expected[::-1]
        for i, id in enumerate(expected):
            assert ids(store.find(after=id)) == expected[i + 1 :]
            assert ids(store.find(after=id, newest_first=True)) == expected[:i][::-1]
            assert store.get(id).id == id
        assert store.relabel(expected, "E-") == 8
        assert store.exclude(expected) == 8
        assert store.restore(expected) == 8
        assert {drawing.label for drawing in store.find()} == {"E-"}

    @settings(
        max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(st.data())
    def test_pages_of_documents_of_every_type_add_up_to_the_whole(self, store, grades, others, data):
        """Other programs may put anything in `_id` and `added`."""
        grades.delete_many({})
        pairs = data.draw(st.lists(st.tuples(IDS, ADDED), max_size=24))
        documents = [{**others[0], "_id": id, **({} if added is MISSING else {"added": added})} for id, added in pairs]
        twice = set()
        try:
            if documents:
                grades.insert_many(documents, ordered=False)
        except pymongo.errors.BulkWriteError as error:
            assert {failed["code"] for failed in error.details["writeErrors"]} == {11000}  # a duplicate key
            twice = {failed["index"] for failed in error.details["writeErrors"]}
        inserted = [to_text(id) for n, (id, _) in enumerate(pairs) if n not in twice]
        drawings = Counter(id for id in inserted if id is not None)
        refused = []
        whole = ids(store.find(refused=lambda id, error: refused.append(str(error))))
        assert Counter(whole) == drawings
        assert len(refused) == inserted.count(None) and all(reason.startswith("_id is not") for reason in refused)
        assert Counter(ids(store.find(newest_first=True))) == drawings
        limit = data.draw(st.integers(1, 7))
        for newest_first in (False, True):
            pages, after = [], None
            while page := ids(store.find(newest_first=newest_first, after=after, limit=limit)):
                pages += page
                after = page[-1]
                assert len(pages) <= len(whole), (newest_first, whole, pages)
            assert pages == ids(store.find(newest_first=newest_first)), newest_first
        for id in whole:
            assert store.get(id).id == id
        assert list(store.get_many(whole)) == whole

    def test_ids_that_are_not_text(self, store, grades, others, tmp_path, draw):
        looks_like = to_text(5)
        named = [
            5,
            5.5,
            Int64(2**40),
            uuid.uuid4().bytes,
            Binary.from_uuid(uuid.uuid4()),
            looks_like,
            to_text(looks_like),
        ]
        named += [datetime(2026, 1, 1, tzinfo=UTC), Timestamp(1, 2), "5", '"quoted"']
        grades.insert_many([{**others[0], "_id": id} for id in named])
        all_ids = ids(store.find())
        assert len(set(all_ids)) == len(named)
        for id in all_ids:
            assert store.relabel([id], "C") == 1
            assert store.exclude([id]) == 1
            assert ids(store.find(Query(deleted=True))) == [id]
            assert store.restore([id]) == 1
            assert store.get(id).label == "C"
        file = BytesIO()
        ndjson.write(file, store.find())
        copy = open_store(f"sqlite:///{tmp_path}/copy.db")
        outcome = exchange.Outcome()
        exchange.load(copy, exchange.from_file(BytesIO(file.getvalue())), outcome)
        assert ids(copy.find()) == all_ids
        back = BytesIO()
        ndjson.write(back, copy.find())
        assert back.getvalue() == file.getvalue()
        copy.close()
        # Back in MongoDB, each is what it was.
        before = [document["_id"] for document in grades.find(sort=[("_id", 1)])]
        again = list(store.find())
        grades.delete_many({})
        assert store.add(again) == len(named)
        assert [document["_id"] for document in grades.find(sort=[("_id", 1)])] == before

    def test_what_counts_as_excluded(self, store, grades, others):
        """A date, or a flag as other programs write it."""
        marks = {"a": None, "b": False, "c": 0, "d": 0.0, "e": Int64(0), "f": True, "g": 1, "h": datetime(2026, 1, 2)}
        grades.insert_many([{**others[0], "_id": id, "deleted": mark} for id, mark in marks.items()])
        grades.insert_one({**others[0], "_id": "i"})
        assert ids(store.find()) == list("abcdei")
        assert ids(store.find(Query(deleted=True))) == list("fgh")
        assert store.count() == 6 and store.count(Query(deleted=True)) == 3
        assert store.summary().total() == 6
        assert store.get("b").deleted is None
        assert store.get("f").deleted == store.get("f").date
        seen = {store.fingerprint()}
        assert store.exclude(list("abf")) == 2
        seen.add(store.fingerprint())
        assert ids(store.find()) == list("cdei")
        assert store.restore(list("abfgh")) == 5
        seen.add(store.fingerprint())
        assert ids(store.find()) == list("abcdefghi")
        assert len(seen) == 3

    def test_reading_creates_nothing(self, store, grades, others):
        grades.insert_many(others)
        before = list(grades.find()), set(grades.index_information())
        list(store.find())
        store.count(), store.summary(), store.fingerprint(), store.get(str(others[0]["_id"]))
        assert (list(grades.find()), set(grades.index_information())) == before

    def test_the_first_write_creates_indexes(self, store, grades, draw):
        store.add([draw()])
        keys = [[field for field, _ in index["key"]] for index in grades.index_information().values()]
        assert {("added", "_id"), ("tags", "added", "_id"), ("label", "added", "_id")} <= set(map(tuple, keys))

    def test_another_collection(self, mongodb_uri, draw):
        store = open_store(f"{mongodb_uri}?collection=drawings")
        store.add([draw()])
        with pymongo.MongoClient(mongodb_uri) as client:
            assert client.get_default_database()["drawings"].count_documents({}) == 1
        assert store.uri.endswith("?collection=drawings")
        store.close()

    def test_the_usual_database_and_collection(self, mongodb):
        store = open_store(mongodb)
        assert urlsplit(store.uri).path == "/tbs"
        store.close()

    @pytest.mark.parametrize(
        "kept",
        ['[[{"x": 1, "y": 2.5}], []]', [{"points": [{"x": 1, "y": 2.5}]}, {"points": []}]],
        ids=["now", "earlier"],
    )
    def test_strokes_as_any_version_keeps_them(self, store, grades, others, kept):
        grades.insert_one({**others[0], "_id": "drawn", "strokes": kept})
        assert store.get("drawn").strokes == [[{"x": 1, "y": 2.5}], []]

    def test_invalid_documents_do_not_affect_others(self, store, grades, others, draw):
        grades.insert_one({"_id": 7})
        bad = [
            {"_id": "a", "label": {"n": 3}},
            {"_id": "b", **{k: v for k, v in others[0].items() if k not in ("_id", "label")}},
            {"_id": "c", **{k: v for k, v in others[0].items() if k not in ("_id", "tags")}, "tags": "7b"},
            {"_id": "d", **{k: v for k, v in others[0].items() if k not in ("_id", "data")}, "data": "!"},
            {"_id": "e", "tags": ["x"], "label": "A", "date": "yesterday", "data": others[0]["data"]},
        ]
        grades.insert_many([*bad, *others[:2]])
        store.add([mine := draw()])
        refused = {}
        assert len(list(store.find(refused=lambda id, reason: refused.update({id: str(reason)})))) == 3
        assert refused == {
            "7": "no tags",
            "a": "no tags",
            "b": "no label",
            "c": "tags are not a list",
            "d": "not base64",
            "e": "date is not a date",
        }
        assert store.count() == 9
        assert store.summary()[("class",), "A+"] == 4
        assert store.summary()[("class",), ""] == 1
        assert len(list(store.find(limit=3))) == 3
        assert store.relabel(["b", mine.id], "C") == 2
        assert store.get("b").history[0]["label"] == "None"

    def test_what_other_programs_change_is_noticed(self, store, grades, others):
        seen = {store.fingerprint()}
        grades.insert_many(others)
        seen.add(store.fingerprint())
        grades.update_one({"_id": others[0]["_id"]}, {"$push": {"tags": "late"}})
        seen.add(store.fingerprint())
        grades.update_one({"_id": others[0]["_id"]}, {"$set": {"data": others[1]["data"]}})
        seen.add(store.fingerprint())
        grades.delete_one({"_id": others[0]["_id"]})
        seen.add(store.fingerprint())
        assert len(seen) == 5

    def test_the_password_is_nowhere(self, mongodb, draw):
        host = urlsplit(mongodb).netloc.rpartition("@")[2]
        uri = f"mongodb://anna:pa%3Ass-word@{host}/school"
        with pytest.raises(StoreError) as error:
            open_store(uri)
        assert str(error.value) == f"MongoDB at {host} refuses this user name or password"

    @pytest.mark.parametrize("host", ["127.0.0.1:1", "no-such-host.invalid", "127.0.0.1:1,127.0.0.1:2"])
    def test_an_unreachable_server_is_one_line_with_its_name(self, host):
        with pytest.raises(StoreError) as error:
            open_store(f"mongodb://anna:secret@{host}/?serverSelectionTimeoutMS=300")
        assert str(error.value).startswith(f"cannot reach MongoDB at {host}: ")

    @pytest.mark.parametrize(
        "uri",
        [
            "mongodb://anna:sec/ret@localhost/",
            "mongodb://anna:12/ret@localhost/",
            "mongodb://anna:sec?ret@localhost/",
            "mongodb://anna:sec@ret@localhost/",
            "mongodb://anna:sec:ret@localhost/",
            "mongodb://anna:sec%zzret@localhost/",
            "mongodb://anna:secret@localhost:port/",
            "mongodb://anna:secret@localhost/?no-such-option=1",
            "mongodb://anna:secret@localhost/?serverSelectionTimeoutMS=soon",
            "mongodb://anna:secret@localhost/?authMechanism=sec",
            "mongodb://anna:secret@/",
            "mongodb://anna:secret@localhost/a b",
            "mongodb://",
        ],
    )
    def test_an_invalid_address_is_one_line_without_the_password(self, uri):
        with pytest.raises(StoreError) as error:
            open_store(uri)
        message = str(error.value)
        assert "MongoDB address" in message and "\n" not in message
        for part in ("sec/ret", "12", "secret", "sec@ret", "ret@", "anna"):
            assert part not in message

    @pytest.mark.parametrize("option", ["tlsCAFile", "tlsCertificateKeyFile", "tlsCRLFile"])
    def test_a_broken_tls_file_is_named(self, mongodb, tmp_path, option):
        host = urlsplit(mongodb).netloc.rpartition("@")[2]
        broken = tmp_path / "broken.pem"
        broken.write_text("-----BEGIN CERTIFICATE-----\nnone\n-----END CERTIFICATE-----\n")
        for file in (tmp_path / "nowhere.pem", tmp_path, broken):
            with pytest.raises(StoreError) as error:
                open_store(f"mongodb://anna:secret@{host}/?tls=true&{option}={quote(str(file), safe='')}")
            message = str(error.value)
            assert host in message and f"{option}={file}" in message
            assert "secret" not in message and "\n" not in message

    def test_a_server_that_does_not_speak_tls(self, mongodb):
        host = urlsplit(mongodb).netloc.rpartition("@")[2]
        with pytest.raises(StoreError, match=f"cannot reach MongoDB at {host}: .* Does it speak TLS") as error:
            open_store(f"mongodb://anna:secret@{host}/?tls=true&serverSelectionTimeoutMS=500")
        assert "\n" not in str(error.value)

    def test_a_collection_after_a_dot_is_refused(self, mongodb):
        with pytest.raises(StoreError, match=r"\?collection="):
            open_store(f"{mongodb.rstrip('/')}/school.drawings")

    def test_documents_with_anything_in_every_field(self, store, grades, others):
        """Each is read or refused with a reason, and no other document is affected."""
        anything = [None, 5, Int64(2**60), 1e300, True, "x" * 10**5, b"", ObjectId(), datetime(1, 1, 1), Regex("("), []]
        anything += [{}, {"a": {"b": []}}, [{"a": 1}] * 1000, Timestamp(1, 1), DatetimeMS(-(2**61)), "\u202e", [None]]
        for document in ({field: value} for field in others[0] for value in anything):
            with suppress(pymongo.errors.WriteError):  # an `_id` cannot be a list
                grades.insert_one({**others[0], "_id": f"{len(repr(document))} {id(document)} {new_id()}", **document})
        for field in ("writer", "strokes", "history", "deleted"):
            grades.insert_many([{**others[0], "_id": new_id(), field: value} for value in anything])
        grades.insert_many(others[1:])
        refused = []
        every = Query(deleted=None)
        valid = ids(store.find(every, refused=lambda id, error: refused.append((id, str(error)))))
        assert len(valid) + len(refused) == store.count(every) == grades.count_documents({})
        assert {str(document["_id"]) for document in others[1:]} <= set(valid)
        assert all("\n" not in reason and len(reason) < 200 for _, reason in refused)
        assert len(ids(store.find(every, newest_first=True))) == len(valid)
        assert store.summary().total() == store.count()
        assert len(store.fingerprint()) == 16
        ndjson.write(BytesIO(), store.find(every))
        assert store.exclude(valid) + store.restore(valid) >= len(valid)


def test_hex_ids_are_object_ids_in_mongodb(draw):
    drawing = draw()
    assert to_document(drawing)["_id"] == ObjectId(drawing.id)
