"""Drawings in a MongoDB collection, which other programs may share: MongoDB 4.4 and later, FerretDB 1.24.

*Order.* Each document gets one more field on insertion, `added`, an ObjectId that gives the order of insertion. `_id`
cannot: a browser chooses it before the drawing is sent, and an import brings old ones. Documents without `added` come
from other programs and are older, so they come first, by `_id`. If another program keeps something else in `added`,
the document comes last, by `_id`, in either direction. `mongo_order` says how a search resumes after any document.

*Outages.* Operations are retried for a while. An insertion may have succeeded although its answer was lost; repeated
with the same ids it changes nothing. A search resumes after the last document it has seen.

*FerretDB* cannot nest lists, and reads every document for most searches, ten times as fast if strokes are one value. So
they are JSON text there; earlier versions stored `{points: […]}` for each, which `from_document` reads, too. FerretDB
also updates documents without a lock: threads of one store take turns, but if two programs relabel the same drawing at
the same moment, one change may be lost.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from itertools import islice
from typing import Any

from pymongo import UpdateMany
from pymongo.errors import BulkWriteError

from gradejax.drawings import Drawing, checked_label, checked_tags, from_document, utc_milliseconds
from gradejax.errors import BadDrawing, StoreAway, StoreError
from gradejax.scales import Scale
from gradejax.stores import mongo_erasing, mongo_indexes, mongo_order
from gradejax.stores import mongo_filters as filters
from gradejax.stores.mongo_connection import MongoConnection
from gradejax.stores.mongo_documents import Document, packed, unpacked
from gradejax.stores.mongo_indexes import ORDER
from gradejax.stores.mongo_scale import RememberedScale
from gradejax.stores.store import IN_USE, Query, labelled, retagged, tag_set, valid_drawings
from gradejax.traces import Trace

_NO_PICTURES = {"data": 0, "strokes": 0}
_NO_STROKES = {"strokes": 0}
_BATCH = 500  # documents that a cursor fetches at a time
_ROUNDS = 10  # tries while other programs relabel the same drawings
_DUPLICATE_KEY = 11000


class MongoStore:
    """A `Store` in one MongoDB collection; see `open_store`."""

    def __init__(self, uri: str, patience: float) -> None:
        self._server = MongoConnection(uri, patience)
        self._grades = self._server.collection
        self._remembered = RememberedScale(self._server)
        self.scale = self._scale_now()
        self._nests_lists = not self._server.is_ferretdb
        self.uri = self._server.uri
        self._indexed = False
        self._changing = threading.Lock()

    def set_scale(self, scale: Scale) -> None:
        if scale != self._scale_now():
            self._remembered.set(scale)
            self.scale = scale

    def add(self, drawings: Iterable[Drawing]) -> int:
        documents = [
            packed(drawing, nests_lists=self._nests_lists) for drawing in labelled(drawings, self._scale_now())
        ]
        if not documents:
            return 0
        tries = 0

        def insert() -> int:
            nonlocal tries
            tries += 1
            self._create_indexes()
            try:
                added = len(self._grades.insert_many(documents, ordered=False).inserted_ids)
            except BulkWriteError as error:
                details: Any = error.details
                if details["writeConcernErrors"] or not all(map(_is_known_id, details["writeErrors"])):
                    raise
                added = details["nInserted"]
            if tries > 1:  # an earlier try may have inserted some
                added = self._grades.count_documents({"added": {"$in": [document["added"] for document in documents]}})
            return added

        return self._server.retried(insert)

    def get(self, id: str) -> Drawing | None:
        document = self._lookup(id)
        return None if document is None else from_document(unpacked(document), scale=self._scale_now())

    def get_many(self, ids: Sequence[str], *, pictures: bool = True) -> dict[str, Drawing]:
        if not ids:
            return {}
        fields = None if pictures else _NO_PICTURES
        if self._nests_lists or len(ids) > mongo_erasing.FEW:
            selected = filters.with_ids(ids)
            documents = self._server.retried(lambda: list(self._grades.find(selected, fields)))
        else:
            documents = [document for id in ids if (document := self._lookup(id, fields))]
        drawings = valid_drawings(map(unpacked, documents), self._scale_now(), None, pictures)
        by_id = {drawing.id: drawing for drawing in drawings}
        return {id: by_id[id] for id in ids if id in by_id}

    def find(
        self,
        query: Query = IN_USE,
        *,
        newest_first: bool = False,
        after: str | None = None,
        limit: int | None = None,
        pictures: bool = True,
        strokes: bool = True,
        refused: Callable[[str, BadDrawing], None] | None = None,
    ) -> Iterator[Drawing]:
        fields = (None if strokes else _NO_STROKES) if pictures else _NO_PICTURES
        documents = self._documents(fields, query, -1 if newest_first else 1, after, min(limit or _BATCH, _BATCH))
        return islice(valid_drawings(map(unpacked, documents), self._scale_now(), refused, pictures), limit)

    def count(self, query: Query = IN_USE) -> int:
        return self._server.retried(lambda: self._grades.count_documents(filters.matching(query)))

    def summary(self) -> Counter[tuple[tuple[str, ...], str]]:
        # FerretDB groups correctly only directly on the collection, not after an $unwind.
        pipeline = [
            {"$match": filters.matching(IN_USE)},
            {"$group": {"_id": {"tags": "$tags", "label": "$label"}, "n": {"$sum": 1}}},
        ]
        summary: Counter[tuple[tuple[str, ...], str]] = Counter()
        self._scale_now()
        for group in self._server.retried(lambda: list(self._grades.aggregate(pipeline))):
            key = tag_set(group["_id"].get("tags")), str(group["_id"].get("label", ""))
            summary[key] += group["n"]
        return summary

    def relabel(self, ids: Sequence[str], label: str) -> int:
        checked_label(label, self._scale_now())

        def change(before: Any) -> dict[str, Any] | None:
            entry = {"label": str(before), "date": _now()}
            return None if before == label else {"$set": {"label": label}, "$push": {"history": entry}}

        return self._change_field("label", ids, change)

    def retag(self, ids: Sequence[str], *, add: Sequence[str] = (), remove: Sequence[str] = ()) -> int:
        added = checked_tags(list(add)) if add else ()

        def change(before: Any) -> dict[str, Any] | None:
            after = retagged(before, added, remove)
            return None if after is None else {"$set": {"tags": after}}

        return self._change_field("tags", ids, change)

    def exclude(self, ids: Sequence[str]) -> int:
        return self._update({**filters.with_ids(ids), "deleted": filters.IN_USE}, {"$set": {"deleted": _now()}})

    def restore(self, ids: Sequence[str]) -> int:
        return self._update({**filters.with_ids(ids), "deleted": filters.EXCLUDED}, {"$unset": {"deleted": ""}})

    def erase(self, ids: Sequence[str]) -> int:
        erased = 0
        for start in range(0, len(ids), mongo_erasing.TOGETHER):
            erased += self._server.retried(partial(self._erase, ids[start : start + mongo_erasing.TOGETHER]))
        if self._server.is_ferretdb:
            self._server.retried(partial(mongo_erasing.write_anew, self._grades))
        return erased

    def remains(self) -> list[Trace]:
        return [Trace("ferretdb" if self._server.is_ferretdb else "mongodb")]

    def fingerprint(self, query: Query = IN_USE) -> str:
        def digest() -> str:
            digest = sha256(self._remembered.name().encode())
            for batch in self._grades.find_raw_batches(
                filters.matching(query), sort=list(ORDER), batch_size=_BATCH, allow_disk_use=True
            ):
                digest.update(batch)
            return digest.hexdigest()[:16]

        return self._server.retried(digest)

    def close(self) -> None:
        self._server.close()

    def _documents(
        self, fields: dict[str, int] | None, query: Query, direction: int, after: str | None, batch_size: int
    ) -> Iterator[Document]:
        """Yields the selected documents in order, resuming after an outage; those with a strange `added` come last."""
        ferretdb = self._server.is_ferretdb
        last = None
        if after is not None:
            last = self._lookup(after, {"added": 1})
            if last is None:
                raise StoreError(f"{self.uri} holds no drawing {after!r} to go on from")
        strange = last is not None and mongo_order.is_strange(last)
        # Whether a second search, for strange documents, is needed. A search from the beginning sees them in passing.
        search_strange = last is not None
        away_since = None
        while True:
            order = [(field, direction) for field, _ in ORDER[strange:]]
            conditions = [filters.matching(query)]
            if strange:
                conditions.append(mongo_order.strange(ferretdb=ferretdb))
            if last is not None:
                conditions.append(mongo_order.following(last, direction, ferretdb=ferretdb))
            # Documents with the same `added` as the last one come again: skip up to and including the last one.
            skipping = None if last is None or strange else last.get("added")
            try:
                with (
                    self._server.errors(),
                    self._grades.find(
                        {"$and": conditions}, fields, sort=order, batch_size=batch_size, allow_disk_use=True
                    ) as cursor,
                ):
                    for document in cursor:
                        away_since = None
                        if mongo_order.is_strange(document) != strange:
                            search_strange = True
                        elif skipping is None or document.get("added") != skipping:
                            last, skipping = document, None
                            yield document
                        elif last is not None and mongo_order.identity(document) == mongo_order.identity(last):
                            skipping = None
            except StoreAway as error:
                search_strange = True
                away_since = away_since or time.monotonic()
                self._server.wait(error, away_since)
            else:
                if strange or not search_strange:
                    return
                strange, last = True, None

    def _scale_now(self) -> Scale:
        self.scale = self._remembered.get()
        return self.scale

    def _lookup(self, id: str, fields: dict[str, int] | None = None) -> Document | None:
        # One form at a time: FerretDB scans the whole collection unless the filter is an `_id` and nothing else.
        for form in filters.id_forms(id):
            document = self._server.retried(partial(self._grades.find_one, {"_id": form}, fields))
            if document is not None:
                return document
        return None

    def _change_field(self, field: str, ids: Sequence[str], change: Callable[[Any], dict[str, Any] | None]) -> int:
        """Applies to each document the update that `change` returns for what it has in `field`, unless it is None."""
        changed = 0
        with self._server.errors():
            self._create_indexes()
        with self._server.errors(), self._changing:
            # The update depends on the value, so it matches on it. If another program was faster, nothing matches, and
            # the next round sees that program's value.
            for _ in range(_ROUNDS):
                by_value: dict[str, tuple[Any, list[Any]]] = {}
                for document in self._grades.find(filters.with_ids(ids), {field: 1}):
                    before = document.get(field)
                    by_value.setdefault(repr(before), (before, []))[1].append(document["_id"])
                updates = [
                    UpdateMany({"_id": {"$in": raw_ids}, field: {"$eq": before}}, update)
                    for before, raw_ids in by_value.values()
                    if (update := change(before)) is not None
                ]
                if not updates:
                    break
                changed += self._grades.bulk_write(updates, ordered=False).modified_count
        return changed

    def _erase(self, ids: Sequence[str]) -> int:
        with self._changing:
            return mongo_erasing.delete(self._grades, ids, ferretdb=self._server.is_ferretdb)

    def _update(self, selected: dict[str, Any], change: dict[str, Any]) -> int:
        with self._server.errors():
            self._create_indexes()
            with self._changing:
                return self._grades.update_many(selected, change).modified_count

    def _create_indexes(self) -> None:
        """Called before the first write only, so that a user without the right to write can still read."""
        with self._changing:
            if not self._indexed:
                mongo_indexes.create(self._grades)
                self._indexed = True


def _now() -> datetime:
    return utc_milliseconds(datetime.now(UTC))


def _is_known_id(write_error: Mapping[str, Any]) -> bool:
    """Whether a write failed because of its `_id` and not another unique index. FerretDB does not name the index."""
    return write_error["code"] == _DUPLICATE_KEY and "_id" in write_error.get("keyPattern", {"_id": 1})
