"""All devices as one: processes joined, batches dealt out, programs compiled once for all runs."""

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

from gradejax.batches import Batch
from gradejax.errors import UserError

T = TypeVar("T")

COMPILED = Path(".cache/xla")
PATIENCE = 300
"""Seconds for which the run's other processes are waited for."""

_BY_HAND = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
_BY_SRUN = ("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_PROCID", "SLURM_LOCALID")
_SEE = f"see {', '.join(_BY_HAND)}"

log = logging.getLogger(__name__)


def start() -> None:
    """Joins the other processes of a run on several machines, and keeps what is compiled for the next run.

    A run is on several where the environment says so: JAX_COORDINATOR_ADDRESS with JAX_NUM_PROCESSES and
    JAX_PROCESS_ID, or what Slurm's srun and Open MPI set for JAX to find. Compiled programs are kept in `COMPILED`
    unless JAX_COMPILATION_CACHE_DIR names another folder.

    Raises:
        UserError: where the environment says it by half.
    """
    if not jax.config.jax_compilation_cache_dir:
        jax.config.update("jax_compilation_cache_dir", str(COMPILED.absolute()))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    by_scheduler = _joined_by_scheduler()
    lacking = [name for name in _BY_HAND if not os.environ.get(name)]
    if len(lacking) == len(_BY_HAND) and not by_scheduler:
        return
    if lacking and not by_scheduler:
        raise UserError(
            f"{' and '.join(lacking)} must be set, too: a run on several machines needs {', '.join(_BY_HAND)}, "
            "and one on this machine none of them"
        )
    address = os.environ.get(_BY_HAND[0])
    if address and not address.rpartition(":")[2].isdecimal():
        raise UserError(f"{_BY_HAND[0]} is {address!r}: it must be a host and a port, as in first-machine:1234")
    processes, mine = map(_number, _BY_HAND[1:])
    if processes is not None and mine is not None and mine >= processes:
        raise UserError(f"{_BY_HAND[2]} is {mine}: of {processes} processes the last is {processes - 1}")
    # Else Orbax has all processes agree before each checkpoint, and only the first process's are kept.
    jax.config.update("jax_enable_preemption_service", False)
    # JAX ends in an abort where the others do not come in time.
    giving_up = threading.Timer(PATIENCE, _give_up)
    giving_up.daemon = True
    giving_up.start()
    try:
        jax.distributed.initialize(None, processes, mine, initialization_timeout=PATIENCE + 60)
    except Exception as error:  # JAX says it in many ways
        raise UserError(f"the run's other processes cannot be joined ({error}): {_SEE}") from None
    finally:
        giving_up.cancel()


def _joined_by_scheduler() -> bool:
    """Whether srun or mpirun has started this process as one of several."""
    tasks, ranks = _number("SLURM_NTASKS") or 1, _number("OMPI_COMM_WORLD_SIZE") or 1
    by_srun = all(name in os.environ for name in _BY_SRUN)
    if tasks > 1 and not by_srun:
        log.info("SLURM_NTASKS is %d and this process was not started by srun: it trains alone", tasks)
    return ranks > 1 or (tasks > 1 and by_srun)


def _number(name: str) -> int | None:
    value = os.environ.get(name)
    if value and not value.isdecimal():
        raise UserError(f"{name} is {value!r}: it must be a whole number")
    return int(value) if value else None


def _give_up() -> None:
    # The main thread hangs inside JAX, where no exception reaches it.
    os.write(2, f"error: the run's other processes did not come within {PATIENCE} s: {_SEE}\n".encode())
    os._exit(1)


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


def dealt(chunk: Batch) -> Batch:
    """A chunk, the same in all processes, with each batch dealt out to all devices."""
    return chunk if jax.device_count() == 1 else _place(chunk, PartitionSpec(None, "batch"))


def _place(tree: PyTree, spec: PartitionSpec) -> PyTree:
    sharding = NamedSharding(Mesh(np.array(jax.devices()), ("batch",)), spec)

    def place(leaf: np.ndarray) -> jax.Array:
        leaf = np.asarray(leaf)
        return jax.make_array_from_callback(leaf.shape, sharding, leaf.__getitem__)

    return jax.tree.map(place, tree)
