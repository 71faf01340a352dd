"""Who may come in: a class's access code, and how fast codes can be tried."""

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
"""Wrong codes that are looked at without delay, whoever sends them: a class that mistypes does not notice the limit."""
WRONG_CODES_PER_SECOND = 5.0
"""Beyond those, from all addresses together."""
MOST_WAITING = 1000

_CODE_LENGTH = 8
# Without 0, 1, i, l and o: the code is read off a wall and typed into a phone.
_CODE_LETTERS = "23456789abcdefghjkmnpqrstuvwxyz"
_MOST_ADDRESSES = 10_000


def new_code() -> str:
    """A code that nobody guesses: 8 characters, 40 bits."""
    return "".join(secrets.choice(_CODE_LETTERS) for _ in range(_CODE_LENGTH))


class TooManyTries(Exception):
    """More codes wait to be looked at than the server keeps."""


class _Try(NamedTuple):
    place: int
    number: int
    code: bytes
    address: str
    answer: asyncio.Future[bool]


class Access:
    """The access code of one running server, and the sessions under it.

    A right code is looked at and let in at any time: only wrong ones use up what may be looked at. Where that is used
    up, codes wait for their turn. It comes first to addresses from which few wrong codes have come and few wait, so
    that neither one address with many tries nor many addresses with one each hold up a class for long.
    """

    def __init__(self, code: str, sessions_file: Path | None = None):
        """Raises UserError for a code that could be tried out."""
        folded = _folded(code)
        if min(len(code), len(folded)) < MIN_CODE_LENGTH or not code.isprintable() or code != code.strip():
            raise UserError(
                "--access-code (or GRADEJAX_ACCESS_CODE) needs at least "
                f"{MIN_CODE_LENGTH} printable characters, and no space around them"
            )
        self._code = folded.encode()
        self.sessions = Sessions(folded, sessions_file)
        self._left = float(WRONG_CODES_AT_ONCE)
        self._then = time.monotonic()
        self._wrong: OrderedDict[str, int] = OrderedDict()
        self._queue: list[_Try] = []
        self._waiting: Counter[str] = Counter()
        self._numbers = count()
        self._next_turn: asyncio.TimerHandle | None = None

    async def try_code(self, code: str, address: str) -> bool:
        """Whether `code` is right, which is looked at when its turn comes.

        Raises:
            TooManyTries: so many wait that this one is not looked at.
        """
        place = self._wrong.get(address, 0) + self._waiting[address]
        answer = asyncio.get_running_loop().create_future()
        insort(self._queue, _Try(place, next(self._numbers), _folded(code).encode(), address, answer))
        self._waiting[address] += 1
        self._look()
        if len(self._queue) > MOST_WAITING:
            last = self._queue.pop()
            self._leave(last)
            last.answer.set_exception(TooManyTries())
        return await answer

    def _look(self) -> None:
        """Looks at the codes whose turn it is."""
        now = time.monotonic()
        self._left = min(WRONG_CODES_AT_ONCE, self._left + WRONG_CODES_PER_SECOND * (now - self._then))
        self._then = now
        while self._queue and self._left >= 1:
            one = self._queue.pop(0)
            self._leave(one)
            right = hmac.compare_digest(one.code, self._code)
            self._remember(one.address, right)
            self._left -= not right
            if not one.answer.done():
                one.answer.set_result(right)
        if self._next_turn is not None:
            self._next_turn.cancel()
            self._next_turn = None
        if self._queue:
            wait = (1 - self._left) / WRONG_CODES_PER_SECOND
            self._next_turn = asyncio.get_running_loop().call_later(wait, self._look)

    def _leave(self, one: _Try) -> None:
        self._waiting[one.address] -= 1
        if not self._waiting[one.address]:
            del self._waiting[one.address]

    def _remember(self, address: str, right: bool) -> None:
        wrong = self._wrong.pop(address, 0)
        if not right:
            self._wrong[address] = wrong + 1
            if len(self._wrong) > _MOST_ADDRESSES:
                self._wrong.popitem(last=False)


def _folded(code: str) -> str:
    """As it is compared: the case of letters, and how a keyboard composes them, make no difference."""
    return unicodedata.normalize("NFKC", code.strip()).casefold()
