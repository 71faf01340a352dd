"""`python -m gradejax.data backup`, and restoring from it."""

import os
import signal
import stat
import subprocess
import sys
import threading
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import forked
import pytest
from waiting import wait_until

from gradejax.stores import Query, open_store

EVERYTHING = Query(deleted=None)


def data(folder: Path, *arguments: str) -> tuple[int, str, str]:
    """Exit status, standard output and log of a command run in `folder`."""
    done = forked.run(folder, "data", *arguments)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def drawings(store, draw):
    """Drawings with every optional field, in a store of each kind."""
    date = datetime(2026, 3, 1, 10, 0, 0, 123000, UTC)
    strokes = [[{"x": 1, "y": 2.5, "t": 0, "pressure": 0.25}], [{"x": 3, "y": 4}]]
    store.add([draw(id="z by someone"), draw(), draw(writer="pupil 7", strokes=strokes, date=date), draw(deleted=date)])
    store.add([draw(id="a, but the last")])
    ids = [drawing.id for drawing in store.find(EVERYTHING)]
    store.relabel(ids[:3], "C")
    store.relabel(ids[1:4], "E-")
    store.exclude(ids[2:3])
    return list(store.find(EVERYTHING))


def test_a_backup_brings_everything_back(store, any_store_uri, drawings, tmp_path):
    status, out, log = data(tmp_path, "backup", "backup", f"--store={any_store_uri}")
    assert (status, out, log) == (0, "5 drawings backed up to backup\n", "")
    assert stat.S_IMODE((tmp_path / "backup").stat().st_mode) == 0o600
    store.exclude([drawings[0].id])
    restored = f"sqlite:///{tmp_path}/backup"
    if any_store_uri.startswith("mongodb"):
        restored = f"sqlite:///{tmp_path}/restored.db"
        assert data(tmp_path, "import", "backup", f"--store={restored}")[0] == 0
    with closing(open_store(restored)) as copy:
        assert list(copy.find(EVERYTHING)) == drawings
        assert copy.summary()[("class",), "E-"] == 1


def test_a_sqlite_backup_goes_into_mongodb(mongodb_uri, draw, tmp_path):
    with closing(open_store(f"sqlite:///{tmp_path}/a.db")) as store:
        store.add([draw(id=id) for id in ("b", "a", "c")])
        drawings = list(store.find())
    assert data(tmp_path, "backup", "b.db", "--store=sqlite:///a.db")[0] == 0
    assert data(tmp_path, "export", "b.ndjson", "--store=sqlite:///b.db")[0] == 0
    assert data(tmp_path, "import", "b.ndjson", f"--store={mongodb_uri}")[0] == 0
    with closing(open_store(mongodb_uri)) as store:
        assert list(store.find()) == drawings


def test_a_backup_is_of_one_moment_while_drawings_are_saved(draw, tmp_path):
    saved: list[str] = []
    stop = threading.Event()

    def save() -> None:
        while not stop.is_set():
            drawing = draw(png=draw().png + bytes(10_000))
            store.add([drawing])
            saved.append(drawing.id)

    with closing(open_store(f"sqlite:///{tmp_path}/a.db")) as store:
        first = [draw(png=draw().png + bytes(100_000)) for _ in range(300)]
        store.add(first)
        saving = threading.Thread(target=save)
        saving.start()
        try:
            wait_until(lambda: saved)
            status, out, log = data(tmp_path, "backup", "b.db", "--store=sqlite:///a.db")
        finally:
            stop.set()
            saving.join()
    assert status == 0, log
    with closing(open_store(f"sqlite:///{tmp_path}/b.db")) as copy:
        ids = [drawing.id for drawing in copy.find(EVERYTHING)]
    assert ids[:300] == [drawing.id for drawing in first]
    assert ids[300:] == saved[: len(ids) - 300]
    assert len(ids) > 300
    assert out == f"{len(ids)} drawings backed up to b.db\n"


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("there", "there already exists, and a backup replaces nothing: name another file"),
        (".", ". already exists"),
        ("link", "link already exists"),
        ("nowhere/b.db", "nowhere/b.db cannot be written: No such file or directory"),
        ("there/b.db", "there/b.db cannot be written: Not a directory"),
    ],
)
def test_a_backup_that_cannot_be_written_leaves_nothing(draw, tmp_path, target, reason):
    with closing(open_store(f"sqlite:///{tmp_path}/a.db")) as store:
        store.add([draw()])
    (tmp_path / "there").write_text("yesterday's")
    (tmp_path / "link").symlink_to("elsewhere")
    before = sorted(tmp_path.rglob("*"))
    status, out, log = data(tmp_path, "backup", target, "--store=sqlite:///a.db")
    assert (status, out, log.count("\n")) == (1, "", 1)
    assert log.startswith(f"error: {reason}")
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "there").read_text() == "yesterday's"


def test_an_empty_store_is_no_backup(any_store_uri, tmp_path):
    status, _, log = data(tmp_path, "backup", "b", f"--store={any_store_uri}")
    assert (status, log.partition(" in ")[0]) == (1, "error: there are no drawings")
    assert not (tmp_path / "b").exists()


def test_damage_is_reported_and_not_backed_up(draw, tmp_path):
    path = tmp_path / "a.db"
    with closing(open_store(f"sqlite:///{path}")) as store:
        store.add([draw(png=draw().png + bytes(3000)) for _ in range(100)])
    with path.open("r+b") as file:
        file.seek(20 * 4096)
        file.write(bytes(80 * 4096))
    status, out, log = data(tmp_path, "check", "--store=sqlite:///a.db")
    assert (status, out.startswith("damaged: ")) == (1, True)
    assert log == "error: sqlite:///a.db is damaged: put a backup in its place, as docs/backup.md says\n"
    status, out, log = data(tmp_path, "backup", "b.db", "--store=sqlite:///a.db")
    assert (status, out, log.count("\n")) == (1, "", 1)
    assert "damaged" in log
    assert [file.name for file in tmp_path.iterdir()] == ["a.db"]


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_command_leaves_one_whole_file(draw, tmp_path, stop):
    """It is stopped in the middle of an import, while the other end of the pipe is open."""
    with closing(open_store(f"sqlite:///{tmp_path}/some.db")) as store:
        store.add([draw() for _ in range(700)])
    assert data(tmp_path, "export", "some.ndjson", "--store=sqlite:///some.db")[0] == 0
    os.mkfifo(tmp_path / "pipe")
    importing = subprocess.Popen(
        [sys.executable, "-m", "gradejax.data", "import", "pipe", "--store=sqlite:///new.db"],
        cwd=tmp_path, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    with (tmp_path / "pipe").open("wb") as pipe:
        pipe.write((tmp_path / "some.ndjson").read_bytes())
        pipe.flush()
        with closing(open_store(f"sqlite:///{tmp_path}/new.db")) as store:
            while store.count() < 500:  # the first batch
                assert importing.poll() is None
                time.sleep(0.01)
        importing.send_signal(stop)
        _, log = importing.communicate(timeout=60)
    assert importing.returncode == (130 if stop == signal.SIGINT else -stop)
    assert "Traceback" not in log
    assert not list(tmp_path.glob("new.db-*"))
    with closing(open_store(f"sqlite:///{tmp_path}/new.db")) as store:
        assert store.count() == 500
