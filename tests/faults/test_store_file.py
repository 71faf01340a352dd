"""A SQLite store's file when its server stops, and when somebody moves, deletes or replaces it while in use."""

import os
import shutil
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from gradejax.drawings import Drawing
from gradejax.stores import Query, open_store


def ids(path: Path) -> set[str]:
    """The ids of the drawings in a copy of the file."""
    copy = path.with_name(f"copy-of-{path.name}")
    shutil.copyfile(path, copy)
    with closing(open_store(f"sqlite:///{copy}")) as store:
        drawing_ids = {drawing.id for drawing in store.find(Query(deleted=None))}
    copy.unlink()
    return drawing_ids


@pytest.fixture
def save(message, draw) -> Callable[..., tuple[int, str]]:
    """Sends a drawing to a server; returns the status and the drawing's id."""

    def one(web) -> tuple[int, str]:
        drawing: Drawing = draw()
        return web.ask("POST", "/api/drawings", message(drawing))[0], drawing.id

    return one


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_server_leaves_one_whole_file(serve, save, tmp_path, stop):
    web = serve("--store=sqlite:///data/grades.db")
    saved = [save(web) for _ in range(60)]
    assert {status for status, _ in saved} == {201}
    web.process.send_signal(stop)
    web.process.wait(timeout=30)
    assert [file.name for file in (tmp_path / "data").iterdir()] == ["grades.db"]
    assert ids(tmp_path / "data" / "grades.db") == {id for _, id in saved}
    assert "Traceback" not in web.log.read_text()


def delete(path: Path, aside: Path) -> None:
    os.link(path, aside)
    path.unlink()


def move_away(path: Path, aside: Path) -> None:
    path.rename(aside)


def replace_by_a_copy(path: Path, aside: Path) -> None:
    shutil.copyfile(path, other := path.with_name("other.db"))
    os.link(path, aside)
    other.rename(path)


def replace_by_a_link(path: Path, aside: Path) -> None:
    shutil.copyfile(path, other := path.with_name("other.db"))
    path.rename(aside)
    path.symlink_to(other)


def move_the_folder(path: Path, aside: Path) -> None:
    os.link(path, aside)
    path.parent.rename(path.parent.with_name("elsewhere"))
    path.parent.mkdir()


def test_no_drawing_is_saved_to_a_missing_file(serve, save, tmp_path):
    path, aside = tmp_path / "data" / "grades.db", tmp_path / "aside.db"
    web = serve("--store=sqlite:///data/grades.db")
    answered: set[str] = set()
    for change in (delete, move_away, replace_by_a_copy, replace_by_a_link, move_the_folder):
        for _ in range(10):
            status, id = save(web)
            assert status == 201
            answered.add(id)
        change(path, aside)
        assert [save(web)[0] for _ in range(10)] == [503] * 10
        assert web.ask("GET", "/api/drawings")[0] == 503
        assert web.ask("GET", "/")[0] == 200
        # The saved drawings are in the moved file, whole, and no log is left for a new file to read.
        assert answered <= ids(aside)
        assert not any(file.stat().st_size for file in path.parent.glob("grades.db-wal"))
        aside.replace(path)  # once it is back, saving works again
    web.process.terminate()
    web.process.wait(timeout=30)
    assert answered <= ids(path)
    log = web.log.read_text()
    assert "data/grades.db was moved, deleted or replaced while in use: put it back" in log
    assert "Traceback" not in log
    print(f"moved, deleted or replaced 5 times: {len(answered)} drawings saved, 50 refused with 503, 0 lost")


def test_no_drawing_is_lost_with_the_log(serve, save, tmp_path):
    path = tmp_path / "grades.db"
    web = serve("--store=sqlite:///grades.db")
    answered = {id for _, id in (save(web) for _ in range(30))}
    for end in ("-wal", "-shm"):
        path.with_name(path.name + end).unlink()
        statuses = []
        while 201 not in statuses:
            status, id = save(web)
            statuses.append(status)
            assert len(statuses) < 5
        assert statuses == [503, 201]
        answered.add(id)
    web.process.terminate()
    web.process.wait(timeout=30)
    assert answered <= ids(path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
