"""How many requests each address and session may make, and how much it may save."""

import time
from collections import OrderedDict
from typing import NamedTuple

from gradejax.web.languages import Text

RATE = 600.0
"""Requests a second from one address, signed in or without need of a code."""
BURST = 6000
"""Requests beyond that at once: a hundred people behind one router each open a gallery."""
SESSION_RATE = 150.0
SESSION_BURST = 3000
STRANGERS_RATE = 200.0
STRANGERS_BURST = 3000
CODES_RATE = 1000.0
"""Codes tried from one address, counted apart: whoever guesses leaves others behind the same router their page."""
CODES_BURST = 3000
SAVES_RATE = 5.0
"""Saves a second in one session: ten times as many as anybody draws."""
SAVES_BURST = 600
"""What somebody draws in twenty minutes without a connection; beyond it, the page sends the rest a little later."""
BYTES_RATE = 2.0 * 2**20
"""Bytes a second in the bodies of one session's requests."""
BYTES_BURST = 100 * 2**20

_MAX_KEPT = 10_000


class Allowances:
    """What is left for each client: a bucket of `burst` tokens that gains `rate` tokens a second."""

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = burst
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, client: str, now: float, tokens: int = 1) -> float:
        """Takes tokens of `client` at the time `now`, in seconds; returns 0, or the seconds until there are enough."""
        left, then = self._left.pop(client, (self._burst, now))
        left = min(self._burst, left + self._rate * (now - then))
        allowed = left >= tokens
        self._left[client] = (left - tokens * allowed, now)
        if len(self._left) > _MAX_KEPT:
            self._left.popitem(last=False)  # the client idle for longest has most of its tokens anyway
        return 0.0 if allowed else (tokens - left) / self._rate


class Excess(NamedTuple):
    """Why a request is refused.

    Attributes:
        seconds: after which it would be allowed.
        reason: what to tell whoever asked.
    """

    seconds: float
    reason: Text


class Asked(NamedTuple):
    """What matters about a request.

    Attributes:
        tries_code: whether it may be a guess at a code.
        saves: whether it saves a drawing.
        n_bytes: the most that its body may have.
    """

    tries_code: bool
    saves: bool
    n_bytes: int


class Rates:
    """The allowances of one server. Strangers use up none of those signed in behind the same router.

    Without need of a code, all requests come from this machine, whose owner may save as fast as they like.
    """

    def __init__(self, *, needs_code: bool) -> None:
        self._needs_code = needs_code
        self._strangers = Allowances(STRANGERS_RATE, STRANGERS_BURST)
        self._codes = Allowances(CODES_RATE, CODES_BURST)
        self._sessions = Allowances(SESSION_RATE, SESSION_BURST)
        self._addresses = Allowances(RATE, BURST)
        self._saves = Allowances(SAVES_RATE, SAVES_BURST)
        self._bytes = Allowances(BYTES_RATE, BYTES_BURST)

    def excess(self, address: str, session: str | None, asked: Asked) -> Excess | None:
        """Counts a request; returns None if it is allowed."""
        now = time.monotonic()
        if self._needs_code and session is None:
            wait = (self._codes if asked.tries_code else self._strangers).wait(address, now)
        else:
            wait = (session is not None and self._sessions.wait(session, now)) or self._addresses.wait(address, now)
        if wait:
            return Excess(wait, Text("server.address-too-fast"))
        if session is not None and (wait := self._save_wait(session, asked, now)):
            return Excess(wait, Text("server.device-too-fast"))
        return None

    def _save_wait(self, session: str, asked: Asked, now: float) -> float:
        saves = asked.saves and self._saves.wait(session, now)
        return saves or self._bytes.wait(session, now, asked.n_bytes)
