"""The one family of errors that a user can fix."""


class UserError(Exception):
    """An error that only the user can fix; `str()` is one line that says how."""


class MissingLibrary(UserError):
    """An optional library is needed and not installed; `str()` says how to install it.

    Attributes:
        command: installs it.
    """

    def __init__(self, purpose: str, extra: str):
        """Creates it.

        Args:
            purpose: what needs the library, as the subject of a sentence.
            extra: of gradejax, which brings the library.
        """
        self.command = f"pip install -e '.[{extra}]'"
        super().__init__(f"{purpose} needs a library that is not installed: {self.command}")


class StoreError(UserError):
    """A store cannot be opened, reached or written; the message names the host or file, never a password."""


class StoreAway(StoreError):
    """A store does not answer for now; the operation may be repeated."""


class StoreFull(StoreError):
    """A store has no room left on its disk."""


class BadDrawing(UserError):
    """A document or picture is not a valid drawing; `str()` is the reason, fit for a log or a web page."""
