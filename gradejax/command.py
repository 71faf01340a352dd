"""How a command starts and ends: flags, help and one-line errors, the same for every `python -m gradejax.…`."""

import logging
import os
import re
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

from absl import flags

from gradejax.errors import UserError


def run(main: Callable[[list[str]], None], flag_values: flags.FlagValues) -> NoReturn:
    """Parses the command line into `flag_values`, calls `main(positional_arguments)` and exits.

    The exit status is 0 when `main` returned, 1 for a UserError, 2 for a wrong command line and 130 for Ctrl-C. SIGTERM
    ends `main` as Ctrl-C does, and then the process as always.
    Results belong on standard output; the log, on standard error, is for what the user may want to know besides.
    `--help` prints the docstring of `main`'s module and the flags.
    """
    logging.basicConfig(format="%(message)s", stream=sys.stderr, force=True)
    logging.getLogger("gradejax").setLevel(logging.INFO)
    if {"-h", "-help", "--help"} & set(sys.argv[1:]):
        # Without the first line, which is a path, and without absl's own flags.
        _, _, of_the_flags = flag_values.main_module_help().strip().partition("\n")
        print(main.__globals__["__doc__"].strip(), "Flags:", of_the_flags, sep="\n\n")
        sys.exit(0)
    try:
        arguments = flag_values(sys.argv)[1:]
    except flags.Error as error:
        _fail(error, 2)
    except (AttributeError, KeyError) as error:  # what ml_collections says of a key, at times quoted twice
        _fail("the config has no key " + re.sub(r"\\n|\\'|^'|'(?=\s|$)", " ", str(error.args[0])), 2)
    except Exception as error:  # a config is a Python file: anything can be wrong with it
        _fail(f"the config cannot be loaded: {type(error).__name__}: {error}", 2)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        main(arguments)
        sys.stdout.flush()
    except UserError as error:
        _fail(error, 1)
    except KeyboardInterrupt:
        _fail("interrupted", 130)
    except _Terminated:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.raise_signal(signal.SIGTERM)
    except BrokenPipeError:  # `… | head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    sys.exit(0)


class _Terminated(BaseException):
    """SIGTERM came: no store is left open, and no file half written."""


def _terminate(*_: object) -> NoReturn:
    raise _Terminated


def _fail(error: object, status: int) -> NoReturn:
    print("error:", " ".join(str(error).split()), file=sys.stderr)
    sys.exit(status)
