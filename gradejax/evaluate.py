"""Scores a trained model on any drawings.

    python -m gradejax.evaluate [--workdir=DIR] [--store=URI] [--store=ANOTHER] [--tags=a,b]

Without --workdir the run chosen on the pages is used, else the newest finished run below runs/, else the recogniser
that comes with gradejax. The last line is JSON with `accuracy`, `n`, `ece`, `loss`, `refused`, the share of grades that
the model rejects as no grade, and more. `interval` is where the accuracy lies on drawings by other people like these
`writers`, with 95% confidence; it is null if all are by one. Several stores are shown in one table, and there is such a
line for each.

Drawings that are labelled `no grade` do not count in these. `no_grade` says how many `others` there are, which share of
them the model rejects (`others_refused`), and how well its confidence tells grades from them whatever the threshold:
`auroc`, and the share that would pass one that keeps 95% or 99% of the grades (`let_in_at_95`, `let_in_at_99`).

Drawings that the model was trained on flatter it. A run lists them in its `drawings.csv`: `trained_on` says how many of
the store's are among them, null if there is no such list; if only some are, `new` has the scores on the others.
"""

from absl import flags

from gradejax import cli
from gradejax.errors import UserError

_FLAGS = flags.FlagValues()
flags.DEFINE_multi_string(
    "store",
    None,
    "Address of the drawings; sqlite:///data/grades.db by default. Repeat it to compare stores.",
    flag_values=_FLAGS,
)
cli.define_workdir(_FLAGS, "The run whose model is used; by default the one chosen on the pages, else the newest.")
flags.DEFINE_list("tags", [], "Only drawings with one of these tags.", flag_values=_FLAGS)


def main(arguments: list[str]) -> None:
    """Evaluates as the flags say."""
    if arguments:
        raise UserError(f"what is {arguments[0]!r}? Drawings come from --store; for PNG files see gradejax.predict")
    with cli.importing():
        from gradejax import scoring  # imports JAX, which --help need not wait for
    scoring.print_scores(cli.workdir(_FLAGS), _FLAGS.store or [None], tuple(_FLAGS.tags))


if __name__ == "__main__":
    cli.run(main, _FLAGS)
