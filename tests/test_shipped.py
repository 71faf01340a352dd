"""The recogniser that comes with gradejax."""

import os
import pickle
import subprocess
from pathlib import Path

import forked
import numpy as np
import pytest
from safetensors.numpy import load, save
from test_predict import save_run

from gradejax import recogniser, shipped
from gradejax.errors import UserError
from gradejax.hands.synthetic import write_drawings

ROOT = Path(__file__).parent.parent


def test_it_reads_grades():
    model = recogniser.load_shipped()
    drawings = list(write_drawings(15, seed=3))
    guesses = model.probabilities([drawing.png for drawing in drawings]).argmax(axis=1)
    right = [model.labels[guess] == drawing.label for guess, drawing in zip(guesses, drawings, strict=True)]
    assert sum(right) >= 12


def test_it_is_small_and_says_what_it_was_trained_on():
    assert shipped.FILE.stat().st_size < 1_000_000
    trained_on = recogniser.load_shipped().trained_on
    assert all(source in trained_on for source in ("UNIPEN", "CC BY 4.0", "synthetic"))


def test_it_is_a_runs_model(tmp_path):
    run, file = save_run(tmp_path / "run"), tmp_path / "ship.safetensors"
    shipped.write(run, file, "It was trained on nothing.")
    ink = np.random.default_rng(0).integers(0, 256, (3, 8, 8), np.uint8)
    written = recogniser.load_file(file)
    np.testing.assert_array_equal(written.confidences(ink), recogniser.load(run).confidences(ink))
    assert (written.trained_on, recogniser.load(run).trained_on) == ("It was trained on nothing.", "")
    with pytest.raises(UserError, match="no checkpoint in"):
        shipped.write(tmp_path, file, "")


def flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


SHIPPED = shipped.FILE.read_bytes()
TENSORS = load(SHIPPED)
DAMAGED = {
    "empty": b"",
    "cut": SHIPPED[:-1000],
    "longer": SHIPPED + b"\0",
    "weight": flipped(SHIPPED, -5),
    "temperature": SHIPPED.replace(b'{\\"temperature\\": ', b'{\\"temperature\\":-'),
    "label": SHIPPED.replace(b'\\"A+\\"', b'\\"Z+\\"'),
    "pickle": pickle.dumps([print, ("ran",)]),
    "png": (ROOT / "tests" / "b-minus.png").read_bytes(),
    "header": (2**40).to_bytes(8, "little") + b"{",
    "no about": save(TENSORS),
    "strange about": save(TENSORS, {"about": "[" * 100_000}),
    "half numbers": save({name: array.astype(np.float16) for name, array in TENSORS.items()}, {"about": "{}"}),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_file_is_one_line(tmp_path, damage):
    assert DAMAGED[damage] != SHIPPED
    file = tmp_path / "shipped.safetensors"
    file.write_bytes(DAMAGED[damage])
    with pytest.raises(UserError, match=r"shipped\.safetensors is damaged .*: install gradejax anew") as caught:
        recogniser.load_file(file)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


def test_what_is_no_file_or_another_model_is_one_line(tmp_path):
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(UserError, match="is damaged"):
            recogniser.load_file(path)
    about, arrays = shipped.read(shipped.FILE, lambda *_: None)
    others = [
        (about | {"size": 10**6}, arrays),
        (about | {"model": {"name": "mlp"}}, arrays),
        (about, {name: array.astype(np.int32) for name, array in arrays.items()}),
        (about, dict(list(arrays.items())[1:])),
    ]
    file = tmp_path / "another.safetensors"
    for other, changed in others:
        text = shipped.checkpoints.about_text({name: fact for name, fact in other.items() if name != "digest"})
        file.write_bytes(save(changed, {"about": text}))
        with pytest.raises(UserError, match="is not a model that gradejax can build"):
            recogniser.load_file(file)


def command(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    environment = {name: value for name, value in os.environ.items() if name != "GRADEJAX_STORE"}
    return forked.run(folder, *arguments, environment=environment)


def test_without_a_run_a_command_uses_it_and_says_so(tmp_path):
    png = tmp_path / "a.png"
    png.write_bytes(next(write_drawings(1)).png)
    done = command(tmp_path, "predict", str(png))
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 1
    (line,) = done.stderr.splitlines()
    assert all(part in line for part in ("UNIPEN (", "CC BY 4.0", "`python -m gradejax.main --config="))
    command(tmp_path, "data", "generate", "30", "--store=sqlite:///some.db")
    done = command(tmp_path, "evaluate", "--store=sqlite:///some.db")
    assert done.returncode == 0, done.stderr
    assert line in done.stderr.splitlines()
    assert '"trained_on": null' in done.stdout.splitlines()[-1]
    done = command(tmp_path, "predict", "--workdir=runs", str(png))
    assert done.returncode == 1 and "no run in runs" in done.stderr
