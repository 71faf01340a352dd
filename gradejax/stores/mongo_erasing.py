"""Erasing from a MongoDB collection.

MongoDB's server uses the space of deleted documents again as time goes by; nobody can ask it to overwrite them at once.
FerretDB keeps its documents in SQLite files, which can be written anew. Its log keeps nothing either, if the server was
started as docs/privacy.md says.
"""

import logging
from collections.abc import Sequence

from pymongo import DeleteOne
from pymongo.collection import Collection
from pymongo.errors import OperationFailure

from gradejax.stores import mongo_filters as filters

log = logging.getLogger(__name__)

TOGETHER = 5000
"""Ids to delete at once; FerretDB takes at most 32,766."""
FEW = 32
"""Ids that FerretDB looks up faster one by one than by a scan."""
_NO_SUCH_COLLECTION = 26


def delete(collection: Collection, ids: Sequence[str], *, ferretdb: bool) -> int:
    """Deletes documents; returns how many. Raises PyMongoError."""
    if not ferretdb or len(ids) > FEW:
        return collection.delete_many(filters.with_ids(ids)).deleted_count
    forms = [form for id in ids for form in filters.id_forms(id)]
    return collection.bulk_write([DeleteOne({"_id": form}) for form in forms], ordered=False).deleted_count


def write_anew(collection: Collection) -> None:
    """Lets FerretDB write its file anew, whose unused parts could keep what was deleted. Raises PyMongoError."""
    try:
        collection.database.command("compact", collection.name, force=True)
    except OperationFailure as error:
        if error.code != _NO_SUCH_COLLECTION:
            log.warning("%s: what was erased may be left in unused parts of FerretDB's file", error)
