"""A run's folder: its config, its metrics epoch by epoch, its summary."""

import json
import os
import platform
import re
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

from gradejax import recipe, regular
from gradejax.errors import UserError

ROOT = Path("runs")
TRAIN_COMMAND = "python -m gradejax.main --config=configs/cnn.py"
_MAX_JSON_BYTES = 2**20
_MAX_HISTORY_BYTES = 2**30  # of a million epochs


def new_workdir(name: str) -> Path:
    """Makes a folder below `runs` that no run has yet: `runs/cnn-20261124-101500`, or `-2` behind it and so on.

    Raises UserError where it cannot be made.
    """
    stem = f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    with _to(ROOT):
        ROOT.mkdir(parents=True, exist_ok=True)
        for number in count(1):
            workdir = ROOT / (stem if number == 1 else f"{stem}-{number}")
            try:
                workdir.mkdir()
            except FileExistsError:
                continue
            return workdir


@contextmanager
def held(workdir: Path) -> Iterator[None]:
    """Makes a run's folder, and keeps other commands from writing to it meanwhile. Dying lets go of it.

    Raises:
        UserError: when it cannot be written, another command writes to it, or a link in it leads elsewhere.
    """
    with _to(workdir):
        workdir.mkdir(parents=True, exist_ok=True)
        for folder, names, files in os.walk(workdir):
            for path in (Path(folder, name) for name in names + files):
                # It may be a stranger's: what is written here must not come out elsewhere, or wait for a reader.
                if path.is_symlink() or not (path.is_file() or path.is_dir()):
                    raise UserError(f"{path} is a link or a device: take it away, or give another --workdir")
        lock = os.open(workdir / ".lock", os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
    try:
        with _to(workdir):
            _lock(lock, workdir)
        yield
    except OSError as error:
        if error.filename is None:  # as of every write to an open file
            error.filename = str(workdir)
        raise
    except ValueError as error:
        # So Orbax passes on what the system says of a checkpoint's files.
        if code := re.search(r"os_error_code='(\d+)'", str(error)):
            raise OSError(int(code[1]), os.strerror(int(code[1])), str(workdir)) from None
        raise
    finally:
        os.close(lock)


def _lock(file: int, workdir: Path) -> None:
    try:
        if fcntl:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(file, 200).decode(errors="replace").strip()
        raise UserError(
            f"another command is writing to {workdir} ({holder}): wait until it has ended, or give another --workdir"
        ) from None
    except OSError:
        return  # a network file system without locks
    os.ftruncate(file, 0)
    os.write(file, f"process {os.getpid()} on {platform.node()}\n".encode())


@contextmanager
def _to(workdir: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"cannot write to the workdir {workdir}: {error.strerror or error}") from None


def begin(workdir: Path, config: Mapping[str, Any]) -> None:
    """Writes a run's config to its folder, or takes the run up again.

    A run that has kept no checkpoint, as one that was refused or diverged at once, takes another config.

    Raises:
        UserError: when it cannot be written, or holds a run of another config.
    """
    path = workdir / "config.json"
    with _to(workdir):
        if not os.access(workdir, os.W_OK):
            raise PermissionError(13, "Permission denied")
        (workdir / "plots").mkdir(exist_ok=True)
        kept = any(re.fullmatch("[1-9][0-9]*", checkpoint.name) for checkpoint in workdir.glob("checkpoints/*"))
        if not kept and not (workdir / "summary.json").exists():
            write_json(path, config)
    found = read_json(path)
    if not isinstance(found, Mapping):
        raise UserError(f"{path} is no config: give another --workdir")
    # A key that an earlier gradejax did not know has had what is now its default.
    found = _completed(found, recipe.as_json(recipe.base()))
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
    with (workdir / "metrics.jsonl").open("a", encoding="utf-8") as file:
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
    """Writes a file as a whole or not at all, and never through a link that has its name."""
    part = path.with_suffix(path.suffix + ".part")
    part.unlink(missing_ok=True)
    with part.open("x", encoding="utf-8") as file:
        file.write(text)
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
