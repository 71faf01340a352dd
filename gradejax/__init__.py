"""Recognises hand-drawn school grades, A+ to E-."""

import os
import signal
import sys


def interrupted(*_: object) -> None:
    """Ends the process on Ctrl-C where an exception would be printed as a traceback, or swallowed by an import."""
    os.write(2, b"error: interrupted\n")
    os._exit(130)


# A command (`python -m gradejax.main`) imports for seconds before command.run() can handle an exception. A program that
# imports this package, and a process started with SIGINT ignored, keep what they have.
if sys.argv[:1] == ["-m"] and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, interrupted)
