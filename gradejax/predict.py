"""Reads the grade on each of some PNG files.

    python -m gradejax.predict [--workdir=DIR] [--json] FILE.png …

Prints one line per file: path, grade, confidence. Where the model takes a drawing for something other than a grade, the
grade is `no grade` and the confidence is that of the likeliest one. With --json each line is an object with all fifteen
confidences, and `no grade` is null. Without --workdir the run chosen on the pages is used, else the newest
finished run below runs/, else the recogniser that comes with gradejax. A file that is not a picture is named on
standard error, the others are still read, and the exit status is 1.
"""

import json
import sys
from pathlib import Path

from absl import flags

from gradejax import cli, recogniser, regular
from gradejax.errors import BadDrawing, UserError
from gradejax.ink import MAX_PNG_BYTES

_FLAGS = flags.FlagValues()
cli.define_workdir(_FLAGS, "The run whose model is used; by default the one chosen on the pages, else the newest.")
flags.DEFINE_bool("json", False, "Print a JSON object per line, with all confidences.", flag_values=_FLAGS)


def main(files: list[str]) -> None:
    """Reads the grade on each of the files."""
    if not files:
        raise UserError("which drawings? python -m gradejax.predict [--workdir=DIR] FILE.png …")
    model = recogniser.load_chosen(cli.workdir(_FLAGS)).recogniser
    failed = False
    for file in files:
        try:
            ink = model.ink(regular.read(Path(file), MAX_PNG_BYTES, follow=True))[None]
        except (BadDrawing, regular.Irregular, OSError) as error:
            print(f"error: {file}: {error.strerror if isinstance(error, OSError) else error}", file=sys.stderr)
            failed = True
            continue
        logits = model.logits(ink)
        confidences = model.calibration.confidences(logits)
        (is_grade,) = model.calibration.are_grades(logits, ink)
        best = int(confidences[0].argmax())
        grade = model.labels[best] if is_grade else None
        if _FLAGS.json:
            rounded = [round(float(confidence), 6) for confidence in confidences[0]]
            guess = {"path": file, "grade": grade, "confidence": rounded[best]}
            print(json.dumps({**guess, "confidences": dict(zip(model.labels, rounded, strict=True))}))
        else:
            print(f"{file}\t{grade or 'no grade'}\t{confidences[0, best]:.3f}")
    if failed:
        sys.exit(1)


if __name__ == "__main__":
    cli.run(main, _FLAGS)
