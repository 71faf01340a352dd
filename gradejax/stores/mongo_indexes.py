"""The indexes of a MongoDB collection."""

import random
import time

from pymongo import IndexModel
from pymongo.collection import Collection
from pymongo.errors import AutoReconnect, ServerSelectionTimeoutError

ORDER = (("added", 1), ("_id", 1))
"""The order of insertion."""
# Each filter together with the order, so that the server never sorts: documents are large.
_INDEXES = [list(ORDER), *([(field, 1), *ORDER] for field in ("tags", "label", "writer"))]
_ROUNDS = 10  # tries while other programs create the same indexes


def create(collection: Collection) -> None:
    """Creates the indexes that are missing. Raises PyMongoError."""
    for tries_left in reversed(range(_ROUNDS)):
        try:
            existing = collection.index_information()
            missing = [index for index in map(IndexModel, _INDEXES) if index.document["name"] not in existing]
            if missing:
                collection.create_indexes(missing)
            return
        except AutoReconnect as error:
            # FerretDB drops the connection if two programs create the same index at once.
            if not tries_left or isinstance(error, ServerSelectionTimeoutError):
                raise
            time.sleep(random.uniform(0.05, 0.2))
