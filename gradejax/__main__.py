"""All commands under one name.

    gradejax COMMAND [ARGUMENTS]
    gradejax COMMAND --help
    gradejax --version

`python -m gradejax` does the same. Each command is also a module: `gradejax train` is `python -m gradejax.main`.
"""

import runpy
import sys

from gradejax import __version__, end_on_interrupt

_COMMANDS = {
    "train": ("main", "Train a recogniser and say how good it is."),
    "data": ("data", "Import, export, back up, count, generate and check drawings."),
    "evaluate": ("evaluate", "Score a trained model on any drawings."),
    "predict": ("predict", "Read the grades in PNG files."),
    "export": ("export", "Write a trained model as a file that other programs run."),
    "ablate": ("ablate", "Train variants of a recipe and compare them."),
    "web": ("web", "Serve the pages: draw, guess, mine, browse, models, class."),
}
"""Each command's module and what it does."""


def main() -> None:
    """Runs the module of the command that the command line names, in this process."""
    end_on_interrupt()
    name = sys.argv[1] if len(sys.argv) > 1 else None
    if name in _COMMANDS:
        del sys.argv[1]
        runpy.run_module(f"gradejax.{_COMMANDS[name][0]}", run_name="__main__", alter_sys=True)
    elif name in ("-h", "-help", "--help"):
        print(_help())
    elif name == "--version":
        print(f"gradejax {__version__}")
    else:
        problem = "which command?" if name is None else f"no command {name!r}:"
        print(f"error: {problem} one of {', '.join(_COMMANDS)}; see gradejax --help", file=sys.stderr)
        sys.exit(2)


def _help() -> str:
    commands = "\n".join(f"    {name:<10}{purpose}" for name, (_, purpose) in _COMMANDS.items())
    return f"Usage: gradejax COMMAND [ARGUMENTS]\n\n{commands}\n\ngradejax COMMAND --help describes a command."


if __name__ == "__main__":
    main()
