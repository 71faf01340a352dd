"""Documents as they lie in a MongoDB collection."""

import json
from collections.abc import Mapping
from typing import Any

from bson import ObjectId

from gradejax.drawings import Drawing, to_document
from gradejax.ids import to_text
from gradejax.stores.store import from_json

Document = Mapping[str, Any]


def packed(drawing: Drawing, *, nests_lists: bool) -> dict[str, Any]:
    """Returns a new document of a drawing; `nests_lists` says whether the server can nest lists."""
    document = {**to_document(drawing), "added": ObjectId()}
    if "strokes" in document and not nests_lists:
        document["strokes"] = json.dumps(document["strokes"])
    return document


def unpacked(document: Document) -> Document:
    """Returns a document for `from_document`: with its strokes as a list, and a text `_id` that would be taken for
    another type escaped."""
    id = document.get("_id")
    if id is None:  # a view may leave it out; a new id on each read would be worse than an invalid one
        document = {**document, "_id": ""}
    elif type(id) is str:
        document = {**document, "_id": to_text(id)}
    strokes = document.get("strokes")
    return {**document, "strokes": from_json(strokes)} if type(strokes) is str else document
