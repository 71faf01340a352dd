"""The one family of errors that a user can mend."""


class UserError(Exception):
    """Something only the user can put right; `str()` is one line that says what to do."""


class StoreError(UserError):
    """A store that cannot be opened, reached or written; names the host or file, never a password."""
