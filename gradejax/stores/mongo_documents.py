"""Documents as they lie in a MongoDB collection."""

from collections.abc import Mapping
from typing import Any

from bson import ObjectId

from gradejax.drawings import Drawing, to_document
from gradejax.ids import to_text

Document = Mapping[str, Any]


def packed(drawing: Drawing, *, nests_lists: bool) -> dict[str, Any]:
    """Returns a new document of a drawing; `nests_lists` says whether the server can nest lists."""
    document = {**to_document(drawing), "added": ObjectId()}
    if "strokes" in document and not nests_lists:
        document["strokes"] = [{"points": stroke} for stroke in document["strokes"]]
    return document


def with_text_id(document: Document) -> Document:
    """Escapes a text `_id` that `from_document` would take for another type."""
    id = document.get("_id")
    if id is None:  # a view may leave it out; a new id on each read would be worse than an invalid one
        return {**document, "_id": ""}
    return {**document, "_id": to_text(id)} if type(id) is str else document
