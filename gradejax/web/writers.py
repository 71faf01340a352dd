"""Who drew a drawing, without a name: a secret that the device keeps, and what the store knows of it."""

from hashlib import sha256
from typing import Annotated

from pydantic import Field

_DIGITS = 16

WriterKey = Annotated[
    str, Field(pattern="^[0-9a-f]{32}$", description="the device's secret; whoever has it may erase its drawings")
]
"""Only ever in the body of a request: neither logged nor stored nor sent back."""


def writer_of(key: str) -> str:
    """Returns the writer of the drawings that were sent with `key`, from which nobody can tell the key."""
    return f"hand-{sha256(key.encode()).hexdigest()[:_DIGITS]}"
