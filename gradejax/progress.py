"""The one progress bar: on a terminal a bar, elsewhere a line in the log now and then."""

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

_SECONDS_BETWEEN_LINES = 10.0


@runtime_checkable
class Update(Protocol):
    """Tells how far the work has come."""

    def __call__(
        self,
        advance: float = 0,
        *,
        completed: float | None = None,
        total: float | None = None,
        description: str | None = None,
    ) -> None:
        """Moves the bar on by `advance`, or to `completed`; a new total or description replaces the old one."""


@contextmanager
def progress(description: str, total: float | None, log: logging.Logger | None = None) -> Iterator[Update]:
    """Shows how far the work inside the `with` block has come, on standard error.

    Args:
        description: what is being done: `decoding drawings`.
        total: what `completed` is at the end; None where that is unknown.
        log: gets a line every ten seconds where standard error is no terminal; None for no such lines.

    Yields:
        A function to call as the work goes on.
    """
    if not sys.stderr.isatty():
        yield _lines(description, total, log)
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(None), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=False) as bar:
        task = bar.add_task(description, total=total)

        def update(advance: float = 0, **changes: float | str | None) -> None:
            bar.update(task, advance=advance or None, **changes)  # pyright: ignore[reportArgumentType]

        yield update


def _lines(description: str, total: float | None, log: logging.Logger | None) -> Update:
    done, next_line = 0.0, time.monotonic() + _SECONDS_BETWEEN_LINES

    def update(
        advance: float = 0,
        *,
        completed: float | None = None,
        total: float | None = total,
        description: str | None = description,
    ) -> None:
        nonlocal done, next_line
        done = done + advance if completed is None else completed
        if log and time.monotonic() >= next_line:
            log.info("%s: %s%s", description, f"{done:,.0f}", f" of {total:,.0f}" if total else " so far")
            next_line = time.monotonic() + _SECONDS_BETWEEN_LINES

    return update
