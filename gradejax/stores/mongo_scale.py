"""The scale that a MongoDB store remembers: in a collection beside the drawings', which other programs may read."""

import time
from threading import Lock

from pymongo.errors import OperationFailure

from gradejax.scales import LETTERS, Scale
from gradejax.stores.mongo_connection import UNAUTHORIZED, MongoConnection
from gradejax.stores.store import check_scale, remembered

_SECONDS = 1.0  # how long it takes to notice that another program has set a scale
_ID = {"_id": "scale"}


class RememberedScale:
    """The scale of one collection of drawings."""

    def __init__(self, server: MongoConnection) -> None:
        self._server = server
        self._drawings = server.collection
        self._scales = server.collection.database[f"{server.collection.name}.scale"]
        self._lock = Lock()
        self._name, self._valid_until = "", 0.0

    def name(self) -> str:
        """The scale's name; empty if none has been set. Raises StoreError if the server is away."""
        with self._lock:
            if time.monotonic() >= self._valid_until:
                self._name = self._server.retried(self._read)
                self._valid_until = time.monotonic() + _SECONDS
            return self._name

    def get(self) -> Scale:
        """The scale; `letters` if none has been set. Raises StoreError if this gradejax does not know it."""
        name = self.name()
        return remembered(name) if name else LETTERS

    def set(self, scale: Scale) -> None:
        """Sets the scale; raises UserError if drawings have labels that it lacks."""
        with self._server.errors():
            check_scale(scale, self.get(), self._drawings.distinct("label"))
            self._scales.replace_one(_ID, {"name": scale.name}, upsert=True)
        with self._lock:
            self._valid_until = 0.0

    def _read(self) -> str:
        try:
            document = self._scales.find_one(_ID)
        except OperationFailure as error:
            if error.code == UNAUTHORIZED:  # a user who may read the drawings and nothing else
                return ""
            raise
        return str(document["name"]) if document and "name" in document else ""
