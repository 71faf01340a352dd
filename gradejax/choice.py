"""Which finished run is used where no --workdir says so: the one that was chosen on the pages, else one by a rule.

The choice is a line in `runs/.chosen`: the name of a run's folder, or `shipped`.
"""

from contextlib import suppress
from pathlib import Path

from gradejax import regular, results, runs
from gradejax.errors import UserError

_FILE = ".chosen"
_MAX_BYTES = 1000


def chosen() -> str | None:
    """What was chosen: the name of a folder below `runs/`, or `shipped`; None if nothing was."""
    name = ""
    with suppress(OSError, regular.Irregular, UnicodeDecodeError):
        name = regular.read(runs.ROOT / _FILE, _MAX_BYTES).decode().strip()
    return name if is_name(name) else None


def choose(name: str) -> None:
    """Remembers a choice: the name of a folder below `runs/`, or `shipped`.

    Raises:
        UserError: when it cannot be written.
    """
    try:
        runs.ROOT.mkdir(parents=True, exist_ok=True)
        runs.write_text(runs.ROOT / _FILE, name + "\n")
    except OSError as error:
        raise UserError(f"cannot write {runs.ROOT / _FILE}: {error.strerror}") from None


def finished(name: str) -> Path:
    """The folder of a finished run below `runs/`.

    Raises:
        UserError: when there is no finished run of that name.
    """
    run = runs.ROOT / name
    if not is_name(name) or run not in runs.finished_runs():
        raise UserError(f"no finished run is called {name!r}")
    return run


def best_first() -> list[Path]:
    """The finished runs below `runs/`, the most accurate first, of two that are alike the newer one.

    A run that was validated on unseen writers comes before one that was not, whose accuracy flatters it.
    """
    return sorted(runs.finished_runs(), key=lambda run: results.merit(results.read(run)), reverse=True)


def is_name(name: str) -> bool:
    """Whether a text can be the name of a folder, and leads nowhere else."""
    return name not in ("", ".", "..") and not set(name) & set("/\\\0")
