"""Orbax checkpoints: written atomically and in the background, examined when read.

A checkpoint holds three parts: `model` (what predicts: parameters and statistics), `training` (all that a resumed
run needs) and `about` (a few plain facts, among them the other two's digests). Arrays are kept flat, by name, so that
reading a model needs neither its optimizer nor the classes it was written with, and runs no code.
"""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np
import orbax.checkpoint as ocp
from jaxtyping import PyTree
from orbax.checkpoint import type_handlers
from orbax.checkpoint.checkpoint_managers import preservation_policy

from gradejax.errors import UserError

log = logging.getLogger(__name__)
T = TypeVar("T")
Arrays = dict[str, np.ndarray]

FORMAT = 1
"""Raise it when an older gradejax would read a checkpoint wrongly. One without a number is of format 1."""


class DamagedCheckpoint(UserError):
    """A checkpoint that does not hold what was written; `str()` names it."""


class Checkpoint(NamedTuple):
    """What `restore` returns; `arrays` is the part asked for."""

    epoch: int
    arrays: Arrays
    about: dict[str, Any]


def flat(tree: PyTree) -> Arrays:
    """Copies of a tree's leaves by their path: `{"layers.0.kernel": array, …}`."""
    leaves = jax.tree_util.tree_leaves_with_path(jax.device_get(tree))
    # Some releases of Flax end a variable's path in `.value`, others do not: a name must outlive both.
    return {
        jax.tree_util.keystr(path, simple=True, separator=".").removesuffix(".value"): np.array(leaf)
        for path, leaf in leaves
    }


def unflat(template: T, arrays: Arrays) -> T:
    """`template` with each leaf replaced by the array of its path. Raises UserError where names or shapes differ."""
    expected = flat(template)
    if {name: a.shape for name, a in expected.items()} != {name: a.shape for name, a in arrays.items()}:
        raise UserError("the checkpoint is of another model or optimizer: train anew in another --workdir")
    return jax.tree.unflatten(jax.tree.structure(template), [arrays[name] for name in expected])


def digest(arrays: Arrays) -> str:
    """SHA-256 over names, types, shapes and bytes."""
    whole = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        whole.update(f"{name} {array.dtype} {array.shape};".encode())
        whole.update(array)
    return whole.hexdigest()


def open_manager(workdir: Path, done: int = 0) -> ocp.CheckpointManager:
    """The writer of a run's checkpoints; keeps the newest two. Close it, or the last one may stay unwritten.

    Those later than epoch `done`, which `restore` found damaged, are removed: Orbax never writes over one.
    """
    folder = (workdir / "checkpoints").absolute()
    folder.mkdir(parents=True, exist_ok=True)
    options = ocp.CheckpointManagerOptions(
        preservation_policy=preservation_policy.LatestN(2),
        create=False,
        cleanup_tmp_directories=True,  # of what a kill left half written
        multiprocessing_options=_waits_for_no_other(),
    )
    manager = ocp.CheckpointManager(folder, options=options)
    for epoch in manager.all_steps():
        if epoch > done:
            manager.delete(epoch)
    return manager


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


def restore(workdir: Path, part: str) -> Checkpoint | None:
    """The newest checkpoint of a run that is whole; None where the run has none yet.

    A damaged one is named in the log and the one before it is taken.

    Args:
        part: "model" or "training".

    Raises:
        DamagedCheckpoint: when there are checkpoints and none is whole.
        UserError: when a newer gradejax wrote it.
    """
    folder = workdir / "checkpoints"
    epochs = sorted((int(path.name) for path in folder.glob("*") if path.name.isdigit()), reverse=True)
    damage: DamagedCheckpoint | None = None
    for epoch in epochs:
        try:
            checkpoint = _restore(folder / str(epoch), part)
        except DamagedCheckpoint as error:
            log.warning("%s", error)
            damage = error
        else:
            return checkpoint
    if damage:
        raise DamagedCheckpoint(f"{damage}, and no whole one is left: train anew in another --workdir")
    return None


def _json_digest(about: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


class _OneByOne(type_handlers.NumpyHandler):
    """Reads one array after the other. Of several at once the first that fails has the event loop closed, and each of
    the others would then print a traceback."""

    async def deserialize(
        self, infos: Sequence[type_handlers.ParamInfo], args: Sequence[ocp.RestoreArgs] | None = None
    ) -> list[np.ndarray]:
        arrays = []
        for info, how in zip(infos, args or [ocp.RestoreArgs()] * len(infos), strict=True):
            arrays += await super().deserialize([info], [how])
        return arrays


def _restore(path: Path, part: str) -> Checkpoint:
    # Orbax wants to know of JAX's arrays, of which there are none.
    kinds = type_handlers.create_type_handler_registry(
        (np.ndarray, _OneByOne()), (jax.Array, type_handlers.ArrayHandler())
    )
    handler = ocp.CompositeCheckpointHandler(
        about=ocp.JsonCheckpointHandler(), **{part: ocp.PyTreeCheckpointHandler(type_handler_registry=kinds)}
    )
    try:
        with ocp.Checkpointer(handler, multiprocessing_options=_waits_for_no_other()) as checkpointer:
            found = checkpointer.restore(
                path.absolute(),
                args=ocp.args.Composite(about=ocp.args.JsonRestore(), **{part: ocp.args.PyTreeRestore()}),
            )
        about, arrays = found["about"], {name: np.asarray(array) for name, array in found[part].items()}
        whole = about.pop("digest") == _json_digest(about) and about["digests"][part] == digest(arrays)
    # Whatever a flipped bit makes Orbax, TensorStore or the JSON reader say, it means the same to the user.
    except Exception as error:
        raise DamagedCheckpoint(f"checkpoint {path} is damaged ({type(error).__name__})") from error
    if not whole:
        raise DamagedCheckpoint(f"checkpoint {path} is damaged (its digest is wrong)")
    if about.get("format", 1) not in range(1, FORMAT + 1):
        raise UserError(
            f"checkpoint {path} has format {about['format']} and this gradejax knows {FORMAT}: "
            f"update gradejax to {about.get('written_by')} or later"
        )
    return Checkpoint(int(path.name), arrays, about)
