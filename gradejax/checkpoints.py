"""Orbax checkpoints: written atomically and in the background, checked when read.

A checkpoint has three parts: `model` (parameters and statistics, for predicting), `training` (everything needed to
resume) and `about` (plain metadata, including digests of the other two). Arrays are stored flat, by name, so that
reading a model needs neither the optimizer nor the classes it was written with, and runs no code.
"""

import hashlib
import json
import logging
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np
import orbax.checkpoint as ocp
from jaxtyping import PyTree
from orbax.checkpoint.checkpoint_managers import preservation_policy

from gradejax import __version__, arrays, regular
from gradejax.errors import UserError

log = logging.getLogger(__name__)
T = TypeVar("T")
Arrays = dict[str, np.ndarray]
Shapes = arrays.Shapes
Check = Callable[[dict[str, Any], Shapes], None]

FORMAT = 1
"""Increase it when an older gradejax would misread a checkpoint. One without a number has format 1."""
_MAX_ABOUT_BYTES = 2**20
_EPOCH = re.compile("[1-9][0-9]*")
_HALF_WRITTEN = re.compile(r"[1-9][0-9]*\.orbax-checkpoint-tmp.*", re.DOTALL)


class DamagedCheckpoint(UserError):
    """A checkpoint whose contents are not what was written; `str()` names it."""


class Checkpoint(NamedTuple):
    """A checkpoint as `restore` returns it.

    Attributes:
        epoch: after which it was saved.
        arrays: of the requested part, by name.
        about: its metadata.
    """

    epoch: int
    arrays: Arrays
    about: dict[str, Any]


def named(tree: PyTree) -> dict[str, Any]:
    """A tree's leaves by path: `{"layers.0.kernel": leaf, …}`."""
    # Only some releases of Flax end a variable's path in `.value`; names must not depend on it.
    return {
        jax.tree_util.keystr(path, simple=True, separator=".").removesuffix(".value"): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def flat(tree: PyTree) -> Arrays:
    """Copies of a tree's leaves as NumPy arrays, by path."""
    return {name: np.array(leaf) for name, leaf in named(jax.device_get(tree)).items()}


def fits(template: PyTree, by_name: Mapping[str, Any]) -> bool:
    """Whether names, shapes and types match. Both sides may hold arrays or `jax.ShapeDtypeStruct`."""
    expected = named(template)
    return expected.keys() == by_name.keys() and all(
        (leaf.shape, leaf.dtype) == (by_name[name].shape, by_name[name].dtype) for name, leaf in expected.items()
    )


def unflat(template: T, by_name: Arrays) -> T:
    """`template` with each leaf replaced by the array of its path. Raises UserError if they do not fit."""
    if not fits(template, by_name):
        raise UserError("the checkpoint is of another model or optimizer: train anew in another --workdir")
    return jax.tree.unflatten(jax.tree.structure(template), [by_name[name] for name in named(template)])


def digest(by_name: Arrays) -> str:
    """SHA-256 over names, types, shapes and bytes."""
    sha256 = hashlib.sha256()
    for name in sorted(by_name):
        array = np.ascontiguousarray(by_name[name])
        sha256.update(f"{name} {array.dtype} {array.shape};".encode())
        sha256.update(array.data)
    return sha256.hexdigest()


def open_manager(workdir: Path, done: int = 0) -> ocp.CheckpointManager:
    """Opens the writer of a run's checkpoints, which keeps the newest two. Close it to finish writing the last one.

    Args:
        workdir: the run's folder.
        done: the epoch that `restore` returned. Later checkpoints are damaged and are removed, because Orbax never
            overwrites one; so is what a killed process left half written.

    Raises:
        UserError: when the folder cannot be written.
    """
    folder = (workdir / "checkpoints").absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in regular.names(folder):
            if (_EPOCH.fullmatch(name) and int(name) > done) or _HALF_WRITTEN.fullmatch(name):
                _remove(folder / name)
    except regular.Irregular as error:
        raise UserError(f"{folder} is {error}: use another --workdir") from None
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {error.strerror}") from error
    options = ocp.CheckpointManagerOptions(
        preservation_policy=preservation_policy.LatestN(2),
        create=False,
        multiprocessing_options=_one_process(),
    )
    return ocp.CheckpointManager(folder, options=options)


def _remove(path: Path) -> None:
    """Removes a file or folder; a link is not followed."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _one_process() -> ocp.options.MultiprocessingOptions:
    """Makes Orbax save in this process only, without waiting for the run's other processes."""
    if jax.process_count() == 1:
        return ocp.options.MultiprocessingOptions()
    return ocp.options.MultiprocessingOptions(
        primary_host=jax.process_index(),
        active_processes={jax.process_index()},
        barrier_sync_key_prefix=f"process{jax.process_index()}",
    )


def save(manager: ocp.CheckpointManager, epoch: int, model: PyTree, training: PyTree, about: Mapping[str, Any]) -> None:
    """Starts writing a checkpoint in the background.

    Args:
        manager: from `open_manager`.
        epoch: number of epochs done.
        model: a tree of arrays for predicting.
        training: a tree of arrays for resuming.
        about: metadata, as JSON.
    """
    parts = {"model": flat(model), "training": flat(training)}
    digests = {name: digest(arrays) for name, arrays in parts.items()}
    about = {**about, "format": FORMAT, "written_by": __version__, "digests": digests}
    manager.save(
        epoch,
        args=ocp.args.Composite(
            about=ocp.args.JsonSave(_sealed(about)),
            **{name: ocp.args.StandardSave(arrays) for name, arrays in parts.items()},
        ),
    )


def restore(workdir: Path, part: str, check: Check = lambda about, shapes: None) -> Checkpoint | None:
    """Reads a run's newest undamaged checkpoint. Damaged ones are logged.

    Nothing in the folder is trusted: the run may be a stranger's.

    Args:
        workdir: the run's folder.
        part: "model" or "training".
        check: called with the metadata and the arrays' shapes before the arrays are read; may raise.

    Returns:
        The checkpoint; None if the run has none yet.

    Raises:
        DamagedCheckpoint: when all of the run's checkpoints are damaged.
        UserError: when a checkpoint cannot be read, or was written by a newer gradejax.
    """
    folder = workdir / "checkpoints"
    epochs = _epochs(folder)
    damage: DamagedCheckpoint | None = None
    for epoch in epochs:
        try:
            return _restore(folder / str(epoch), part, check)
        except DamagedCheckpoint as error:
            if epochs[0] not in _epochs(folder):  # a running training has replaced it with newer ones
                return restore(workdir, part, check)
            log.warning("%s", error)
            damage = error
    if damage:
        raise DamagedCheckpoint(f"{damage}, and there is no undamaged one: train anew in another --workdir")
    return None


def _epochs(folder: Path) -> list[int]:
    """The epochs of the checkpoints in a folder, latest first."""
    try:
        return sorted((int(name) for name in regular.names(folder) if _EPOCH.fullmatch(name)), reverse=True)
    except FileNotFoundError:
        return []
    except regular.Irregular as error:
        raise UserError(f"{folder} is {error}: use another --workdir") from None
    except OSError as error:
        raise UserError(f"cannot read {folder}: {error.strerror}") from None


def _restore(path: Path, part: str, check: Check) -> Checkpoint:
    try:
        regular.names(path)  # raises if it is not a folder
        about = read_about(regular.read_all(path / "about", _MAX_ABOUT_BYTES).get("metadata", b""))
        if about.get("format", 1) not in range(1, FORMAT + 1):
            raise UserError(_unknown_format(path, about))
        by_name = arrays.read(path / part, lambda shapes: check(about, shapes))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DamagedCheckpoint(f"checkpoint {path} is damaged ({error.strerror})") from error
    except OSError as error:
        raise UserError(f"cannot read checkpoint {path}: {error.strerror}") from error
    except MemoryError as error:
        raise UserError(f"there is not enough memory to read checkpoint {path}") from error
    except (regular.Irregular, arrays.BadArrays) as error:
        raise DamagedCheckpoint(f"checkpoint {path} is damaged ({error})") from error
    if about["digests"].get(part) != digest(by_name):
        raise DamagedCheckpoint(f"checkpoint {path} is damaged (its digest is wrong)")
    return Checkpoint(int(path.name), by_name, about)


def about_text(about: Mapping[str, Any]) -> str:
    """A checkpoint's metadata as JSON that `read_about` reads."""
    return json.dumps(_sealed(about))


def read_about(content: str | bytes) -> dict[str, Any]:
    """A checkpoint's metadata. Raises BadArrays if they are not what was written."""
    try:
        about = json.loads(content)
        if about.pop("digest") == _json_digest(about) and isinstance(about["digests"], dict):
            return about
    except (AttributeError, LookupError, TypeError, ValueError, RecursionError):
        pass
    raise arrays.BadArrays("its metadata is not what was written")


def _sealed(about: Mapping[str, Any]) -> dict[str, Any]:
    return {**about, "digest": _json_digest(about)}


def _json_digest(about: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def _unknown_format(path: Path, about: Mapping[str, Any]) -> str:
    # Both may be any JSON value.
    number, needed = (
        text if re.fullmatch(r"[\w.+!-]{1,40}", text := str(about.get(name)), re.ASCII) else "?"
        for name in ("format", "written_by")
    )
    return (
        f"checkpoint {path} has format {number} and this gradejax knows {FORMAT}: update gradejax to {needed} or later"
    )
