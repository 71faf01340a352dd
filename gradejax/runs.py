"""A run's folder: its config, its metrics epoch by epoch, its summary."""

import json
import os
import stat
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from gradejax import config as configs
from gradejax import regular
from gradejax.errors import UserError

ROOT = Path("runs")
TRAIN_COMMAND = "python -m gradejax.main --config=configs/cnn.py"
_MAX_JSON_BYTES = 2**20
_MAX_HISTORY_BYTES = 2**30  # of a million epochs


def new_workdir(name: str) -> Path:
    """A folder below `runs` that no run has yet: `runs/cnn-20261124-101500`."""
    while (workdir := ROOT / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}").exists():
        time.sleep(0.1)
    return workdir


def begin(workdir: Path, config: Mapping[str, Any]) -> None:
    """Makes a run's folder, or takes one up again.

    Raises:
        UserError: when it cannot be written, or holds a run of another config.
    """
    path = workdir / "config.json"
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            write_json(path, config)
        (workdir / "plots").mkdir(exist_ok=True)
        if not os.access(workdir, os.W_OK):
            raise PermissionError(13, "Permission denied")
    except OSError as error:
        raise UserError(f"cannot write to the workdir {workdir}: {error.strerror or error}") from None
    found = read_json(path)
    if not isinstance(found, Mapping):
        raise UserError(f"{path} is no config: give another --workdir")
    # A key that an earlier gradejax did not know has had what is now its default.
    found = _completed(found, configs.as_json(configs.base()))
    if differing := sorted(_different(config, found)):
        raise UserError(
            f"{workdir} holds a run of another config ({', '.join(differing[:5])}): "
            "give the same config to go on with it, or another --workdir"
        )


def read_history(workdir: Path) -> list[dict[str, Any]]:
    """The lines of `metrics.jsonl`, one an epoch; a last line that a kill cut short is left out.

    Raises UserError where another line is none.
    """
    path = workdir / "metrics.jsonl"
    try:
        rows = [json.loads(line) for line in regular.read(path, _MAX_HISTORY_BYTES).split(b"\n")[:-1]]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    except (regular.Irregular, ValueError, RecursionError):
        rows = [None]
    if not all(isinstance(row, dict) for row in rows):
        raise UserError(f"{path} is damaged: train anew in another --workdir")
    return rows


def write_history(workdir: Path, rows: list[dict[str, Any]]) -> None:
    """Replaces `metrics.jsonl`."""
    write_text(workdir / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


def append_history(workdir: Path, row: Mapping[str, Any]) -> None:
    """Adds an epoch to `metrics.jsonl`."""
    with (workdir / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")


def finished_runs(root: Path = ROOT) -> list[Path]:
    """The finished runs below `root`, that which ended last first."""
    ended = {}
    for path in root.glob("*/summary.json"):
        with suppress(OSError):  # it is being removed, or may not be read
            status = path.lstat()
            if stat.S_ISREG(status.st_mode):
                ended[path.parent] = status.st_mtime_ns
    return sorted(ended, key=ended.get, reverse=True)


def read_json(path: Path) -> Any:
    """The content of a JSON file. Raises UserError where it is none."""
    try:
        return json.loads(regular.read(path, _MAX_JSON_BYTES))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    except (regular.Irregular, ValueError, RecursionError) as error:
        raise UserError(f"cannot read {path}: {error}") from None


def write_json(path: Path, content: Any) -> None:
    """Writes a JSON file as a whole or not at all."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Writes a file as a whole or not at all."""
    part = path.with_suffix(path.suffix + ".part")
    part.write_text(text)
    part.replace(path)


def _completed(config: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """`config` with the keys that it lacks."""
    whole = {**defaults, **config}
    for key, value in defaults.items():
        if isinstance(value, Mapping) and isinstance(whole[key], Mapping):
            whole[key] = _completed(whole[key], value)
    return whole


def _different(a: Mapping[str, Any], b: Mapping[str, Any], prefix: str = "") -> list[str]:
    """The keys, with dots, in which two configs differ."""
    names = []
    for key in a.keys() | b.keys():
        if isinstance(a.get(key), Mapping) and isinstance(b.get(key), Mapping):
            names += _different(a[key], b[key], f"{prefix}{key}.")
        elif key not in a or key not in b or a[key] != b[key]:
            names.append(prefix + key)
    return names
