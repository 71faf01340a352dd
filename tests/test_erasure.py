"""Erased is gone: no byte of a drawing, its writer or its tags is left in any file, while a server runs and after."""

import base64
import json
import os
import pty
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import forked
import numpy as np
import pytest
from waiting import wait_until

from gradejax import audits, cache, erasure, held_out, run_erasure, runs
from gradejax.drawings import Drawing, new_id
from gradejax.hands.synthetic import write_drawings
from gradejax.scales import LETTERS
from gradejax.stores import Query, Store, open_store, sqlite_erasing

GRADES = LETTERS.labels

ROOT = Path(__file__).parents[1]
EVERYTHING = Query(deleted=None)
WRITER, TAG, LATER_TAG = "zz-the-writer-zz", "qq-the-tag-qq", "vv-a-later-tag-vv"
NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)


def needles(drawings: Sequence[Drawing]) -> list[bytes]:
    """What must be in no file: pieces of the pictures, as they are and in base64, writer, tags and ids."""
    words = [WRITER.encode(), TAG.encode(), LATER_TAG.encode()]
    for drawing in drawings:
        middle = len(drawing.png) // 2
        words += [drawing.png[middle : middle + 24], base64.b64encode(drawing.png)[80:112], drawing.id.encode()]
    return words


def left_in(folder: Path, words: Sequence[bytes]) -> dict[str, int]:
    """The files in which something is left, and how many of the words."""
    contents = {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    found = {path: sum(word in content for word in words) for path, content in contents.items()}
    return {path: n for path, n in found.items() if n}


@pytest.fixture
def marked(draw) -> list[Drawing]:
    """Drawings that are easily found wherever they are."""
    return [draw(writer=WRITER, tags=("class", TAG), label=GRADES[n % 15], date=NOW) for n in range(30)]


@pytest.fixture(params=["sqlite", "ferretdb"])
def database(request, tmp_path) -> tuple[str, Path]:
    """An empty store's address, and the folder of the database's files."""
    if request.param == "sqlite":
        return "sqlite:///data/grades.db", tmp_path / "data"
    server = request.getfixturevalue("mortal_mongodb")
    with closing(open_store(server.uri)) as store:
        if "FerretDB" not in str(store.remains()[0]):
            pytest.skip("MongoDB's own server uses space again when it likes")
    return f"{server.uri}school", Path(server.folder)


def erase(*arguments: str) -> subprocess.CompletedProcess[str]:
    return forked.run(Path.cwd(), "data", "erase", *arguments)


@contextmanager
def web(*flags: str) -> Iterator[tuple[str, forked.Process]]:
    """A server's address and its process."""
    process = forked.Process(Path.cwd(), "web", "--port=0", *flags, log=Path("web.log"))
    try:
        yield process.lines(1)[0].split()[-1].rstrip("/"), process
    finally:
        process.terminate()
        process.wait(30)


def asked(url: str, body: object = None) -> dict:
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data, {"Content-Type": "application/json"})) as answer:
        return json.load(answer)


def ranked(address: str) -> dict:
    """The gallery's drawings, the most doubtful first, once all have been judged."""
    while (page := asked(f"{address}/api/drawings?by=disagreement"))["done"] is not None:
        time.sleep(0.1)
    return page


def fill(store: Store, marked: Sequence[Drawing]) -> None:
    """Adds drawings and those that will be erased, some of which were changed, excluded and restored before."""
    others = list(write_drawings(90, writers=6))
    store.add(others[:45])
    store.add(marked)
    store.add(others[45:])
    ids = [drawing.id for drawing in marked]
    store.relabel(ids[:10], "E")
    store.retag(ids[5:15], add=[LATER_TAG])
    store.exclude(ids[:8])
    store.restore(ids[:4])


def test_nothing_is_left(database, tmp_path, monkeypatch, marked, draw):
    monkeypatch.chdir(tmp_path)
    (uri, files), words, ids = database, needles(marked), [drawing.id for drawing in marked]
    with closing(open_store(uri)) as store:
        fill(store, marked)
        n_in_use = store.count()
        audits.save(store.uri, ids, np.full((len(ids), len(GRADES)), 1 / len(GRADES)))
    audits.PICTURE.write_bytes(marked[0].png)
    options = ["--config.data.size=16", "--config.train.epochs=1", f"--store={uri}"]
    done = forked.run(tmp_path, "main", f"--config={ROOT}/configs/mlp.py", "--workdir=runs/a", *options)
    assert done.returncode == 0, done.stderr
    assert any(line.split(",")[0] in ids for line in Path("runs/a/drawings.csv").read_text().splitlines())
    with web(f"--store={uri}") as (address, process):
        ranked(address)
        wait_until(lambda: list(Path(".cache/judgements").glob("*.safetensors")))
        before = left_in(tmp_path, words) | left_in(files, words)
        assert {Path(path).parts[-2] for path in before} >= {"audits", "judgements", "a"}
        assert any(".cache/drawings" in path for path in before)
        assert any(path.startswith(str(files)) for path in before)
        done = erase(f"--writer={WRITER}", "--yes", f"--store={uri}")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("30 drawings erased from ")
        assert "- Backups, exports, downloads" in done.stdout
        assert left_in(tmp_path, words) | left_in(files, words) == {}
        assert not audits.PICTURE.exists()
        # The server goes on with the shorter file, and makes nothing of the drawings again.
        # A grade, for what is none counts only until it has been judged.
        (saved,) = write_drawings(1, first=500)
        picture = base64.b64encode(saved.png).decode()
        message = {"id": saved.id, "tags": ["class"], "label": "A", "data": picture, "date": NOW.isoformat()}
        asked(f"{address}/api/drawings", message)
        assert sum(asked(f"{address}/api/status")["grades"].values()) == n_in_use - 26 + 1
        ranked(address)
        process.terminate()
        process.wait(30)
    assert left_in(tmp_path, words) | left_in(files, words) == {}
    with closing(open_store(uri)) as store:
        assert store.count(EVERYTHING) == 91
        assert {tag for tags, _ in store.summary() for tag in tags}.isdisjoint({TAG, LATER_TAG})
    assert "overwritten" not in Path("web.log").read_text()


def test_a_store_erases_any_drawing(store, draw):
    drawings = [draw() for _ in range(80)]
    store.add(drawings)
    ids = [drawing.id for drawing in drawings]
    store.exclude(ids[:3])
    before = store.fingerprint(EVERYTHING)
    assert store.erase([]) == 0
    assert store.erase([*ids[:2], ids[1], "no such drawing"]) == 2
    assert store.fingerprint(EVERYTHING) != before
    assert store.erase(ids[:50]) == 48
    assert [drawing.id for drawing in store.find(EVERYTHING)] == ids[50:]
    assert store.get(ids[0]) is None
    store.add(drawings[:1])
    assert store.count() == 31


def test_free_pages_of_an_old_store_are_erased_as_well(tmp_path, marked, draw):
    """An earlier gradejax did not overwrite what it deleted or changed."""
    path = tmp_path / "grades.db"
    with closing(open_store(f"sqlite:///{path}")) as store:
        store.add([*marked, *(draw() for _ in range(20))])
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA secure_delete = OFF")
        connection.execute("DELETE FROM drawing WHERE seq % 2")
        connection.execute("UPDATE drawing SET tags = '[\"class\"]', writer = 'other' WHERE seq <= 30")
        connection.commit()
    assert left_in(tmp_path, needles(marked))
    with closing(open_store(f"sqlite:///{path}")) as store:
        assert store.erase([drawing.id for drawing in marked]) == 15
        assert left_in(tmp_path, needles(marked)) == {}


def test_a_reader_does_not_keep_what_is_erased_for_long(tmp_path, monkeypatch, caplog, marked, draw):
    monkeypatch.setattr(sqlite_erasing, "READER_SECONDS", 0.3)
    store = open_store(f"sqlite:///{tmp_path}/grades.db")
    store.add([*marked, draw()])
    ids = [drawing.id for drawing in marked]
    with closing(sqlite3.connect(tmp_path / "grades.db", isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM drawing").fetchall()
        done = erasure.erase(store, ids, runs=tmp_path / "runs")
        assert done.drawings == 30
        assert "what was erased is still in" in caplog.text
        assert any("until nobody reads" in str(trace) for trace in done.unreachable)
        assert reader.execute("SELECT count(*) FROM drawing").fetchall() == [(31,)]
        store.add([draw()])  # nobody is held up
    assert left_in(tmp_path, needles(marked))
    store.close()
    assert left_in(tmp_path, needles(marked)) == {}


def test_two_programs_go_on_after_an_erasure(tmp_path, draw):
    uri = f"sqlite:///{tmp_path}/grades.db"
    with closing(open_store(uri)) as one, closing(open_store(uri)) as other:
        drawings = [draw(png=draw().png + bytes(20_000)) for _ in range(60)]
        one.add(drawings)
        assert other.count() == 60
        for start in range(0, 50, 10):  # each time the file becomes shorter
            assert one.erase([drawing.id for drawing in drawings[start : start + 10]]) == 10
            assert other.count() == 50 - start
        assert other.erase([drawings[-1].id]) == 1
        assert one.count() == 9


def test_what_is_erased_during_a_training_is_erased_from_its_run(tmp_path, monkeypatch, draw):
    monkeypatch.chdir(tmp_path)
    workdir, erased, kept = Path("runs/a"), draw(tags=(TAG,)), draw()
    with closing(open_store("sqlite:///grades.db")) as store:
        store.add([erased, kept])
        with runs.held(workdir):
            erasure.erase(store, [erased.id])
            header = "id,part,fold,writer,label,guess,confidence,ink"
            lines = [f"{one.id},validation,,0,A,B,0.5000,0123456789abcdef" for one in (erased, kept)]
            (workdir / held_out.FILE).write_text("\n".join([header, *lines, ""]))
            (workdir / "plots").mkdir()
            (workdir / "plots" / "mistakes.png").write_bytes(erased.png)
            run_erasure.finish(workdir)
    assert (workdir / held_out.FILE).read_text() == f"{header}\n{lines[1]}\n"
    assert left_in(tmp_path, [erased.id.encode(), erased.png[40:80]]) == {}


def test_runs_that_are_named_after_a_tag_are_told(tmp_path, monkeypatch, draw):
    monkeypatch.chdir(tmp_path)
    for name, tags in (("a", f"7b,{TAG}"), ("b", "7b"), ("c", "")):
        Path("runs", name).mkdir(parents=True)
        Path("runs", name, "config.json").write_text(json.dumps({"data": {"tags": tags, "store": "sqlite:///x"}}))
    Path("runs/c/training.log").write_text(f"error: no drawings tagged 9c in x; the tags there: {TAG}\n")
    with closing(open_store("sqlite:///grades.db")) as store:
        one, other = draw(tags=(TAG, "7b")), draw(tags=("7b",))
        store.add([one, other])
        told = erasure.erase(store, [one.id]).unreachable
    assert [str(trace) for trace in told if trace.kind == "run"] == [
        "runs/a was trained on tags that are gone, and names them in its config and above its plots."
    ]
    assert not Path("runs/c/training.log").exists()


def test_a_cache_that_does_not_say_what_it_holds_is_erased(tmp_path):
    """It is by an earlier version, or being written by a training, which decodes the other drawings again."""
    (tmp_path / "00112233445566ff").mkdir()
    (tmp_path / "00112233445566ff" / "about.json").write_text("{}")
    for name in ("0123456789abcdef", "0123456789abcdefx_y1", "0123456789abcde", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "ids").write_text("a\nb\n")
    (tmp_path / "fedcba9876543210").mkdir()
    (tmp_path / "fedcba9876543210" / "ids").write_text("c\n")
    (tmp_path / "fedcba9876543210" / "about.json").write_text("{}")
    cache.erase(tmp_path, {"b"})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0123456789abcde", "fedcba9876543210", "other"]


@pytest.fixture
def class_db(tmp_path, monkeypatch, draw) -> Path:
    """A store with drawings by two writers, before and after 2026, one of them excluded, in the working folder."""
    monkeypatch.chdir(tmp_path)
    with closing(open_store("sqlite:///data/grades.db")) as store:
        for year in (2025, 2026):
            for writer in ("ann", "ben"):
                store.add([draw(writer=writer, tags=(writer[0],), date=datetime(year, 5, 1, tzinfo=UTC))])
        store.exclude([next(store.find(Query(writer="ann"))).id])
    return tmp_path / "data" / "grades.db"


def left(path: Path) -> list[tuple[str | None, int]]:
    with closing(open_store(f"sqlite:///{path}")) as store:
        return [(drawing.writer, drawing.date.year) for drawing in store.find(EVERYTHING)]


@pytest.mark.parametrize(
    ("filters", "rest"),
    [
        (["--writer=ann"], [("ben", 2025), ("ben", 2026)]),
        (["--tags=b,x"], [("ann", 2025), ("ann", 2026)]),
        (["--before=2026-01-01"], [("ann", 2026), ("ben", 2026)]),
        (["--writer=ann", "--before=2026-01-01"], [("ben", 2025), ("ann", 2026), ("ben", 2026)]),
    ],
)
def test_the_command_erases_what_matches_all_filters(class_db, filters, rest):
    before = left(class_db)
    n = len(before) - len(rest)
    drawings = f"{n} drawing{'s' * (n > 1)}"
    done = erase(*filters, "--dry-run")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{drawings} would be erased from sqlite:///data/grades.db\n"
    done = erase(*filters)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"error: {drawings} would be erased for good: say --yes, since nobody can be asked here\n"
    assert left(class_db) == before
    done = erase(*filters, "--yes")
    assert done.stdout.splitlines()[0] == f"{drawings} erased from sqlite:///data/grades.db"
    assert left(class_db) == rest


@pytest.mark.parametrize(
    ("flags", "error"),
    [
        ([], "name the drawings to erase: --writer=NAME, --tags=a,b or --before=YYYY-MM-DD"),
        (["--before=1.5.2026"], "--before=1.5.2026 is no day: write it as --before=2026-07-31"),
        (["--writer=cy", "--yes"], "no drawing in sqlite:///data/grades.db is selected: nothing was erased"),
    ],
)
def test_a_mistake_is_one_line(class_db, flags, error):
    done = erase(*flags)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"error: {error}\n")
    assert len(left(class_db)) == 4


@pytest.mark.parametrize(("said", "n_left"), [("yes\n2\n", 2), ("yes\n3\n", 4), ("no\n2\n", 4), ("\x04", 4)])
def test_the_command_asks_twice(class_db, said, n_left):
    terminal, theirs = pty.openpty()
    os.write(terminal, said.encode())
    command = [sys.executable, "-m", "gradejax.data", "erase", "--writer=ben"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, stdin=theirs)
    os.close(theirs)
    os.close(terminal)
    assert len(left(class_db)) == n_left
    assert done.stdout.startswith("2 drawings will be erased from sqlite:///data/grades.db for good.")
    assert done.returncode == (0 if n_left == 2 else 1)
    assert n_left == 2 or done.stderr == "error: nothing was erased\n"


def test_retention_erases_by_age(tmp_path, monkeypatch, draw):
    monkeypatch.chdir(tmp_path)
    now = datetime.now(UTC)
    ages = {"old": 31, "excluded": 400, "young": 29, "ahead": -700}
    drawings = {name: draw(date=now - timedelta(days=days), writer=f"ww-{name}") for name, days in ages.items()}
    with closing(open_store("sqlite:///grades.db")) as store:
        store.add(drawings.values())
        store.exclude([drawings["excluded"].id])
        with web("--store=sqlite:///grades.db", "--retention=30d") as (address, _):
            # A phone whose clock has stopped: the drawing is as old as its save.
            picture = base64.b64encode(drawings["young"].png).decode()
            message = {"id": new_id(), "tags": ["a"], "label": "A", "data": picture, "date": "2001-01-01T00:00:00Z"}
            asked(f"{address}/api/drawings", message)
            wait_until(lambda: store.count(EVERYTHING) <= 3)
            assert {drawing.writer for drawing in store.find(EVERYTHING)} == {"ww-young", "ww-ahead", None}
            assert store.get(message["id"]).date > now - timedelta(minutes=1)
            wait_until(lambda: "whose age is not known: 1 stay" in Path("web.log").read_text())
    assert "drawings older than 30 days: 2 erased\n" in Path("web.log").read_text()
    assert "ww-" not in Path("web.log").read_text()
    assert left_in(tmp_path, [b"ww-old", b"ww-excluded"]) == {}


@pytest.mark.parametrize("age", ["0d", "30", "-3d", "1w", "", "1e3d"])
def test_a_retention_that_is_none_is_refused(tmp_path, monkeypatch, age):
    monkeypatch.chdir(tmp_path)
    done = forked.run(tmp_path, "web", f"--retention={age}")
    assert done.returncode == 1
    error = f"error: --retention={age} is no number of days: write it as --retention=30d"
    assert done.stderr.splitlines()[-1] == error
    assert not list(tmp_path.iterdir())
