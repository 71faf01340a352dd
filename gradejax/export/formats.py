"""The formats that a recogniser can be taken away in, and the names of their files."""

from pkgutil import resolve_name
from typing import Any, NamedTuple


class Format(NamedTuple):
    """A format.

    Attributes:
        writer: where its function is, which is imported when it is called: JAX takes seconds.
        suffix: of the file's name.
        media_type: as HTTP says it.
    """

    writer: str
    suffix: str
    media_type: str

    def write(self, chosen: Any) -> bytes:
        """Returns a recogniser, a `recogniser.Chosen`, as the content of a file.

        Raises:
            UserError: when it cannot be written so.
        """
        return resolve_name(self.writer)(chosen)


FORMATS = {
    "page": Format("gradejax.export.page:to_page", ".html", "text/html; charset=utf-8"),
    "onnx": Format("gradejax.export.onnx:to_onnx", ".onnx", "application/octet-stream"),
    "stablehlo": Format("gradejax.export.stablehlo:to_stablehlo", ".stablehlo", "application/octet-stream"),
}
"""What --to and the pages name → the format."""


def file_name(name: str, to: str) -> str:
    """The usual name of the file of a recogniser called `name`: `cnn-20261124-101500.html`."""
    return name + FORMATS[to].suffix
