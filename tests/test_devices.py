"""Several devices or processes train like one: the same command, the same losses."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gradejax import devices
from gradejax.errors import UserError
from gradejax.hands.synthetic import write_drawings
from gradejax.stores import open_store

ROOT = Path(__file__).parent.parent
SMALL = [
    "--config.model.channels=(4,)", "--config.model.hidden=16", "--config.data.size=16", "--config.train.epochs=2",
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the store `some.db`."""
    folder = tmp_path_factory.mktemp("devices")
    open_store(f"sqlite:///{folder}/some.db").add(write_drawings(300, writers=10))
    return folder


def start(folder: Path, workdir: str, **environment: str) -> subprocess.Popen:
    return subprocess.Popen(
        [
            sys.executable, "-m", "gradejax.main", f"--config={ROOT}/configs/cnn.py", *SMALL,
            "--store=sqlite:///some.db", f"--workdir={workdir}",
        ],
        cwd=folder, env={**os.environ, "JAX_PLATFORMS": "cpu", **environment}, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def losses(folder: Path, workdir: str, *processes: subprocess.Popen) -> np.ndarray:
    """Training and validation losses by epoch, after all processes have succeeded."""
    for process in processes:
        _, err = process.communicate(timeout=180)
        assert process.returncode == 0, err
    rows = [json.loads(line) for line in (folder / workdir / "metrics.jsonl").read_text().splitlines()]
    return np.array([[row["loss"], row["val_loss"]] for row in rows])


def test_eight_devices_or_two_processes_have_the_losses_of_one(folder):
    one = losses(folder, "one", start(folder, "one"))
    assert one.shape == (2, 2)
    eight = start(folder, "eight", XLA_FLAGS="--xla_force_host_platform_device_count=8")
    np.testing.assert_allclose(losses(folder, "eight", eight), one, atol=1e-5)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    shared = {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": "2"}
    two = [start(folder, "two", **shared, JAX_PROCESS_ID=str(number)) for number in (0, 1)]
    np.testing.assert_allclose(losses(folder, "two", *two), one, atol=1e-5)
    assert json.loads((folder / "two" / "summary.json").read_text())["device"].startswith("cpu x 2")


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"JAX_NUM_PROCESSES": "2"}, "JAX_COORDINATOR_ADDRESS and JAX_PROCESS_ID must be set, too"),
        ({"JAX_COORDINATOR_ADDRESS": "a:1", "JAX_NUM_PROCESSES": "2"}, "JAX_PROCESS_ID must be set, too"),
        (
            {"JAX_COORDINATOR_ADDRESS": "a", "JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "0"},
            "JAX_COORDINATOR_ADDRESS is 'a': it must be a host and a port",
        ),
        (
            {"JAX_COORDINATOR_ADDRESS": "a:1", "JAX_NUM_PROCESSES": "two", "JAX_PROCESS_ID": "0"},
            "JAX_NUM_PROCESSES is 'two': it must be a whole number",
        ),
        (
            {"JAX_COORDINATOR_ADDRESS": "a:1", "JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "5"},
            "JAX_PROCESS_ID is 5: with 2 processes the last is 1",
        ),
        ({"SLURM_NTASKS": "x"}, "SLURM_NTASKS is 'x': it must be a whole number"),
        ({"OMPI_COMM_WORLD_SIZE": "2"}, "the run's other processes cannot be joined"),
    ],
)
def test_an_incomplete_environment(monkeypatch, environment, reason):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=reason):
        devices.start()


def test_slurm_with_several_tasks_but_without_srun_trains_alone(monkeypatch, caplog):
    monkeypatch.setenv("SLURM_NTASKS", "4")
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    with caplog.at_level("INFO", "gradejax"):
        devices.start()
    assert "was not started by srun: it trains alone" in caplog.text


@pytest.mark.parametrize("number", ["0", "1"])
def test_a_process_whose_peers_do_not_connect_gives_up(number):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    shared = {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": number}
    done = subprocess.run(
        [sys.executable, "-c", "from gradejax import devices; devices.JOIN_TIMEOUT = 1; devices.start()"],
        env={**os.environ, **shared}, capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert done.returncode == 1
    assert "error: the run's other processes did not connect within 1 s: see JAX_COORD" in done.stderr.splitlines()[-1]


def test_a_batch_that_devices_cannot_share_evenly(folder):
    process = start(folder, "uneven", XLA_FLAGS="--xla_force_host_platform_device_count=5")
    _, err = process.communicate(timeout=180)
    assert process.returncode == 1
    assert "error: train.batch_size is 32, which 5 devices cannot share evenly" in err.splitlines()[-1]
