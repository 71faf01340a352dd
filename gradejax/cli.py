"""How every command starts and ends: shared flags, help, and errors in one line."""

import ast
import errno
import gc
import io
import linecache
import logging
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from absl import flags

from gradejax import end_on_interrupt, interrupted
from gradejax.errors import UserError
from gradejax.scales import NAMED, Scale, parse

if TYPE_CHECKING:
    from typing_extensions import Buffer

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def define_store(flag_values: flags.FlagValues) -> None:
    """Defines --store."""
    flags.DEFINE_string(
        "store", None, "Address of the drawings; sqlite:///data/grades.db by default.", flag_values=flag_values
    )


def define_scale(flag_values: flags.FlagValues) -> None:
    """Defines --scale."""
    flags.DEFINE_string(
        "scale",
        None,
        f"The grades: {', '.join(NAMED)}, or labels of your own, such as poor,fair,good. The store keeps it.",
        flag_values=flag_values,
    )


def scale(flag_values: flags.FlagValues) -> Scale | None:
    """The scale that --scale names; None where it was not given. Raises UserError if there is no such scale."""
    return None if flag_values.scale is None else parse(flag_values.scale)


def define_workdir(flag_values: flags.FlagValues, help: str) -> None:
    """Defines --workdir, of which `help` says what it is to this command."""
    flags.DEFINE_string("workdir", None, help, flag_values=flag_values)


def workdir(flag_values: flags.FlagValues) -> Path | None:
    """The value of --workdir; None where it was not given."""
    return Path(flag_values.workdir) if flag_values.workdir else None


@contextmanager
def importing() -> Iterator[None]:
    """While a command imports what it needs, Ctrl-C ends the process at once: an import may swallow the exception.

    No garbage is looked for meanwhile, nor afterwards in what was imported: of half a million objects none is.
    """
    before = signal.getsignal(signal.SIGINT)
    end_on_interrupt()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
        signal.signal(signal.SIGINT, before)


def run(main: Callable[[list[str]], None], flag_values: flags.FlagValues) -> NoReturn:
    """Parses the command line, calls `main` and exits.

    The exit status is 0 if `main` returned; 1 for a UserError, or if memory, disk space or a device is missing; 2 for a
    wrong command line; 130 for Ctrl-C. SIGTERM unwinds `main` as Ctrl-C does, and then ends the process. Results go to
    standard output, the log to standard error. `--help` prints the docstring of `main`'s module and the flags.

    Args:
        main: takes the positional arguments.
        flag_values: the flags that the command defines; gets their values.
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
        raise AssertionError("SIGTERM did not end the process") from None


def _status(main: Callable[[list[str]], None], flag_values: flags.FlagValues) -> int | str | None:
    """Does what `run` says, up to the exit status."""
    if sys.stderr is None:  # closed
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115
    if sys.stdout is None:
        _say("standard output is closed: send it to a file, or to /dev/null")
        return 1
    _make_output_safe()
    logging.basicConfig(format="%(message)s", stream=sys.stderr, force=True)
    logging.getLogger("gradejax").setLevel(logging.INFO)
    # Orbax logs the tracebacks of exceptions that it raises as well. When it cannot write one of several arrays, it
    # closes the event loop, and each of the other arrays complains about that.
    logging.getLogger("absl").setLevel(logging.CRITICAL)
    logging.getLogger("asyncio").addFilter(lambda record: "orbax" not in record.getMessage())
    # On many processors XLA logs an error for each program that it takes from its cache (jax-ml/jax#38445). Errors that
    # matter are raised as well.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.unraisablehook = _print_unraisable
    # A log that can no longer be written is no reason to stop, or to complain where nobody reads it.
    logging.raiseExceptions = False
    try:
        _check_working_folder()
        if {"-h", "-help", "--help"} & set(sys.argv[1:]):
            # Without the first line, which is a path, and without absl's own flags.
            _, _, flag_help = flag_values.main_module_help().strip().partition("\n")
            print(_docstring(main), "Flags:", flag_help, sep="\n\n")
            return 0
        try:
            arguments = flag_values(sys.argv)[1:]
        except (Exception, SystemExit) as error:  # a config is a Python file, in which anything can be wrong
            _say(_explain_wrong_flag(error))
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
        if not (reason := _explain_missing(error)):
            raise
        _say(reason)
    else:
        return 0
    return 1


class _Terminated(BaseException):
    """Raised on SIGTERM, so that stores are closed and no file is left half written."""


def _terminate(*_: object) -> NoReturn:
    raise _Terminated


def _print_unraisable(unraisable: "sys.UnraisableHookArgs") -> None:
    if str(unraisable.exc_value) != "Event loop is closed":
        sys.__unraisablehook__(unraisable)


def _check_working_folder() -> None:
    try:
        Path.cwd()
    except FileNotFoundError:
        raise UserError("the working folder has been deleted: change to one that exists") from None


def _make_output_safe() -> None:
    """Shows characters that the encoding of standard output cannot hold as escapes, and lets its errors name it."""
    stdout = sys.stdout
    if not isinstance(stdout, io.TextIOWrapper):  # a test's, or a notebook's
        return
    if stdout.isatty():
        stdout.reconfigure(errors="backslashreplace")
    else:
        sys.stdout = io.TextIOWrapper(
            io.BufferedWriter(_Output(stdout.fileno(), "w", closefd=False)),
            stdout.encoding,
            "backslashreplace",
            write_through=stdout.write_through,
        )


class _Output(io.FileIO):
    """Standard output whose errors name it."""

    def write(self, data: "Buffer") -> int:
        try:
            return super().write(data)
        except OSError as error:
            error.filename = "standard output"
            raise


def _docstring(main: Callable) -> str:
    """The docstring of its module, even under `python -OO`, which drops docstrings."""
    return ast.get_docstring(ast.parse(Path(main.__code__.co_filename).read_bytes())) or ""


def _explain_wrong_flag(error: BaseException) -> str:
    """What is wrong with the command line, or with the Python file of a config."""
    cause: BaseException | None = error
    while cause:  # the flags' own exception hides the file's
        if isinstance(cause, SyntaxError):
            return f"{cause.filename}, line {cause.lineno}: {type(cause).__name__}: {cause.msg}"
        if lines := [frame for frame in traceback.extract_tb(cause.__traceback__) if _is_config(Path(frame.filename))]:
            file, number = lines[-1].filename, lines[-1].lineno or 0
            line = linecache.getline(file, number).strip()
            return f"{file}, line {number}, `{line}`: {_explain_wrong_line(cause)}"
        cause = cause.__context__
    if isinstance(error, flags.Error):
        return str(error)
    text = str(error.args[0]) if error.args else ""
    if "get_config" in text:
        return "the config has no get_config(): see configs/cnn.py"
    if isinstance(error, AttributeError | KeyError):  # ml_collections on a key, which it sometimes quotes twice
        return "the config has no key " + re.sub(r"\\n|\\'|^'|'(?=\s|$)", " ", text)
    return f"the config cannot be loaded: {type(error).__name__}: {error}"


def _explain_wrong_line(error: BaseException) -> str:
    # ml_collections does not say which types it means in Python's words.
    casts = re.search(r"is of original type <class '(.+)'> and cannot be casted to type <class '(.+)'>", str(error))
    if not casts:
        return f"{type(error).__name__}: {error}"
    is_one, must_be = (name.rpartition(".")[-1] for name in casts.groups())
    return f"this is {is_one} and must be {must_be}"


def _is_config(file: Path) -> bool:
    """Whether code is the user's, rather than Python's, a library's or gradejax's."""
    return (
        file.suffix == ".py"
        and not {"site-packages", "dist-packages"} & set(file.parts)
        and file.is_file()
        and (not file.is_relative_to(Path(os.__file__).parent) and not file.is_relative_to(Path(__file__).parent))
    )


def _explain_missing(error: Exception) -> str | None:
    """What this machine lacks, if that is the reason for an error."""
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
            return f"JAX_PLATFORMS is {platforms!r}, and JAX has no such devices here: unset it, or set it to cpu"
    return None


def _say(error: object) -> None:
    """Prints one line on standard error; control characters appear as escapes."""
    line = " ".join(str(error).split())
    with suppress(OSError):  # nobody reads it
        print("error:", "".join(c if c.isprintable() else repr(c)[1:-1] for c in line), file=sys.stderr, flush=True)


def _leave(status: int | str | None) -> NoReturn:
    """Exits, with 1 instead of 0 if the output could not be written."""
    # From here on KeyboardInterrupt would print a traceback.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupted)
    for stream in filter(None, (sys.stdout, sys.stderr)):
        try:
            stream.flush()
        except OSError as error:
            # Python flushes again at exit, and would complain.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            if stream is sys.stdout and not status:
                status = 1
                if not isinstance(error, BrokenPipeError):
                    _say(_explain_missing(error))
    sys.exit(status)
