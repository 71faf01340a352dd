"""The connection to one MongoDB collection: its address, retries while the server is away, and errors in one line."""

import logging
import re
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import unquote

from bson.errors import BSONError
from pymongo import MongoClient, timeout
from pymongo.collection import Collection
from pymongo.errors import (
    AutoReconnect,
    CursorNotFound,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
)

from gradejax.errors import StoreAway, StoreError, StoreFull

log = logging.getLogger(__name__)

DATABASE = "tbs"
COLLECTION = "grades"

_RETRY_SECONDS = 1.0
_CLOSE_SECONDS = 1.0
_DEFAULT_OPTIONS = {"serverSelectionTimeoutMS": 5000, "connectTimeoutMS": 5000}
_FILE_OPTIONS = ("tlscafile=", "tlscertificatekeyfile=", "tlscrlfile=")
_CREDENTIALS = re.compile(r"([^:@%\s]|%[\da-fA-F]{2})*(:([^:@%\s]|%[\da-fA-F]{2})*)?")
_PASSWORD_HINT = (
    "this MongoDB address cannot be read: in a user name or password write each of : / ? # [ ] @ % as"
    " %3A %2F %3F %23 %5B %5D %40 %25"
)
_OUT_OF_DISK_SPACE = 14031
UNAUTHORIZED = 13
_AUTHENTICATION_FAILED = (18, 8000)  # MongoDB's own code, and Atlas's

_Result = TypeVar("_Result")


class MongoConnection:
    """A client for one collection.

    Attributes:
        uri: the address without credentials and options.
        collection: pymongo's collection, to be used inside `errors` or `retried`.
        is_ferretdb: whether the server is FerretDB.
    """

    def __init__(self, uri: str, patience: float) -> None:
        """Connects to the server.

        Args:
            uri: see `open_store`.
            patience: seconds for which an operation is retried while the server is away.

        Raises:
            StoreError: if the address is wrong or the server cannot be reached.
        """
        address = _parsed(uri)
        self._patience = patience
        self._hosts = address.hosts
        self._tls = address.uses_tls
        self._client, self.collection = _opened(address)
        self.uri = f"{address.scheme}://{self._hosts}/{self.collection.database.name}"
        if self.collection.name != COLLECTION:
            self.uri += f"?collection={self.collection.name}"
        try:
            with self.errors():
                server = self._client.admin.command("buildInfo")
        except StoreError:
            self._client.close()
            raise
        self.is_ferretdb = "ferretdbVersion" in server

    def close(self) -> None:
        with timeout(_CLOSE_SECONDS):  # pymongo would wait for a server that does not answer
            self._client.close()

    def retried(self, operation: Callable[[], _Result]) -> _Result:
        """Returns the result of `operation`, which is called again for as long as the server is away."""
        away_since = None
        while True:
            try:
                with self.errors():
                    return operation()
            except StoreAway as error:
                away_since = away_since or time.monotonic()
                self.wait(error, away_since)

    def wait(self, error: StoreAway, away_since: float) -> None:
        """Waits before the next try; raises `error` once the patience since `away_since` (monotonic) has run out."""
        left = away_since + self._patience - time.monotonic()
        if left <= 0:
            raise error
        log.warning("%s; trying for another %.0f s", error, left)
        time.sleep(_RETRY_SECONDS)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turns pymongo's exceptions into a StoreError of one line."""
        try:
            yield
        except ServerSelectionTimeoutError as error:
            message = f"cannot reach MongoDB at {self._hosts}: is it running, and the address right?"
            if self._tls:
                message += " Does it speak TLS, and is its certificate trusted (tlsCAFile=)?"
            raise StoreAway(message) from error
        except (AutoReconnect, CursorNotFound) as error:
            raise StoreAway(f"the connection to MongoDB at {self._hosts} broke") from error
        except OperationFailure as error:
            if error.code in _AUTHENTICATION_FAILED:
                raise StoreError(f"MongoDB at {self._hosts} refuses this user name or password") from error
            if error.code == UNAUTHORIZED:
                raise StoreError(
                    f"MongoDB at {self._hosts}: this user lacks the role read, or readWrite to write"
                ) from error
            details: Any = error.details or {}
            failure = (details.get("writeErrors") or [details])[0]
            full = failure.get("code") == _OUT_OF_DISK_SPACE
            raise (StoreFull if full else StoreError)(
                f"MongoDB at {self._hosts}: {failure.get('errmsg', error)}"
            ) from error
        except (PyMongoError, BSONError) as error:
            raise StoreError(f"MongoDB at {self._hosts}: {error}") from error


@dataclass(frozen=True)
class _Address:
    scheme: str
    authority: str
    hosts: str
    path: str
    options: list[str]
    collection: str

    @property
    def uses_tls(self) -> bool:
        return self.scheme == "mongodb+srv" or not {"tls=true", "ssl=true"}.isdisjoint(map(str.lower, self.options))


def _parsed(uri: str) -> _Address:
    scheme, _, rest = uri.partition("://")
    authority = re.split(r"[/?]", rest, maxsplit=1)[0]
    tail = rest[len(authority) :]
    credentials, _, hosts = authority.rpartition("@")
    # Parts of a password that is not escaped end up in hosts, ports and names: the error must not show them.
    if "@" in tail or not _CREDENTIALS.fullmatch(credentials):
        raise StoreError(_PASSWORD_HINT)
    path, _, query = tail.partition("?")
    if "." in unquote(path):
        raise StoreError(
            f"the MongoDB address of {hosts} is not right: write /DATABASE?collection=COLLECTION, not {path}"
        )
    collection, options = COLLECTION, []
    for option in filter(None, query.split("&")):
        if option.startswith("collection="):  # ours; pymongo does not know it
            collection = unquote(option.removeprefix("collection="))
        else:
            options.append(option)
    return _Address(scheme, authority, hosts, path, options, collection)


def _opened(address: _Address) -> tuple[MongoClient, Collection]:
    names = {option.partition("=")[0].lower() for option in address.options}
    defaults: dict[str, Any] = {name: value for name, value in _DEFAULT_OPTIONS.items() if name.lower() not in names}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # an option that pymongo does not know, or cannot use
            client: MongoClient = MongoClient(
                f"{address.scheme}://{address.authority}{address.path or '/'}?{'&'.join(address.options)}",
                w="majority",
                tz_aware=True,
                # A damaged date or text must spoil its own document only.
                datetime_conversion="DATETIME_AUTO",
                unicode_decode_error_handler="replace",
                **defaults,
            )
        return client, client.get_default_database(DATABASE)[address.collection]
    except (PyMongoError, UserWarning, ValueError, TypeError, OSError) as error:
        files = [unquote(option) for option in address.options if option.lower().startswith(_FILE_OPTIONS)]
        where = f" with {' and '.join(files)}" if files else ""
        reason = error.strerror if isinstance(error, OSError) else error
        raise StoreError(f"the MongoDB address of {address.hosts}{where} is not right: {reason}") from error
