"""Reads the grade on each of some PNG files.

    python -m gradejax.predict [--workdir=DIR] [--json] FILE.png …

Prints one line per file: path, grade, confidence. Where the model takes a drawing for something other than a grade, the
grade is `no grade` and the confidence is that of the likeliest one. With --json each line is an object with the
confidences in all grades of the model's scale, and `no grade` is null. Without --workdir the run chosen on the pages is
used, else the newest finished run below runs/, else the recogniser that comes with gradejax. A file that is not a
picture is named on standard error, the others are still read, and the exit status is 1.
"""

import json
import sys
from pathlib import Path

from absl import flags

from gradejax import cli, regular
from gradejax.errors import BadDrawing, UserError

_FLAGS = flags.FlagValues()
cli.define_workdir(_FLAGS, "The run whose model is used; by default the one chosen on the pages, else the newest.")
flags.DEFINE_bool("json", False, "Print a JSON object per line, with all confidences.", flag_values=_FLAGS)


def main(files: list[str]) -> None:
    """Reads the grade on each of the files."""
    if not files:
        raise UserError("which drawings? python -m gradejax.predict [--workdir=DIR] FILE.png …")
    with cli.importing():
        from gradejax import recogniser  # imports JAX, which --help need not wait for
        from gradejax.png import MAX_PNG_BYTES
    model = recogniser.load_chosen(cli.workdir(_FLAGS)).recogniser
    failed = False
    for file in files:
        try:
            reading = model.read(regular.read(Path(file), MAX_PNG_BYTES, follow=True))
        except (BadDrawing, regular.Irregular, OSError) as error:
            print(f"error: {file}: {error.strerror if isinstance(error, OSError) else error}", file=sys.stderr)
            failed = True
            continue
        if _FLAGS.json:
            rounded = {label: round(confidence, 6) for label, confidence in reading.confidences.items()}
            guess = {"path": file, "grade": reading.grade, "confidence": round(reading.confidence, 6)}
            print(json.dumps({**guess, "confidences": rounded}))
        else:
            print(f"{file}\t{reading.grade or 'no grade'}\t{reading.confidence:.3f}")
    if failed:
        sys.exit(1)


if __name__ == "__main__":
    cli.run(main, _FLAGS)
