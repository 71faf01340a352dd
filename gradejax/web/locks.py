"""A code, and how fast wrong ones are compared with it."""

import asyncio
import hmac
import time
from bisect import insort
from collections import Counter, OrderedDict
from itertools import count
from typing import NamedTuple

WRONG_CODES_AT_ONCE = 100
"""Wrong codes, from anybody, that are compared without delay: a class that mistypes does not notice the limit."""
MAX_WAITING = 400

_MAX_ADDRESSES = 10_000


class TooManyAttempts(Exception):
    """More codes are waiting than the server keeps."""


class _Attempt(NamedTuple):
    rank: int
    number: int
    code: bytes
    address: str
    answer: asyncio.Future[bool]


class Lock:
    """Compares codes with the right one.

    Without a limit, each is compared at once. With one, only wrong codes use up the allowance. Once it is used up,
    codes wait for their turn, which comes first for addresses with few wrong codes and few waiting ones: neither one
    address that tries many codes nor many addresses that try one each keep a class out for long.
    """

    def __init__(self, code: str, wrong_per_second: float | None):
        """Creates the lock.

        Args:
            code: the right code, folded as those that will be tried.
            wrong_per_second: how many wrong ones are compared beyond WRONG_CODES_AT_ONCE, from all addresses
                together; None if the code is so long that any number may be.
        """
        self._code = code.encode()
        self._per_second = wrong_per_second
        self._allowance = float(WRONG_CODES_AT_ONCE)
        self._updated = time.monotonic()
        self._wrong: OrderedDict[str, int] = OrderedDict()
        self._queue: list[_Attempt] = []
        self._waiting: Counter[str] = Counter()
        self._numbers = count()
        self._next_check: asyncio.TimerHandle | None = None

    @property
    def is_limited(self) -> bool:
        """Whether codes may have to wait."""
        return self._per_second is not None

    async def opens(self, code: str, address: str) -> bool:
        """Returns whether `code` is right, once its turn has come.

        Raises:
            TooManyAttempts: if too many wait for this one to be compared.
        """
        if self._per_second is None:
            return hmac.compare_digest(code.encode(), self._code)
        rank = self._wrong.get(address, 0) + self._waiting[address]
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        insort(self._queue, _Attempt(rank, next(self._numbers), code.encode(), address, answer))
        self._waiting[address] += 1
        self._check_due(self._per_second)
        if len(self._queue) > MAX_WAITING:
            last = self._queue.pop()
            self._stop_waiting(last)
            last.answer.set_exception(TooManyAttempts())
        return await answer

    def _check_due(self, per_second: float) -> None:
        """Compares the codes whose turn has come."""
        now = time.monotonic()
        gained = per_second * (now - self._updated)
        self._allowance = min(WRONG_CODES_AT_ONCE, self._allowance + gained)
        self._updated = now
        while self._queue and self._allowance >= 1:
            attempt = self._queue.pop(0)
            self._stop_waiting(attempt)
            right = hmac.compare_digest(attempt.code, self._code)
            if not right:
                self._allowance -= 1
                self._remember_wrong(attempt.address)
            if not attempt.answer.done():
                attempt.answer.set_result(right)
        if self._next_check is not None:
            self._next_check.cancel()
            self._next_check = None
        if self._queue:
            wait = (1 - self._allowance) / per_second
            self._next_check = asyncio.get_running_loop().call_later(wait, self._check_due, per_second)

    def _stop_waiting(self, attempt: _Attempt) -> None:
        self._waiting[attempt.address] -= 1
        if not self._waiting[attempt.address]:
            del self._waiting[attempt.address]

    def _remember_wrong(self, address: str) -> None:
        # A right one does not clear the count: codes of this address that come later would overtake those that wait.
        self._wrong[address] = self._wrong.pop(address, 0) + 1
        if len(self._wrong) > _MAX_ADDRESSES:
            self._wrong.popitem(last=False)
