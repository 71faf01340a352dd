"""`gradejax.main` in a process of its own, which gives way to the server and ends with it.

    python -m gradejax.web.trainer --config=configs/cnn.py …

The server holds the other end of standard input, which closes when the server ends, however it ends.
"""

import os
import runpy
from threading import Thread


def main() -> None:
    """Trains as the flags of `gradejax.main` say."""
    if hasattr(os, "nice"):
        os.nice(10)  # by a tenth of the time that others want, it still gets on
    Thread(target=_end_with_server, daemon=True).start()
    runpy.run_module("gradejax.main", run_name="__main__", alter_sys=True)


def _end_with_server() -> None:
    while os.read(0, 1):  # not through sys.stdin, which the end of the interpreter would wait for
        pass
    os._exit(1)  # at once: a run that is killed at any moment can be resumed


if __name__ == "__main__":
    main()
