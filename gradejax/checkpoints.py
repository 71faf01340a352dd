"""Orbax checkpoints: written atomically and in the background, examined when read.

A checkpoint holds three parts: `model` (what predicts: parameters and statistics), `training` (all that a resumed
run needs) and `about` (a few plain facts, among them the other two's digests). Arrays are kept flat, by name, so that
reading a model needs neither its optimizer nor the classes it was written with, and runs no code.
"""

import hashlib
import json
import logging
import re
import shutil
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np
import orbax.checkpoint as ocp
from jaxtyping import PyTree
from orbax.checkpoint.checkpoint_managers import preservation_policy

from gradejax import arrays, regular
from gradejax.errors import UserError

log = logging.getLogger(__name__)
T = TypeVar("T")
Arrays = dict[str, np.ndarray]
Shapes = arrays.Shapes
Check = Callable[[dict[str, Any], Shapes], None]

FORMAT = 1
"""Raise it when an older gradejax would read a checkpoint wrongly. One without a number is of format 1."""
_MAX_ABOUT_BYTES = 2**20
_EPOCH = re.compile("[1-9][0-9]*")
_HALF_WRITTEN = re.compile(r"[1-9][0-9]*\.orbax-checkpoint-tmp.*", re.DOTALL)


class DamagedCheckpoint(UserError):
    """A checkpoint that does not hold what was written; `str()` names it."""


class Checkpoint(NamedTuple):
    """What `restore` returns; `arrays` is the part asked for."""

    epoch: int
    arrays: Arrays
    about: dict[str, Any]


def named(tree: PyTree) -> dict[str, Any]:
    """A tree's leaves by their path: `{"layers.0.kernel": leaf, …}`."""
    # Some releases of Flax end a variable's path in `.value`, others do not: a name must outlive both.
    return {
        jax.tree_util.keystr(path, simple=True, separator=".").removesuffix(".value"): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def flat(tree: PyTree) -> Arrays:
    """Copies of a tree's leaves by their path."""
    return {name: np.array(leaf) for name, leaf in named(jax.device_get(tree)).items()}


def fits(template: PyTree, found: Mapping[str, Any]) -> bool:
    """Whether the names, shapes and types are the template's; both may be without their numbers."""
    expected = named(template)
    return expected.keys() == found.keys() and all(
        (leaf.shape, leaf.dtype) == (found[name].shape, found[name].dtype) for name, leaf in expected.items()
    )


def unflat(template: T, found: Arrays) -> T:
    """`template` with each leaf replaced by the array of its path. Raises UserError where it does not fit."""
    if not fits(template, found):
        raise UserError("the checkpoint is of another model or optimizer: train anew in another --workdir")
    return jax.tree.unflatten(jax.tree.structure(template), [found[name] for name in named(template)])


def digest(named_arrays: Arrays) -> str:
    """SHA-256 over names, types, shapes and bytes."""
    whole = hashlib.sha256()
    for name in sorted(named_arrays):
        array = np.ascontiguousarray(named_arrays[name])
        whole.update(f"{name} {array.dtype} {array.shape};".encode())
        whole.update(array)
    return whole.hexdigest()


def open_manager(workdir: Path, done: int = 0) -> ocp.CheckpointManager:
    """The writer of a run's checkpoints; keeps the newest two. Close it, or the last one may stay unwritten.

    Those later than epoch `done`, which `restore` found damaged, are removed: Orbax never writes over one. So is what a
    kill left half written. Raises UserError where that cannot be done.
    """
    folder = (workdir / "checkpoints").absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in regular.names(folder):
            if (_EPOCH.fullmatch(name) and int(name) > done) or _HALF_WRITTEN.fullmatch(name):
                _remove(folder / name)
    except regular.Irregular as error:
        raise UserError(f"{folder} is {error}: give another --workdir") from None
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {error.strerror}") from error
    options = ocp.CheckpointManagerOptions(
        preservation_policy=preservation_policy.LatestN(2),
        create=False,
        multiprocessing_options=_waits_for_no_other(),
    )
    return ocp.CheckpointManager(folder, options=options)


def _remove(path: Path) -> None:
    """Removes what is there; of a link the link."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _waits_for_no_other() -> ocp.options.MultiprocessingOptions:
    """Of a run's processes the first reads and writes checkpoints, by itself."""
    if jax.process_count() == 1:
        return ocp.options.MultiprocessingOptions()
    return ocp.options.MultiprocessingOptions(
        primary_host=jax.process_index(),
        active_processes={jax.process_index()},
        barrier_sync_key_prefix=f"process{jax.process_index()}",
    )


def save(manager: ocp.CheckpointManager, epoch: int, model: PyTree, training: PyTree, about: Mapping[str, Any]) -> None:
    """Begins to write the checkpoint after `epoch` epochs; returns before it is on disk."""
    parts = {"model": flat(model), "training": flat(training)}
    digests = {name: digest(arrays) for name, arrays in parts.items()}
    about = {**about, "format": FORMAT, "written_by": version("gradejax"), "digests": digests}
    manager.save(
        epoch,
        args=ocp.args.Composite(
            about=ocp.args.JsonSave({**about, "digest": _json_digest(about)}),
            **{name: ocp.args.StandardSave(arrays) for name, arrays in parts.items()},
        ),
    )


def restore(workdir: Path, part: str, check: Check = lambda about, shapes: None) -> Checkpoint | None:
    """The newest checkpoint of a run that is whole; None where the run has none yet.

    A damaged one is named in the log and the one before it is taken. Nothing that is read is trusted: the run may be a
    stranger's.

    Args:
        part: "model" or "training".
        check: called with the facts and the arrays' shapes before the arrays are read; may raise.

    Raises:
        DamagedCheckpoint: when there are checkpoints and none is whole.
        UserError: when a newer gradejax wrote it, or the system does not let it be read.
    """
    folder = workdir / "checkpoints"
    epochs = _epochs(folder)
    damage: DamagedCheckpoint | None = None
    for epoch in epochs:
        try:
            return _restore(folder / str(epoch), part, check)
        except DamagedCheckpoint as error:
            if epochs[0] not in _epochs(folder):  # a run that goes on has removed it, and written newer ones
                return restore(workdir, part, check)
            log.warning("%s", error)
            damage = error
    if damage:
        raise DamagedCheckpoint(f"{damage}, and no whole one is left: train anew in another --workdir")
    return None


def _epochs(folder: Path) -> list[int]:
    """The epochs that there are checkpoints of, the last one first."""
    try:
        return sorted((int(name) for name in regular.names(folder) if _EPOCH.fullmatch(name)), reverse=True)
    except FileNotFoundError:
        return []
    except regular.Irregular as error:
        raise UserError(f"{folder} is {error}: give another --workdir") from None
    except OSError as error:
        raise UserError(f"cannot read {folder}: {error.strerror}") from None


def _restore(path: Path, part: str, check: Check) -> Checkpoint:
    try:
        regular.names(path)  # it is a folder
        about = _about(regular.read_all(path / "about", _MAX_ABOUT_BYTES).get("metadata", b""))
        if about.get("format", 1) not in range(1, FORMAT + 1):
            raise UserError(_of_another_format(path, about))
        found = arrays.read(path / part, lambda shapes: check(about, shapes))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DamagedCheckpoint(f"checkpoint {path} is damaged ({error.strerror})") from error
    except OSError as error:
        raise UserError(f"cannot read checkpoint {path}: {error.strerror}") from error
    except MemoryError as error:
        raise UserError(f"there is not enough memory to read checkpoint {path}") from error
    except (regular.Irregular, arrays.BadArrays) as error:
        raise DamagedCheckpoint(f"checkpoint {path} is damaged ({error})") from error
    if about["digests"].get(part) != digest(found):
        raise DamagedCheckpoint(f"checkpoint {path} is damaged (its digest is wrong)")
    return Checkpoint(int(path.name), found, about)


def _about(content: bytes) -> dict[str, Any]:
    """A checkpoint's facts. Raises BadArrays where they are not what was written."""
    try:
        about = json.loads(content)
        if about.pop("digest") == _json_digest(about) and isinstance(about["digests"], dict):
            return about
    except (AttributeError, LookupError, TypeError, ValueError, RecursionError):
        pass
    raise arrays.BadArrays("what it says of itself is not what was written")


def _json_digest(about: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def _of_another_format(path: Path, about: Mapping[str, Any]) -> str:
    # Both may be anything.
    number, needed = (
        text if re.fullmatch(r"[\w.+!-]{1,40}", text := str(about.get(name)), re.ASCII) else "?"
        for name in ("format", "written_by")
    )
    return (
        f"checkpoint {path} has format {number} and this gradejax knows {FORMAT}: update gradejax to {needed} or later"
    )
