"""The dates of drawings, which come from the clocks of phones."""

import logging
from datetime import UTC, datetime, timedelta

log = logging.getLogger(__name__)

WRITTEN = datetime(2026, 11, 25, tzinfo=UTC)
"""When this was written: a clock that shows an earlier time is certainly wrong."""
_CERTAINLY_WRONG = timedelta(days=3650)
"""A date this far ahead is wrong. A smaller lead is kept as the client sent it, for the server's own clock may be years
behind, for example on a machine whose clock stops without power."""
_SUSPICIOUS = timedelta(days=1)


class Dates:
    """Replaces dates that cannot be right; the log is warned once."""

    def __init__(self, age: timedelta | None, whole_minutes: bool) -> None:
        """`age`: of drawings that are erased; None keeps them all. `whole_minutes`: whether to drop the seconds."""
        self._age = age
        self._whole_minutes = whole_minutes
        self._warned = False

    def corrected(self, date: datetime) -> datetime:
        """Returns the date to keep of a drawing whose page says `date`."""
        date = self._plausible(date)
        return date.replace(second=0, microsecond=0) if self._whole_minutes else date

    def _plausible(self, date: datetime) -> datetime:
        """Returns `date`, or the latest date possible if it is certainly in the future.

        A drawing that would be erased by age as soon as it is saved is as old as its save: the clock of its phone is
        wrong, or it waited there for a connection.
        """
        now = datetime.now(UTC)
        if now < WRITTEN:
            self._warn("this machine's clock is wrong: it says %s; drawings keep the dates that browsers send", now)
        elif date > now + _SUSPICIOUS:
            self._warn("a drawing arrived with the date %s, ahead of this machine's clock, %s", date, now)
        latest = max(now, WRITTEN)
        if self._age is not None and date <= latest - self._age:
            return latest
        return date if date <= latest + _CERTAINLY_WRONG else latest

    def _warn(self, message: str, *args: datetime) -> None:
        if not self._warned:
            log.warning(message, *args)
        self._warned = True
