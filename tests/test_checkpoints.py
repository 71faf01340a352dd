"""A checkpoint returns exactly what was saved, or says that it is damaged."""

import errno
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from gradejax import checkpoints, regular
from gradejax.checkpoints import DamagedCheckpoint
from gradejax.errors import UserError

# Uncaught exceptions of reading threads would be printed as tracebacks.
pytestmark = pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")

ABOUT = {"labels": ["A", "B"], "size": 28}


def training_state(seed: int):
    network = nnx.Linear(40, 30, rngs=nnx.Rngs(seed))
    parameters = nnx.state(network, nnx.Param)
    return jnp.int32(seed), parameters, optax.adamw(1e-3).init(parameters)


def save(workdir: Path, *epochs: int) -> None:
    with checkpoints.open_manager(workdir) as manager:
        for epoch in epochs:
            step, parameters, optimizer = training_state(epoch)
            checkpoints.save(manager, epoch, parameters, (step, parameters, optimizer), ABOUT)


def largest_file(folder: Path) -> Path:
    return max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


def test_what_was_saved_comes_back_bit_for_bit(tmp_path):
    save(tmp_path, 1, 2, 3)
    checkpoint = checkpoints.restore(tmp_path, "training")
    assert checkpoint.epoch == 3
    assert checkpoint.about["labels"] == ["A", "B"]
    restored = checkpoints.unflat(training_state(0), checkpoint.arrays)
    jax.tree.map(np.testing.assert_array_equal, restored, training_state(3))
    assert jax.tree.structure(restored) == jax.tree.structure(training_state(3))


def test_the_model_is_read_without_the_optimizer(tmp_path):
    save(tmp_path, 1)
    checkpoint = checkpoints.restore(tmp_path, "model")
    assert sorted(checkpoint.arrays) == ["bias", "kernel"]


def test_the_newest_two_are_kept(tmp_path):
    save(tmp_path, 1, 2, 3, 4)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["3", "4"]


def test_a_run_without_checkpoints(tmp_path):
    assert checkpoints.restore(tmp_path, "model") is None


@pytest.mark.parametrize("part", ["model", "training", "about"])
@pytest.mark.parametrize("harm", ["bit", "truncated", "missing"])
def test_a_damaged_checkpoint_is_logged_and_the_one_before_is_used(tmp_path, caplog, part, harm):
    save(tmp_path, 1, 2)
    folder = tmp_path / "checkpoints" / "2" / part
    target = folder / "metadata" if part == "about" else largest_file(folder)
    content = bytearray(target.read_bytes())
    if harm == "missing":
        target.unlink()
    else:
        content[len(content) // 2] ^= 4
        target.write_bytes(content if harm == "bit" else content[: len(content) // 2])
    assert checkpoints.restore(tmp_path, "training" if part == "about" else part).epoch == 1
    assert f"{tmp_path / 'checkpoints' / '2'} is damaged" in caplog.text


def test_only_damaged_checkpoints_are_an_error(tmp_path):
    save(tmp_path, 1)
    largest_file(tmp_path / "checkpoints" / "1" / "model").write_bytes(b"")
    with pytest.raises(DamagedCheckpoint, match="train anew"):
        checkpoints.restore(tmp_path, "model")


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    save(tmp_path, 1)
    arrays = checkpoints.restore(tmp_path, "model").arrays
    other = nnx.state(nnx.Linear(40, 31, rngs=nnx.Rngs(0)), nnx.Param)
    with pytest.raises(UserError, match="another model"):
        checkpoints.unflat(other, arrays)


def test_a_damaged_checkpoint_is_replaced(tmp_path):
    save(tmp_path, 1, 2)
    largest_file(tmp_path / "checkpoints" / "2" / "training").write_bytes(b"")
    with checkpoints.open_manager(tmp_path, done=1) as manager:
        step, parameters, optimizer = training_state(2)
        checkpoints.save(manager, 2, parameters, (step, parameters, optimizer), ABOUT)
    assert checkpoints.restore(tmp_path, "training").epoch == 2


def test_links_are_not_followed(tmp_path, caplog):
    """Continuing a stranger's run neither reads nor removes what its links point to."""
    save(tmp_path / "run", 1)
    save(tmp_path / "elsewhere", 2)
    folder, elsewhere = tmp_path / "run" / "checkpoints", tmp_path / "elsewhere" / "checkpoints"
    (folder / "2").symlink_to(elsewhere / "2")
    (folder / "3.orbax-checkpoint-tmp").symlink_to(elsewhere)
    (folder / "99").symlink_to(elsewhere / "2" / "about" / "metadata")
    os.mkfifo(folder / "98")
    assert checkpoints.restore(tmp_path / "run", "training").epoch == 1
    assert "checkpoints/99 is damaged (a link)" in caplog.text
    with checkpoints.open_manager(tmp_path / "run", done=1) as manager:
        step, parameters, optimizer = training_state(2)
        checkpoints.save(manager, 2, parameters, (step, parameters, optimizer), ABOUT)
    assert sorted(path.name for path in folder.iterdir()) == ["1", "2"]
    assert not (folder / "2").is_symlink()
    assert checkpoints.restore(tmp_path / "elsewhere", "training").epoch == 2


@pytest.mark.parametrize("make", [lambda path, to: path.symlink_to(to), lambda path, to: os.mkfifo(path)])
def test_checkpoints_must_be_a_folder(tmp_path, make):
    save(tmp_path / "elsewhere", 1)
    (tmp_path / "run").mkdir()
    make(tmp_path / "run" / "checkpoints", tmp_path / "elsewhere" / "checkpoints")
    for use in (lambda run: checkpoints.restore(run, "model"), checkpoints.open_manager):
        with pytest.raises(UserError, match=r"checkpoints(: File exists| is a (link|pipe))"):
            use(tmp_path / "run")
    assert checkpoints.restore(tmp_path / "elsewhere", "model").epoch == 1


def test_a_tree_that_unpacks_to_gigabytes_is_not_unpacked(tmp_path):
    """The root node is compressed: 64 kB become 2 GB of zeros."""
    save(tmp_path, 1)
    manifest = tmp_path / "checkpoints" / "1" / "model" / "manifest.ocdbt"
    content = manifest.read_bytes()
    rle = (2**20 | 2).to_bytes(3, "little") + b"\0"  # RFC 8878: a run-length block of 128 kB
    frame = b"\x28\xb5\x2f\xfd\x00\x58" + 2**14 * rle + (1).to_bytes(3, "little")
    manifest.write_bytes(content[:4] + (18 + len(frame)).to_bytes(8, "little") + content[12:14] + frame + b"\0" * 4)
    with pytest.raises(DamagedCheckpoint, match=r"unpacks to more than [\d,]+ bytes"):
        checkpoints.restore(tmp_path, "model")


def test_folders_not_named_after_an_epoch_are_left_alone(tmp_path):
    save(tmp_path, 1)
    names = {"²", "٣", "-1", "01", "0", "notes"}
    for name in names:
        (tmp_path / "checkpoints" / name).mkdir()
    assert checkpoints.restore(tmp_path, "model").epoch == 1
    checkpoints.open_manager(tmp_path, done=1).close()
    assert {path.name for path in (tmp_path / "checkpoints").iterdir()} == {*names, "1"}


# In a process of its own, because limits and earlier allocations cannot be undone.
STARVED = textwrap.dedent(
    """
    import re, resource, sys
    from pathlib import Path
    from gradejax import checkpoints, regular
    from gradejax.errors import UserError

    what, amount, run = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    if what == "AS":
        amount += 1024 * int(re.search(r"VmSize:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
    resource.setrlimit(getattr(resource, f"RLIMIT_{what}"), (amount, amount))
    try:
        print(checkpoints.restore(run, "training").epoch)
    except UserError as error:
        print(type(error).__name__, error)
    """
)


@pytest.mark.parametrize(
    ("what", "amount", "said"),
    [
        # The folder's listing, too, may be what there is no memory for.
        ("AS", 0, f"UserError (there is not enough memory|cannot read .*: {os.strerror(errno.ENOMEM)})"),
        ("AS", 2 * 10**7, "UserError there is not enough memory to read checkpoint "),
        ("AS", 10**9, "2"),
        ("NOFILE", 3, f"UserError cannot read .*: {os.strerror(errno.EMFILE)}"),
    ],
)
def test_a_lack_of_memory_or_file_handles_is_not_damage(tmp_path, what, amount, said):
    save(tmp_path, 1, 2)
    done = subprocess.run(
        [sys.executable, "-c", STARVED, what, str(amount), tmp_path], capture_output=True, text=True, timeout=300
    )
    assert re.match(said, done.stdout), done
    assert not done.stderr


def test_a_running_training_may_remove_the_checkpoint_being_read(tmp_path, monkeypatch):
    """Orbax removes a checkpoint file by file, once there are two newer ones."""
    save(tmp_path, 1, 2)
    newest = tmp_path / "checkpoints" / "2"
    read_all = regular.read_all

    def removed_meanwhile(folder: Path, limit: int) -> dict[str, bytes]:
        if folder == newest / "model":
            monkeypatch.undo()
            shutil.rmtree(newest / "model")
            save(tmp_path, 3, 4)
        return read_all(folder, limit)

    monkeypatch.setattr(regular, "read_all", removed_meanwhile)
    assert checkpoints.restore(tmp_path, "model").epoch == 4
