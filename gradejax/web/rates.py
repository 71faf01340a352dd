"""How many requests each address and session may make."""

import time
from collections import OrderedDict

RATE = 600.0
"""Requests a second from one address, signed in or without need of a code."""
BURST = 6000
"""Requests beyond that at once: a hundred people behind one router each open a gallery."""
SESSION_RATE = 150.0
SESSION_BURST = 3000
STRANGERS_RATE = 200.0
STRANGERS_BURST = 3000

_MAX_KEPT = 10_000


class Allowances:
    """Requests left for each client: a bucket of `burst` tokens that gains `rate` tokens a second."""

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = burst
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, client: str, now: float) -> float:
        """Takes a token of `client` at the time `now`, in seconds; returns 0, or the seconds until there is one."""
        left, then = self._left.pop(client, (self._burst, now))
        left = min(self._burst, left + self._rate * (now - then))
        allowed = left >= 1
        self._left[client] = (left - allowed, now)
        if len(self._left) > _MAX_KEPT:
            self._left.popitem(last=False)  # the client idle for longest has most of its tokens anyway
        return 0.0 if allowed else (1 - left) / self._rate


class Rates:
    """The allowances of one server. Strangers use up none of those signed in behind the same router."""

    def __init__(self, *, needs_code: bool) -> None:
        self._needs_code = needs_code
        self._strangers = Allowances(STRANGERS_RATE, STRANGERS_BURST)
        self._sessions = Allowances(SESSION_RATE, SESSION_BURST)
        self._addresses = Allowances(RATE, BURST)

    def wait(self, address: str, session: str | None) -> float:
        """Counts a request; returns 0, or the seconds after which it would be allowed."""
        now = time.monotonic()
        if self._needs_code and session is None:
            return self._strangers.wait(address, now)
        if session is not None and (wait := self._sessions.wait(session, now)):
            return wait
        return self._addresses.wait(address, now)
