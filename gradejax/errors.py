"""The one family of errors that a user can mend."""


class UserError(Exception):
    """Something only the user can put right; `str()` is one line that says what to do."""


class StoreError(UserError):
    """A store that cannot be opened, reached or written; names the host or file, never a password."""


class StoreAway(StoreError):
    """A store that does not answer for now: the same may be asked of it again."""


class StoreFull(StoreError):
    """A store with no room left on its disk."""


class BadDrawing(UserError):
    """A document or picture that is no drawing; `str()` is the reason, fit for a log or a web page."""
