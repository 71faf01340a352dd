"""Training on several devices and machines: joins processes, shards batches, caches compiled programs."""

import logging
import os
import threading
from pathlib import Path
from typing import TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

from gradejax.batches import Batch, BatchPlan
from gradejax.errors import UserError

T = TypeVar("T")

COMPILATION_CACHE = Path(".cache/xla")
JOIN_TIMEOUT = 300
"""Seconds to wait for the run's other processes."""

_JAX_VARIABLES = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
_SRUN_VARIABLES = ("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_PROCID", "SLURM_LOCALID")
_SEE = f"see {', '.join(_JAX_VARIABLES)}"

log = logging.getLogger(__name__)


def start() -> None:
    """Joins the processes of a run on several machines and enables JAX's compilation cache.

    The environment says whether a run has several processes: JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and
    JAX_PROCESS_ID, or what Slurm's srun or Open MPI set. The cache is at JAX_COMPILATION_CACHE_DIR, otherwise at
    `COMPILATION_CACHE`.

    Raises:
        UserError: when the environment is incomplete, or the other processes cannot be joined.
    """
    if not jax.config.jax_compilation_cache_dir:  # pyright: ignore[reportAttributeAccessIssue]
        jax.config.update("jax_compilation_cache_dir", str(COMPILATION_CACHE.absolute()))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    by_scheduler = _started_by_scheduler()
    missing = [name for name in _JAX_VARIABLES if not os.environ.get(name)]
    if len(missing) == len(_JAX_VARIABLES) and not by_scheduler:
        return
    if missing and not by_scheduler:
        raise UserError(
            f"{' and '.join(missing)} must be set, too: a run on several machines needs "
            f"{', '.join(_JAX_VARIABLES)}, a run on one machine none of them"
        )
    address = os.environ.get(_JAX_VARIABLES[0])
    if address and not address.rpartition(":")[2].isdecimal():
        raise UserError(f"{_JAX_VARIABLES[0]} is {address!r}: it must be a host and a port, as in first-machine:1234")
    processes, own_id = map(_number, _JAX_VARIABLES[1:])
    if processes is not None and own_id is not None and own_id >= processes:
        raise UserError(f"{_JAX_VARIABLES[2]} is {own_id}: with {processes} processes the last is {processes - 1}")
    # Otherwise Orbax synchronises all processes before each checkpoint, which only the first one writes.
    jax.config.update("jax_enable_preemption_service", False)
    # On its own timeout JAX aborts the process.
    timer = threading.Timer(JOIN_TIMEOUT, _exit_on_timeout)
    timer.daemon = True
    timer.start()
    try:
        jax.distributed.initialize(None, processes, own_id, initialization_timeout=JOIN_TIMEOUT + 60)
    except Exception as error:  # JAX raises many types
        raise UserError(f"the run's other processes cannot be joined ({error}): {_SEE}") from None
    finally:
        timer.cancel()


def _started_by_scheduler() -> bool:
    """Whether srun or mpirun started this process as one of several."""
    tasks, ranks = _number("SLURM_NTASKS") or 1, _number("OMPI_COMM_WORLD_SIZE") or 1
    by_srun = all(name in os.environ for name in _SRUN_VARIABLES)
    if tasks > 1 and not by_srun:
        log.info("SLURM_NTASKS is %d but this process was not started by srun: it trains alone", tasks)
    return ranks > 1 or (tasks > 1 and by_srun)


def _number(name: str) -> int | None:
    value = os.environ.get(name)
    if value and not value.isdecimal():
        raise UserError(f"{name} is {value!r}: it must be a whole number")
    return int(value) if value else None


def _exit_on_timeout() -> None:
    # The main thread is inside JAX, where no exception reaches it.
    os.write(2, f"error: the run's other processes did not connect within {JOIN_TIMEOUT} s: {_SEE}\n".encode())
    os._exit(1)


def is_first() -> bool:
    """Whether this is the process that writes the run's folder."""
    return jax.process_index() == 0


def wait() -> None:
    """Blocks until all processes of the run have called this."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices("gradejax")


def check(batch_size: int, digest: str) -> None:
    """Raises UserError if batches cannot be divided evenly among the devices, or the processes' drawings differ."""
    if batch_size % jax.device_count():
        raise UserError(
            f"train.batch_size is {batch_size}, which {jax.device_count()} devices cannot share evenly: "
            f"use a multiple of {jax.device_count()}"
        )
    if jax.process_count() > 1:
        digests = multihost_utils.process_allgather(np.frombuffer(digest.encode(), np.uint8))
        if (digests != digests[0]).any():
            raise UserError("the run's processes have different drawings: use the same --store for all")


def everywhere(tree: T) -> T:
    """Copies the first process's tree of arrays to all devices of all processes."""
    if jax.device_count() == 1:
        return tree
    if jax.process_count() > 1:
        tree = multihost_utils.broadcast_one_to_all(tree)
    return _place(tree, PartitionSpec())


def dealt(batches: Batch | BatchPlan) -> Batch | BatchPlan:
    """Shards each batch over all devices. The batches must be the same in all processes."""
    return batches if jax.device_count() == 1 else _place(batches, PartitionSpec(None, "batch"))


def _place(tree: PyTree, spec: PartitionSpec) -> PyTree:
    sharding = NamedSharding(Mesh(np.array(jax.devices()), ("batch",)), spec)

    def place(leaf: np.ndarray) -> jax.Array:
        leaf = np.asarray(leaf)
        return jax.make_array_from_callback(leaf.shape, sharding, leaf.__getitem__)

    return jax.tree.map(place, tree)
