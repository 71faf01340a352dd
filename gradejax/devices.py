"""All devices as one: processes joined, batches dealt out, programs compiled once for all runs."""

import os
from pathlib import Path
from typing import TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

from gradejax.batches import Chunk
from gradejax.errors import UserError

T = TypeVar("T")

COMPILED = Path(".cache/xla")


def start() -> None:
    """Joins the other processes of a run on several machines, and keeps what is compiled for the next run.

    A run is on several where the environment says so: JAX_COORDINATOR_ADDRESS with JAX_NUM_PROCESSES and
    JAX_PROCESS_ID, or what Slurm and Open MPI set for JAX to find. Compiled programs are kept in `COMPILED` unless
    JAX_COMPILATION_CACHE_DIR names another folder.

    Raises:
        UserError: where the others cannot be reached.
    """
    if not jax.config.jax_compilation_cache_dir:
        jax.config.update("jax_compilation_cache_dir", str(COMPILED.absolute()))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    named = {"num_processes": "JAX_NUM_PROCESSES", "process_id": "JAX_PROCESS_ID"}
    by_scheduler = any(int(os.environ.get(name, 1)) > 1 for name in ("SLURM_NTASKS", "OMPI_COMM_WORLD_SIZE"))
    if "JAX_COORDINATOR_ADDRESS" in os.environ or by_scheduler:
        # Else Orbax has all processes agree before each checkpoint, and only the first process's are kept.
        jax.config.update("jax_enable_preemption_service", False)
        try:
            jax.distributed.initialize(
                **{argument: int(os.environ[name]) for argument, name in named.items() if name in os.environ}
            )
        except (RuntimeError, ValueError) as error:
            raise UserError(
                f"the run's other processes cannot be joined ({error}): see JAX_COORDINATOR_ADDRESS, "
                "JAX_NUM_PROCESSES and JAX_PROCESS_ID"
            ) from None


def is_first() -> bool:
    """Whether this process is the one that writes the run's folder."""
    return jax.process_index() == 0


def wait() -> None:
    """Returns when all processes of the run have come here."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices("gradejax")


def check(batch_size: int, digest: str) -> None:
    """Raises UserError where batches cannot be dealt evenly to all devices, or a process has other drawings."""
    if batch_size % jax.device_count():
        raise UserError(
            f"train.batch_size is {batch_size}, which {jax.device_count()} devices cannot share evenly: "
            f"set a multiple of {jax.device_count()}"
        )
    if jax.process_count() > 1:
        digests = multihost_utils.process_allgather(np.frombuffer(digest.encode(), np.uint8))
        if (digests != digests[0]).any():
            raise UserError("the run's processes have different drawings: give all of them the same --store")


def everywhere(tree: T) -> T:
    """A tree of arrays, the first process's, on all devices of all processes."""
    if jax.device_count() == 1:
        return tree
    if jax.process_count() > 1:
        tree = multihost_utils.broadcast_one_to_all(tree)
    return _place(tree, PartitionSpec())


def dealt(chunk: Chunk) -> Chunk:
    """A chunk, the same in all processes, with each batch dealt out to all devices."""
    return chunk if jax.device_count() == 1 else _place(chunk, PartitionSpec(None, "batch"))


def _place(tree: PyTree, spec: PartitionSpec) -> PyTree:
    sharding = NamedSharding(Mesh(np.array(jax.devices()), ("batch",)), spec)

    def place(leaf: np.ndarray) -> jax.Array:
        leaf = np.asarray(leaf)
        return jax.make_array_from_callback(leaf.shape, sharding, leaf.__getitem__)

    return jax.tree.map(place, tree)
