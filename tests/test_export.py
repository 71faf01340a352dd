"""A recogniser taken away as a file computes what it computes here."""

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import forked
import jax
import numpy as np
import onnx
import onnxruntime
import pytest
from jax import export
from scipy.ndimage import affine_transform
from test_predict import save_run

from gradejax import forward, models, recipe, recogniser, views
from gradejax.calibration import Calibration
from gradejax.export.formats import FORMATS
from gradejax.export.onnx import to_onnx
from gradejax.hands.synthetic import write_drawings
from gradejax.recogniser import Chosen, Recogniser
from gradejax.scales import LETTERS

GRADES = LETTERS.labels

ROOT = Path(__file__).parent.parent


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    return forked.run(folder, "export", *arguments)


def python(folder: Path, *arguments: str, **options: Any) -> subprocess.CompletedProcess:
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240, **options)


def test_a_stablehlo_file_has_the_recognisers_confidences(tmp_path):
    model = recogniser.load(save_run(tmp_path / "run"))
    done = run(tmp_path, "--workdir=run", "--to=stablehlo", "model.bin")
    assert done.returncode == 0, done.stderr
    about = json.loads(done.stdout.splitlines()[-1])
    assert (tuple(about["labels"]), about["size"]) == (model.labels, 8)
    exported = export.deserialize(bytearray((tmp_path / "model.bin").read_bytes()))
    assert set(exported.platforms) == {"cpu", "cuda"}
    ink = np.random.default_rng(0).integers(0, 256, (20, 8, 8), dtype=np.uint8)
    confidences, scores = zip(*(exported.call(one[None]) for one in ink), strict=True)
    np.testing.assert_allclose(np.concatenate(confidences), model.confidences(ink), atol=1e-6)
    np.testing.assert_allclose(np.concatenate(scores), model.calibration.scores(model.logits(ink)), atol=1e-6)


# ONNX.


@cache
def untrained(name: str) -> Recogniser:
    """A recogniser whose biases and statistics are no longer 0 and 1, and which is in doubt."""
    size, options = NETWORKS[name]
    network = models.build(size=size, seed=3, **options)
    random = np.random.default_rng(0)
    variables = jax.tree.map(
        lambda leaf: leaf + 0.3 * random.random(leaf.shape, np.float32) if leaf.ndim == 1 else leaf,
        forward.variables_of(network),
    )
    calibration = Calibration(1.7, 0.3)
    return Recogniser(GRADES, size, "area", calibration, network, variables, forward.logits_function(network))


PICTURES = [drawing.png for drawing in write_drawings(200, seed=9, writers=8)]


def drawn(model: Recogniser, n: int) -> np.ndarray:
    """Ink whose views have no pixel so close to lying between two values that it may be rounded to either."""
    clear = []
    for png in PICTURES:
        ink = model.ink(png)
        seen = [affine_transform(ink.astype(float), view, order=1, mode="nearest") for view in views.maps(model.size)]
        if (np.abs(np.stack(seen) % 1 - 0.5) > 1e-3).all():
            clear.append(ink)
            if len(clear) == n:
                return np.stack(clear)
    raise AssertionError("too few")


BEST = runpy.run_path(str(recipe.SHIPPED["best"]))["get_config"]().model.to_dict()
NETWORKS = {
    "mlp": (28, {"name": "mlp"}),
    "no hidden layer": (9, {"name": "mlp", "hidden": (), "dropout": (), "test_time_augmentation": True}),
    "mlp, no grade": (16, {"name": "mlp", "hidden": (8,), "dropout": (0.1,), "no_grade": True, "ink_divisor": 100.0}),
    "cnn": (29, {"name": "cnn"}),
    "without batch norm": (28, {"name": "cnn", "batch_norm": False, "first_bias": False, "no_grade": True}),
    "pools": (30, {"name": "cnn", "channels": (4, 5, 6), "pools": (2,), "batch_norm_epsilon": 0.5}),
    "best": (28, BEST),
}


@pytest.fixture(scope="module", params=[*NETWORKS, "shipped"])
def model(request) -> Recogniser:
    if request.param == "shipped":
        return recogniser.load_shipped()
    return untrained(request.param)


@pytest.fixture(scope="module")
def graph(model) -> bytes:
    return to_onnx(Chosen("some-run", model, None))


def test_an_onnx_file_has_the_recognisers_confidences(model, graph):
    """Whichever program reads it, and however many drawings at once."""
    ink = drawn(model, 7)
    expected = model.confidences(ink), model.calibration.scores(model.logits(ink))
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    names = ["confidences", "score"]
    for n in (1, 7):
        fed = ink[:n, None].astype(np.float32)
        network = cv2.dnn.readNetFromONNX(np.frombuffer(graph, np.uint8))
        network.setInput(fed)
        for results in (session.run(names, {"ink": fed}), network.forward(names)):
            for result, wanted in zip(results, expected, strict=True):
                assert result.shape == (n, *wanted.shape[1:])
                np.testing.assert_allclose(result, wanted[:n], atol=1e-5)


def test_the_networks_are_in_doubt():
    """Or a wrong graph would be as sure as a right one."""
    for name in NETWORKS:
        model = untrained(name)
        assert model.confidences(drawn(model, 7)).max() < 0.9


def test_a_pixel_between_two_values_changes_hardly_anything():
    model = recogniser.load_shipped()
    session = onnxruntime.InferenceSession(to_onnx(Chosen("shipped", model, None)))
    ink = np.stack([model.ink(png) for png in PICTURES])
    (confidences,) = session.run(["confidences"], {"ink": ink[:, None].astype(np.float32)})
    away = np.abs(confidences - model.confidences(ink)).max(axis=1)
    assert away.max() < 1e-3
    assert (away > 1e-5).mean() < 0.01


def test_an_onnx_file_says_how_to_use_it(model, graph):
    session = onnxruntime.InferenceSession(graph)
    facts = session.get_modelmeta().custom_metadata_map
    assert json.loads(facts["labels"]) == list(model.labels)
    assert (facts["name"], int(facts["size"]), facts["resampling"]) == ("some-run", model.size, model.resampling)
    assert Calibration(float(facts["temperature"]), float(facts["threshold"])) == model.calibration
    assert facts.get("trained_on", "") == model.trained_on
    assert session.get_inputs()[0].shape == ["n", 1, model.size, model.size]
    nodes = onnx.load_from_string(graph).graph.node
    assert all(node.domain == "" for node in nodes)
    # OpenCV 4 does not take it from the weights.
    assert all(any(one.name == "kernel_shape" for one in node.attribute) for node in nodes if node.op_type == "Conv")


# The document.


def test_its_examples_read_what_predict_reads(tmp_path):
    """They fit the shipped recogniser, and a drawing as a canvas saves it."""
    shutil.copy(ROOT / "tests" / "b-minus.png", tmp_path / "drawing.png")
    printed = ""
    for to in ("onnx", "stablehlo"):
        done = run(tmp_path, f"--to={to}", f"grades.{to}")
        assert done.returncode == 0, done.stderr
        printed = done.stdout.splitlines()[-1]
    first, second = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "export.md").read_text(), re.DOTALL)
    after_its_facts = first.split("\n\n")[2]
    assert len(after_its_facts.splitlines()) == 10
    assert set(re.findall(r"^import (\w+)", first, re.MULTILINE)) == {"cv2", "numpy"}
    done = python(tmp_path, "-c", first + second + "print(LABELS, SIZE, THRESHOLD)")
    assert done.returncode == 0, done.stderr
    *grades, facts = done.stdout.splitlines()
    about = json.loads(printed)
    assert about["resampling"] == "crop"
    assert facts == f"{about['labels']} {about['size']} {about['threshold']:.3f}"
    _, grade, confidence = forked.run(tmp_path, "predict", "drawing.png").stdout.split()
    assert grade == "B-"
    assert grades == [f"{grade} {confidence}"] * 2


# The command's mistakes.


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with a run of the first version, one that has no checkpoint yet, and a damaged one."""
    folder = tmp_path_factory.mktemp("runs")
    save_run(folder / "run")
    (folder / "young").mkdir()
    kept = save_run(folder / "damaged") / "checkpoints" / "1" / "model"
    max((path for path in kept.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size).write_bytes(b"")
    (folder / "file").touch()
    return folder


@pytest.mark.parametrize("to", FORMATS)
def test_every_format_is_written(folder, tmp_path, to):
    done = run(folder, "--workdir=run", f"--to={to}", f"{tmp_path}/out")
    assert done.returncode == 0, done.stderr
    (file,) = tmp_path.iterdir()
    assert done.stdout.splitlines()[0] == f"wrote {file}, {file.stat().st_size:,} bytes"


@pytest.mark.parametrize("to", FORMATS)
@pytest.mark.parametrize(
    ("workdir", "out", "reason"),
    [
        ("none", "out", "no run in none: train one with"),
        ("young", "out", "no checkpoint in young: train one with"),
        ("damaged", "out", "checkpoint damaged/checkpoints/1 is damaged"),
        ("run", "run", "run exists, and export replaces nothing"),
        ("run", "/dev/full", "/dev/full exists, and export replaces nothing"),
        ("run", "missing/out", "missing/out cannot be written: No such file or directory"),
        ("run", "file/out", "file/out cannot be written: Not a directory"),
        ("run", "x" * 300, "cannot be written: File name too long"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(folder, to, workdir, out, reason):
    refused(folder, reason, f"--workdir={workdir}", f"--to={to}", out)


def refused(folder: Path, reason: str, *arguments: str, command: Callable = run, **options: Any) -> None:
    before = sorted(folder.rglob("*"))
    done = command(folder, *arguments, **options)
    assert done.returncode in (1, 2)
    line = done.stderr.splitlines()[-1]
    assert line.startswith("error: ") and reason in line, done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(folder.rglob("*")) == before


def test_a_full_disk_is_one_line_and_leaves_nothing(folder):
    """A limit on the size of a file: it is written in part, as on a full disk."""
    before = sorted(folder.rglob("*"))
    program = f"""
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (20, 20))
for to in {list(FORMATS)}:
    sys.argv = ["export", "--workdir=run", "--to=" + to, "out"]
    try:
        runpy.run_module("gradejax.export", run_name="__main__", alter_sys=True)
    except SystemExit as exit:
        print(to, exit.code, flush=True)
"""
    done = python(folder, "-c", program)
    assert done.stdout.splitlines() == [f"{to} 1" for to in FORMATS], done.stderr
    said = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert said == ["error: out cannot be written: File too large"] * len(FORMATS)
    assert "Traceback" not in done.stderr
    assert sorted(folder.rglob("*")) == before


def test_without_onnx_a_line_says_how_to_install_it(folder, tmp_path):
    (tmp_path / "onnx.py").write_text("raise ImportError")
    without = os.environ | {"PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', ROOT)}"}
    command = ["-m", "gradejax.export", "--workdir=run"]
    refused(folder, "pip install -e '.[onnx]'", *command, "--to=onnx", "out", command=python, env=without)
    assert python(folder, *command, "--to=page", f"{tmp_path}/out", env=without).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--workdir=run", "out"], "write python -m gradejax.export"),
        (["--workdir=run", "--to=onnx"], "write python -m gradejax.export"),
        (["--workdir=run", "--to=onnx", "out", "out2"], "write python -m gradejax.export"),
        (["--workdir=run", "--to=word", "out"], "--to=word"),
    ],
)
def test_a_wrong_command_line_is_one_line(folder, arguments, reason):
    refused(folder, reason, *arguments)
