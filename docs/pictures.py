"""Makes the README's pictures of synthetic drawings and of a finished run.

    python docs/pictures.py [--workdir=DIR]

Writes docs/drawings.png and docs/scales.png; with --workdir, also copies that run's confusion matrix.
"""

import shutil
from pathlib import Path

import matplotlib
import numpy as np
from absl import flags

from gradejax import cli, plots
from gradejax.hands.synthetic import write_drawings
from gradejax.ink import decode_ink
from gradejax.resampling import resample
from gradejax.scales import LETTERS, Scale, parse

_FLAGS = flags.FlagValues()
cli.define_workdir(_FLAGS, "A finished run.")
_FOLDER = Path(__file__).parent
_COLUMNS = 14


def main(_: list[str]) -> None:
    """Writes the pictures."""
    _draw(LETTERS, "drawings.png")
    _draw(parse("1+;5-;14;20;2.5;5,5;-3;02;3½;good"), "scales.png")
    if workdir := cli.workdir(_FLAGS):
        shutil.copy(workdir / "plots" / "confusion.png", _FOLDER)


def _draw(scale: Scale, name: str) -> None:
    drawings = list(write_drawings(len(scale.labels) * _COLUMNS, writers=_COLUMNS, scale=scale))
    ink = np.stack([resample(decode_ink(drawing.png), 84) for drawing in drawings])
    labels = np.array([scale.index[drawing.label] for drawing in drawings])
    with matplotlib.rc_context({"savefig.dpi": 80}):
        plots.contact_sheet(ink, labels, _COLUMNS, scale).savefig(_FOLDER / name)


if __name__ == "__main__":
    cli.run(main, _FLAGS)
