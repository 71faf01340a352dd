"""Ablations: group members train as they would alone, verdicts agree with the t-test, interruptions lose nothing."""

import csv
import importlib.util
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import forked
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ml_collections import ConfigDict
from scipy import stats

from gradejax import loop, population, prepare, recipe, runs
from gradejax.ablate import experiment, launch, report, results, statistics
from gradejax.ablate.trainings import Training, trainings_of
from gradejax.errors import UserError
from gradejax.hands.synthetic import write_drawings
from gradejax.stores import Query, open_store

ROOT = Path(__file__).parent.parent
EXPERIMENTS = sorted((ROOT / "experiments").glob("*.py"))
SIZE = 16

SMALL = '''"""Does it matter how fast?"""

from gradejax.recipe import base


def get_config():
    config = base()
    config.data.size = 16
    config.data.cache = ""
    config.data.folds = 2
    config.model.name, config.model.hidden, config.model.dropout = "mlp", (16,), (0.1,)
    config.train.epochs, config.train.learning_rate = EPOCHS, 3e-3
    return config


def get_variants():
    return {"usual": {}, "slow": {"train.learning_rate": 1e-6}, "wide": {"model.hidden": (32,)}}
'''


@pytest.fixture(scope="module")
def store_uri(tmp_path_factory) -> str:
    uri = f"sqlite:///{tmp_path_factory.mktemp('store')}/grades.db"
    open_store(uri).add(write_drawings(450, writers=10))
    return uri


@pytest.fixture(scope="module")
def data(store_uri):
    return prepare.load(open_store(store_uri), Query(), SIZE, None)


def config_of(name: str, **changes) -> ConfigDict:
    config = recipe.base()
    config.model.name = name
    if name == "mlp":
        config.model.hidden, config.model.dropout = (32,), (0.2,)
    else:
        config.model.channels, config.model.hidden, config.model.dropout = (4,), 16, 0.2
    config.data.size = SIZE
    config.train.epochs = 1
    config.train.ema_decay = 0.9
    for name, value in changes.items():
        group, _, key = name.partition("__")
        if key:
            config[group][key] = value
        else:
            config[name] = value
    return config


def member_of(data, config: ConfigDict) -> population.Member:
    return population.Member(config, data, prepare.split_and_mix(config, data)[1][0])


def train_alone(member: population.Member, workdir: Path) -> dict:
    network = prepare.network(member.config)
    workdir.mkdir()
    prepared = prepare.Prepared(member.dataset, member.split, network, {"data_digest": ""})
    loop.fit(member.config, prepared, workdir, lambda *_: None)
    return runs.read_history(workdir)[-1]


def test_a_group_member_trains_as_it_would_alone(data, tmp_path, monkeypatch):
    """In turn, as on a CPU, and in parallel, as on a GPU. A CNN has whatever an MLP has."""
    changes = {
        "train__learning_rate": 1e-2, "augment__rotation": 20.0, "data__validation_fraction": 0.4,
        "model__dropout": 0.5, "train__label_smoothing": 0.1, "train__weight_decay": 0.5,
    }  # fmt: skip
    configs = [config_of("cnn"), config_of("cnn", seed=1, **changes)]
    for config in configs:
        config.model.channels = (4, 8)  # so that gradients flow through a block into another
    members = [member_of(data, config) for config in configs]
    assert len({population.program_key(config) for config in configs}) == 1
    assert len({loop.steps_per_epoch(len(member.split.train), 32) for member in members}) > 1
    alone = [train_alone(member, tmp_path / str(number)) for number, member in enumerate(members)]
    for parallel in (False, True):
        monkeypatch.setattr(population, "members_run_in_parallel", lambda parallel=parallel: parallel)
        trained, _ = launch.train_group(members)
        for result, expected in zip(trained, alone, strict=True):
            for metric in ("loss", "accuracy", "val_loss", "val_accuracy", "val_ece"):
                assert result.history[-1][metric] == pytest.approx(expected[metric], abs=1e-4), (parallel, metric)


def test_a_seed_has_the_same_split_and_order_in_every_variant(data):
    one, other = (
        member_of(data, config_of("mlp", seed=3, **changes)) for changes in ({}, {"train__learning_rate": 1e-2})
    )
    np.testing.assert_array_equal(one.split.train, other.split.train)
    for batches, _ in population.stacked_batches([one, other], epoch=2):
        np.testing.assert_array_equal(batches.labels[0], batches.labels[1])
        np.testing.assert_array_equal(batches.ink[0], batches.ink[1])


def test_a_diverging_member_does_not_stop_the_others(data):
    wild = member_of(data, config_of("mlp", train__learning_rate=1e38, train__warmup_epochs=0.0))
    (diverged, well), _ = launch.train_group([wild, member_of(data, config_of("mlp"))])
    assert not np.isfinite(diverged.history[-1]["loss"])
    assert (diverged.guesses == -1).all()
    assert np.isfinite(well.history[-1]["loss"])


@pytest.mark.parametrize("change", [{"train__batch_size": 16}, {"train__epochs": 2}, {"train__ema_decay": 0.0}])
def test_configs_of_other_shapes_need_another_program(change):
    assert population.program_key(config_of("mlp")) != population.program_key(config_of("mlp", **change))


def predictions(correct: np.ndarray) -> statistics.Predictions:
    """Of every seed (row) for the same drawings (columns), four by each writer."""
    seed, drawing = np.indices(correct.shape)
    columns = [seed.ravel(), np.zeros(correct.size, int), drawing.ravel(), drawing.ravel() // 4, correct.ravel()]
    return statistics.Predictions(*columns)


bits = st.lists(st.lists(st.booleans(), min_size=24, max_size=24), min_size=3, max_size=3).map(np.array)


@given(base=bits, other=bits)
def test_verdicts_follow_the_corrected_p(base, other):
    first, same, last = statistics.compare(
        {"base": predictions(base), "same": predictions(base), "other": predictions(other)}
    )
    assert first.verdict == "base"
    assert (same.verdict, same.p, same.fixed, same.broken) == ("no difference shown", 1, 0, 0)
    assert last.fixed - last.broken == other.sum() - base.sum()
    assert last.difference.mean == pytest.approx(other.mean() - base.mean())
    shown = "better" if last.difference.mean > 0 else "worse"
    assert last.verdict == (shown if last.p <= 0.05 else "no difference shown")
    if last.verdict == shown:
        assert not last.difference.low <= 0 <= last.difference.high


@given(values=st.lists(st.integers(0, 1000).map(lambda n: n / 1000), min_size=2, max_size=12))
def test_intervals_over_seeds_are_students(values):
    _, low, high = statistics.student(values)
    if np.ptp(values) > 0:
        assert (low, high) == pytest.approx(tuple(stats.ttest_1samp(values, 0).confidence_interval(0.95)))


def test_one_seed_says_nothing_about_seeds_and_one_writer_nothing_about_writers():
    right = np.ones((1, 4), bool)
    _, other = statistics.compare({"base": predictions(~right), "other": predictions(right)})
    assert str(other.these_writers) == str(other.unseen_writers) == "–"
    assert other.verdict == "no difference shown"


def test_validation_and_test_drawings_are_not_paired():
    one = predictions(np.ones((2, 24), bool))
    other = one._replace(drawing=one.drawing + 24, writer=one.writer + 6)
    _, comparison = statistics.compare({"validation": one, "test": other})
    assert comparison.fixed is None


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_every_shipped_experiment_loads(path, store_uri, monkeypatch):
    monkeypatch.syspath_prepend(ROOT)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    base = module.get_config()
    base.data.cache = ""
    loaded = experiment.load(path, base)
    for config in loaded.variants.values():  # a few of the many synthetic drawings that some mix in
        config.data.synthetic, config.data.others = config.data.synthetic // 500, config.data.others // 500
    assert "?" in loaded.question.splitlines()[0]
    assert f"experiments/{path.name}" in loaded.question
    trainings = trainings_of(loaded, 2, open_store(store_uri))
    expected = 2 * len(loaded.variants) * max(base.data.folds, 1)
    assert len({one.digest for one in trainings}) == len(trainings) == expected
    assert f"[{path.stem}]({path.name})" in (ROOT / "experiments" / "README.md").read_text()


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        ({"train.epoch": 3}, r"sets 'train\.epoch', which does not exist: did you mean 'train\.epochs'"),
        ({"train.epochs": "many"}, "train.epochs cannot be 'many'"),
        ({"train.epochs": 0}, "train.epochs is 0"),
        ({"model.depth": 3}, "'model.depth', which does not exist"),
        ({"model.hiden": (3,)}, "did you mean 'model.hidden'"),
        ({"model": {"name": "cnn", "hidden": "many"}}, "model.hidden is 'many': it must be a whole number"),
        ({"train.epochs": None}, "train.epochs is None: it must be a whole number"),
        ({"train.learning_rate": float("nan")}, "train.learning_rate is nan"),
        ({"seed": 3}, "seeds 0, 1, … that --seeds asks for"),
        ({"train": {}}, "sets 'train', which is not a key of a config"),
        ({3: 4}, "sets '3', which is not a key of a config"),
        (None, "its overrides are None, not a mapping"),
    ],
)
def test_bad_overrides(overrides, reason):
    with pytest.raises(UserError, match=reason):
        experiment.varied(config_of("mlp"), "odd", overrides)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("def get_variants(): return [1]", r"has no get_variants\(\) that returns a mapping"),
        ("def get_variants(): return {}", "is empty"),
        ("def get_variants(): return 1 / 0", "ZeroDivisionError: division by zero"),
        ("import nothing_like_it", "No module named 'nothing_like_it'"),
        ("def get_variants(): return {'1': {}, 1: {}}", "two variants have the same name"),
        ("def get_variants(): return {'a\\nb': {}}", "a name must be one line of at most 100 characters"),
        ("def get_variants(): return {' ': {}}", "a name must be one line"),
        ("def get_variants(): return {'a' * 101: {}}", "a name must be one line"),
        ("def get_variants(): return {'a': {}}\nMEASURES = ['val_accuracy']", "MEASURES must be a mapping"),
        ("def get_variants(): return {'a': {}}\nMEASURES = {'a': []}", r"no measure is called \[\]"),
        ("def get_variants(): return {'a': {}}\nPICTURE = []", r"no PICTURE is called \[\]"),
        (
            "def get_variants(): return {'a': {}}\nPICTURE = 'line'\n"
            "MEASURES = {'last': 'val_accuracy', 'best': 'best_val_accuracy'}",
            "the PICTURE 'line' shows one measure, and there are 2",
        ),
    ],
)
def test_bad_experiment_files(tmp_path, code, reason):
    (tmp_path / "odd.py").write_text(code)
    with pytest.raises(UserError, match=reason):
        experiment.load(tmp_path / "odd.py", config_of("mlp"))


@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize("picture", experiment.PICTURES)
def test_names_are_not_read_as_markup(data, tmp_path, picture):
    names = ["cost $\\frac$", "100% of $5", "a_b^c \\ {", "[red]", "*", "😀", "مانده", "x" * 100, "one two " * 12]
    (tmp_path / "odd $x.py").write_text(
        f"PICTURE = {picture!r}\ndef get_variants(): return {{name: {{}} for name in {names!r}}}\n"
    )
    loaded = experiment.load(tmp_path / "odd $x.py", config_of("mlp"))
    trainings = [
        Training(name, seed, 0, member_of(data, config), f"{number}{seed}" * 8)
        for number, (name, config) in enumerate(loaded.variants.items())
        for seed in range(2)
    ]
    (tmp_path / "trainings").mkdir()
    record = {"loss": 1.0, "val_loss": 1.0, "val_ece": 0.1}
    rows = []
    for one in trainings:
        history = [{"epoch": 1, "val_accuracy": 0.5 + one.seed / 9, **record}]
        guesses = np.resize(one.member.dataset.labels, len(one.member.split.validation))
        rows.append(results.store(tmp_path, one, population.Result(history, guesses, guesses), 1.0))
    results.write_rows(tmp_path, rows)
    assert [row.variant for row in results.read_rows(tmp_path)] == [one.variant for one in trainings]
    table = report.write(tmp_path, loaded, trainings, rows)
    assert r"| cost \$\\frac\$ |" in table
    assert r"| \[red\] |" in table
    assert (tmp_path / "results.png").read_bytes().startswith(b"\x89PNG")


def start(folder: Path, store_uri: str, *more: str, epochs: int = 2, code: str = SMALL) -> forked.Process:
    (folder / "small.py").write_text(code.replace("EPOCHS", str(epochs)))
    arguments = [f"--experiment={folder}/small.py", "--seeds=2", f"--workdir={folder}/out", f"--store={store_uri}"]
    return forked.Process(ROOT, "ablate", *arguments, *more)


def output_of(process: forked.Process) -> tuple[str, str]:
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    return out, err


def rows(folder: Path) -> list[dict[str, str]]:
    path = folder / "out" / "results.csv"
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def outcomes(folder: Path) -> dict[tuple[str, str, str], tuple[str, ...]]:
    return {(row["variant"], row["seed"], row["fold"]): (row["val_accuracy"], row["val_loss"]) for row in rows(folder)}


def test_an_interrupted_experiment_continues(store_uri, tmp_path):
    """Killed after the first group, the same command trains nothing twice and writes the whole table."""
    process = start(tmp_path, store_uri, epochs=30)
    deadline = time.monotonic() + 120
    while not (tmp_path / "out" / "results.csv").exists() or len(rows(tmp_path)) == 0:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = rows(tmp_path)
    assert 0 < len(before) < 12
    _, err = output_of(start(tmp_path, store_uri, epochs=30))
    assert f"{len(before)} of 12 trainings are already done" in err
    assert rows(tmp_path)[: len(before)] == before
    assert len(outcomes(tmp_path)) == len(rows(tmp_path)) == 12
    table = (tmp_path / "out" / "results.md").read_text()
    assert "Does it matter how fast?" in table
    (slow,) = [line for line in table.splitlines() if line.startswith("| slow")]
    assert slow.endswith("| worse |")
    assert (tmp_path / "out" / "results.png").read_bytes().startswith(b"\x89PNG")
    assert len(list((tmp_path / "out" / "trainings").glob("*/metrics.jsonl"))) == 12
    out, err = output_of(start(tmp_path, store_uri, epochs=30))
    assert "group" not in err
    assert slow in out


def test_a_dry_run_writes_nothing(store_uri, tmp_path):
    out, _ = output_of(start(tmp_path, store_uri, "--dry-run"))
    assert "12 trainings to do in 6 groups" in out
    assert "slow (seed 0, 2 folds)" in out
    assert "in total" in out.splitlines()[-2]
    assert "(4 trainings a variant, 10 writers held out, comparisons: 2)" in out.splitlines()[-1]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "which experiment"),
        (["--experiment=missing.py"], "no experiment missing.py"),
        (["--experiment=experiments/dropout.py", "--seeds=0"], "seeds"),
        (["--experiment=experiments/dropout.py", "--launcher=slurm"], "launcher"),
        (["--experiment=experiments/dropout.py", "--experiment.train.epoch=3"], "epoch"),
        (["--experiment=configs/cnn.py"], "has no get_variants"),
    ],
)
def test_a_mistake_is_reported_in_one_line(tmp_path, arguments, reason):
    done = forked.run(ROOT, "ablate", *arguments, f"--workdir={tmp_path}/out")
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert reason in last


def test_a_group_whose_ray_worker_dies_is_trained_again(store_uri, tmp_path):
    """On a local cluster one worker is killed while it trains. The results are the same as without Ray."""
    pytest.importorskip("ray")
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    code = SMALL.replace('"slow": {"train.learning_rate": 1e-6}, ', "")  # two groups are enough
    process = start(there, store_uri, "--launcher=ray", "--seeds=1", epochs=5, code=code)
    deadline = time.monotonic() + 120
    while not (workers := ray_workers_below(process.pid)):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(workers[0], signal.SIGKILL)
    output_of(process)
    output_of(start(here, store_uri, "--seeds=1", epochs=5, code=code))
    assert outcomes(here).keys() == outcomes(there).keys()
    assert len(outcomes(here)) == 4
    for key, values in outcomes(here).items():
        assert [float(v) for v in outcomes(there)[key]] == pytest.approx([float(v) for v in values], abs=1e-3)


def ray_workers_below(pid: int) -> list[int]:
    """Descendants of process `pid` in which Ray trains a group."""

    def descends(process: int) -> bool:
        parent = int(Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[1])
        return parent == pid or (parent > 1 and descends(parent))

    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            if (folder / "cmdline").read_bytes().startswith(b"ray::train_group") and descends(int(folder.name)):
                found.append(int(folder.name))
    return found
