"""Who may sign in: the pupils' code and the teacher's, and the sessions that begin with them."""

import secrets
import unicodedata
from pathlib import Path

from gradejax.errors import UserError
from gradejax.web.locks import Lock
from gradejax.web.roles import Role
from gradejax.web.sessions import Sessions

MIN_CODE_LENGTH = 6
MIN_DIGITS = 8
"""Of a code of digits only: six of them are tried within the hour."""
WRONG_CODES_PER_SECOND = {Role.PUPIL: 200.0, Role.TEACHER: 5.0}
"""Wrong codes compared with a code that somebody chose, from all addresses together. The pupils' is on the wall: what
matters more is that none of them waits for long behind somebody who guesses."""

_FLAGS = {
    Role.PUPIL: "--access-code (or GRADEJAX_ACCESS_CODE)",
    Role.TEACHER: "--teacher-code (or GRADEJAX_TEACHER_CODE)",
}
_CODE_LENGTH = 8
# Without 0, 1, i, l and o: the code is read off a wall and typed into a phone.
_CODE_LETTERS = "23456789abcdefghjkmnpqrstuvwxyz"


def new_code() -> str:
    """Returns a code that nobody can guess: 8 characters, 40 bits."""
    return "".join(secrets.choice(_CODE_LETTERS) for _ in range(_CODE_LENGTH))


class Access:
    """The two codes of one running server, and its sessions.

    Whatever is tried is compared with a generated code at once, so that nobody who has it waits, however many wrong
    ones arrive: at a thousand a second, guessing it takes 13 years. Nobody knows how hard a chosen one is to guess:
    tries are limited (see `Lock`).

    Attributes:
        codes: of each role, as it is shown.
        sessions: those who signed in.
    """

    def __init__(self, pupils_code: str | None, teachers_code: str | None, sessions_file: Path | None = None):
        """Creates the codes that are None.

        Raises:
            UserError: for a code that is too easy to guess, or if both are the same.
        """
        chosen = {Role.PUPIL: pupils_code, Role.TEACHER: teachers_code}
        self.codes = {role: new_code() if code is None else code for role, code in chosen.items()}
        for role, code in self.codes.items():
            _check(code, _FLAGS[role])
        folded = {role: _folded(code) for role, code in self.codes.items()}
        if folded[Role.PUPIL] == folded[Role.TEACHER]:
            raise UserError(
                f"{_FLAGS[Role.TEACHER]} must differ from the pupils' code: whoever has it may do everything"
            )
        self.sessions = Sessions(folded, sessions_file)
        self._locks = {
            role: Lock(folded[role], None if code is None else WRONG_CODES_PER_SECOND[role])
            for role, code in chosen.items()
        }

    async def try_code(self, code: str, address: str) -> Role | None:
        """Returns the role that `code` belongs to, once its turn has come; None if it is wrong.

        Raises:
            TooManyAttempts: if too many wait for this one to be compared.
        """
        folded = _folded(code)
        # The generated ones first: they need not wait.
        for role in sorted(self._locks, key=lambda role: self._locks[role].is_limited):
            if await self._locks[role].opens(folded, address):
                return role
        return None


def _check(code: str, flag: str) -> None:
    folded = _folded(code)
    least = MIN_DIGITS if folded.isdigit() else MIN_CODE_LENGTH
    if min(len(code), len(folded)) < least or not code.isprintable() or code != code.strip():
        raise UserError(
            f"{flag} needs at least {MIN_CODE_LENGTH} printable characters, or {MIN_DIGITS} digits, "
            "and no space around them"
        )


def _folded(code: str) -> str:
    """Returns the code as it is compared: ignoring case, and how a keyboard composes letters."""
    return unicodedata.normalize("NFKC", code.strip()).casefold()
