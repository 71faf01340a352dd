"""Writes a trained recogniser to a file that other programs run.

    python -m gradejax.export [--workdir=DIR] --to=stablehlo OUT

Without --workdir the run chosen on the pages is used, else the newest finished run below runs/, else the recogniser
that comes with gradejax. `stablehlo` is a program for jax.export.deserialize: it takes ink, (1, size, size) as uint8,
and returns the confidence in each label, and a score: how much the drawing looks like a grade. The last line printed is
JSON with what a user of the file also needs: the labels in the order of the confidences, the size and resampling of the
ink, and the threshold: a drawing whose score is below it is not a grade.
"""

import json
import os
from pathlib import Path

from absl import flags

from gradejax import cli, recogniser
from gradejax.errors import UserError
from gradejax.export.stablehlo import to_stablehlo

_FLAGS = flags.FlagValues()
cli.define_workdir(_FLAGS, "The run whose model is exported; by default the one chosen on the pages, else the newest.")
flags.DEFINE_enum("to", None, ["stablehlo"], "The format.", flag_values=_FLAGS)


def main(arguments: list[str]) -> None:
    """Exports the chosen model."""
    if _FLAGS.to is None or len(arguments) != 1:
        raise UserError("write python -m gradejax.export [--workdir=DIR] --to=stablehlo OUT")
    path = Path(arguments[0])
    if os.path.lexists(path):
        raise UserError(f"{path} exists, and export replaces nothing: name another file")
    model = recogniser.load_chosen(cli.workdir(_FLAGS)).recogniser
    content = to_stablehlo(model)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        unfinished.write_bytes(content)
        unfinished.rename(path)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        unfinished.unlink(missing_ok=True)
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
