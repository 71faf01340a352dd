"""Trains every variant of an experiment with several seeds and reports which differences are significant.

    python -m gradejax.ablate --experiment=experiments/dropout.py --seeds=8 --workdir=runs/dropout [--store=URI]

gradejax/ablate/experiment.py describes what an experiment file contains. Keys of its base config can be set with
--experiment.KEY=VALUE.

The folder receives results.csv (one line per training), results.md and results.png; trainings/ holds the epochs of each
training. To continue after an interruption, give the same command again with the same --workdir.
"""

from pathlib import Path

from absl import flags
from ml_collections import config_flags

from gradejax import cli
from gradejax.errors import UserError

_FLAGS = flags.FlagValues()
config_flags.DEFINE_config_file("experiment", None, "A Python file: experiments/dropout.py.", flag_values=_FLAGS)
cli.define_store(_FLAGS)
cli.define_workdir(_FLAGS, "Folder for the results; a new one below runs/ by default.")
flags.DEFINE_integer("seeds", 8, "Trainings per variant: seeds 0, 1, …", 1, 1000, flag_values=_FLAGS)
flags.DEFINE_bool(
    "dry-run",
    False,
    "Only list what would run, how long it takes, and how small a difference it can show.",
    flag_values=_FLAGS,
)
flags.DEFINE_enum("launcher", "local", ["local", "ray"], "Where the groups are trained.", flag_values=_FLAGS)


def main(arguments: list[str]) -> None:
    """Runs the experiment that the flags ask for."""
    if arguments:
        raise UserError(
            f"unexpected argument {arguments[0]!r}: set keys of the base config with --experiment.KEY=VALUE"
        )
    if _FLAGS.experiment is None:
        raise UserError("which experiment? --experiment=experiments/dropout.py")
    path = Path(config_flags.get_config_filename(_FLAGS["experiment"]))
    if not path.is_file():
        raise UserError(f"no experiment {path}: gradejax's own are in experiments/")
    with cli.importing():
        from gradejax.ablate import running  # imports JAX, which --help need not wait for
    workdir = cli.workdir(_FLAGS)
    options = running.Options(path, _FLAGS.experiment, _FLAGS.store, _FLAGS.seeds, workdir, _FLAGS.launcher)
    if _FLAGS["dry-run"].value:
        running.estimate(options)
    else:
        running.run(options)


if __name__ == "__main__":
    cli.run(main, _FLAGS)
