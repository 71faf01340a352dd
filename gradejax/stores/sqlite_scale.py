"""The scale that a SQLite store remembers, in the table `scale`, which exists once one has been set."""

import sqlite3

from gradejax.scales import LETTERS, Scale
from gradejax.stores.store import check_scale, remembered


def read(connection: sqlite3.Connection) -> Scale:
    """Returns the scale; `letters` if none has been set. Raises StoreError if this gradejax does not know it."""
    if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'scale'").fetchall():
        return LETTERS
    ((name,),) = connection.execute("SELECT max(name) FROM scale").fetchall()
    return remembered(name)


def write(connection: sqlite3.Connection, scale: Scale) -> None:
    """Sets the scale; raises UserError if drawings have labels that it lacks."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        labels = [label for (label,) in connection.execute("SELECT DISTINCT label FROM drawing")]
        check_scale(scale, read(connection), labels)
        connection.execute("CREATE TABLE IF NOT EXISTS scale (name TEXT NOT NULL)")
        connection.execute("DELETE FROM scale")
        connection.execute("INSERT INTO scale VALUES (?)", (scale.name,))
        connection.execute("UPDATE state SET state = randomblob(16)")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
