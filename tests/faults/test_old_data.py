"""Files of earlier versions open; files of later ones are refused with the version they need."""

import json
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import jax.numpy as jnp
import pytest

from gradejax import checkpoints, recipe, runs
from gradejax.errors import StoreError, UserError
from gradejax.hands.synthetic import write_drawings
from gradejax.stores import open_store
from gradejax.stores.sqlite_schema import migrate


@pytest.fixture
def path(tmp_path) -> Path:
    """A store of version 1 with thirty drawings."""
    path = tmp_path / "grades.db"
    store = open_store(f"sqlite:///{path}")
    store.add(write_drawings(30))
    store.close()
    return path


def connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None, timeout=30)


def version(path: Path) -> int:
    with closing(connect(path)) as connection:
        return connection.execute("PRAGMA user_version").fetchone()[0]


def columns(path: Path) -> set[str]:
    with closing(connect(path)) as connection:
        return {name for _, name, *_ in connection.execute("PRAGMA table_info(drawing)")}


def add_colour(connection: sqlite3.Connection) -> None:
    connection.execute("ALTER TABLE drawing ADD COLUMN colour TEXT")


def fill_colour(connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE drawing SET colour = 'black'")


def fail(connection: sqlite3.Connection) -> None:
    raise sqlite3.OperationalError("disk full")


def test_migrations_run_in_order_after_a_backup(path):
    with closing(connect(path)) as connection:
        migrate(connection, path, [add_colour, fill_colour])
        assert connection.execute("SELECT DISTINCT colour FROM drawing").fetchall() == [("black",)]
    assert version(path) == 3
    backup = path.with_name("grades.db.v1-backup")
    assert version(backup) == 1
    assert "colour" not in columns(backup)
    assert list(open_store(f"sqlite:///{backup}").find()) == list(write_drawings(30))


def test_migrations_run_once_however_many_open_the_store(path):
    together = threading.Barrier(4)
    calls = []

    def counted(connection: sqlite3.Connection) -> None:
        calls.append(1)
        add_colour(connection)

    def open_it() -> None:
        with closing(connect(path)) as connection:
            together.wait()
            migrate(connection, path, [counted])

    threads = [threading.Thread(target=open_it) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1
    assert version(path) == 2


def test_a_migration_that_fails_changes_nothing(path):
    before = columns(path)
    with closing(connect(path)) as connection:
        with pytest.raises(sqlite3.OperationalError, match="disk full"):
            migrate(connection, path, [add_colour, fail])
        assert not connection.in_transaction
    assert (columns(path), version(path)) == (before, 1)
    assert list(open_store(f"sqlite:///{path}").find()) == list(write_drawings(30))


def test_a_later_store_is_refused_with_the_version_it_has(path):
    with closing(connect(path)) as connection:
        connection.execute("PRAGMA user_version = 7")
    with pytest.raises(StoreError, match=r"schema version 7 and this gradejax knows 1: update gradejax"):
        open_store(f"sqlite:///{path}")


def test_a_run_from_before_a_key_was_added_continues(tmp_path):
    config = recipe.as_json(recipe.base())
    earlier = json.loads(json.dumps(config))
    del earlier["train"]["ema_decay"], earlier["evaluate"]
    runs.write_json(tmp_path / "config.json", earlier)
    (tmp_path / "checkpoints" / "1").mkdir(parents=True)
    runs.begin(tmp_path, config)
    # It was trained with the default; another value would be another run.
    config["train"]["ema_decay"] = 0.5
    with pytest.raises(UserError, match=r"another config \(train\.ema_decay\)"):
        runs.begin(tmp_path, config)


@pytest.mark.parametrize("content", ["[]", "5", "{", "\0", '{"train": 5}'])
def test_an_invalid_config_is_refused(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    (tmp_path / "checkpoints" / "1").mkdir(parents=True)
    with pytest.raises(UserError, match=r"workdir|cannot read"):
        runs.begin(tmp_path, recipe.as_json(recipe.base()))


def save(workdir: Path) -> None:
    with checkpoints.open_manager(workdir) as manager:
        checkpoints.save(manager, 1, {"a": jnp.arange(5)}, {"b": jnp.arange(5)}, {"size": 28})


def test_a_checkpoint_from_before_format_numbers_opens(tmp_path):
    save(tmp_path)
    metadata = tmp_path / "checkpoints" / "1" / "about" / "metadata"
    about = json.loads(metadata.read_text())
    for name in ("format", "written_by", "digest"):
        del about[name]
    metadata.write_text(json.dumps({**about, "digest": checkpoints._json_digest(about)}))
    assert checkpoints.restore(tmp_path, "model").arrays["a"].tolist() == [0, 1, 2, 3, 4]


def test_a_checkpoint_of_a_later_format_is_refused_with_the_version_it_needs(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "FORMAT", 2)
    save(tmp_path)
    monkeypatch.undo()
    with pytest.raises(UserError, match=r"checkpoints/1 has format 2 and this gradejax knows 1: update gradejax to \d"):
        checkpoints.restore(tmp_path, "model")
