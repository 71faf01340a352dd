"""Recognises hand-drawn school grades, A+ to E-."""

import os
import signal
import sys

__version__ = "0.1.0"


def interrupted(*_: object) -> None:
    """Ends the process on Ctrl-C when an exception would be printed as a traceback, or swallowed by an import."""
    os.write(2, b"error: interrupted\n")
    os._exit(130)


def end_on_interrupt() -> None:
    """Makes Ctrl-C end the process through `interrupted`, unless the process ignores or handles it already."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupted)


# A command (`python -m gradejax.main`) imports for seconds before cli.run() can handle an exception. A program that
# imports this package keeps its own handler.
if sys.argv[:1] == ["-m"]:
    end_on_interrupt()
