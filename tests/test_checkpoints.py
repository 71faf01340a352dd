"""A checkpoint gives back what was put in, or says that it cannot."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from gradejax import checkpoints
from gradejax.checkpoints import DamagedCheckpoint
from gradejax.errors import UserError

# What a thread that reads throws with nobody to catch it is printed: a user would see tracebacks.
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
    found = checkpoints.restore(tmp_path, "training")
    assert found.epoch == 3
    assert found.about["labels"] == ["A", "B"]
    restored = checkpoints.unflat(training_state(0), found.arrays)
    jax.tree.map(np.testing.assert_array_equal, restored, training_state(3))
    assert jax.tree.structure(restored) == jax.tree.structure(training_state(3))


def test_the_model_is_read_without_the_optimizer(tmp_path):
    save(tmp_path, 1)
    found = checkpoints.restore(tmp_path, "model")
    assert sorted(found.arrays) == ["bias", "kernel"]


def test_the_newest_two_are_kept(tmp_path):
    save(tmp_path, 1, 2, 3, 4)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["3", "4"]


def test_a_run_without_any_has_none(tmp_path):
    assert checkpoints.restore(tmp_path, "model") is None


@pytest.mark.parametrize("part", ["model", "training", "about"])
@pytest.mark.parametrize("harm", ["bit", "truncated", "missing"])
def test_a_damaged_one_is_named_and_the_one_before_taken(tmp_path, caplog, part, harm):
    save(tmp_path, 1, 2)
    folder = tmp_path / "checkpoints" / "2" / part
    target = folder / "metadata" if part == "about" else largest_file(folder)
    content = bytearray(target.read_bytes())
    if harm == "missing":
        target.unlink()
    else:
        content[len(content) // 2] ^= 4
        target.write_bytes(content if harm == "bit" else content[: len(content) // 2])
    found = checkpoints.restore(tmp_path, "training" if part == "about" else part)
    assert found.epoch == 1
    assert f"{tmp_path / 'checkpoints' / '2'} is damaged" in caplog.text


def test_no_whole_one_left_is_an_error(tmp_path):
    save(tmp_path, 1)
    largest_file(tmp_path / "checkpoints" / "1" / "model").write_bytes(b"")
    with pytest.raises(DamagedCheckpoint, match="train anew"):
        checkpoints.restore(tmp_path, "model")


def test_another_models_checkpoint_is_refused(tmp_path):
    save(tmp_path, 1)
    arrays = checkpoints.restore(tmp_path, "model").arrays
    other = nnx.state(nnx.Linear(40, 31, rngs=nnx.Rngs(0)), nnx.Param)
    with pytest.raises(UserError, match="another model"):
        checkpoints.unflat(other, arrays)


def test_a_damaged_one_is_written_anew(tmp_path):
    save(tmp_path, 1, 2)
    largest_file(tmp_path / "checkpoints" / "2" / "training").write_bytes(b"")
    with checkpoints.open_manager(tmp_path, done=1) as manager:
        step, parameters, optimizer = training_state(2)
        checkpoints.save(manager, 2, parameters, (step, parameters, optimizer), ABOUT)
    assert checkpoints.restore(tmp_path, "training").epoch == 2
