"""How many drawings does the CNN need?

    python -m gradejax.ablate --experiment=experiments/train_size.py --seeds=5 --workdir=runs/train_size

The drawings of a smaller number are among those of a larger one, and validation is on the same writers. Fewer drawings
are seen more often, so that each training takes about as many steps or can be said to have had enough. The base, all
drawings, is configs/cnn.py with its 40 epochs. 6 variants x 5 seeds: about 12 minutes on two cores.
"""

from ml_collections import ConfigDict

from configs import cnn

PICTURE = "line"


def get_config() -> ConfigDict:
    return cnn.get_config()


def get_variants() -> dict[str, dict]:
    epochs = {50: 400, 100: 300, 200: 200, 400: 100, 800: 60}
    fewer = {f"{n} drawings": {"data.train_drawings": n, "train.epochs": epochs[n]} for n in epochs}
    return {"all drawings": {}, **fewer}
