"""Erasing drawings from a run's folder: from its list of drawings, and from the picture of its mistakes."""

import json
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from gradejax import held_out, regular, runs
from gradejax.errors import UserError

_LIST = ".erased"
"""The ids of drawings that were erased while the run was being trained, a line each."""
_MAX_BYTES = 2**20


def erase(workdir: Path, ids: Collection[str], uri: str) -> None:
    """Erases drawings from a run, also while it is being trained.

    Args:
        workdir: the run's folder.
        ids: of the drawings.
        uri: the store's. A run that was trained from it and lists no drawings loses its picture of mistakes anyhow.

    Raises:
        OSError: when a file cannot be written.
    """
    if runs.is_held(workdir):
        # The training has read the drawings, and will write what it made of them. The list comes first: the training
        # reads it after it has written everything.
        with (workdir / _LIST).open("a", encoding="utf-8") as file:
            file.writelines(f"{id}\n" for id in ids)
    _erase(workdir, ids, unlisted=data_settings(workdir).get("store") == uri)


def finish(workdir: Path) -> None:
    """Erases from a run what was erased while it was being trained.

    Args:
        workdir: the run's folder, which the caller holds, and in which everything has been written.
    """
    path = workdir / _LIST
    with suppress(FileNotFoundError):
        _erase(workdir, set(path.read_text(encoding="utf-8").splitlines()), unlisted=True)
        path.unlink()


def data_settings(workdir: Path) -> dict:
    """The group `data` of a run's config; empty if it cannot be read."""
    with suppress(OSError, regular.Irregular, ValueError, RecursionError, KeyError, TypeError):
        settings = json.loads(regular.read(workdir / "config.json", _MAX_BYTES))["data"]
        return settings if isinstance(settings, dict) else {}
    return {}


def _erase(workdir: Path, ids: Collection[str], unlisted: bool) -> None:
    """Erases drawings from a run; `unlisted` says whether its picture goes if it does not list its drawings."""
    try:
        misread = held_out.misread(workdir)
    except UserError:  # the list is damaged, and of no use
        (workdir / held_out.FILE).unlink()
        misread = None
    is_shown = unlisted if misread is None else not misread.isdisjoint(ids)
    if is_shown:  # before the list, which says whether this is necessary
        (workdir / "plots" / "mistakes.png").unlink(missing_ok=True)
    if misread is not None:
        held_out.erase(workdir, ids)
