"""A class's settings: one JSON file beside a SQLite store, or in the user's state folder for MongoDB."""

import hashlib
import logging
import os
import tempfile
import threading
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from gradejax.web.messages import Name
from gradejax.web.state import from_state

log = logging.getLogger(__name__)

MAX_OFFERED = 50
"""Tags that a class may offer."""
MAX_RENAMED = 1000
"""Renamed tags that are remembered; the oldest are forgotten first."""

_MAX_BYTES = 2**21  # all names as long as they may be, in UTF-8


class ClassSettings(BaseModel):
    """What a teacher has set.

    Attributes:
        tags: those that pupils choose from.
        free_tags: whether pupils may type others.
        renamed: earlier names of tags, and what each is called now: a drawing may arrive late, with the earlier one.
        paused: whether saves are refused.
    """

    model_config = ConfigDict(strict=True, frozen=True)
    tags: Annotated[tuple[Name, ...], Field(max_length=MAX_OFFERED)] = ()
    free_tags: bool = False
    renamed: Annotated[dict[Name, Name], Field(max_length=MAX_RENAMED)] = {}
    paused: bool = False


class Settings:
    """The settings of the class that draws into one store; a change is kept for the next start.

    Attributes:
        now: the settings at the moment.
    """

    def __init__(self, store_uri: str):
        """Reads the settings; a file that cannot be read counts as none, and the log says so."""
        self._file = settings_file(store_uri)
        self._changing = threading.Lock()
        self.now = _read(self._file)
        self._take_over_pause(store_uri)

    def change(self, **changes: Any) -> ClassSettings:
        """Changes some settings, and returns all of them as they are then.

        Args:
            changes: by their names in ClassSettings; checked by whoever calls.
        """
        with self._changing:
            self.now = self.now.model_copy(update=changes)
            self._write()
            return self.now

    def _take_over_pause(self, store_uri: str) -> None:
        """Before there were settings, an empty file beside the store said that the collection is paused."""
        scheme, _, path = store_uri.partition("://")
        earlier = Path(f"{path[1:]}-paused")
        if scheme == "sqlite" and earlier.exists():
            self.now = self.now.model_copy(update={"paused": True})
            if self._write():
                earlier.unlink(missing_ok=True)

    def _write(self) -> bool:
        if self._file is None:
            log.warning("a restart will not know the class's settings: there is no home folder to keep them in")
            return False
        try:
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Created with O_EXCL and mode 0600, and complete before it gets its name.
            with tempfile.NamedTemporaryFile(
                "w", encoding="utf-8", prefix=f"{self._file.name}.", dir=self._file.parent, delete=False
            ) as file:
                file.write(self.now.model_dump_json(indent=2))
                file.flush()
                os.fsync(file.fileno())
            Path(file.name).replace(self._file)
        except OSError as error:
            log.warning("a restart will not know the class's settings: cannot write %s: %s", self._file, error.strerror)
            return False
        return True


SettingsDep = Annotated[Settings, from_state("settings")]


def settings_file(store_uri: str) -> Path | None:
    """Returns where the settings of a store's class are kept; None without a home folder."""
    scheme, _, path = store_uri.partition("://")
    if scheme == "sqlite":
        return Path(f"{path[1:]}-settings.json")
    try:
        state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state"
    except RuntimeError:
        return None
    digest = hashlib.sha256(store_uri.encode()).hexdigest()[:16]
    return Path(state) / "gradejax" / f"{digest}-settings.json"


def _read(file: Path | None) -> ClassSettings:
    if file is None:
        return ClassSettings()
    try:
        with file.open("rb") as opened:
            content = opened.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            raise ValueError
        return ClassSettings.model_validate_json(content)
    except FileNotFoundError:
        pass
    except OSError as error:
        log.warning("the class has no settings: cannot read %s: %s", file, error.strerror)
    except ValueError:
        log.warning("the class has no settings: %s is damaged; offer the tags again on the page Class", file)
    return ClassSettings()
