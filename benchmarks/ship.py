"""Makes a run's model the recogniser that comes with gradejax; docs/data.md has the commands that train it.

    python -m benchmarks.ship --workdir=RUN

Replaces gradejax/shipped.safetensors.
"""

from absl import flags

from gradejax import cli, recogniser, shipped
from gradejax.errors import UserError

_TRAINED_ON = (
    "It was trained on drawings by 135 writers from UNIPEN (train_r01_v07, doi 10.5281/zenodo.1195803, CC BY 4.0) "
    "and on synthetic drawings."
)

_FLAGS = flags.FlagValues()
cli.define_workdir(_FLAGS, "The run whose model is to come with gradejax.")


def main(arguments: list[str]) -> None:
    """Writes the file, and loads it."""
    run = cli.workdir(_FLAGS)
    if arguments or run is None:
        raise UserError("write python -m benchmarks.ship --workdir=RUN")
    recogniser.load(run)  # says what is wrong with the run before anything is replaced
    shipped.write(run, shipped.FILE, _TRAINED_ON)
    recogniser.load_shipped()
    print(f"wrote {shipped.FILE}, {shipped.FILE.stat().st_size:,} bytes")


if __name__ == "__main__":
    cli.run(main, _FLAGS)
