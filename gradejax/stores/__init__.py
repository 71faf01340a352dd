"""Where drawings are kept: the same methods over one SQLite file or a MongoDB collection."""

import os

from gradejax.errors import StoreError
from gradejax.scales import Scale, parse
from gradejax.stores.store import IN_USE, Query, Store

__all__ = ["DEFAULT_URI", "IN_USE", "Query", "Store", "open_store", "store_uri"]

DEFAULT_URI = "sqlite:///data/grades.db"


def open_store(uri: str, *, patience: float = 60.0, scale: Scale | str | None = None) -> Store:
    """Opens the store at `uri`.

    Args:
        uri: `sqlite:///relative/file.db`, `sqlite:////absolute/file.db`, `mongodb://…` or `mongodb+srv://…`. A missing
            SQLite file is created with its folder. MongoDB's database and collection are `tbs` and `grades` unless
            the address names others (`mongodb://host/school?collection=drawings`).
        patience: seconds to wait for a MongoDB server that went away, before an operation fails. It resumes where it
            stopped when the server is back in time.
        scale: the store's from now on: `german`, `poor,fair,good`; see `scales.parse`. By default the one that it has.

    Raises:
        StoreError: if the address is of another kind, or the store cannot be opened or reached.
        UserError: if there is no such scale, or the store has drawings whose labels it lacks.
    """
    scale = parse(scale) if isinstance(scale, str) else scale
    store = _opened(uri, patience)
    if scale is not None:
        try:
            store.set_scale(scale)
        except BaseException:
            store.close()
            raise
    return store


def _opened(uri: str, patience: float) -> Store:
    scheme, separator, rest = uri.partition("://")
    if separator and scheme == "sqlite":
        from gradejax.stores.sqlite import SqliteStore

        return SqliteStore(rest)
    if separator and scheme in ("mongodb", "mongodb+srv"):
        from gradejax.stores.mongo import MongoStore

        return MongoStore(uri, patience)
    raise StoreError(
        "a store's address begins with sqlite:/// or mongodb://"
        + ("" if separator else f"; for a file write sqlite:///{uri}")
    )


def store_uri(flag: str | None = None, config: str | None = None) -> str:
    """Returns the address to use: `flag` (`--store`), else `config` (`data.store`), else GRADEJAX_STORE, else the
    default."""
    return flag or config or os.environ.get("GRADEJAX_STORE") or DEFAULT_URI
