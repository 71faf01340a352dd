"""Reads the arrays that Orbax wrote to a folder, whoever made it, in bounded time and memory.

Orbax keeps them in TensorStore's OCDBT, a tree whose leaves are Zarr arrays. Both trust what they read: a shape of
10⁶ x 10⁶, or a kilobyte that unpacks to gigabytes, ends the process. So the files are read first and looked at, and
TensorStore gets to see their content only: nothing in them leads anywhere else.
"""

import json
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore
from jax import ShapeDtypeStruct

from gradejax import regular
from gradejax.models import MAX_PARAMETERS

_MAX_NUMBERS = 4 * MAX_PARAMETERS + 1000  # AdamW keeps two more for each parameter, the moving average one
_MAX_BYTES = 5 * _MAX_NUMBERS  # of all files; most numbers have four bytes, and do not compress
_MAX_ARRAYS = 5000
_MAX_NODES_BYTES = 2**25  # of the tree's nodes, unpacked; a small network's have 20 kB
_MAX_NAMES_BYTES = 2**22
_THREAD_BYTES = 2**24
_MAX_DESCRIPTION_BYTES = 10_000
_NAME = re.compile(r"\w[\w.]{0,199}", re.ASCII)

# https://google.github.io/tensorstore/kvstore/ocdbt/index.html: what a node begins with; its length, its version and
# whether it is compressed follow.
_NODE = re.compile(rb"\x0c\xdb(?:\x20\xde|\x12\x34|\x3a\x2a)(?=(.{8})(.)(.))", re.DOTALL)
_NODE_HEAD = 14
_ZSTD = b"\x28\xb5\x2f\xfd"
_ZSTD_BLOCK = 2**17

Shapes = Mapping[str, ShapeDtypeStruct]


class BadArrays(Exception):
    """The folder does not hold the arrays that it says it holds, or more than there is any use for."""


def read(folder: Path, check: Callable[[Shapes], None]) -> dict[str, np.ndarray]:
    """The arrays in a folder by name.

    Args:
        check: called with their shapes and types before any of them is read; may raise.

    Raises:
        BadArrays: where the files, or what is in them, are not as they should be.
        OSError: where the system refuses to read a file.
        MemoryError: where there is no room for the arrays.
    """
    try:
        files = regular.read_all(folder, _MAX_BYTES)
    except regular.Irregular as error:
        raise BadArrays(str(error)) from None
    names = _names(files.pop("_METADATA", b""))
    _check_nodes(files.values())
    _check_room(2 * sum(map(len, files.values())))
    try:
        store = _open(files)
        shapes = {name: _shape(_value(store, f"{name}/.zarray"), name) for name in names}
        numbers = sum(math.prod(each.shape) for each in shapes.values())
        if numbers > _MAX_NUMBERS:
            raise BadArrays(f"{numbers:,} numbers, of which there may be {_MAX_NUMBERS:,}")
        check(shapes)
        _check_room(3 * sum(math.prod(each.shape) * each.dtype.itemsize for each in shapes.values()))
        return {name: _array(store, name, shape) for name, shape in shapes.items()}
    except (ValueError, NotImplementedError) as error:  # TensorStore's, for whatever is wrong with the files
        raise BadArrays("what it holds cannot be unpacked") from error
    except RuntimeError as error:  # and for threads that it is not given
        raise MemoryError(str(error)) from error


def _check_room(size: int) -> None:
    """Raises MemoryError where there is no room for so many bytes and TensorStore's threads: it ends the process."""
    np.empty(size + (4 + (os.cpu_count() or 1)) * _THREAD_BYTES, np.uint8)


def _names(metadata: bytes) -> list[str]:
    """The arrays' names in Orbax's `_METADATA`."""
    try:
        if len(metadata) > _MAX_NAMES_BYTES:
            raise BadArrays(f"_METADATA has more than {_MAX_NAMES_BYTES:,} bytes")
        names = [entry["key_metadata"][0]["key"] for entry in json.loads(metadata)["tree_metadata"].values()]
        if len(names) <= _MAX_ARRAYS and all(_NAME.fullmatch(name) for name in names):
            return names
    except (AttributeError, LookupError, TypeError, ValueError, RecursionError):
        pass
    raise BadArrays("_METADATA names no arrays of gradejax")


def _open(files: Mapping[str, bytes]) -> tensorstore.KvStore:
    """The tree in these files. Nothing else is read: they are looked for in memory alone."""
    # Without a cache the way from the root is unpacked again for each value.
    context = tensorstore.Context({"cache_pool": {"total_bytes_limit": 4 * _MAX_NODES_BYTES}})
    memory = tensorstore.KvStore.open("memory://", context=context).result()
    for path, content in files.items():
        memory.write(path, content).result()
    return tensorstore.KvStore.open({"driver": "ocdbt", "base": "memory://"}, context=context).result()


def _value(store: tensorstore.KvStore, key: str) -> bytes:
    read = store.read(key).result()
    if read.state != "value":
        raise BadArrays(f"there is no {key}")
    return read.value


def _shape(description: bytes, name: str) -> ShapeDtypeStruct:
    """The shape and type in a Zarr array's description, which must be one that Orbax writes."""
    try:
        found = json.loads(description[:_MAX_DESCRIPTION_BYTES])
        shape, dtype = found.pop("shape"), found.pop("dtype")
        del found["compressor"]["level"]
        as_written = found == _described(shape) and all(type(side) is int and side > 0 for side in shape)
        if as_written and re.fullmatch("[<|][fiub][1248]", dtype):
            return ShapeDtypeStruct(tuple(shape), np.dtype(dtype))
    except (AttributeError, LookupError, TypeError, ValueError, RecursionError):
        pass
    raise BadArrays(f"{name} is no array that gradejax writes")


def _described(shape: Sequence[int]) -> dict[str, Any]:
    """What else Orbax writes of an array: it is kept whole, as one chunk, in NumPy's order."""
    return {
        "zarr_format": 2,
        "chunks": list(shape),
        "compressor": {"id": "zstd"},
        "dimension_separator": ".",
        "fill_value": None,
        "filters": None,
        "order": "C",
    }


def _array(store: tensorstore.KvStore, name: str, is_of: ShapeDtypeStruct) -> np.ndarray:
    chunk = _value(store, f"{name}/{'.'.join('0' * is_of.ndim) or '0'}")
    # Some blocks are short, and count as if they were not.
    if _unpacked(chunk, 0) > 4 * math.prod(is_of.shape) * is_of.dtype.itemsize + 8 * _ZSTD_BLOCK:
        raise BadArrays(f"{name} unpacks to more than its shape has room for")
    # Not its own description, in which TensorStore may read something else than was read above.
    spec = {
        "driver": "zarr",
        "metadata": {**_described(is_of.shape), "shape": list(is_of.shape), "dtype": is_of.dtype.str},
    }
    array = tensorstore.open(spec, kvstore=store / f"{name}/", open=True, read=True, assume_metadata=True)
    return array.result().read().result()


def _check_nodes(files: Iterable[bytes]) -> None:
    """Raises BadArrays where the tree's nodes unpack to more than there is any use for."""
    total = 0
    for content in files:
        for node in _NODE.finditer(content):
            length, _, compressed = node.groups()
            size = int.from_bytes(length, "little")
            if node.start() + size > len(content):
                continue  # a number's bytes that look like one, or a node that TensorStore will refuse
            total += _unpacked(content, node.start() + _NODE_HEAD) if compressed != b"\0" else size
            if total > _MAX_NODES_BYTES:
                raise BadArrays("its tree unpacks to more than there is any use for")


def _unpacked(content: bytes, start: int) -> int:
    """At least as many bytes as it takes to unpack a zstd frame, its window included (RFC 8878, section 3.1.1)."""
    if content[start : start + 4] != _ZSTD:
        return 0
    at = start + 4
    flags = int.from_bytes(content[at : at + 1])
    at += 1
    window = 0
    single = flags >> 5 & 1
    if not single:
        exponent, mantissa = divmod(int.from_bytes(content[at : at + 1]), 8)
        window = (8 + mantissa) << (7 + exponent)
        at += 1
    at += (0, 1, 2, 4)[flags & 3]  # a dictionary's number
    width = (single, 2, 4, 8)[flags >> 6]
    size = int.from_bytes(content[at : at + width], "little") + (256 if width == 2 else 0)
    at += width
    block = max(1024, min(size if single else window, _ZSTD_BLOCK))
    blocks = 0
    while at < len(content):
        head = int.from_bytes(content[at : at + 3], "little")
        kind, length = head >> 1 & 3, head >> 3
        # As it is, one byte many times, or compressed. The least of each is so much that a chain of empty ones ends.
        blocks += max(length, 1024) if kind < 2 else block
        at += 3 + (1 if kind == 1 else length)
        if head & 1 or blocks > _MAX_BYTES:
            break
    return window + max(size, blocks)
