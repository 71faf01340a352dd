"""The recogniser that comes with gradejax, as one safetensors file.

Its tensors are named as in a checkpoint (`checkpoints.named`). Its metadata have one key, `about`: JSON with what a
checkpoint says of its model, and `trained_on`, a sentence about the drawings, and `date`, when the file was written.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from jax import ShapeDtypeStruct
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from gradejax import checkpoints
from gradejax.arrays import BadArrays, Shapes
from gradejax.errors import UserError

FILE = Path(__file__).with_name("shipped.safetensors")
NAME = "shipped"
"""What commands and pages call it, and the value of `train.start_from` that begins with it."""

_TYPES = {"F32": np.dtype(np.float32), "I32": np.dtype(np.int32), "U32": np.dtype(np.uint32)}


def read(file: Path, check: Callable[[dict[str, Any], Shapes], None]) -> tuple[dict[str, Any], checkpoints.Arrays]:
    """Reads a file that `write` wrote.

    Args:
        file: the file.
        check: called with the metadata and the arrays' shapes before the arrays are read; may raise.

    Returns:
        The metadata, and the arrays by name.

    Raises:
        UserError: when the file is missing, damaged, or another program's.
    """
    try:
        with safe_open(file, framework="numpy") as tensors:
            about = checkpoints.read_about((tensors.metadata() or {}).get("about", ""))
            slices = {name: tensors.get_slice(name) for name in tensors.keys()}  # noqa: SIM118
            shapes = {
                name: ShapeDtypeStruct(tuple(each.get_shape()), _TYPES[each.get_dtype()])
                for name, each in slices.items()
            }
            check(about, shapes)
            arrays = {name: tensors.get_tensor(name) for name in shapes}
    except (SafetensorError, BadArrays) as error:
        raise _damaged(file, str(error)) from error
    except KeyError as error:
        raise _damaged(file, f"it has numbers of type {error}") from error
    except OSError as error:
        raise _damaged(file, error.strerror or str(error)) from error
    if about["digests"].get("model") != checkpoints.digest(arrays):
        raise _damaged(file, "its digest is wrong")
    if not all(isinstance(about.get(fact), str) for fact in ("trained_on", "date")):
        raise _damaged(file, "it does not say what it was trained on")
    return about, arrays


def write(run: Path, file: Path, trained_on: str) -> None:
    """Writes the model that a run kept last. A file of that name is replaced.

    Args:
        run: the run's folder.
        file: the file to write.
        trained_on: a sentence that names the drawings it was trained on, and their licence.

    Raises:
        UserError: when the run has no model.
    """
    kept = checkpoints.restore(run, "model")
    if kept is None:
        raise UserError(f"no checkpoint in {run}: name the folder of a run")
    about = {**kept.about, "trained_on": trained_on, "date": datetime.now(UTC).date().isoformat()}
    file.write_bytes(save(kept.arrays, {"about": checkpoints.about_text(about)}))


def _damaged(file: Path, reason: str) -> UserError:
    return UserError(f"{file} is damaged ({reason}): install gradejax anew, or train a recogniser of your own")
