"""How every command starts and ends: shared flags, help, and errors in one line."""

import ast
import errno
import io
import linecache
import logging
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from absl import flags

from gradejax import interrupted
from gradejax.errors import UserError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def define_store(flag_values: flags.FlagValues) -> None:
    """Defines --store."""
    flags.DEFINE_string(
        "store", None, "Address of the drawings; sqlite:///data/grades.db by default.", flag_values=flag_values
    )


def define_workdir(flag_values: flags.FlagValues, help: str) -> None:
    """Defines --workdir, of which `help` says what it is to this command."""
    flags.DEFINE_string("workdir", None, help, flag_values=flag_values)


def workdir(flag_values: flags.FlagValues) -> Path | None:
    """The value of --workdir; None where it was not given."""
    return Path(flag_values.workdir) if flag_values.workdir else None


def run(main: Callable[[list[str]], None], flag_values: flags.FlagValues) -> NoReturn:
    """Parses the command line into `flag_values`, calls `main(positional_arguments)` and exits.

    The exit status is 0 when `main` returned, 1 for a UserError and for memory, disk or devices that are not there, 2
    for a wrong command line and 130 for Ctrl-C. SIGTERM ends `main` as Ctrl-C does, and then the process as always.
    Results belong on standard output; the log, on standard error, is for what the user may want to know besides.
    `--help` prints the docstring of `main`'s module and the flags.
    """
    if signal.getsignal(signal.SIGINT) is interrupted:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        _leave(_status(main, flag_values))
    except KeyboardInterrupt:
        _say("interrupted")
        _leave(130)
    except _Terminated:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.raise_signal(signal.SIGTERM)


def _status(main: Callable[[list[str]], None], flag_values: flags.FlagValues) -> int | str | None:
    """Does what `run` says, up to the exit status."""
    if sys.stderr is None:  # closed: what would be told goes nowhere
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115
    if sys.stdout is None:
        _say("standard output is closed: send it to a file, or to /dev/null")
        return 1
    # Whatever the encoding cannot hold is shown as an escape.
    if sys.stdout.isatty():
        sys.stdout.reconfigure(errors="backslashreplace")
    else:
        sys.stdout = io.TextIOWrapper(
            io.BufferedWriter(_Output(sys.stdout.fileno(), "w", closefd=False)),
            sys.stdout.encoding,
            "backslashreplace",
            write_through=sys.stdout.write_through,
        )
    logging.basicConfig(format="%(message)s", stream=sys.stderr, force=True)
    logging.getLogger("gradejax").setLevel(logging.INFO)
    # Orbax logs the tracebacks of exceptions that it raises as well. Of several arrays that it writes, the first that
    # cannot be written closes the event loop, and each of the others prints what it says to that.
    logging.getLogger("absl").setLevel(logging.CRITICAL)
    logging.getLogger("asyncio").addFilter(lambda record: "orbax" not in record.getMessage())
    sys.unraisablehook = _print_unraisable
    # A log that cannot be written any more is no reason to stop, nor to say so to whom it cannot reach.
    logging.raiseExceptions = False
    try:
        _in_a_folder()
        if {"-h", "-help", "--help"} & set(sys.argv[1:]):
            # Without the first line, which is a path, and without absl's own flags.
            _, _, of_the_flags = flag_values.main_module_help().strip().partition("\n")
            print(_docstring(main), "Flags:", of_the_flags, sep="\n\n")
            return 0
        try:
            arguments = flag_values(sys.argv)[1:]
        except (Exception, SystemExit) as error:  # a config is a Python file: anything can be wrong with it
            _say(_wrong_flag(error))
            return 2
        signal.signal(signal.SIGTERM, _terminate)
        main(arguments)
    except UserError as error:
        _say(error)
    except SystemExit as error:
        return error.code
    except BrokenPipeError:
        pass  # `… | head` has read enough
    except Exception as error:
        if not (reason := _missing(error)):
            raise
        _say(reason)
    else:
        return 0
    return 1


class _Terminated(BaseException):
    """SIGTERM came: no store is left open, and no file half written."""


def _terminate(*_: object) -> NoReturn:
    raise _Terminated


def _print_unraisable(unraisable: "sys.UnraisableHookArgs") -> None:
    if str(unraisable.exc_value) != "Event loop is closed":
        sys.__unraisablehook__(unraisable)


def _in_a_folder() -> None:
    try:
        Path.cwd()
    except FileNotFoundError:
        raise UserError("the working folder has been deleted: go to one that is there") from None


class _Output(io.FileIO):
    """Standard output; what goes wrong there says so."""

    def write(self, data: bytes) -> int | None:
        try:
            return super().write(data)
        except OSError as error:
            error.filename = "standard output"
            raise


def _docstring(main: Callable) -> str:
    """That of its module, also under `python -OO`, which forgets it."""
    return ast.get_docstring(ast.parse(Path(main.__code__.co_filename).read_bytes()))


def _wrong_flag(error: BaseException) -> str:
    """What is wrong with the command line, or with the Python file that a config is."""
    cause: BaseException | None = error
    while cause:  # the flags' own exception hides that of the file
        if isinstance(cause, SyntaxError):
            return f"{cause.filename}, line {cause.lineno}: {type(cause).__name__}: {cause.msg}"
        if own := [frame for frame in traceback.extract_tb(cause.__traceback__) if _is_a_config(Path(frame.filename))]:
            line = linecache.getline(own[-1].filename, own[-1].lineno).strip()
            return f"{own[-1].filename}, line {own[-1].lineno}, `{line}`: {_wrong_line(cause)}"
        cause = cause.__context__
    if isinstance(error, flags.Error):
        return str(error)
    text = str(error.args[0]) if error.args else ""
    if "get_config" in text:
        return "the config has no get_config(): see configs/cnn.py"
    if isinstance(error, AttributeError | KeyError):  # what ml_collections says of a key, at times quoted twice
        return "the config has no key " + re.sub(r"\\n|\\'|^'|'(?=\s|$)", " ", text)
    return f"the config cannot be loaded: {type(error).__name__}: {error}"


def _wrong_line(error: BaseException) -> str:
    # ml_collections names the key without its group, and the value without what it is called in Python.
    casts = re.search(r"is of original type <class '(.+)'> and cannot be casted to type <class '(.+)'>", str(error))
    if not casts:
        return f"{type(error).__name__}: {error}"
    is_one, must_be = (name.rpartition(".")[-1] for name in casts.groups())
    return f"this is {is_one} and must be {must_be}"


def _is_a_config(file: Path) -> bool:
    """Whether code is the user's, and not of Python or a library."""
    return (
        file.suffix == ".py"
        and not {"site-packages", "dist-packages"} & set(file.parts)
        and file.is_file()
        and (not file.is_relative_to(Path(os.__file__).parent) and not file.is_relative_to(Path(__file__).parent))
    )


def _missing(error: Exception) -> str | None:
    """What this machine lacks, where that is why an error came up."""
    text = str(error)
    if isinstance(error, MemoryError) or re.search("Out of memory|bad_alloc|Insufficient mem", text):
        return (
            "there is not enough memory for this; a smaller train.batch_size, evaluate.batch_size, data.size or model "
            f"needs less ({type(error).__name__}: {text[:200]})"
        )
    if "can't start new thread" in text:
        return "the system lets this command start no more threads: see `ulimit -u` and `ulimit -v`"
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        advice = "; make room there and give the same command again" if error.errno in _FULL else ""
        return f"{where}{error.strerror or error}{advice}"
    platforms, jax = os.environ.get("JAX_PLATFORMS"), sys.modules.get("jax")
    if platforms and jax:
        try:
            jax.devices()
        except Exception:
            return f"JAX_PLATFORMS is {platforms!r} and JAX has no such devices here: unset it, or set it to cpu"
    return None


def _say(error: object) -> None:
    """One line on standard error, in which what a terminal would obey is shown as an escape."""
    line = " ".join(str(error).split())
    with suppress(OSError):  # nobody is there to be told
        print("error:", "".join(c if c.isprintable() else repr(c)[1:-1] for c in line), file=sys.stderr, flush=True)


def _leave(status: int | str | None) -> NoReturn:
    """Exits; 1 in the place of 0 where the output did not get to where it was sent."""
    # From here on an exception would be a traceback.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupted)
    for stream in filter(None, (sys.stdout, sys.stderr)):
        try:
            stream.flush()
        except OSError as error:
            # Python flushes once more at its end, and would say that it cannot.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            if stream is sys.stdout and not status:
                status = 1
                if not isinstance(error, BrokenPipeError):
                    _say(_missing(error))
    sys.exit(status)
