"""Who is signed in: cookies signed with a random key that outlives a restart, and what signing out ends."""

import hashlib
import hmac
import json
import logging
import os
import secrets
import stat
import tempfile
import time
from pathlib import Path

logger = logging.getLogger(__name__)

COOKIE = "gradejax_session"
COOKIE_SECONDS = 12 * 3600

_KEY_BYTES = 32
_MOST_ENDED = 4000
_MOST_BYTES = 2**20


def sessions_file(store_uri: str) -> Path | None:
    """Where the key belongs: beside a SQLite store, else with the user's other state; None without a home."""
    scheme, _, path = store_uri.partition("://")
    if scheme == "sqlite":
        return Path(f"{path[1:]}-sessions")
    try:
        state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state"
    except RuntimeError:
        return None
    return Path(state) / "gradejax" / "sessions"


class Sessions:
    """Sessions under one access code.

    A cookie says until when its session lasts and which it is, and carries their signature under a random key and the
    code: nobody can try codes by making cookies, a restart with the same code keeps everybody signed in, and another
    code signs everybody out. Signing out ends the session itself, not only the browser's copy of the cookie: ended
    sessions are remembered until they would have expired.
    """

    def __init__(self, code: str, file: Path | None = None):
        """`file` holds the key and the ended sessions; without it, both end with this server."""
        self._file = file
        self._key, self._ended = _read(file) or (secrets.token_bytes(_KEY_BYTES), {})
        # Under the code's digest the key signs for this code alone.
        self._signing_key = hmac.digest(self._key, code.encode(), hashlib.sha256)
        self._write()

    def begin(self) -> str:
        """A new session's cookie."""
        session = f"{int(time.time()) + COOKIE_SECONDS}.{secrets.token_hex(16)}"
        return f"{session}.{self._sign(session)}"

    def find(self, cookie: str) -> str | None:
        """The session that `cookie` stands for, unless it is over or never was."""
        session, _, signature = cookie.rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._sign(session).encode()):
            return None
        return session if _expiry(session) > time.time() and session not in self._ended else None

    def end(self, session: str) -> None:
        """Ends a session that `find` gave, for every copy of its cookie."""
        now = time.time()
        self._ended = {one: None for one in self._ended if _expiry(one) > now} | {session: None}
        if len(self._ended) > _MOST_ENDED:  # whoever signs in and out so often knows the code anyway
            del self._ended[next(iter(self._ended))]
        self._write()

    def _sign(self, session: str) -> str:
        return hmac.new(self._signing_key, session.encode(), hashlib.sha256).hexdigest()

    def _write(self) -> None:
        if self._file is None:
            return
        content = json.dumps({"key": self._key.hex(), "ended": list(self._ended)})
        try:
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Made with O_EXCL and mode 0600, and whole before it has its name.
            with tempfile.NamedTemporaryFile(
                "w", prefix=f"{self._file.name}.", dir=self._file.parent, delete=False
            ) as file:
                file.write(content)
            Path(file.name).replace(self._file)
        except OSError as error:
            logger.warning("sessions end with this server: %s cannot be written: %s", self._file, error.strerror)
            self._file = None


def _expiry(session: str) -> int:
    return int(session.partition(".")[0])


def _read(file: Path | None) -> tuple[bytes, dict[str, None]] | None:
    """The key and the ended sessions in `file`; None where it holds none, or others could have read or written it."""
    if file is None:
        return None
    try:
        found = file.lstat()
        ours = not hasattr(os, "geteuid") or (found.st_uid == os.geteuid() and not found.st_mode & 0o077)
        if not ours or not stat.S_ISREG(found.st_mode) or found.st_size > _MOST_BYTES:
            return None
        kept = json.loads(file.read_bytes())
        key = bytes.fromhex(kept["key"])
        ended = {session: None for session in kept["ended"] if _expiry(session) > time.time()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return (key, ended) if len(key) == _KEY_BYTES else None
