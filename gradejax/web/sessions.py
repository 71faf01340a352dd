"""Who is signed in as what: cookies signed with a random key that survives a restart, and a list of ended sessions."""

import hashlib
import hmac
import json
import logging
import os
import secrets
import stat
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from gradejax.web.roles import Role

log = logging.getLogger(__name__)

COOKIE = "gradejax_session"
COOKIE_SECONDS = 12 * 3600

_KEY_BYTES = 32
_MAX_ENDED = 4000
_MAX_BYTES = 2**20


def sessions_file(store_uri: str) -> Path | None:
    """Returns where to keep the key: beside a SQLite store, else in the user's state folder; None without a home."""
    scheme, _, path = store_uri.partition("://")
    if scheme == "sqlite":
        return Path(f"{path[1:]}-sessions")
    try:
        state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state"
    except RuntimeError:
        return None
    return Path(state) / "gradejax" / "sessions"


class Session(NamedTuple):
    """Somebody who is signed in.

    Attributes:
        id: begins with the second at which the session expires.
        role: what it may do.
    """

    id: str
    role: Role


class Sessions:
    """Sessions under one code for each role.

    A cookie holds its session's expiry, number and role, signed with a random key and the role's code: forging cookies
    is no way to try codes, a restart with the same code keeps everybody signed in, and another code signs out those of
    its role. Signing out ends the session itself, not only the browser's copy of the cookie: ended sessions are
    remembered until they would have expired.
    """

    def __init__(self, codes: Mapping[Role, str], file: Path | None = None):
        """`file` keeps the key and the ended sessions; without it, both are lost with this server."""
        self._file = file
        self._key, self._ended = _read(file) or (secrets.token_bytes(_KEY_BYTES), {})
        # Derived from the code as well: sessions are valid for this code only.
        self._signing_keys = {role: self.derive_key(f"{role} {code}") for role, code in codes.items()}
        self._write()

    def begin(self, role: Role) -> str:
        """Returns a new session's cookie."""
        session = f"{int(time.time()) + COOKIE_SECONDS}.{secrets.token_hex(16)}.{role}"
        return f"{session}.{self._sign(session, role)}"

    def find(self, cookie: str) -> Session | None:
        """Returns the session of `cookie`; None if it has ended or never existed."""
        id, _, signature = cookie.rpartition(".")
        role = next((role for role in self._signing_keys if id.endswith(f".{role}")), None)
        if role is None or not hmac.compare_digest(signature.encode(), self._sign(id, role).encode()):
            return None
        return Session(id, role) if _expiry(id) > time.time() and id not in self._ended else None

    def end(self, session: str) -> None:
        """Ends the session of this id, which `find` returned, for every copy of its cookie."""
        now = time.time()
        self._ended = {ended: None for ended in self._ended if _expiry(ended) > now} | {session: None}
        if len(self._ended) > _MAX_ENDED:  # whoever signs in and out this often knows the code anyway
            del self._ended[next(iter(self._ended))]
        self._write()

    def derive_key(self, purpose: str) -> bytes:
        """Returns a secret key for `purpose`, the same after a restart."""
        return hmac.digest(self._key, purpose.encode(), hashlib.sha256)

    def _sign(self, session: str, role: Role) -> str:
        return hmac.new(self._signing_keys[role], session.encode(), hashlib.sha256).hexdigest()

    def _write(self) -> None:
        if self._file is None:
            return
        content = json.dumps({"key": self._key.hex(), "ended": list(self._ended)})
        try:
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Created with O_EXCL and mode 0600, and complete before it gets its name.
            with tempfile.NamedTemporaryFile(
                "w", prefix=f"{self._file.name}.", dir=self._file.parent, delete=False
            ) as file:
                file.write(content)
            Path(file.name).replace(self._file)
        except OSError as error:
            log.warning("sessions will not survive a restart: cannot write %s: %s", self._file, error.strerror)
            self._file = None


def _expiry(session: str) -> int:
    return int(session.partition(".")[0])


def _read(file: Path | None) -> tuple[bytes, dict[str, None]] | None:
    """Reads the key and the ended sessions; None if `file` holds none, or others could have read or written it."""
    if file is None:
        return None
    try:
        info = file.lstat()
        ours = not hasattr(os, "geteuid") or (info.st_uid == os.geteuid() and not info.st_mode & 0o077)
        if not ours or not stat.S_ISREG(info.st_mode) or info.st_size > _MAX_BYTES:
            return None
        kept = json.loads(file.read_bytes())
        key = bytes.fromhex(kept["key"])
        ended = {session: None for session in kept["ended"] if _expiry(session) > time.time()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return (key, ended) if len(key) == _KEY_BYTES else None
