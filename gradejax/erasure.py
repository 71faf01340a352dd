"""Erasing drawings for good: from the store, and from all that gradejax has made of them.

What was made of them is erased first, then the drawings. So they can be selected, and erased again, for as long as
anything is left of them: whenever this is cut off, the same call completes it. Afterwards everything is looked through
once more, because a server or a training may have made something of them in the meantime.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from gradejax import audits, cache, recipe, regular, run_erasure
from gradejax.errors import UserError
from gradejax.stores import Query, Store
from gradejax.traces import Trace
from gradejax.web import judgements
from gradejax.web.training import LOG

_MAX_BYTES = 2**20
_EVERYWHERE = (Trace("copies"), Trace("models"), Trace("elsewhere"))


@dataclass(frozen=True)
class Erased:
    """What an erasure has done.

    Attributes:
        drawings: how many are gone from the store.
        unreachable: what gradejax cannot erase.
    """

    drawings: int
    unreachable: tuple[Trace, ...]


class _Order(NamedTuple):
    """What is to be erased: the drawings with these ids from what was made of the store `uri`, runs in `runs`."""

    uri: str
    ids: frozenset[str]
    runs: Path


def erase(
    store: Store,
    ids: Sequence[str],
    *,
    runs: Path = Path("runs"),
    progress: Callable[[int, int], None] | None = None,
) -> Erased:
    """Erases drawings for good, excluded ones too.

    Args:
        store: that holds them.
        ids: of the drawings; those that the store does not have are erased from caches and runs only. None at all
            completes what an earlier erasure from the store had to leave.
        runs: the folder of the runs.
        progress: called with the number of steps taken, and of all.

    Raises:
        UserError: if a file cannot be written; nothing is gone from the store then. Call it again.
    """
    order = _Order(store.uri, frozenset(ids), runs)
    steps = 2 * len(_PLACES) + 1
    tags = {tag for drawing in store.get_many(ids, pictures=False).values() for tag in drawing.tags}
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        if progress:
            progress(done, steps)

    _erase_from_places(order, step)
    erased = store.erase(ids)
    step()
    _erase_from_places(order, step)
    gone = {tag for tag in tags if not store.count(Query(tags=(tag,), deleted=None))}
    return Erased(erased, (*store.remains(), *_runs_of_tags(runs, gone), *_EVERYWHERE))


def _erase_from_places(order: _Order, step: Callable[[], None]) -> None:
    for place in _PLACES:
        if order.ids:
            try:
                place(order)
            except OSError as error:
                raise UserError(f"cannot erase from {error.filename}: {error.strerror}; then erase again") from None
        step()


def _from_decoded(order: _Order) -> None:
    """Deletes caches of decoded drawings, which the next training makes again."""
    for folder in {Path(recipe.base().data.cache), *_other_caches(order.runs)}:
        cache.erase(folder, order.ids)


def _from_judgements(order: _Order) -> None:
    judgements.erase(order.uri, order.ids)


def _from_audits(order: _Order) -> None:
    """Deletes the picture of the suspects as well, which may show one of the drawings."""
    if audits.names_any(order.uri, order.ids):
        audits.PICTURE.unlink(missing_ok=True)
        audits.erase(order.uri, order.ids)


def _from_runs(order: _Order) -> None:
    for workdir in _workdirs(order.runs):
        run_erasure.erase(workdir, order.ids, order.uri)


_PLACES: tuple[Callable[[_Order], None], ...] = (_from_decoded, _from_judgements, _from_audits, _from_runs)


def _runs_of_tags(runs: Path, tags: Collection[str]) -> Iterator[Trace]:
    """Deletes logs of trainings that name tags which no drawing has any longer, and yields which runs name them."""
    for workdir in _workdirs(runs) if tags else ():
        trained_on = {tag.strip() for tag in str(run_erasure.data_settings(workdir).get("tags", "")).split(",")}
        if not trained_on.isdisjoint(tags):
            yield Trace("run", workdir)
        with suppress(OSError, regular.Irregular):
            text = regular.read(workdir / LOG, _MAX_BYTES).decode(errors="replace")
            if any(tag in text for tag in tags):
                (workdir / LOG).unlink()


def _other_caches(runs: Path) -> Iterator[Path]:
    for workdir in _workdirs(runs):
        if isinstance(folder := run_erasure.data_settings(workdir).get("cache"), str) and folder:
            yield Path(folder)


def _workdirs(runs: Path) -> Iterable[Path]:
    return sorted(path for path in runs.glob("*") if path.is_dir() and not path.is_symlink())
