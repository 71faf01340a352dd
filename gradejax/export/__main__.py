"""Writes a trained recogniser to a file that works without gradejax.

    python -m gradejax.export [--workdir=DIR] --to=page|onnx|stablehlo OUT

Without --workdir the run chosen on the pages is used, else the newest finished run below runs/, else the recogniser
that comes with gradejax. `page` is one HTML file to draw on, which guesses in any browser, without a server. `onnx` is
a graph for onnxruntime and OpenCV, `stablehlo` a program for jax.export.deserialize; both take ink, and return the
confidence in each label, and a score: how much the drawing looks like a grade. docs/export.md says how to use them.

The last line printed is JSON with what a user of the graph or the program also needs: the labels in the order of the
confidences, the size and resampling of the ink, and the threshold: a drawing whose score is below it is not a grade.
Nothing is replaced: OUT must not exist.
"""

import json
import os
from contextlib import suppress
from pathlib import Path

from absl import flags

from gradejax import cli
from gradejax.errors import UserError
from gradejax.export.formats import FORMATS

_FLAGS = flags.FlagValues()
cli.define_workdir(_FLAGS, "The run whose model is exported; by default the one chosen on the pages, else the newest.")
flags.DEFINE_enum("to", None, list(FORMATS), "The format.", flag_values=_FLAGS)


def main(arguments: list[str]) -> None:
    """Exports the chosen model."""
    if _FLAGS.to is None or len(arguments) != 1:
        raise UserError(f"write python -m gradejax.export [--workdir=DIR] --to={'|'.join(FORMATS)} OUT")
    path = Path(arguments[0])
    if os.path.lexists(path):
        raise UserError(f"{path} exists, and export replaces nothing: name another file")
    with cli.importing():
        from gradejax import recogniser  # imports JAX, which --help need not wait for
    chosen = recogniser.load_chosen(cli.workdir(_FLAGS))
    content = FORMATS[_FLAGS.to].write(chosen)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        unfinished.write_bytes(content)
        unfinished.rename(path)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        with suppress(OSError):  # as when its folder is none
            unfinished.unlink(missing_ok=True)
    model = chosen.recogniser
    about = {
        "labels": model.labels,
        "size": model.size,
        "resampling": model.resampling,
        "threshold": model.calibration.threshold,
    }
    print(f"wrote {path}, {len(content):,} bytes")
    print(json.dumps(about))


if __name__ == "__main__":
    cli.run(main, _FLAGS)
