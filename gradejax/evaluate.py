"""Scores a trained model on any drawings.

    python -m gradejax.evaluate [--workdir=DIR] [--store=URI] [--tags=a,b]

Without --workdir the newest finished run below runs/ is used. The last line is JSON with `accuracy`, `n`, `ece`,
`loss` and `refused`, the share of drawings that the model rejects as no grade. Drawings that the model was trained on
flatter it: name tags that it has not seen.
"""

import json
from contextlib import closing

from absl import flags
from rich.console import Console

from gradejax import cli, evaluation, prepare, recogniser, report, stores
from gradejax.errors import UserError

_FLAGS = flags.FlagValues()
cli.define_store(_FLAGS)
cli.define_workdir(_FLAGS, "The run whose model is used; the newest by default.")
flags.DEFINE_list("tags", [], "Only drawings with one of these tags.", flag_values=_FLAGS)


def main(arguments: list[str]) -> None:
    """Evaluates as the flags say."""
    if arguments:
        raise UserError(f"what is {arguments[0]!r}? Drawings come from --store; for PNG files see gradejax.predict")
    _, model = recogniser.load_chosen(cli.workdir(_FLAGS))
    query = stores.Query(tags=tuple(_FLAGS.tags))
    with closing(stores.open_store(stores.store_uri(_FLAGS.store))) as store:
        dataset = prepare.load(store, query, model.size, cache_folder=None, resampling=model.resampling)
    predictions = evaluation.predict(model, dataset)
    Console().print(report.score_table("Accuracy", predictions))
    scores = predictions.scores()
    print(json.dumps({"n": len(dataset), **scores._asdict(), "refused": predictions.rejected()}))


if __name__ == "__main__":
    cli.run(main, _FLAGS)
