"""Trains a recogniser and says how good it is.

    python -m gradejax.main --config=configs/cnn.py [--store=URI] [--scale=german] [--workdir=DIR]
        [--config.train.epochs=10]

Every key of the config can be set on the command line; gradejax/recipe.py lists them. `--config=cnn` names a recipe
that comes with gradejax. Without --workdir a new folder is made below runs/. With the --workdir of a run that was cut
off, and the same config, training goes on where it stopped. --scale is the scale of the grades, as for gradejax.data:
an empty store takes it, and sqlite:///data/grades.db is filled with synthetic drawings of it.
"""

import time

from absl import flags
from ml_collections import config_flags

from gradejax import cli, recipe, runs
from gradejax.errors import UserError

_FLAGS = flags.FlagValues()
recipe.define_config(_FLAGS)
cli.define_store(_FLAGS)
cli.define_scale(_FLAGS)
cli.define_workdir(_FLAGS, "Folder of the run; a new one below runs/ by default.")


def main(arguments: list[str]) -> None:
    """Trains and evaluates as the flags say."""
    began = time.perf_counter()
    if arguments:
        raise UserError(f"what is {arguments[0]!r}? Keys of the config are set with --config.KEY=VALUE")
    if _FLAGS.config is None:
        raise UserError(f"which recipe? `{runs.TRAIN_COMMAND}`")
    recipe.require(recipe.find(config_flags.get_config_filename(_FLAGS["config"])))
    with cli.importing():
        from gradejax import terminal  # imports JAX, which --help need not wait for
    if _FLAGS.scale is not None:
        recipe.change(_FLAGS.config, {"data.scale": _FLAGS.scale})
    recipe.check(_FLAGS.config)
    terminal.train(_FLAGS.config, _FLAGS.store, cli.workdir(_FLAGS), began)


if __name__ == "__main__":
    cli.run(main, _FLAGS)
