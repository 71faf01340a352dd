"""A recogniser taken away as a file computes what it computes here."""

import json
import subprocess
import sys

import numpy as np
import pytest
from jax import export
from test_predict import save_run

from gradejax import recogniser


def run(folder, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "gradejax.export", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240)


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


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--workdir=run", "model.bin"], "write python -m gradejax.export"),
        (["--workdir=run", "--to=stablehlo"], "write python -m gradejax.export"),
        (["--workdir=run", "--to=word", "model.bin"], "--to=word"),
        (["--workdir=none", "--to=stablehlo", "model.bin"], "no run in none: train one with"),
        (["--workdir=run", "--to=stablehlo", "run"], "run exists, and export replaces nothing"),
        (["--workdir=run", "--to=stablehlo", "missing/model.bin"], "missing/model.bin cannot be written: No such file"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(tmp_path, arguments, reason):
    save_run(tmp_path / "run")
    done = run(tmp_path, *arguments)
    assert done.returncode in (1, 2)
    assert reason in done.stderr.splitlines()[-1], done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
