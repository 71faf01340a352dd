"""Drawings in a MongoDB collection, also one that other programs wrote: MongoDB 4.4 and later, FerretDB 1.24.

Documents are DESIGN's, and one field more: `added`, an ObjectId made when this module inserts a document, tells
the order of insertion. `_id` cannot: a browser makes it before the drawing is sent, an import brings old ones.
Documents without `added` are others' and older, so they come first, by `_id`. Where others keep something of their own
in `added`, it says nothing about ours: such documents come last, by `_id`, in either direction.

An `_id` may be of several types in one collection. A comparison sees only values of its own type, so what follows a
document is what follows its `_id` in that type and whatever is of a later type in BSON's order.

A server that goes away is asked again for a while. An insertion may have been done although its answer was lost; done
again with the same ids it changes nothing. A search goes on behind the last document that it has seen.

FerretDB holds no lists in lists: there a stroke is stored as `{points: […]}`, which `from_document` reads, too. And it
changes a document without a lock. Threads of one store take turns; two programs that relabel the same drawing at the
same moment may lose one of the two.
"""

import logging
import random
import re
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from itertools import islice
from typing import Any, TypeVar
from urllib.parse import unquote

from bson import ObjectId
from bson.errors import BSONError
from pymongo import IndexModel, MongoClient, UpdateMany, timeout
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    CursorNotFound,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
)

from gradejax.drawings import Drawing, checked_label, from_document, is_object_id, to_document, utc_milliseconds
from gradejax.errors import StoreAway, StoreError, StoreFull
from gradejax.ids import from_text, to_text
from gradejax.stores import IN_USE, BadDrawing, Query, checked_id, mongo_order, readable, tag_set

logger = logging.getLogger(__name__)

DATABASE = "tbs"
COLLECTION = "grades"

_ORDER = (("added", 1), ("_id", 1))
# Each filter together with the order, so that the server never sorts: documents are large.
_INDEXES = [list(_ORDER), *([(field, 1), *_ORDER] for field in ("tags", "label", "writer"))]
_NO_PICTURES = {"data": 0, "strokes": 0}
_IN_USE = {"$in": [None, False, 0]}  # null, or not there
_ASIDE = {"$nin": _IN_USE["$in"]}
_BATCH = 500  # documents that a cursor fetches at a time
_ROUNDS = 10  # against other programs that relabel the same drawings, or make the same indexes
_FEW = 32  # documents that FerretDB finds faster one by one than by going through all
_PAUSE = 1.0  # seconds between two tries
_FAREWELL = 1.0  # seconds in which the server may be told that its client goes
_DUPLICATE_KEY = 11000
_OUT_OF_DISK_SPACE = 14031
_UNAUTHORIZED = 13
_AUTHENTICATION_FAILED = (18, 8000)  # MongoDB's own code, and Atlas's
_FILES = ("tlscafile=", "tlscertificatekeyfile=", "tlscrlfile=")
_PASSWORD_HINT = (
    "this MongoDB address cannot be read: in a user name or password write each of : / ? # [ ] @ % as"
    " %3A %2F %3F %23 %5B %5D %40 %25"
)

_Result = TypeVar("_Result")


class MongoStore:
    """A `Store` in one MongoDB collection; see `open_store`."""

    def __init__(self, uri: str, patience: float) -> None:
        self._patience = patience
        scheme, _, rest = uri.partition("://")
        authority, tail = re.fullmatch(r"([^/?]*)(.*)", rest, re.DOTALL).groups()
        credentials, _, self._hosts = authority.rpartition("@")
        # Where a password is not escaped, its parts end up as hosts, ports and names. Nothing is said of them.
        if "@" in tail or not re.fullmatch(r"([^:@%\s]|%[\da-fA-F]{2})*(:([^:@%\s]|%[\da-fA-F]{2})*)?", credentials):
            raise StoreError(_PASSWORD_HINT)
        path, _, options = tail.partition("?")
        if "." in unquote(path):
            raise StoreError(
                f"the MongoDB address of {self._hosts} is not right: write /DATABASE?collection=COLLECTION, not {path}"
            )
        options = [option for option in options.split("&") if option]
        collection = [unquote(option[11:]) for option in options if option.startswith("collection=")]
        options = [option for option in options if not option.startswith("collection=")]
        defaults = {"serverSelectionTimeoutMS": 5000, "connectTimeoutMS": 5000}
        self._tls = scheme == "mongodb+srv" or not {"tls=true", "ssl=true"}.isdisjoint(map(str.lower, options))
        given = {option.partition("=")[0].lower() for option in options}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", UserWarning)  # an option that pymongo does not know, or cannot use
                self._client = MongoClient(
                    f"{scheme}://{authority}{path or '/'}?{'&'.join(options)}",
                    w="majority",
                    tz_aware=True,
                    # One spoilt date or text is that document's own trouble.
                    datetime_conversion="DATETIME_AUTO",
                    unicode_decode_error_handler="replace",
                    **{name: value for name, value in defaults.items() if name.lower() not in given},
                )
            database = self._client.get_default_database(DATABASE)
            self._grades = database[collection[-1] if collection else COLLECTION]
        except (PyMongoError, UserWarning, ValueError, TypeError, OSError) as error:
            files = [unquote(option) for option in options if option.lower().startswith(_FILES)]
            where = f" with {' and '.join(files)}" if files else ""
            reason = error.strerror if isinstance(error, OSError) else error
            raise StoreError(f"the MongoDB address of {self._hosts}{where} is not right: {reason}") from error
        self.uri = f"{scheme}://{self._hosts}/{database.name}"
        if self._grades.name != COLLECTION:
            self.uri += f"?collection={self._grades.name}"
        self._indexed = False
        self._changing = threading.Lock()
        try:
            with self._errors():
                server = self._client.admin.command("buildInfo")
        except StoreError:
            self._client.close()
            raise
        self._nests_lists = "ferretdbVersion" not in server

    def add(self, drawings: Iterable[Drawing]) -> int:
        documents = [self._document(drawing) for drawing in drawings]
        if not documents:
            return 0
        tries = 0

        def insert() -> int:
            nonlocal tries
            tries += 1
            self._make_indexes()
            try:
                added = len(self._grades.insert_many(documents, ordered=False).inserted_ids)
            except BulkWriteError as error:
                if error.details["writeConcernErrors"] or not all(map(_is_there, error.details["writeErrors"])):
                    raise
                added = error.details["nInserted"]
            if tries > 1:
                added = self._grades.count_documents({"added": {"$in": [document["added"] for document in documents]}})
            return added

        return self._persistently(insert)

    def get(self, id: str) -> Drawing | None:
        document = self._lookup(id)
        return None if document is None else from_document(_named(document))

    def get_many(self, ids: Sequence[str], *, pictures: bool = True) -> dict[str, Drawing]:
        fields = None if pictures else _NO_PICTURES
        if self._nests_lists or len(ids) > _FEW:
            documents = self._persistently(lambda: list(self._grades.find(_with_ids(ids), fields))) if ids else []
        else:
            documents = [document for id in ids if (document := self._lookup(id, fields))]
        found = {drawing.id: drawing for drawing in readable(map(_named, documents), None, pictures)}
        return {id: found[id] for id in ids if id in found}

    def find(
        self,
        query: Query = IN_USE,
        *,
        newest_first: bool = False,
        after: str | None = None,
        limit: int | None = None,
        pictures: bool = True,
        refused: Callable[[str, BadDrawing], None] | None = None,
    ) -> Iterator[Drawing]:
        fields = None if pictures else _NO_PICTURES
        documents = self._documents(fields, query, -1 if newest_first else 1, after, min(limit or _BATCH, _BATCH))
        return islice(readable(map(_named, documents), refused, pictures), limit)

    def count(self, query: Query = IN_USE) -> int:
        return self._persistently(lambda: self._grades.count_documents(_filter(query)))

    def summary(self) -> Counter[tuple[tuple[str, ...], str]]:
        # FerretDB: a $group is right only straight on the collection, never behind an $unwind.
        pipeline = [
            {"$match": _filter(IN_USE)},
            {"$group": {"_id": {"tags": "$tags", "label": "$label"}, "n": {"$sum": 1}}},
        ]
        summary: Counter[tuple[tuple[str, ...], str]] = Counter()
        for group in self._persistently(lambda: list(self._grades.aggregate(pipeline))):
            key = tag_set(group["_id"].get("tags")), str(group["_id"].get("label", ""))
            summary[key] += group["n"]
        return summary

    def relabel(self, ids: Sequence[str], label: str) -> int:
        others = {**_with_ids(ids), "label": {"$ne": checked_label(label)}}
        changed = 0
        with self._errors():
            self._make_indexes()
        with self._errors(), self._changing:
            # The label before goes into the history, so it must still be the one that is replaced. Where another
            # program was quicker nothing is done, and the next round sees that program's label.
            for _ in range(_ROUNDS):
                by_label: dict[str, tuple[Any, list[Any]]] = {}
                for found in self._grades.find(others, {"label": 1}):
                    before = found.get("label")
                    by_label.setdefault(repr(before), (before, []))[1].append(found["_id"])
                if not by_label:
                    break
                updates = [
                    UpdateMany(
                        {"_id": {"$in": same}, "label": {"$eq": before}},
                        {"$set": {"label": label}, "$push": {"history": {"label": str(before), "date": _now()}}},
                    )
                    for before, same in by_label.values()
                ]
                changed += self._grades.bulk_write(updates, ordered=False).modified_count
        return changed

    def put_aside(self, ids: Sequence[str]) -> int:
        return self._update({**_with_ids(ids), "deleted": _IN_USE}, {"$set": {"deleted": _now()}})

    def restore(self, ids: Sequence[str]) -> int:
        return self._update({**_with_ids(ids), "deleted": _ASIDE}, {"$unset": {"deleted": ""}})

    def fingerprint(self, query: Query = IN_USE) -> str:
        def digest() -> str:
            digest = sha256()
            for batch in self._grades.find_raw_batches(
                _filter(query), sort=list(_ORDER), batch_size=_BATCH, allow_disk_use=True
            ):
                digest.update(batch)
            return digest.hexdigest()[:16]

        return self._persistently(digest)

    def close(self) -> None:
        with timeout(_FAREWELL):  # it would wait for a server that does not answer
            self._client.close()

    def _documents(
        self, fields: dict[str, int] | None, query: Query, direction: int, after: str | None, at_once: int
    ) -> Iterator[dict[str, Any]]:
        last = None
        if after is not None:
            last = self._lookup(after, {"added": 1})
            if last is None:
                raise StoreError(f"{self.uri} holds no drawing {after!r} to go on from")
        strange = last is not None and mongo_order.is_strange(last)
        more = last is not None  # whether there may be strange ones; from the beginning they are seen in passing
        away_since = None
        while True:
            order = [(field, direction) for field, _ in _ORDER[strange:]]
            conditions = [_filter(query)]
            if strange:
                conditions.append(mongo_order.strange(ferretdb=not self._nests_lists))
            if last is not None:
                conditions.append(mongo_order.behind(last, direction, ferretdb=not self._nests_lists))
            # What was added in the same moment comes again.
            passing = None if last is None or strange else last.get("added")
            try:
                with (
                    self._errors(),
                    self._grades.find(
                        {"$and": conditions}, fields, sort=order, batch_size=at_once, allow_disk_use=True
                    ) as cursor,
                ):
                    for document in cursor:
                        away_since = None
                        if mongo_order.is_strange(document) != strange:
                            more = True
                        elif passing is None or document.get("added") != passing:
                            last, passing = document, None
                            yield document
                        elif mongo_order.identity(document) == mongo_order.identity(last):
                            passing = None
            except StoreAway as error:
                more = True
                away_since = away_since or time.monotonic()
                self._wait(error, away_since)
            else:
                if strange or not more:
                    return
                strange, last = True, None

    def _lookup(self, id: str, fields: dict[str, int] | None = None) -> dict[str, Any] | None:
        # One by one: FerretDB unpacks every document there is, unless the filter is an `_id` and nothing else.
        for form in _forms(id):
            document = self._persistently(partial(self._grades.find_one, {"_id": form}, fields))
            if document is not None:
                return document
        return None

    def _update(self, meant: dict[str, Any], change: dict[str, Any]) -> int:
        with self._errors():
            self._make_indexes()
            with self._changing:
                return self._grades.update_many(meant, change).modified_count

    def _document(self, drawing: Drawing) -> dict[str, Any]:
        document = {**to_document(drawing), "added": ObjectId()}
        if "strokes" in document and not self._nests_lists:
            document["strokes"] = [{"points": stroke} for stroke in document["strokes"]]
        return document

    def _make_indexes(self) -> None:
        """Before the first write only: who may read but not write can still read."""
        with self._changing:
            for more in reversed(range(_ROUNDS)):
                if self._indexed:
                    return
                try:
                    there = self._grades.index_information()
                    missing = [index for index in map(IndexModel, _INDEXES) if index.document["name"] not in there]
                    if missing:
                        self._grades.create_indexes(missing)
                    self._indexed = True
                except AutoReconnect as error:
                    # FerretDB drops the connection where two programs make the same index at once.
                    if not more or isinstance(error, ServerSelectionTimeoutError):
                        raise
                    time.sleep(random.uniform(0.05, 0.2))

    def _persistently(self, ask: Callable[[], _Result]) -> _Result:
        """What `ask` returns; it is called again while the server is away."""
        away_since = None
        while True:
            try:
                with self._errors():
                    return ask()
            except StoreAway as error:
                away_since = away_since or time.monotonic()
                self._wait(error, away_since)

    def _wait(self, error: StoreAway, away_since: float) -> None:
        """Until the next try; raises `error` where there is none."""
        left = away_since + self._patience - time.monotonic()
        if left <= 0:
            raise error
        logger.warning("%s; trying for another %.0f s", error, left)
        time.sleep(_PAUSE)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except ServerSelectionTimeoutError as error:
            asked = f"cannot reach MongoDB at {self._hosts}: is it running, and the address right?"
            if self._tls:
                asked += " Does it speak TLS, and is its certificate trusted (tlsCAFile=)?"
            raise StoreAway(asked) from error
        except (AutoReconnect, CursorNotFound) as error:
            raise StoreAway(f"the connection to MongoDB at {self._hosts} broke") from error
        except OperationFailure as error:
            if error.code in _AUTHENTICATION_FAILED:
                raise StoreError(f"MongoDB at {self._hosts} refuses this user name or password") from error
            if error.code == _UNAUTHORIZED:
                raise StoreError(
                    f"MongoDB at {self._hosts}: this user lacks the role read, or readWrite to write"
                ) from error
            failures = (error.details or {}).get("writeErrors") or [error.details or {}]
            full = failures[0].get("code") == _OUT_OF_DISK_SPACE
            raise (StoreFull if full else StoreError)(
                f"MongoDB at {self._hosts}: {failures[0].get('errmsg', error)}"
            ) from error
        except (PyMongoError, BSONError) as error:
            raise StoreError(f"MongoDB at {self._hosts}: {error}") from error


def _filter(query: Query) -> dict[str, Any]:
    """What MongoDB matches `query` by. `$eq` takes its operand as a value, never as an operator."""
    meant: dict[str, Any] = {}
    if query.deleted is not None:
        meant["deleted"] = _ASIDE if query.deleted else _IN_USE
    if query.tags:
        meant["tags"] = {"$in": list(query.tags)}
    if query.label is not None:
        meant["label"] = {"$eq": query.label}
    if query.writer is not None:
        meant["writer"] = {"$eq": query.writer}
    bounds = {"$gte": query.since, "$lt": query.until}
    if dates := {operator: utc_milliseconds(date) for operator, date in bounds.items() if date is not None}:
        meant["date"] = dates
    return meant


def _forms(id: str) -> list[Any]:
    """What `_id` may be for a drawing's id: others may have written an ObjectId as text."""
    return [ObjectId(id), id] if is_object_id(checked_id(id)) else [from_text(id)]


def _with_ids(ids: Iterable[str]) -> dict[str, Any]:
    return {"_id": {"$in": [form for id in ids for form in _forms(id)]}}


def _named(document: dict[str, Any]) -> dict[str, Any]:
    """`document` with text for an `_id` that `from_document` would take for something else."""
    id = document.get("_id")
    if id is None:  # a view may leave it out; a new id each time would be worse than none
        return {**document, "_id": ""}
    return {**document, "_id": to_text(id)} if type(id) is str else document


def _now() -> datetime:
    return utc_milliseconds(datetime.now(UTC))


def _is_there(write_error: dict[str, Any]) -> bool:
    """Whether a write failed because of its `_id`, and no other unique index. FerretDB names no index."""
    return write_error["code"] == _DUPLICATE_KEY and "_id" in write_error.get("keyPattern", {"_id": 1})
