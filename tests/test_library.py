"""gradejax as a library: what a program that imports it relies on."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import forked
import pytest

import gradejax
from gradejax import recipe, runs
from gradejax.errors import BadDrawing, UserError
from gradejax.hands.synthetic import write_drawings
from gradejax.stores import Store

ROOT = Path(__file__).parent.parent
PNG = ROOT / "tests" / "b-minus.png"
BLOCK = re.compile(r"```(bash|python)\n(.*?)```", re.DOTALL)

# A network that is trained in a second.
SMALL = {"data.size": 16, "model.hidden": (64,), "model.dropout": (0.1,), "train.ema_decay": 0.9,
         "train.learning_rate": 1e-2}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder of a stranger."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GRADEJAX_STORE", raising=False)
    return tmp_path


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a store of 450 drawings."""
    path = tmp_path_factory.mktemp("drawn") / "class.db"
    with closing(gradejax.open_store(f"sqlite:///{path}")) as store:
        store.add(write_drawings(450, writers=10))
    return path


@pytest.fixture
def store(folder: Path, drawn: Path) -> Iterator[Store]:
    shutil.copy(drawn, folder)
    with closing(gradejax.open_store("sqlite:///class.db")) as store:
        yield store


def test_importing_it_loads_no_arrays():
    program = "import gradejax, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & {"jax", "numpy", "absl", "ml_collections", "anywidget"}


def test_its_names():
    assert set(gradejax.__all__) <= set(dir(gradejax))
    assert all(getattr(gradejax, name) for name in gradejax.__all__)
    assert all(getattr(gradejax, name).__doc__ for name in gradejax.__all__ if name != "__version__")
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        gradejax.lod  # noqa: B018


def test_its_names_have_types(tmp_path: Path):
    """For whoever checks a program that uses it, as pyright sees it."""
    (tmp_path / "program.py").write_text(
        "import gradejax\n"
        "reveal_type(gradejax.load)\n"
        "reveal_type(gradejax.load().read(b'').grade)\n"
        "reveal_type(gradejax.train('x').run)\n"
        "reveal_type(gradejax.open_store('x'))\n"
        "gradejax.lod\n"
    )
    (tmp_path / "pyrightconfig.json").write_text(json.dumps({"extraPaths": [str(ROOT)]}))
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "--outputjson"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    said = [each["message"] for each in json.loads(done.stdout)["generalDiagnostics"]]
    for message, part in zip(said, ("-> Recogniser", '"str | None"', '"Path"', '"Store"', '"lod"'), strict=True):
        assert part in message


def test_a_training(store: Store, folder: Path):
    epochs = []
    trained = gradejax.train(store, recipe="mlp", epochs=15, seed=3, settings=SMALL, on_epoch=epochs.append)
    assert [epoch.epoch for epoch in epochs] == list(range(1, 16))
    assert epochs[-1].val_accuracy > 0.3  # by chance: 0.07
    assert trained.interval[0] < trained.accuracy < trained.interval[1]
    assert (trained.run / "plots" / "confusion.png").is_file()
    config = json.loads((trained.run / "config.json").read_text())
    assert (config["seed"], config["train"]["epochs"], config["data"]["store"]) == (3, 15, "sqlite:///class.db")
    assert store.count() == 450  # it is still open

    reading = trained.recogniser.read(PNG.read_bytes())
    assert reading == gradejax.load().read(PNG.read_bytes())  # the newest run
    assert reading == gradejax.load(trained.run).read(PNG.read_bytes())
    assert reading == gradejax.load(trained.run.name).read(PNG.read_bytes())
    assert sum(reading.confidences.values()) == pytest.approx(1)
    assert reading.confidence == max(reading.confidences.values())


def test_it_trains_as_the_command_does(store: Store, folder: Path):
    trained = gradejax.train(
        "sqlite:///class.db", recipe="mlp", epochs=2, workdir="by-program", settings={"data.size": 16}
    )
    flags = ["--config=mlp", "--config.train.epochs=2", "--config.data.size=16", "--workdir=by-command"]
    done = forked.run(folder, "main", *flags, "--store=sqlite:///class.db")
    assert done.returncode == 0, done.stderr
    assert trained.run == Path("by-program")
    one, other = (runs.read_json(Path(name, "summary.json")) for name in ("by-program", "by-command"))
    assert (one["val_accuracy"], one["val_loss"], one["ece"]) == (
        other["val_accuracy"],
        other["val_loss"],
        other["ece"],
    )
    assert runs.read_json(Path("by-program/config.json")) == runs.read_json(Path("by-command/config.json"))


def test_a_config_of_ones_own_stays_as_it_is(store: Store, folder: Path):
    config = recipe.load("mlp")
    store.retag([drawing.id for drawing in store.find(limit=225, pictures=False)], add=["7b"])
    trained = gradejax.train(store, recipe=config, tags=["7b"], epochs=1, settings=SMALL)
    summary = runs.read_json(trained.run / "summary.json")
    assert summary["n_train"] + summary["n_val"] == 225
    assert (config.train.epochs, config.data.tags) == (recipe.load("mlp").train.epochs, "")


def test_the_shipped_recogniser(folder: Path):
    reading = gradejax.load().read(PNG.read_bytes())
    assert reading.grade == "B-"
    assert reading.confidence > 0.9
    assert reading == gradejax.load("shipped").read(PNG.read_bytes())


@pytest.mark.parametrize(
    ("mistake", "says"),
    [
        (lambda: gradejax.open_store("class.db"), "sqlite:///class.db"),
        (lambda: gradejax.load("nowhere"), "no run in nowhere"),
        (lambda: gradejax.train("sqlite:///empty.db"), "no drawings in sqlite:///empty.db"),
        (lambda: gradejax.train("sqlite:///empty.db", tags="7b"), "no drawings tagged 7b"),
        (lambda: gradejax.train(recipe="cmn"), "no config cmn: name a file, or one of"),
        (lambda: gradejax.train(epochs=0), "train.epochs is 0"),
        (lambda: gradejax.train(settings={"train.epoch": 3}), "did you mean 'train.epochs'"),
        (lambda: gradejax.train(settings={"epochs": 3}), "'epochs', which does not exist"),
        (lambda: gradejax.train(settings={"trane.epochs": 3}), "no key of a config is called 'trane.epochs'"),
        (lambda: gradejax.train(settings={"train.epochs": "many"}), "train.epochs cannot be 'many'"),
    ],
)
def test_a_mistake_is_one_line(folder: Path, mistake, says):
    with pytest.raises(UserError, match=re.escape(says)) as error:
        mistake()
    assert "\n" not in str(error.value)


def test_a_picture_that_is_none(folder: Path):
    with pytest.raises(BadDrawing, match="not a PNG"):
        gradejax.load("shipped").read(b"GIF89a")


@pytest.mark.parametrize(
    ("returned", "says"), [("1 / 0", r"broken\.py: ZeroDivisionError"), ("3", r"get_config\(\) returns 3")]
)
def test_a_recipe_of_ones_own_that_is_none(returned: str, says: str, folder: Path):
    Path("broken.py").write_text(f"def get_config():\n    return {returned}\n")
    with pytest.raises(UserError, match=says):
        gradejax.train(recipe=Path("broken.py"))


def test_the_document_does_what_it_shows(folder: Path):
    """The blocks of docs/library.md in order, in one folder. The programs run in one process, each with no names but
    its own."""
    text = (ROOT / "docs" / "library.md").read_text()
    blocks = BLOCK.findall(text)
    assert len(blocks) == text.count("```") / 2 >= 4
    assert [language for language, _ in blocks] == ["bash"] + ["python"] * (len(blocks) - 1)
    shell, *programs = (block for _, block in blocks)
    one_by_one = "import sys\nfor program in sys.argv[1:]: exec(program, {'__name__': '__main__'})"
    said = ""
    for command in (
        ["bash", "-euc", shell.replace("gradejax ", f"{sys.executable} -m gradejax ")],
        [sys.executable, "-c", one_by_one, *programs],
    ):
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        said += done.stdout
    assert "600 drawings\n1: " in said
    assert "on writers that it has not seen" in said
