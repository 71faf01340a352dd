"""Run folders that a stranger may have made: a valid one, and ways to corrupt it, one at a time.

    python strangers.py < folders > lines

loads the model in each folder, in a process with limited memory. Each line of output is JSON: `outcome`, the error, or
"" if the model works, its `guess`, `seconds` of CPU time, and `megabytes` by which the peak memory rose.
"""

import json
import logging
import os
import re
import resource
import shutil
import stat
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import jax
import numpy as np
import tensorstore

from gradejax import checkpoints, forward, models
from gradejax.errors import UserError
from gradejax.recogniser import load
from gradejax.scales import LETTERS

GRADES = LETTERS.labels

_MEMORY_LIMIT = 2**30
"""Bytes, above what the process uses after loading a valid model."""
_OPTIONS = {"name": "cnn", "channels": [2, 2], "hidden": 4, "dropout": 0.1, "batch_norm_epsilon": 1e-3}
_VALUES = (
    None, True, -1, 0, 0.5, 10**6, 10**30, float("nan"), float("inf"), -1e308, "", "x", "../../outside", "A" * 50_000,
    "\n\x1b[31m", [], [0], [-1], [10**6, 10**6], [2] * 3000, ["A"] * 16, {}, {"x": 1},
    json.loads("[" * 400 + "]" * 400),
)  # fmt: skip

Change = Callable[[Path, Path], None]
"""Corrupts the run folder given first; the second path is a valid run elsewhere."""


def save_model(workdir: Path, seed: int = 0, **about: object) -> Path:
    """Writes a run folder with a checkpoint of a small network; `about` overrides its metadata."""
    metadata = {
        "labels": GRADES, "size": 12, "resampling": "area", "model": _OPTIONS, "data_digest": "",
        "calibration": {"temperature": 1.0, "threshold": 0.1}, **about,
    }  # fmt: skip
    variables = forward.variables_of(models.build(size=12, seed=seed, **_OPTIONS))
    with checkpoints.open_manager(workdir) as manager:
        checkpoints.save(manager, 1, variables, {"step": jax.numpy.int32(1)}, metadata)
    return workdir


def bomb(size: int) -> bytes:
    """A zstd frame (RFC 8878) that unpacks to `size` zero bytes, with four bytes for each 128 kB."""
    lengths = [*[2**17] * (size // 2**17), size % 2**17]
    last = len(lengths) - 1
    blocks = [(length << 3 | 1 << 1 | (i == last)).to_bytes(3, "little") + b"\0" for i, length in enumerate(lengths)]
    return b"\x28\xb5\x2f\xfd\xa0" + size.to_bytes(4, "little") + b"".join(blocks)


def changes(run: Path) -> Iterator[tuple[str, Change]]:
    """Ways to corrupt a run folder, with their names."""
    yield from _metadata_changes(run)
    yield from _array_changes(run)
    yield from _name_changes(run)
    yield from _file_changes(run)
    yield from _folder_changes()


def _metadata_changes(run: Path) -> Iterator[tuple[str, Change]]:
    about = json.loads((run / "checkpoints" / "1" / "about" / "metadata").read_text())
    del about["digest"]
    for name, changed in _changed(about):
        yield f"metadata{name}", partial(_write_metadata, changed)
    for options in (
        {"channels": [2] * 3000}, {"channels": [10**5, 10**5]}, {"hidden": 10**9}, {"ink_divisor": 0},
        {"ink_divisor": float("nan")}, {"batch_norm_epsilon": float("nan")}, {"batch_norm": False}, {"size": 28},
        {"name": "mlp", "hidden": [1] * 3000, "dropout": [0.1] * 3000},
    ):  # fmt: skip
        changed = {**about, "model": {**about["model"], **options}}
        yield f"metadata.model {options}"[:80], partial(_write_metadata, changed)
    text = json.dumps(about)
    contents = {"deep": "[" * 10**5, "digits": "9" * 10**6, "twice": text[:-1] + "," + text[1:], "no UTF-8": "\udcff"}
    for name, content in contents.items():
        yield f"metadata {name}", partial(_write, Path("checkpoints/1/about/metadata"), content)


def _array_changes(run: Path) -> Iterator[tuple[str, Change]]:
    """Changes one array in the OCDBT tree."""
    name = "parameters.layers.1.kernel"
    description = json.loads(_tree(run).read(f"{name}/.zarray").result().value)
    pairs = [*_changed(description)]
    for shape in ([10**6, 10**6], [10**4, 10**4], [2**31, 2**31, 2**31], [0, 3, 1, 2], [3, 3, 1, 2, 1], [3] * 40):
        pairs.append((f".shape and chunks {shape}", {**description, "shape": shape, "chunks": shape}))
        pairs.append((f".chunks {shape}", {**description, "chunks": shape}))
    for dtype in ("|O", "<c16", "<f8", "<f2", ">f4", "|S9", "<M8", "<i4", [["a", "<f4"]]):
        pairs.append((f".dtype {dtype}", {**description, "dtype": dtype}))
    for compressor in ({"id": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1}, {"id": "bz2", "level": 1}, None):
        pairs.append((f".compressor {compressor}", {**description, "compressor": compressor}))
    for label, changed in pairs:
        yield f"description{label}"[:80], partial(_write_value, f"{name}/.zarray", json.dumps(changed).encode())
    for size in (10**6, 10**8, 4 * 10**9):
        yield f"bomb of {size}", partial(_write_value, f"{name}/0.0.0.0", bomb(size))
    for value in (b"", b"\0" * 72, bomb(72), bomb(72)[:-1], bomb(71), b"\x28\xb5\x2f\xfd\xff" + b"\xff" * 50):
        yield f"chunk {value[:20]}", partial(_write_value, f"{name}/0.0.0.0", value)
    for key in ("../outside/.zarray", "/etc/passwd", "x" * 5000):
        yield f"another key {key[:20]}", partial(_write_value, key, b"x")


def _name_changes(run: Path) -> Iterator[tuple[str, Change]]:
    """Changes the list of arrays in Orbax's `_METADATA`."""
    inside = Path("checkpoints", "1", "model", "_METADATA")
    names = json.loads((run / inside).read_text())
    first, *_, last = names["tree_metadata"]
    names["tree_metadata"] = {key: names["tree_metadata"][key] for key in (first, last)}  # the others look alike
    whole = json.loads((run / inside).read_text())
    for name, changed in _changed(names):
        if isinstance(changed, dict) and isinstance(changed.get("tree_metadata"), dict):
            changed = {**changed, "tree_metadata": {**whole["tree_metadata"], **changed["tree_metadata"]}}
        yield f"names{name}", partial(_write, inside, json.dumps(changed))
    for key in ("../../../../outside", "/etc/passwd", "a/b", "parameters.layers.1.bias\0"):
        renamed = json.dumps(whole).replace("statistics.layers.3.mean", json.dumps(key)[1:-1])
        yield f"names {key!r}", partial(_write, inside, renamed)


def _file_changes(run: Path) -> Iterator[tuple[str, Change]]:
    """Replaces each file and folder of the model in turn."""
    for path in [run / "checkpoints", *sorted((run / "checkpoints").rglob("*"))]:
        inside = path.relative_to(run)
        if "training" not in inside.parts:
            for kind in _KINDS:
                yield f"{inside} is {kind}", partial(_replace, inside, inside, kind)


def _folder_changes() -> Iterator[tuple[str, Change]]:
    """Adds something that is not a checkpoint next to the valid one."""
    for name in ("²", "-1", "01", "0", "1e3", "9" * 30, "9" * 200, "99", "2.orbax-checkpoint-tmp", "٣", "\udcff", "1 "):
        for kind in _KINDS:
            there = Path("checkpoints", name)
            yield f"next to it {name[:20]!r} is {kind}", partial(_replace, there, Path("checkpoints/1"), kind)


_KINDS: dict[str, Callable[[Path, Path, bytes], None]] = {
    "missing": lambda path, valid, content: None,
    "a link": lambda path, valid, content: path.symlink_to(valid),
    "a link to itself": lambda path, valid, content: path.symlink_to(path),
    "a link to a device": lambda path, valid, content: path.symlink_to("/dev/zero"),
    "a pipe": lambda path, valid, content: os.mkfifo(path),
    "a socket": lambda path, valid, content: os.mknod(path, stat.S_IFSOCK | 0o600),
    "a folder": lambda path, valid, content: path.mkdir(),
    "empty": lambda path, valid, content: path.touch(),
    "10 GB": lambda path, valid, content: (path.touch(), os.truncate(path, 10**10)),
    "cut": lambda path, valid, content: path.write_bytes(content[: len(content) // 2]),
    "noise": lambda path, valid, content: path.write_bytes(bytes(range(256)) * 40),
}
"""Creates something at a path, given the valid path elsewhere and the previous content."""


def _replace(inside: Path, inside_valid: Path, kind: str, run: Path, valid: Path) -> None:
    path, content = run / inside, b""
    if path.is_dir():
        shutil.rmtree(path)
    elif path.is_file():
        content = path.read_bytes()
        path.unlink()
    _KINDS[kind](path, valid / inside_valid, content)


def _write(inside: Path, content: str, run: Path, valid: Path) -> None:
    (run / inside).write_bytes(content.encode(errors="surrogateescape"))


def _write_metadata(about: object, run: Path, valid: Path) -> None:
    """Replaces a checkpoint's metadata, with the correct digest."""
    if isinstance(about, dict):
        about = {**about, "digest": checkpoints._json_digest(about)}
    _write(Path("checkpoints/1/about/metadata"), json.dumps(about), run, valid)


def _write_value(key: str, value: bytes, run: Path, valid: Path) -> None:
    _tree(run).write(key, value).result()


def _tree(run: Path) -> tensorstore.KvStore:
    base = f"file://{run / 'checkpoints' / '1' / 'model'}/"
    return tensorstore.KvStore.open({"driver": "ocdbt", "base": base}).result()


def _changed(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    """A JSON value with each part replaced by each of `_VALUES`, or with one key removed."""
    for other in _VALUES:
        yield f"{path} = {str(other)[:30]!r}", other
    if isinstance(value, dict):
        for key, part in value.items():
            yield f"{path} without {key[:30]}", {name: other for name, other in value.items() if name != key}
            for name, changed in _changed(part, f"{path}.{key[:30]}"):
                yield name, {**value, key: changed}
    elif isinstance(value, list) and value:
        for name, changed in _changed(value[0], f"{path}[0]"):
            yield name, [changed, *value[1:]]


def _memory() -> tuple[int, int]:
    """Bytes: the peak since it was last reset, and now."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return 1024 * int(status["VmHWM"].split()[0]), 1024 * int(status["VmRSS"].split()[0])


def main() -> None:
    logging.disable()
    ink = np.random.default_rng(0).integers(0, 256, (1, 12, 12), np.uint8)
    for number, line in enumerate(sys.stdin):
        Path("/proc/self/clear_refs").write_text("5")  # resets the peak
        _, before = _memory()
        began, outcome, guess = time.process_time(), "", []
        try:
            recogniser = load(Path(line.rstrip("\n")))
            size = recogniser.size
            guess = recogniser.confidences(np.resize(ink, (1, size, size)))[0].tolist()
        except UserError as error:
            outcome = str(error)
        if number == 0:  # a valid run, for which all modules are loaded and functions compiled
            now = re.search(r"VmSize:\s+(\d+)", Path("/proc/self/status").read_text())[1]
            resource.setrlimit(resource.RLIMIT_AS, (1024 * int(now) + _MEMORY_LIMIT,) * 2)
        answer = {"outcome": outcome, "guess": guess, "seconds": time.process_time() - began}
        print(json.dumps({**answer, "megabytes": (_memory()[0] - before) / 1e6}), flush=True)


if __name__ == "__main__":
    main()
