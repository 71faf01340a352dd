"""Training that starts from trained parameters."""

from contextlib import closing
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict
from test_predict import save_run

from configs import mlp
from gradejax import checkpoints, prepare, recogniser, runs, shipped, training
from gradejax.errors import UserError
from gradejax.forward import variables_of
from gradejax.hands.synthetic import write_drawings
from gradejax.stores import open_store


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with two stores of different writers' drawings, and the run `source` on the larger one."""
    folder = tmp_path_factory.mktemp("start-from")
    for name, n, seed in (("many", 600, 1), ("few", 150, 2)):
        with closing(open_store(f"sqlite:///{folder}/{name}.db")) as store:
            store.add(write_drawings(n, seed=seed, writers=10))
    train(folder, "many", "source", {"train.epochs": 40, "train.checkpoint_every": 40, "train.start_from": ""})
    return folder


def train(folder: Path, store: str, workdir: str, changes: dict[str, Any]) -> dict[str, Any]:
    """Trains a small MLP for one epoch from `source`, or as `changes` say; returns the summary."""
    config = mlp.get_config()
    config.data.size, config.model.hidden, config.model.dropout = 16, (64,), (0.1,)
    config.data.cache = str(folder / "cache")
    config.train.epochs, config.train.learning_rate, config.train.ema_decay = 1, 1e-2, 0.9
    config.train.start_from = str(folder / "source")
    with config.unlocked():
        config.update_from_flattened_dict(changes)
    training.train(f"sqlite:///{folder}/{store}.db", recipe=config, workdir=folder / workdir)
    return runs.read_json(folder / workdir / "summary.json")


def test_a_few_drawings_go_further(folder, caplog):
    scratch = train(folder, "few", "scratch", {"train.start_from": ""})
    started = train(folder, "few", "started", {})
    assert started["val_accuracy"] > scratch["val_accuracy"] + 0.2
    assert "flatter" not in caplog.text


def test_without_learning_the_model_stays_as_it_was(folder):
    train(folder, "few", "same", {"train.learning_rate": 0.0})
    same, source = (recogniser.load(folder / name).variables.parameters for name in ("same", "source"))
    for one, other in zip(*map(jax.tree.leaves, (same, source)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_folds_start_from_it_too(folder):
    assert train(folder, "few", "folds", {"data.folds": 3})["val_accuracy"] > 0.5


def test_it_warns_of_drawings_that_the_source_knows(folder, caplog):
    train(folder, "many", "again", {"seed": 5})
    assert "source was trained on" in caplog.text


def test_the_shipped_parameters_can_be_started_from(folder, caplog, monkeypatch):
    monkeypatch.setattr("gradejax.mixture._STRANGERS", 200)
    about, arrays = shipped.read(shipped.FILE, lambda *_: None)
    changes = {"train.start_from": "shipped", "train.learning_rate": 0.0, "data.resampling": about["resampling"]}
    changes |= {"data.size": about["size"], "model": ConfigDict(about["model"] | {"test_time_augmentation": False})}
    summary = train(folder, "few", "from-shipped", changes)
    assert summary["val_accuracy"] > 0.8
    assert "trained on" not in caplog.text
    kept = checkpoints.flat(recogniser.load(folder / "from-shipped").variables)
    for name in (name for name in arrays if name.startswith("parameters.")):
        np.testing.assert_allclose(kept[name], arrays[name], rtol=1e-6)


def test_a_run_called_shipped_has_a_path(folder, monkeypatch, caplog):
    monkeypatch.chdir(folder)
    Path("shipped").symlink_to("source")
    with pytest.raises(UserError, match=r"comes with gradejax is of another size .* as in configs/best\.py"):
        train(folder, "many", "bad", {"train.start_from": "shipped"})
    assert "was trained on" not in caplog.text
    assert train(folder, "few", "from-path", {"train.start_from": "./shipped"})["val_accuracy"] > 0.5


def test_a_source_is_read_once_until_it_changes(tmp_path):
    config = mlp.get_config()
    config.data.size, config.model.hidden, config.model.dropout = 8, (8,), (0.1,)
    config.train.start_from = str(save_run(tmp_path))
    prepare._read_once.cache_clear()
    first, second = (checkpoints.flat(variables_of(prepare.network(config))) for _ in range(2))
    assert prepare._read_once.cache_info().misses == 1
    save_run(tmp_path, scale=2, epoch=2)
    third = checkpoints.flat(variables_of(prepare.network(config)))
    assert prepare._read_once.cache_info().misses == 2
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name])
        np.testing.assert_array_equal(2 * array, third[name])


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"train.start_from": "nowhere"}, "no run in nowhere"),
        ({"train.start_from": "."}, r"no checkpoint in \."),
        ({"data.size": 20}, "other layers"),
        ({"model.hidden": (32,)}, "other layers"),
    ],
)
def test_what_cannot_be_started_from(folder, changes, says):
    with pytest.raises(UserError, match=says):
        train(folder, "few", "bad", changes)
