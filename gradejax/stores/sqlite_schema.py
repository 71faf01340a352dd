"""The tables of a SQLite store: created, checked, and migrated from earlier versions."""

import logging
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from gradejax.errors import StoreError
from gradejax.stores import sqlite_queries
from gradejax.stores.sqlite_copy import copy

log = logging.getLogger(__name__)

SCHEMA_VERSION = 1
# In the file's header: the program that owns it (https://www.sqlite.org/pragma.html#pragma_application_id).
_APPLICATION_ID = int.from_bytes(b"grad")
# The large columns come last, so that the others are read without touching their pages. The tag table is an index of
# drawing.tags, and `state` a new random number after each change; triggers maintain both, whichever program writes.
_SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS drawing (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, -- the order of insertion
    id TEXT NOT NULL UNIQUE,
    label TEXT NOT NULL,
    date INTEGER NOT NULL,                 -- milliseconds since 1970, UTC
    writer TEXT,
    deleted INTEGER,                       -- milliseconds since 1970, UTC
    tags TEXT NOT NULL,                    -- JSON: ["a", "b"]
    history TEXT,                          -- JSON: [{{"label": "A+", "date": 1700000000000}}]
    strokes TEXT,                          -- JSON: [[{{"x": 1, "y": 2, "t": 0, "pressure": 0.5}}]]
    png BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS tag (tag TEXT NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (tag, seq)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS state (state BLOB NOT NULL);
INSERT INTO state SELECT randomblob(16) WHERE NOT EXISTS (SELECT 1 FROM state);
CREATE TRIGGER IF NOT EXISTS drawing_insert AFTER INSERT ON drawing BEGIN
    INSERT OR IGNORE INTO tag SELECT value, new.seq FROM json_each(new.tags);
    UPDATE state SET state = randomblob(16);
END;
CREATE TRIGGER IF NOT EXISTS drawing_delete AFTER DELETE ON drawing BEGIN
    DELETE FROM tag WHERE tag IN (SELECT value FROM json_each(old.tags)) AND seq = old.seq;
    UPDATE state SET state = randomblob(16);
END;
CREATE TRIGGER IF NOT EXISTS drawing_update AFTER UPDATE ON drawing BEGIN
    UPDATE state SET state = randomblob(16);
END;
CREATE TRIGGER IF NOT EXISTS drawing_tags AFTER UPDATE OF seq, tags ON drawing BEGIN
    DELETE FROM tag WHERE tag IN (SELECT value FROM json_each(old.tags)) AND seq = old.seq;
    INSERT OR IGNORE INTO tag SELECT value, new.seq FROM json_each(new.tags);
END;
PRAGMA application_id = {_APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
COMMIT;
"""
Migration = Callable[[sqlite3.Connection], None]
"""Changes the tables inside the transaction it is called in."""
_MIGRATIONS: Sequence[Migration] = ()
"""From version 1 to 2, 2 to 3, …"""


def prepare(connection: sqlite3.Connection, path: Path, writable: bool) -> None:
    """Creates the tables in an empty file, or migrates those of an earlier version.

    Args:
        path: the file that `connection` has open.
        writable: whether the file may be changed.

    Raises:
        StoreError: if the file belongs to another program, is of a later version, or needs a change and cannot be
            changed.
    """
    connection.execute("BEGIN")  # or another program could create the schema between two of these
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (owner,) = connection.execute("PRAGMA application_id").fetchone()
    (objects,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    connection.execute("COMMIT")
    if owner != _APPLICATION_ID and (version or objects):
        raise StoreError(f"{path} is a SQLite file of another program")
    if version > SCHEMA_VERSION:
        raise StoreError(
            f"{path} has schema version {version} and this gradejax knows {SCHEMA_VERSION}: update gradejax"
        )
    if version < SCHEMA_VERSION and not writable:
        raise StoreError(
            f"{path} is "
            + ("of an earlier version" if version else "empty")
            + " and may only be read: name a copy that may be written with --store"
        )
    if version == 0:
        connection.executescript(_SCHEMA)
    elif version < SCHEMA_VERSION:
        migrate(connection, path, _MIGRATIONS)
    if writable:
        try:
            sqlite_queries.index(connection)
        except sqlite3.Error as error:  # such as a full disk: everything works without, only slower
            log.warning("%s: its indexes could not be made, and searching will be slow: %s", path, error)


def migrate(connection: sqlite3.Connection, path: Path, migrations: Sequence[Migration]) -> None:
    """Brings a store to version `len(migrations) + 1` in one transaction, once even if several programs open it.

    Before anything changes, the previous content is copied durably to `grades.db.v1-backup` next to it.

    Args:
        migrations: from version 1 to 2, 2 to 3, and so on.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version <= len(migrations):
            backup = path.with_name(f"{path.name}.v{version}-backup")
            part = backup.with_name(f"{backup.name}.part")
            part.unlink(missing_ok=True)
            # On a connection of its own: BEGIN stops others from writing, not from reading.
            with closing(sqlite3.connect(path, isolation_level=None)) as source:
                copy(source, part, lambda done, total: None)
            part.replace(backup)
            for change in migrations[version - 1 :]:
                change(connection)
            connection.execute(f"PRAGMA user_version = {len(migrations) + 1}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
