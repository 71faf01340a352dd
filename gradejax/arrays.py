"""Reads arrays that Orbax wrote, from a folder that may be a stranger's, in bounded time and memory.

Orbax stores arrays in TensorStore's OCDBT format, a tree whose leaves are Zarr arrays. Both trust what they read: a
shape of 10⁶ x 10⁶, or a kilobyte that unpacks to gigabytes, kills the process. Therefore the files are read and checked
first, and TensorStore sees only their contents, in memory, where nothing can refer to another file.
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

_MAX_NUMBERS = 4 * MAX_PARAMETERS + 1000  # a parameter, AdamW's two moments, the moving average
_MAX_BYTES = 5 * _MAX_NUMBERS  # of all files; most numbers have four bytes, and hardly compress
_MAX_ARRAYS = 5000
_MAX_NODES_BYTES = 2**25  # of the tree's nodes, unpacked; 20 kB for a small network
_MAX_NAMES_BYTES = 2**22
_THREAD_BYTES = 2**24
_MAX_DESCRIPTION_BYTES = 10_000
_NAME = re.compile(r"\w[\w.]{0,199}", re.ASCII)

# https://google.github.io/tensorstore/kvstore/ocdbt/index.html: a node's magic number, followed by its length, its
# version and whether it is compressed.
_NODE = re.compile(rb"\x0c\xdb(?:\x20\xde|\x12\x34|\x3a\x2a)(?=(.{8})(.)(.))", re.DOTALL)
_NODE_HEADER_BYTES = 14
_ZSTD = b"\x28\xb5\x2f\xfd"
_ZSTD_BLOCK = 2**17

Shapes = Mapping[str, ShapeDtypeStruct]


class BadArrays(Exception):
    """The folder does not contain valid arrays, or contains more than a model can use."""


def read(folder: Path, check: Callable[[Shapes], None]) -> dict[str, np.ndarray]:
    """Reads the arrays in a folder.

    Args:
        folder: one part of an Orbax checkpoint.
        check: called with the shapes and types before any array is read; may raise.

    Returns:
        The arrays by name.

    Raises:
        BadArrays: when the folder is not one that gradejax writes.
        OSError: when a file cannot be read.
        MemoryError: when there is not enough memory.
    """
    try:
        files = regular.read_all(folder, _MAX_BYTES)
    except regular.Irregular as error:
        raise BadArrays(str(error)) from None
    names = _names(files.pop("_METADATA", b""))
    _check_nodes(files.values())
    _check_memory(2 * sum(map(len, files.values())))
    try:
        store = _open(files)
        shapes = {name: _shape(_value(store, f"{name}/.zarray"), name) for name in names}
        numbers = sum(math.prod(shape.shape) for shape in shapes.values())
        if numbers > _MAX_NUMBERS:
            raise BadArrays(f"it has {numbers:,} numbers, more than {_MAX_NUMBERS:,}")
        check(shapes)
        _check_memory(3 * sum(math.prod(shape.shape) * shape.dtype.itemsize for shape in shapes.values()))
        return {name: _array(store, name, shape) for name, shape in shapes.items()}
    except (ValueError, NotImplementedError) as error:  # TensorStore raises these for invalid files
        raise BadArrays("its contents cannot be unpacked") from error
    except RuntimeError as error:  # and this when it cannot start a thread
        raise MemoryError(str(error)) from error


def _check_memory(size: int) -> None:
    """Raises MemoryError if `size` bytes and TensorStore's threads do not fit, which would kill the process later."""
    np.empty(size + (4 + (os.cpu_count() or 1)) * _THREAD_BYTES, np.uint8)


def _names(metadata: bytes) -> list[str]:
    """The names of the arrays in Orbax's `_METADATA`."""
    try:
        if len(metadata) > _MAX_NAMES_BYTES:
            raise BadArrays(f"_METADATA has more than {_MAX_NAMES_BYTES:,} bytes")
        names = [entry["key_metadata"][0]["key"] for entry in json.loads(metadata)["tree_metadata"].values()]
        if len(names) <= _MAX_ARRAYS and all(_NAME.fullmatch(name) for name in names):
            return names
    except (AttributeError, LookupError, TypeError, ValueError, RecursionError):
        pass
    raise BadArrays("_METADATA does not list arrays of gradejax")


def _open(files: Mapping[str, bytes]) -> tensorstore.KvStore:
    """Opens the OCDBT tree in these files, which TensorStore sees only in memory."""
    # Without a cache, every value unpacks the nodes from the root again.
    context = tensorstore.Context({"cache_pool": {"total_bytes_limit": 4 * _MAX_NODES_BYTES}})
    memory = tensorstore.KvStore.open("memory://", context=context).result()
    for path, content in files.items():
        memory.write(path, content).result()
    return tensorstore.KvStore.open({"driver": "ocdbt", "base": "memory://"}, context=context).result()


def _value(store: tensorstore.KvStore, key: str) -> bytes:
    read = store.read(key).result()
    if read.state != "value":
        raise BadArrays(f"{key} is missing")
    return read.value


def _shape(description: bytes, name: str) -> ShapeDtypeStruct:
    """The shape and type in a Zarr array's metadata, which must be as Orbax writes it."""
    try:
        zarray = json.loads(description[:_MAX_DESCRIPTION_BYTES])
        shape, dtype = zarray.pop("shape"), zarray.pop("dtype")
        del zarray["compressor"]["level"]
        as_written = zarray == _layout(shape) and all(type(side) is int and side > 0 for side in shape)
        if as_written and re.fullmatch("[<|][fiub][1248]", dtype):
            return ShapeDtypeStruct(tuple(shape), np.dtype(dtype))
    except (AttributeError, LookupError, TypeError, ValueError, RecursionError):
        pass
    raise BadArrays(f"{name} is not an array that gradejax writes")


def _layout(shape: Sequence[int]) -> dict[str, Any]:
    """The rest of an array's Zarr metadata: Orbax writes one chunk, in C order."""
    return {
        "zarr_format": 2,
        "chunks": list(shape),
        "compressor": {"id": "zstd"},
        "dimension_separator": ".",
        "fill_value": None,
        "filters": None,
        "order": "C",
    }


def _array(store: tensorstore.KvStore, name: str, expected: ShapeDtypeStruct) -> np.ndarray:
    chunk = _value(store, f"{name}/{'.'.join('0' * expected.ndim) or '0'}")
    # `_unpacked` counts every block as full.
    if _unpacked(chunk, 0) > 4 * math.prod(expected.shape) * expected.dtype.itemsize + 8 * _ZSTD_BLOCK:
        raise BadArrays(f"{name} unpacks to more than its shape has room for")
    # TensorStore might interpret the stored metadata differently from `_shape`.
    spec = {
        "driver": "zarr",
        "metadata": {**_layout(expected.shape), "shape": list(expected.shape), "dtype": expected.dtype.str},
    }
    array = tensorstore.open(spec, kvstore=store / f"{name}/", open=True, read=True, assume_metadata=True)
    return array.result().read().result()


def _check_nodes(files: Iterable[bytes]) -> None:
    """Raises BadArrays if the tree's nodes unpack to more than `_MAX_NODES_BYTES`."""
    total = 0
    for content in files:
        for node in _NODE.finditer(content):
            length, _, compressed = node.groups()
            size = int.from_bytes(length, "little")
            if node.start() + size > len(content):
                continue  # array data that looks like a node, or a node that TensorStore will reject
            total += _unpacked(content, node.start() + _NODE_HEADER_BYTES) if compressed != b"\0" else size
            if total > _MAX_NODES_BYTES:
                raise BadArrays(f"its tree unpacks to more than {_MAX_NODES_BYTES:,} bytes")


def _unpacked(content: bytes, start: int) -> int:
    """An upper bound on the bytes needed to unpack a zstd frame, including its window (RFC 8878, section 3.1.1)."""
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
    at += (0, 1, 2, 4)[flags & 3]  # the dictionary's id
    width = (single, 2, 4, 8)[flags >> 6]
    size = int.from_bytes(content[at : at + width], "little") + (256 if width == 2 else 0)
    at += width
    block = max(1024, min(size if single else window, _ZSTD_BLOCK))
    blocks = 0
    while at < len(content):
        head = int.from_bytes(content[at : at + 3], "little")
        kind, length = head >> 1 & 3, head >> 3
        # Raw, run-length or compressed. Each counts as at least 1024 bytes, to end a chain of empty blocks.
        blocks += max(length, 1024) if kind < 2 else block
        at += 3 + (1 if kind == 1 else length)
        if head & 1 or blocks > _MAX_BYTES:
            break
    return window + max(size, blocks)
