"""A run's folder: config, metrics of each epoch, summary."""

import json
import os
import platform
import re
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

from gradejax import recipe, regular, scales
from gradejax.errors import UserError
from gradejax.scales import Scale

ROOT = Path("runs")
TRAIN_COMMAND = "python -m gradejax.main --config=configs/cnn.py"
_MAX_JSON_BYTES = 2**20
_MAX_HISTORY_BYTES = 2**30  # enough for a million epochs


def new_workdir(name: str) -> Path:
    """Creates a new folder, `runs/cnn-20261124-101500`, with `-2`, `-3`, … appended if that exists.

    Raises:
        UserError: when it cannot be created.
    """
    stem = f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    number, workdir = 1, ROOT / stem
    with _writing_to(ROOT):
        ROOT.mkdir(parents=True, exist_ok=True)
        while True:
            try:
                workdir.mkdir()
                break
            except FileExistsError:
                number += 1
                workdir = ROOT / f"{stem}-{number}"
    return workdir


@contextmanager
def held(workdir: Path) -> Iterator[None]:
    """Creates a run's folder if needed and locks it against other commands. The lock ends with the process.

    Raises:
        UserError: when the folder cannot be written, is locked by another command, or contains a link or a device.
    """
    with _writing_to(workdir):
        workdir.mkdir(parents=True, exist_ok=True)
        _refuse_links(workdir)
        lock = os.open(workdir / ".lock", os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
    try:
        with _writing_to(workdir):
            _lock(lock, workdir)
        yield
    except OSError as error:
        if error.filename is None:  # as for every write to an open file
            error.filename = str(workdir)
        raise
    except ValueError as error:
        # This is how Orbax passes on the system's errors.
        if code := re.search(r"os_error_code='(\d+)'", str(error)):
            raise OSError(int(code[1]), os.strerror(int(code[1])), str(workdir)) from None
        raise
    finally:
        os.close(lock)


def _refuse_links(workdir: Path) -> None:
    """The folder may be a stranger's: nothing may be written through a link, or block on a pipe."""
    for folder, names, files in os.walk(workdir):
        for path in (Path(folder, name) for name in names + files):
            with suppress(FileNotFoundError):  # another command may be writing there
                mode = path.lstat().st_mode
                if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                    raise UserError(f"{path} is a link or a device: remove it, or use another --workdir")


def _lock(file: int, workdir: Path) -> None:
    try:
        if fcntl:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(file, 200).decode(errors="replace").strip()
        raise UserError(
            f"another command is writing to {workdir} ({holder}): wait until it has ended, or use another --workdir"
        ) from None
    except OSError:
        return  # a network file system without locks
    os.ftruncate(file, 0)
    os.write(file, f"process {os.getpid()} on {platform.node()}\n".encode())


def is_held(workdir: Path) -> bool:
    """Whether a command is writing to a run's folder, as far as the file system knows."""
    if fcntl is None:
        return False
    try:
        file = os.open(workdir / ".lock", os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(file)
    return False


@contextmanager
def _writing_to(workdir: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"cannot write to the workdir {workdir}: {error.strerror or error}") from None


def begin(workdir: Path, config: Mapping[str, Any]) -> None:
    """Writes a run's config to its folder, or checks that the run there has the same config.

    A run that has not saved a checkpoint yet takes the new config.

    Raises:
        UserError: when the folder cannot be written, or holds a run with another config.
    """
    with _writing_to(workdir):
        if not os.access(workdir, os.W_OK):
            raise PermissionError(13, "Permission denied")
        (workdir / "plots").mkdir(exist_ok=True)
        if not _has_saved(workdir):
            write_json(workdir / "config.json", config)
            return
    _refuse_other_config(workdir, config)


def check(workdir: Path, config: Mapping[str, Any]) -> None:
    """Raises UserError when a folder, which need not exist, contains a link or a device, or another config's run."""
    with _writing_to(workdir):
        _refuse_links(workdir)
        if not _has_saved(workdir):
            return
    _refuse_other_config(workdir, config)


def _refuse_other_config(workdir: Path, config: Mapping[str, Any]) -> None:
    path = workdir / "config.json"
    existing = read_json(path)
    if not isinstance(existing, Mapping):
        raise UserError(f"{path} is not a config: use another --workdir")
    # The defaults of keys added later are what an earlier gradejax did; there was one scale.
    defaults = recipe.as_json(recipe.base())
    defaults["data"]["scale"] = scales.LETTERS.name
    existing = _completed(existing, defaults)
    if differing := sorted(_different(config, existing)):
        raise UserError(
            f"{workdir} holds a run of another config ({', '.join(differing[:5])}): "
            "use the same config to continue it, or another --workdir"
        )


def _has_saved(workdir: Path) -> bool:
    kept = any(re.fullmatch("[1-9][0-9]*", checkpoint.name) for checkpoint in workdir.glob("checkpoints/*"))
    return kept or (workdir / "summary.json").exists()


def read_history(workdir: Path) -> list[dict[str, Any]]:
    """The lines of `metrics.jsonl`, one per epoch, without an incomplete last line.

    Raises:
        UserError: when the file cannot be read, or is damaged.
    """
    path = workdir / "metrics.jsonl"
    try:
        rows = [json.loads(line) for line in regular.read(path, _MAX_HISTORY_BYTES).split(b"\n")[:-1]]
        if all(isinstance(row, dict) for row in rows):
            return rows
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    except (regular.Irregular, ValueError, RecursionError):
        pass
    raise UserError(f"{path} is damaged: train anew in another --workdir")


def write_history(workdir: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Replaces `metrics.jsonl`."""
    write_text(workdir / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


def append_history(workdir: Path, row: Mapping[str, Any]) -> None:
    """Appends an epoch to `metrics.jsonl`."""
    with (workdir / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def scale(workdir: Path) -> Scale:
    """The scale of the drawings that a run was trained on; `letters` where its config does not say."""
    with suppress(UserError, AttributeError, TypeError, KeyError):
        return scales.parse(read_json(workdir / "config.json")["data"]["scale"])
    return scales.LETTERS


def finished_runs(root: Path = ROOT) -> list[Path]:
    """The finished runs below `root`, newest first."""
    finished_at: dict[Path, int] = {}
    for path in root.glob("*/summary.json"):
        with suppress(OSError):  # the run may be about to be deleted, or unreadable
            status = path.lstat()
            if stat.S_ISREG(status.st_mode):
                finished_at[path.parent] = status.st_mtime_ns
    return sorted(finished_at, key=finished_at.__getitem__, reverse=True)


def read_json(path: Path) -> Any:
    """The content of a JSON file. Raises UserError if it cannot be read."""
    try:
        return json.loads(regular.read(path, _MAX_JSON_BYTES))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    except (regular.Irregular, ValueError, RecursionError) as error:
        raise UserError(f"cannot read {path}: {error}") from None


def write_json(path: Path, content: Any) -> None:
    """Writes a JSON file atomically."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Writes a file atomically. A link of that name is replaced, not followed."""
    with writing(path) as file:
        file.write(text)


@contextmanager
def writing(path: Path) -> Iterator[TextIO]:
    """Opens a text file to write piece by piece, as atomically as `write_text`: it has its name when it is complete."""
    part = path.with_suffix(path.suffix + ".part")
    part.unlink(missing_ok=True)
    with part.open("x", encoding="utf-8", newline="\n") as file:
        yield file
    part.replace(path)


def _completed(config: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """`config` with defaults for the keys that it lacks."""
    completed = {**defaults, **config}
    for key, value in defaults.items():
        if isinstance(value, Mapping) and isinstance(completed[key], Mapping):
            completed[key] = _completed(completed[key], value)
    return completed


def _different(a: Mapping[str, Any], b: Mapping[str, Any], prefix: str = "") -> list[str]:
    """The dotted keys in which two configs differ."""
    names = []
    for key in a.keys() | b.keys():
        if isinstance(a.get(key), Mapping) and isinstance(b.get(key), Mapping):
            names += _different(a[key], b[key], f"{prefix}{key}.")
        elif key not in a or key not in b or a[key] != b[key]:
            names.append(prefix + key)
    return names
