"""The server is killed in the middle of an erasure, and of an undo: it is done or not done, never half."""

import random
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from http.client import HTTPException
from pathlib import Path

import pytest
from waiting import wait_until

from gradejax.drawings import Drawing, new_id
from gradejax.stores import Query, open_store

EVERYTHING = Query(deleted=None)
WRITER, PICTURE = "zz-the-writer-zz", b"qq-the-picture-qq"
N = 4000


def changes(path: Path) -> Callable[[], bool]:
    """Whether something has been written to the log: the drawings are about to go."""
    log = path.with_name(f"{path.name}-wal")
    before = log.stat().st_size if log.exists() else 0
    return lambda: log.exists() and log.stat().st_size > before + 100_000


def are_gone(path: Path) -> Callable[[], bool]:
    """Whether the drawings are gone, so that the file is being written anew."""
    store = open_store(f"sqlite:///{path}")
    return lambda: not store.count(Query(writer=WRITER))


@pytest.fixture
def path(tmp_path, draw) -> Path:
    """A store with many old drawings to be erased, and a few that stay."""
    long_ago = datetime.now(UTC) - timedelta(days=100)
    some = [draw() for _ in range(100)]
    old = [
        Drawing(id=new_id(), tags=("a",), label="A", png=some[n % 100].png + PICTURE, date=long_ago, writer=WRITER)
        for n in range(N)
    ]
    with closing(open_store(f"sqlite:///{tmp_path}/grades.db")) as store:
        store.add([*old[: N // 2], *some, *old[N // 2 :]])
    return tmp_path / "grades.db"


def left_in(folder: Path) -> list[str]:
    contents = {file.name: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    return [name for name, content in contents.items() if WRITER.encode() in content or PICTURE in content]


@pytest.mark.parametrize("moment", [changes, are_gone])
def test_an_erasure_is_done_or_not_done(serve, path, tmp_path, moment):
    has_come = moment(path)
    web = serve("--store=sqlite:///grades.db", "--retention=30d")
    wait_until(has_come, pause=0)
    web.kill()
    with closing(open_store(f"sqlite:///{path}")) as store:
        counts = store.count(Query(writer=WRITER)), store.count(EVERYTHING)
    assert counts in {(N, N + 100), (0, 100)}
    print(f"killed while the log {'grew' if moment is changes else 'was moved'}: {counts[0]} of {N} drawings left")
    web.start()
    with closing(open_store(f"sqlite:///{path}")) as store:
        wait_until(lambda: not store.count(Query(writer=WRITER)) and not left_in(tmp_path), 120, pause=0.2)
        assert store.count(EVERYTHING) == 100
    assert "Traceback" not in web.log.read_text()


def test_an_undo_is_done_or_not_done(serve, path, how_often):
    web = serve("--store=sqlite:///grades.db")
    chance = random.Random(0)
    outcomes = set()
    for _ in range(3 * how_often.kills):
        with closing(open_store(f"sqlite:///{path}")) as store:
            ids = [drawing.id for drawing in store.find(Query(deleted=None), limit=1000, pictures=False)]
            store.restore(ids)
            store.exclude(ids)

        def undo(ids: list[str] = ids) -> None:
            with suppress(OSError, HTTPException):
                web.ask("POST", "/api/drawings/restore", {"ids": ids})

        asking = threading.Thread(target=undo)
        asking.start()
        time.sleep(chance.uniform(0, 0.5))
        web.kill()
        asking.join()
        with closing(open_store(f"sqlite:///{path}")) as store:
            outcomes.add(store.count(Query(deleted=True)))
        web.start()
    assert outcomes <= {0, 1000}
    print(f"killed {3 * how_often.kills} times while 1,000 drawings were restored: {sorted(outcomes)} left excluded")


def test_a_cut_off_erasure_from_mongodb_is_completed_by_the_next(mortal_mongodb, draw):
    """The database is killed: each drawing is whole or gone, and nothing of them is left after the repetition."""
    marked = [draw(writer=WRITER, tags=("a", "qq-tag-qq")) for _ in range(600)]
    with closing(open_store(mortal_mongodb.uri, patience=30)) as store:
        store.add([*marked, draw()])
        ids = [drawing.id for drawing in marked]
        killing = threading.Timer(0.3, mortal_mongodb.kill)
        killing.start()
        restarting = threading.Timer(1.5, mortal_mongodb.start)
        restarting.start()
        store.erase(ids)
        killing.join()
        restarting.join()
        store.erase(ids)
        assert store.count(EVERYTHING) == 1
        if "FerretDB" in str(store.remains()[0]):
            contents = [file.read_bytes() for file in Path(mortal_mongodb.folder).rglob("*") if file.is_file()]
            assert not any(WRITER.encode() in content or b"qq-tag-qq" in content for content in contents)
