"""Who may sign in: a class's access code, and how fast codes can be tried."""

import asyncio
import hmac
import secrets
import time
import unicodedata
from bisect import insort
from collections import Counter, OrderedDict
from itertools import count
from pathlib import Path
from typing import NamedTuple

from gradejax.errors import UserError
from gradejax.web.sessions import Sessions

MIN_CODE_LENGTH = 6
WRONG_CODES_AT_ONCE = 100
"""Wrong codes, from anybody, that are checked without delay: a class that mistypes does not notice the limit."""
WRONG_CODES_PER_SECOND = 5.0
"""Wrong codes beyond those, from all addresses together."""
MAX_WAITING = 1000

_CODE_LENGTH = 8
# Without 0, 1, i, l and o: the code is read off a wall and typed into a phone.
_CODE_LETTERS = "23456789abcdefghjkmnpqrstuvwxyz"
_MAX_ADDRESSES = 10_000


def new_code() -> str:
    """Returns a code that nobody can guess: 8 characters, 40 bits."""
    return "".join(secrets.choice(_CODE_LETTERS) for _ in range(_CODE_LENGTH))


class TooManyAttempts(Exception):
    """More codes are waiting than the server keeps."""


class _Attempt(NamedTuple):
    rank: int
    number: int
    code: bytes
    address: str
    answer: asyncio.Future[bool]


class Access:
    """The access code of one running server, and its sessions.

    Only wrong codes use up the allowance. Once it is used up, codes wait for their turn, which comes first for
    addresses with few wrong codes and few waiting ones: neither one address that tries many codes nor many addresses
    that try one each keep a class out for long.

    Attributes:
        sessions: those who signed in with the code.
    """

    def __init__(self, code: str, sessions_file: Path | None = None):
        """Raises UserError for a code that is too easy to guess."""
        folded = _folded(code)
        if min(len(code), len(folded)) < MIN_CODE_LENGTH or not code.isprintable() or code != code.strip():
            raise UserError(
                "--access-code (or GRADEJAX_ACCESS_CODE) needs at least "
                f"{MIN_CODE_LENGTH} printable characters, and no space around them"
            )
        self._code = folded.encode()
        self.sessions = Sessions(folded, sessions_file)
        self._allowance = float(WRONG_CODES_AT_ONCE)
        self._updated = time.monotonic()
        self._wrong: OrderedDict[str, int] = OrderedDict()
        self._queue: list[_Attempt] = []
        self._waiting: Counter[str] = Counter()
        self._numbers = count()
        self._next_check: asyncio.TimerHandle | None = None

    async def try_code(self, code: str, address: str) -> bool:
        """Returns whether `code` is right, once its turn has come.

        Raises:
            TooManyAttempts: if too many wait for this one to be checked.
        """
        rank = self._wrong.get(address, 0) + self._waiting[address]
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        insort(self._queue, _Attempt(rank, next(self._numbers), _folded(code).encode(), address, answer))
        self._waiting[address] += 1
        self._check_due()
        if len(self._queue) > MAX_WAITING:
            last = self._queue.pop()
            self._stop_waiting(last)
            last.answer.set_exception(TooManyAttempts())
        return await answer

    def _check_due(self) -> None:
        """Checks the codes whose turn has come."""
        now = time.monotonic()
        gained = WRONG_CODES_PER_SECOND * (now - self._updated)
        self._allowance = min(WRONG_CODES_AT_ONCE, self._allowance + gained)
        self._updated = now
        while self._queue and self._allowance >= 1:
            attempt = self._queue.pop(0)
            self._stop_waiting(attempt)
            right = hmac.compare_digest(attempt.code, self._code)
            self._remember(attempt.address, right)
            self._allowance -= not right
            if not attempt.answer.done():
                attempt.answer.set_result(right)
        if self._next_check is not None:
            self._next_check.cancel()
            self._next_check = None
        if self._queue:
            wait = (1 - self._allowance) / WRONG_CODES_PER_SECOND
            self._next_check = asyncio.get_running_loop().call_later(wait, self._check_due)

    def _stop_waiting(self, attempt: _Attempt) -> None:
        self._waiting[attempt.address] -= 1
        if not self._waiting[attempt.address]:
            del self._waiting[attempt.address]

    def _remember(self, address: str, right: bool) -> None:
        wrong = self._wrong.pop(address, 0)
        if not right:
            self._wrong[address] = wrong + 1
            if len(self._wrong) > _MAX_ADDRESSES:
                self._wrong.popitem(last=False)


def _folded(code: str) -> str:
    """Returns the code as it is compared: ignoring case, and how a keyboard composes letters."""
    return unicodedata.normalize("NFKC", code.strip()).casefold()
