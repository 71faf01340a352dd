"""Every module can be imported by itself, with docstrings and asserts and without (`python -OO`)."""

import importlib
import pkgutil
import subprocess
import sys

import pytest

import gradejax

MODULES = [module.name for module in pkgutil.walk_packages(gradejax.__path__, "gradejax.")]


@pytest.mark.parametrize("name", MODULES)
def test_a_module_can_be_imported(name):
    assert importlib.import_module(name).__doc__


def test_all_modules_can_be_imported_without_docstrings():
    program = f"import {', '.join(MODULES)}"
    done = subprocess.run([sys.executable, "-OO", "-c", program], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
