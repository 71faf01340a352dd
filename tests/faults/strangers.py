"""Run folders that a stranger may have made: a sound one, and what can be wrong with it, one thing at a time.

    python strangers.py < folders > lines

reads the model in each folder in a process of its own with bounded memory. A line of output is JSON: the `outcome`,
or "" where the model opens and guesses, its `guess`, `seconds` of processor time, and `megabytes` of memory at the
peak, above what there was before.
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
from gradejax.grades import GRADES
from gradejax.recogniser import load

_ROOM = 2**30
_OPTIONS = {"name": "cnn", "channels": [2, 2], "hidden": 4, "dropout": 0.1, "batch_norm_epsilon": 1e-3}
_VALUES = (
    None, True, -1, 0, 0.5, 10**6, 10**30, float("nan"), float("inf"), -1e308, "", "x", "../../outside", "A" * 50_000,
    "\n\x1b[31m", [], [0], [-1], [10**6, 10**6], [2] * 3000, ["A"] * 16, {}, {"x": 1},
    json.loads("[" * 400 + "]" * 400),
)  # fmt: skip

Change = Callable[[Path, Path], None]
"""Does something to a run's folder; the second path is a sound checkpoint elsewhere."""


def save_model(workdir: Path, seed: int = 0, **about: object) -> Path:
    """A run folder with a whole checkpoint of a small network; `about` replaces what it says of itself."""
    facts = {
        "labels": GRADES, "size": 12, "resampling": "area", "model": _OPTIONS, "data_digest": "",
        "calibration": {"temperature": 1.0, "threshold": 0.1}, **about,
    }  # fmt: skip
    variables = forward.initial_variables(models.build(size=12, seed=seed, **_OPTIONS))
    with checkpoints.open_manager(workdir) as manager:
        checkpoints.save(manager, 1, variables, {"step": jax.numpy.int32(1)}, facts)
    return workdir


def bomb(size: int) -> bytes:
    """A zstd frame of zeros (RFC 8878) that unpacks to `size` bytes, with four bytes for each 128 kB."""
    left = [*[2**17] * (size // 2**17), size % 2**17]
    blocks = [
        (length << 3 | 1 << 1 | (i == len(left) - 1)).to_bytes(3, "little") + b"\0" for i, length in enumerate(left)
    ]
    return b"\x28\xb5\x2f\xfd\xa0" + size.to_bytes(4, "little") + b"".join(blocks)


def changes(run: Path) -> Iterator[tuple[str, Change]]:
    """What can be wrong with a run folder, by name."""
    yield from _of_facts(run)
    yield from _of_descriptions(run)
    yield from _of_names(run)
    yield from _of_files(run)
    yield from _of_folders()


def _of_facts(run: Path) -> Iterator[tuple[str, Change]]:
    about = json.loads((run / "checkpoints" / "1" / "about" / "metadata").read_text())
    del about["digest"]
    for name, changed in _changed(about):
        yield f"facts{name}", partial(_write_facts, changed)
    for options in (
        {"channels": [2] * 3000}, {"channels": [10**5, 10**5]}, {"hidden": 10**9}, {"ink_divisor": 0},
        {"ink_divisor": float("nan")}, {"batch_norm_epsilon": float("nan")}, {"batch_norm": False}, {"size": 28},
        {"name": "mlp", "hidden": [1] * 3000, "dropout": [0.1] * 3000},
    ):  # fmt: skip
        changed = {**about, "model": {**about["model"], **options}}
        yield f"facts.model {options}"[:80], partial(_write_facts, changed)
    text = json.dumps(about)
    contents = {"deep": "[" * 10**5, "digits": "9" * 10**6, "twice": text[:-1] + "," + text[1:], "no UTF-8": "\udcff"}
    for name, content in contents.items():
        yield f"facts {name}", partial(_write, Path("checkpoints/1/about/metadata"), content)


def _of_descriptions(run: Path) -> Iterator[tuple[str, Change]]:
    """Of one array, in the tree."""
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


def _of_names(run: Path) -> Iterator[tuple[str, Change]]:
    """Of the arrays, in Orbax's own file."""
    inside = Path("checkpoints", "1", "model", "_METADATA")
    names = json.loads((run / inside).read_text())
    first, *_, last = names["tree_metadata"]
    names["tree_metadata"] = {key: names["tree_metadata"][key] for key in (first, last)}  # the others are like these
    whole = json.loads((run / inside).read_text())
    for name, changed in _changed(names):
        if isinstance(changed, dict) and isinstance(changed.get("tree_metadata"), dict):
            changed = {**changed, "tree_metadata": {**whole["tree_metadata"], **changed["tree_metadata"]}}
        yield f"names{name}", partial(_write, inside, json.dumps(changed))
    for key in ("../../../../outside", "/etc/passwd", "a/b", "parameters.layers.1.bias\0"):
        renamed = json.dumps(whole).replace("statistics.layers.3.mean", json.dumps(key)[1:-1])
        yield f"names {key!r}", partial(_write, inside, renamed)


def _of_files(run: Path) -> Iterator[tuple[str, Change]]:
    """Each file and folder on the way to the model, in turn something else."""
    for path in [run / "checkpoints", *sorted((run / "checkpoints").rglob("*"))]:
        inside = path.relative_to(run)
        if "training" not in inside.parts:
            for kind in _KINDS:
                yield f"{inside} is {kind}", partial(_replace, inside, inside, kind)


def _of_folders() -> Iterator[tuple[str, Change]]:
    """Beside the sound checkpoint, one that is none."""
    for name in ("²", "-1", "01", "0", "1e3", "9" * 30, "9" * 200, "99", "2.orbax-checkpoint-tmp", "٣", "\udcff", "1 "):
        for kind in _KINDS:
            there = Path("checkpoints", name)
            yield f"beside it {name[:20]!r} is {kind}", partial(_replace, there, Path("checkpoints/1"), kind)


_KINDS: dict[str, Callable[[Path, Path, bytes], None]] = {
    "missing": lambda path, sound, content: None,
    "a link": lambda path, sound, content: path.symlink_to(sound),
    "a link to itself": lambda path, sound, content: path.symlink_to(path),
    "a link to a device": lambda path, sound, content: path.symlink_to("/dev/zero"),
    "a pipe": lambda path, sound, content: os.mkfifo(path),
    "a socket": lambda path, sound, content: os.mknod(path, stat.S_IFSOCK | 0o600),
    "a folder": lambda path, sound, content: path.mkdir(),
    "empty": lambda path, sound, content: path.touch(),
    "10 GB": lambda path, sound, content: (path.touch(), os.truncate(path, 10**10)),
    "cut": lambda path, sound, content: path.write_bytes(content[: len(content) // 2]),
    "noise": lambda path, sound, content: path.write_bytes(bytes(range(256)) * 40),
}
"""What may be found at a path; besides it there are the path of a sound one elsewhere, and what was there."""


def _replace(inside: Path, of_the_sound: Path, kind: str, run: Path, sound: Path) -> None:
    path, content = run / inside, b""
    if path.is_dir():
        shutil.rmtree(path)
    elif path.is_file():
        content = path.read_bytes()
        path.unlink()
    _KINDS[kind](path, sound / of_the_sound, content)


def _write(inside: Path, content: str, run: Path, sound: Path) -> None:
    (run / inside).write_bytes(content.encode(errors="surrogateescape"))


def _write_facts(about: object, run: Path, sound: Path) -> None:
    """Replaces what a checkpoint says of itself, with a digest that is right."""
    if isinstance(about, dict):
        about = {**about, "digest": checkpoints._json_digest(about)}
    _write(Path("checkpoints/1/about/metadata"), json.dumps(about), run, sound)


def _write_value(key: str, value: bytes, run: Path, sound: Path) -> None:
    _tree(run).write(key, value).result()


def _tree(run: Path) -> tensorstore.KvStore:
    base = f"file://{run / 'checkpoints' / '1' / 'model'}/"
    return tensorstore.KvStore.open({"driver": "ocdbt", "base": base}).result()


def _changed(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    """A JSON value with each of its parts replaced by each of `_VALUES`, and each of an object's left out."""
    for other in _VALUES:
        yield f"{path} = {str(other)[:30]!r}", other
    if isinstance(value, dict):
        for key, part in value.items():
            yield f"{path} without {key[:30]}", {name: each for name, each in value.items() if name != key}
            for name, changed in _changed(part, f"{path}.{key[:30]}"):
                yield name, {**value, key: changed}
    elif isinstance(value, list) and value:
        for name, changed in _changed(value[0], f"{path}[0]"):
            yield name, [changed, *value[1:]]


def _memory() -> tuple[int, int]:
    """Bytes: the most since it was last cleared, and now."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return 1024 * int(status["VmHWM"].split()[0]), 1024 * int(status["VmRSS"].split()[0])


def main() -> None:
    logging.disable()
    ink = np.random.default_rng(0).integers(0, 256, (1, 12, 12), np.uint8)
    for number, line in enumerate(sys.stdin):
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        _, before = _memory()
        began, outcome, guess = time.process_time(), "", []
        try:
            recogniser = load(Path(line.rstrip("\n")))
            size = recogniser.size
            guess = recogniser.confidences(np.resize(ink, (1, size, size)))[0].tolist()
        except UserError as error:
            outcome = str(error)
        if not number:  # a sound one, for which all was loaded and compiled that others need
            now = re.search(r"VmSize:\s+(\d+)", Path("/proc/self/status").read_text())[1]
            resource.setrlimit(resource.RLIMIT_AS, (1024 * int(now) + _ROOM,) * 2)
        found = {"outcome": outcome, "guess": guess, "seconds": time.process_time() - began}
        print(json.dumps({**found, "megabytes": (_memory()[0] - before) / 1e6}), flush=True)


if __name__ == "__main__":
    main()
