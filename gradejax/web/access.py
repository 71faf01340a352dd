"""Who may come in: a class's access code, and the cookie that a right code is exchanged for."""

import hashlib
import hmac
import math
import secrets
import time
from collections import OrderedDict

from gradejax.errors import UserError

COOKIE = "gradejax_session"
COOKIE_SECONDS = 12 * 3600
MIN_CODE_LENGTH = 4
FREE_TRIES = 5
"""Wrong codes from one address before the next try has to wait."""
LONGEST_WAIT = 300.0
"""Seconds; each wrong code after the free ones doubles the wait, from one second up to this."""

_CODE_LENGTH = 8
# Without 0, 1, i, l and o: the code is read off a wall and typed into a phone.
_CODE_LETTERS = "23456789abcdefghjkmnpqrstuvwxyz"
_MOST_ADDRESSES = 10_000


def new_code() -> str:
    """A code that nobody guesses: 8 characters, 40 bits."""
    return "".join(secrets.choice(_CODE_LETTERS) for _ in range(_CODE_LENGTH))


class Access:
    """Checks codes and cookies for one running server.

    The cookie is derived from the code alone: it outlives a restart with the same code, and the server remembers
    nobody. Both are compared in constant time.
    """

    def __init__(self, code: str):
        """Raises UserError for a code that could be tried out."""
        if len(code) < MIN_CODE_LENGTH or not code.isprintable() or code != code.strip():
            raise UserError(f"--access-code needs at least {MIN_CODE_LENGTH} printable characters")
        self._code = code
        self.cookie = hmac.new(code.encode(), b"gradejax session", hashlib.sha256).hexdigest()
        self._wrong: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def admits(self, cookie: str | None) -> bool:
        """Whether `cookie` is the one that the code is exchanged for."""
        return cookie is not None and hmac.compare_digest(cookie.encode(), self.cookie.encode())

    def wait(self, address: str) -> int:
        """Seconds until `address` may try a code again; 0 for now."""
        _, until = self._wrong.get(address, (0, 0.0))
        return max(0, math.ceil(until - time.monotonic()))

    def try_code(self, code: str, address: str) -> bool:
        """Whether `code` is right; a wrong one makes `address` wait longer each time. Ask `wait` first."""
        if hmac.compare_digest(code.strip().encode(), self._code.encode()):
            self._wrong.pop(address, None)
            return True
        tries = self._wrong.pop(address, (0, 0.0))[0] + 1
        pause = 0.0 if tries < FREE_TRIES else min(LONGEST_WAIT, 2.0 ** min(tries - FREE_TRIES, 16))
        self._wrong[address] = (tries, time.monotonic() + pause)
        if len(self._wrong) > _MOST_ADDRESSES:
            self._wrong.popitem(last=False)
        return False
