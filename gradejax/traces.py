"""Where copies of erased drawings may be left that gradejax cannot erase."""

from dataclasses import dataclass
from pathlib import Path

SENTENCES = {
    "backup": "{path} is the store before gradejax changed its format, and holds the drawings.",
    "read": "{path} and its log may hold the drawings until nobody reads from it: erase again then.",
    "mongodb": (
        "MongoDB uses the space of erased drawings again as time goes by; its command `compact` frees it sooner."
    ),
    "ferretdb": (
        "FerretDB's log may hold the drawings until it is used again, unless it was started as docs/privacy.md says."
    ),
    "run": "{path} was trained on tags that are gone, and names them in its config and above its plots.",
    "copies": (
        "Backups, exports, downloads and files of `data audit --out` still hold the drawings: delete these files."
    ),
    "models": "Models that were trained on them keep what they have learned: train anew, and delete the runs.",
    "elsewhere": "Caches and runs in other folders than the one in which this ran were not looked for.",
}
"""What is said of each kind of trace."""


@dataclass(frozen=True)
class Trace:
    """A place where copies may be left; `str` of it is the sentence for the command line.

    Attributes:
        kind: one of SENTENCES.
        path: the file or folder, if it is one.
    """

    kind: str
    path: Path | None = None

    def __str__(self) -> str:
        return SENTENCES[self.kind].format(path=self.path)
