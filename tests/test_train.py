"""The training loop: it learns, it repeats itself exactly, and it goes on where it was cut off."""

from pathlib import Path

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from gradejax import checkpoints, forward, loop, mixture, models, prepare, recipe, runs, splits
from gradejax.augment import DistortionRanges
from gradejax.batches import Batch, epoch_batches, epoch_plans, whole_epoch
from gradejax.dataset import Dataset
from gradejax.errors import UserError
from gradejax.hands.synthetic import write_drawings
from gradejax.prepare import Prepared
from gradejax.step import hyperparameters, initial_state, steps_function
from gradejax.stores import Query, open_store

SIZE = 16


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    store = open_store(f"sqlite:///{tmp_path_factory.mktemp('store')}/grades.db")
    store.add(write_drawings(450, writers=30))
    return prepare.load(store, Query(), SIZE, None)


def config_of(name: str = "mlp", **changes) -> ConfigDict:
    config = recipe.base()
    config.model.name = name
    if name == "mlp":
        config.model.hidden, config.model.dropout = (64,), (0.2,)
    else:
        config.model.channels, config.model.hidden, config.model.dropout = (4,), 16, 0.2
    config.augment.rotation = 5.0
    config.train.epochs = 4
    config.train.learning_rate = 3e-3
    config.data.size = SIZE
    for key, value in changes.items():
        config.train[key] = value
    return config


def fit(config: ConfigDict, data: Dataset, workdir: Path, announce=lambda *_: None) -> forward.Variables:
    workdir.mkdir(exist_ok=True)
    network = models.build(size=SIZE, seed=config.seed, **recipe.as_json(config.model))
    split = splits.split(data, "writer", 0.2, config.seed)
    return loop.fit(config, Prepared(data, split, network, {"data_digest": data.digest}), workdir, announce)


def identical(one: forward.Variables, other: forward.Variables) -> bool:
    return jax.tree.all(jax.tree.map(np.array_equal, one, other))


def figures(workdir: Path) -> list[tuple[float, ...]]:
    """What an epoch's line says apart from time."""
    names = ("epoch", "loss", "accuracy", "val_loss", "val_accuracy", "val_ece", "learning_rate")
    return [tuple(row[name] for name in names) for row in runs.read_history(workdir)]


def test_it_learns_grades_of_hands_it_has_not_seen(data, tmp_path):
    fit(config_of(epochs=25, checkpoint_every=25), data, tmp_path)
    first, *_, last = runs.read_history(tmp_path)
    assert last["loss"] < first["loss"] / 2
    assert last["val_accuracy"] > 0.3  # by chance: 0.07


def test_drawings_that_stay_on_the_device_train_as_those_from_the_host_do(data):
    config = config_of("cnn", ema_decay=0.9)  # whose program another test compiles, too
    network = models.build(size=SIZE, seed=0, **recipe.as_json(config.model))
    split = splits.split(data, "writer", 0.2, 0)
    numbers = hyperparameters(network, config, len(split.train))
    how = {"batch_size": 32, "augment": DistortionRanges(rotation=5, zoom=0.1), "seed": 0, "epoch": 1, "max_steps": 5}
    from_host, take = [], steps_function(network)
    state = initial_state(network, numbers)
    for chunk in epoch_batches(data.ink, data.labels, split.train, **how):
        state, seen = take(numbers, state, chunk)
        from_host.append(seen)
    plan = whole_epoch(epoch_plans(SIZE, data.labels, split.train, **how))
    take = steps_function(network, jax.numpy.asarray(data.ink))
    stayed, seen = take(numbers, initial_state(network, numbers), plan)
    np.testing.assert_allclose(seen[:, 0], np.concatenate(from_host)[:, 0], rtol=1e-2)
    assert stayed.step == state.step


@pytest.mark.parametrize(("name", "ema_decay"), [("mlp", 0.0), ("cnn", 0.9)])
def test_a_run_cut_off_ends_as_one_that_was_not(data, tmp_path, name, ema_decay):
    config = config_of(name, ema_decay=ema_decay, label_smoothing=0.1, checkpoint_every=1)
    whole = fit(config, data, tmp_path / "whole")

    def cut_off(record: loop.Epoch | None, steps: int) -> None:
        if record is None and steps > 2 * len(data) // config.train.batch_size:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(config, data, tmp_path / "cut", cut_off)
    assert 0 < len(runs.read_history(tmp_path / "cut")) < config.train.epochs
    resumed = fit(config, data, tmp_path / "cut")
    assert identical(whole, resumed)
    assert figures(tmp_path / "whole") == figures(tmp_path / "cut")


def test_the_same_seed_is_the_same_run_and_another_is_not(data, tmp_path):
    fit(config_of(), data, tmp_path / "once")
    fit(config_of(), data, tmp_path / "again")
    other = config_of()
    other.seed = 1
    fit(other, data, tmp_path / "other")
    assert figures(tmp_path / "once") == figures(tmp_path / "again") != figures(tmp_path / "other")


def test_a_finished_run_is_left_as_it_is(data, tmp_path):
    variables = fit(config_of(), data, tmp_path)
    before = (tmp_path / "metrics.jsonl").read_text()
    assert identical(variables, fit(config_of(), data, tmp_path))
    assert (tmp_path / "metrics.jsonl").read_text() == before


def test_the_learning_rate_warms_up_and_falls_to_nothing(data, tmp_path):
    fit(config_of(epochs=8, warmup_epochs=2.0), data, tmp_path)
    rates = [row["learning_rate"] for row in runs.read_history(tmp_path)]
    assert rates[1] == pytest.approx(3e-3, rel=0.1) == max(rates)
    assert rates[0] < rates[1]
    assert sorted(rates[1:], reverse=True) == rates[1:]
    assert rates[-1] < 0.05 * rates[1]


def test_a_learning_rate_may_stay_at_its_peak(data, tmp_path):
    fit(config_of(epochs=3, warmup_epochs=1.0, learning_rate_end=1.0), data, tmp_path)
    rates = [row["learning_rate"] for row in runs.read_history(tmp_path)]
    assert rates[1:] == pytest.approx([3e-3, 3e-3])


def test_the_average_is_smoother_than_what_it_averages(data, tmp_path):
    raw = fit(config_of(ema_decay=0.0), data, tmp_path / "raw")
    averaged = fit(config_of(ema_decay=0.95), data, tmp_path / "averaged")
    assert not identical(raw, averaged)
    # The average is only looked at: the training below it is the same.
    assert [row[1] for row in figures(tmp_path / "raw")] == [row[1] for row in figures(tmp_path / "averaged")]


def test_a_loss_that_is_no_number_stops_the_run(data, tmp_path):
    with pytest.raises(UserError, match=r"the loss is (nan|inf) in epoch \d: lower train\.learning_rate"):
        fit(config_of(learning_rate=1e38, warmup_epochs=1.0), data, tmp_path)
    assert all(np.isfinite(row["loss"]) for row in runs.read_history(tmp_path))


def test_a_run_that_is_lost_keeps_its_last_good_checkpoint(data, tmp_path):
    fit(config_of(epochs=2), data, tmp_path)
    before = checkpoints.restore(tmp_path, "model")
    with pytest.raises(UserError, match=r"the loss is (nan|inf) in epoch 3: .*; the last good checkpoint is kept"):
        fit(config_of(epochs=4, learning_rate=1e38, warmup_epochs=0.0), data, tmp_path)
    after = checkpoints.restore(tmp_path, "model")
    assert after.epoch == 2
    assert checkpoints.digest(after.arrays) == checkpoints.digest(before.arrays)


def test_a_history_that_is_damaged_is_named(data, tmp_path):
    fit(config_of(epochs=2), data, tmp_path)
    (tmp_path / "metrics.jsonl").write_bytes(b'{"epoch": 1}\n\xff\n{"epo')
    with pytest.raises(UserError, match=r"metrics\.jsonl is damaged"):
        fit(config_of(epochs=2), data, tmp_path)


def test_other_drawings_are_not_gone_on_with(data, tmp_path):
    fit(config_of(), data, tmp_path)
    changed = Dataset(data.ink, data.labels, data.writers, data.writer_names, "another digest")
    with pytest.raises(UserError, match="the drawings have changed"):
        fit(config_of(epochs=5), changed, tmp_path)


def test_what_tensorboard_reads_is_written(data, tmp_path):
    fit(config_of(epochs=1), data, tmp_path)
    (events,) = tmp_path.glob("events.out.tfevents.*")
    assert b"val_accuracy" in events.read_bytes()


def test_what_is_no_grade_counts_as_all_grades_alike_and_in_no_accuracy(data):
    network = models.build(size=SIZE, seed=0, name="mlp", hidden=(64,), dropout=(0.0,))
    variables = forward.variables_of(network)
    numbers = hyperparameters(network, config_of(label_smoothing=0.1), n_train=40)
    state = initial_state(network, numbers)
    labels = np.where(np.arange(40) % 4, data.labels[:40], -1)
    guesses = jax.nn.softmax(forward.logits_function(network)(variables, data.ink[:40]))
    targets = np.where(labels[:, None] < 0, 1 / 15, 0.9 * np.eye(15)[labels] + 0.1 / 15)
    _, ((loss, accuracy),) = steps_function(network)(numbers, state, Batch(data.ink[None, :40], labels[None]))
    np.testing.assert_allclose(loss, -(targets * np.log(guesses)).sum(axis=1).mean(), rtol=1e-4)
    np.testing.assert_allclose(accuracy, (guesses.argmax(axis=1) == labels)[labels >= 0].mean(), rtol=1e-6)


def test_what_is_no_grade_makes_it_unsure(data, tmp_path):
    split = splits.split(data, "writer", 0.2, 0)
    unseen = mixture.mix(data, 0, 100, 1, None)
    config = config_of(epochs=40, checkpoint_every=40)
    config.model.dropout = (0.0,)
    confidence = []
    for n_others in (0, 300):
        mixed = mixture.mix(data, 0, n_others, 0, None)
        parts = splits.Split(
            np.concatenate([split.train, np.arange(len(data), len(mixed))]), split.validation, split.test
        )
        network = models.build(size=SIZE, seed=0, **recipe.as_json(config.model))
        workdir = tmp_path / str(n_others)
        workdir.mkdir()
        prepared = Prepared(mixed, parts, network, {"data_digest": mixed.digest})
        variables = loop.fit(config, prepared, workdir, lambda *_: None)
        logits_of = forward.logits_function(network)
        guesses = jax.nn.softmax(logits_of(variables, unseen.ink[len(data) :]))
        confidence.append(np.median(guesses.max(axis=1)))
    assert confidence[1] < 0.7 * confidence[0]
