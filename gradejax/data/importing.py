"""`python -m gradejax.data import`: drawings from a file, a folder or standard input."""

import logging
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from gradejax.data import exchange, folders
from gradejax.dataset import QUARANTINE_TAG
from gradejax.drawings import printable
from gradejax.errors import StoreError, UserError
from gradejax.progress import progress, track
from gradejax.scales import Scale
from gradejax.stores import open_store

log = logging.getLogger(__name__)

_MB = 2**20
_MOST_REASONS = 20


def import_drawings(
    uri: str, name: str, tags: tuple[str, ...], *, scale: Scale | None = None, as_no_grade: bool = False
) -> None:
    """Imports drawings and prints how many were new, already there, and refused.

    Args:
        uri: the store's address.
        name: a file or folder; `-` is standard input.
        tags: added to each drawing's own.
        scale: as in `open_store`.
        as_no_grade: as in `exchange.from_file`.

    Raises:
        UserError: if the store has another scale, nothing could be read, or the rest of the file is lost.
    """
    if QUARANTINE_TAG in tags:
        raise UserError(f"--tags={QUARANTINE_TAG}: only gradejax gives this tag")
    _check_source(name, tags, as_no_grade)
    outcome = exchange.Outcome()
    with closing(open_store(uri, scale=scale)) as store:
        try:
            with _sources(name, tags, store.scale, as_no_grade) as sources:
                exchange.load(store, sources, outcome)
        except OSError as error:
            raise UserError(f"{name} cannot be read: {error.strerror}") from error
        except StoreError as error:
            raise StoreError(f"{error}; imported {outcome.imported} so far, the same command continues") from error
        except KeyboardInterrupt:
            log.warning("imported %d so far; the same command continues", outcome.imported)
            raise
    _report(outcome, "standard input" if name == "-" else name)


def _check_source(name: str, tags: tuple[str, ...], as_no_grade: bool) -> None:
    if not name:
        raise UserError("import what? The name of the file or folder is empty")
    if name == "-":
        if sys.stdin is None:
            raise UserError("standard input is closed")
    elif not Path(name).exists():
        raise UserError(f"there is no file or folder {name}")
    elif Path(name).is_dir() and as_no_grade:
        raise UserError(f"--as-no-grade is for files: put the pictures in {name} into a folder named `no grade`")
    elif Path(name).is_dir() and not tags:
        raise UserError(f"name the team or class of the drawings in {name}: --tags=name,…")


@contextmanager
def _sources(name: str, tags: tuple[str, ...], scale: Scale, as_no_grade: bool) -> Iterator[Iterable[exchange.Source]]:
    if name != "-" and Path(name).is_dir():
        sources = folders.from_folder(Path(name), tags, scale)
        with progress("importing", len(sources), log) as update:
            yield track(sources, update)
        return
    is_stdin = name == "-"
    with open(sys.stdin.fileno() if is_stdin else name, "rb", buffering=0, closefd=not is_stdin) as file:
        sources = exchange.from_file(file, tags, scale=scale, as_no_grade=as_no_grade)
        size = os.fstat(file.fileno()).st_size  # 0 for a pipe
        if not size:
            with progress("importing", None, log) as update:
                yield track(sources, update)
        else:
            with progress("importing (MB)", size / _MB, log) as update:
                yield track(sources, lambda _: update(completed=file.tell() / _MB))


def _report(outcome: exchange.Outcome, name: str) -> None:
    refused = outcome.refused.total()
    for place, reason in outcome.first_refused:
        log.warning("refused %s: %s", printable(place), reason)
    if refused > len(outcome.first_refused):
        for reason, n in outcome.refused.most_common(_MOST_REASONS):
            log.warning("refused %d: %s", n, reason)
    print(f"imported {outcome.imported}, already there {outcome.already_there}, refused {refused}")
    if not outcome.imported and not outcome.already_there:
        reason = "every document was refused" if refused else "there is nothing to import"
        if refused and all(reason.startswith("unknown label") for reason in outcome.refused):
            reason += (
                "; --scale names the scale that they have, --as-no-grade takes drawings of anything else as no grade"
            )
        raise UserError(f"no drawings in {name}: {reason}")
    if outcome.broken_off:
        raise UserError(f"{name} is incomplete, and the rest is lost: {outcome.broken_off}")
