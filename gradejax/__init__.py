"""Recognises hand-drawn school grades, A+ to E-.

    import gradejax

    store = gradejax.open_store("sqlite:///data/grades.db")    # drawings
    trained = gradejax.train(store, epochs=25)                 # a run below runs/
    recogniser = gradejax.load()                               # the newest run's, or the one that comes with gradejax
    reading = recogniser.read(Path("drawing.png").read_bytes())

These four names stay as they are from version to version; a change is announced in the changelog.
"""

import os
import signal
import sys
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gradejax.recogniser import Recogniser, load
    from gradejax.stores import open_store
    from gradejax.training import train

__all__ = ["Recogniser", "__version__", "load", "open_store", "train"]
__version__ = "0.1.0"

_HOMES = {"Recogniser": "recogniser", "load": "recogniser", "open_store": "stores", "train": "training"}
"""The module of each public name. It is loaded on first use: whoever opens a store need not wait for JAX."""

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module 'gradejax' has no attribute {name!r}")
        return getattr(import_module(f"gradejax.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})


def interrupted(*_: object) -> None:
    """Ends the process on Ctrl-C when an exception would be printed as a traceback, or swallowed by an import."""
    os.write(2, b"error: interrupted\n")
    os._exit(130)


def end_on_interrupt() -> None:
    """Makes Ctrl-C end the process through `interrupted`, unless the process ignores or handles it already."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupted)


# A command (`python -m gradejax.main`) imports for seconds before cli.run() can handle an exception. A program that
# imports this package keeps its own handler.
if sys.argv[:1] == ["-m"]:
    end_on_interrupt()
