"""Every module can be imported by itself, with docstrings and asserts and without (`python -OO`)."""

import ast
import importlib
import pkgutil
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import gradejax

PACKAGE = Path(gradejax.__file__).parent
MODULES = [module.name for module in pkgutil.walk_packages(gradejax.__path__, "gradejax.")]


@pytest.mark.parametrize("name", MODULES)
def test_a_module_can_be_imported(name):
    assert importlib.import_module(name).__doc__


def test_all_modules_can_be_imported_without_docstrings_and_start_no_devices():
    """A run on several machines joins its processes first, and a process that has started its devices cannot fork."""
    program = f"""
import jax, {", ".join(MODULES)}
jax.config.update("jax_platforms", "nowhere")
try:
    jax.devices()
except RuntimeError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-OO", "-c", program], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert "nowhere" in done.stdout


FILES = {
    ".".join(("gradejax", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}


def imports_of(path: Path) -> set[str]:
    """The package's modules that a module imports when it is imported."""
    statements = [each for each in ast.parse(path.read_text()).body if isinstance(each, ast.ImportFrom)]
    names = {(each.module or "", name.name) for each in statements for name in each.names}
    return {name if (name := f"{module}.{attribute}") in FILES else module for module, attribute in names} & set(FILES)


def test_no_modules_import_each_other_in_a_circle():
    TopologicalSorter({name: imports_of(path) for name, path in FILES.items()}).prepare()


def test_a_module_is_short():
    assert [name for name, path in FILES.items() if len(path.read_text().splitlines()) > 300] == []


def test_predicting_loads_nothing_of_training():
    """Neither the loop, nor the drawings, nor what only they need."""
    program = "import gradejax.predict, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    loaded = set(done.stdout.split())
    of_training = {"gradejax.loop", "gradejax.training", "gradejax.dataset", "gradejax.stores", "gradejax.hands"}
    assert not loaded & {*of_training, "tensorboardX"}


@pytest.mark.parametrize("name", ["main", "predict", "data", "evaluate", "export", "ablate", "web"])
def test_help_waits_for_nothing(name):
    """JAX, and what the pages are made with, take seconds to import."""
    program = (
        "import runpy, sys; sys.argv[1:] = ['--help']; runpy.run_module({!r}, run_name='__main__', alter_sys=True)"
    )
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", program.format(f"gradejax.{name}")],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert "Flags:" in done.stdout
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "absl.flags" in imported
    assert not imported & {"jax", "matplotlib", "orbax.checkpoint", "scipy", "tensorboardX", "fastapi"}
