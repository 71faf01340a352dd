"""Every module by itself: it can be imported, with its docstrings and asserts (`python -OO`) and without."""

import subprocess
import sys

import pytest

IMPORT_ALL = """
import importlib, pkgutil, gradejax
for module in pkgutil.walk_packages(gradejax.__path__, "gradejax."):
    print(importlib.import_module(module.name).__name__)
"""


@pytest.mark.parametrize("flags", [(), ("-OO",)], ids=["as it is", "-OO"])
def test_all_modules_can_be_imported(flags):
    done = subprocess.run([sys.executable, *flags, "-c", IMPORT_ALL], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert {"gradejax.train", "gradejax.stores.mongo", "gradejax.web.app", "gradejax.web.__main__"} <= {
        *done.stdout.split()
    }
