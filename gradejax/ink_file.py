"""The ink of many drawings in a file, as an array."""

import io
import os
from pathlib import Path
from typing import Any

import numpy as np


class InkFile(np.memmap):
    """A memory-mapped array of drawings whose rows are read from the file when they are asked for by number.

    Each page of a map that is touched costs a page fault, brings its neighbours along, and counts as memory of the
    process. Batches of a million shuffled drawings would touch all of them.
    """

    _file: io.FileIO | None = None

    @classmethod
    def open(cls, path: Path, shape: tuple[int, ...]) -> "InkFile":
        """Opens a file of raw bytes. It is the same file even after another has replaced it.

        Args:
            path: of the file.
            shape: `(n, size, size)`.

        Raises:
            OSError: when it cannot be read.
            ValueError: when it is shorter than that.
        """
        file = io.FileIO(path)
        mapped = cls(file, np.uint8, mode="r", shape=shape)
        mapped._file = file
        return mapped

    def __getitem__(self, index: Any) -> Any:
        if self._file is None or not isinstance(index, np.ndarray) or index.dtype.kind not in "iu" or index.ndim != 1:
            return super().__getitem__(index)
        numbers = index.tolist()
        if numbers and not -len(self) <= min(numbers) <= max(numbers) < len(self):
            raise IndexError(f"there are {len(self)} drawings")
        file, n_bytes = self._file.fileno(), self.strides[0]
        # `pread`, because several threads read at once: there must be no position in the file.
        rows = b"".join([os.pread(file, n_bytes, number % len(self) * n_bytes) for number in numbers])
        return np.frombuffer(rows, np.uint8).reshape(len(numbers), *self.shape[1:])
