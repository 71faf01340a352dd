"""Reads files and folders that anyone may have made: regular files only, of a bounded size."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

_MAX_FILES = 1000
"""In a folder and those below it. A checkpoint has 22."""


class Irregular(Exception):
    """What is there is not what should be; `str()` says what it is: `a link`, `larger than 10 bytes`."""


def read(path: Path, limit: int, *, follow: bool = False) -> bytes:
    """The content of a regular file.

    Args:
        limit: bytes that it may have.
        follow: whether the file may be a link. Links in the folders above it are followed.

    Raises:
        Irregular: for a link, a folder, a pipe, a device, a socket, and for a file that is too large.
        OSError: where the system refuses.
    """
    # Some devices do things when they are opened, and a pipe waits for a writer.
    _expect(stat.S_ISREG, path.stat() if follow else path.lstat())
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    if not follow:
        flags |= getattr(os, "O_NOFOLLOW", 0)
    with os.fdopen(os.open(path, flags), "rb") as file:
        status = os.fstat(file.fileno())
        _expect(stat.S_ISREG, status)
        if status.st_size > limit:
            raise Irregular(f"larger than {limit:,} bytes")
        return file.read(status.st_size)


def names(folder: Path) -> list[str]:
    """What a folder holds, in order. Raises as `read` does."""
    _expect(stat.S_ISDIR, folder.lstat())
    return sorted(path.name for path in folder.iterdir())


def read_all(folder: Path, limit: int) -> dict[str, bytes]:
    """The content of every file in a folder and those below it, by its path from there, `d/manifest`.

    Args:
        limit: bytes that all of them may have together.

    Raises:
        Irregular: as `read`, and for more than a thousand files, or folders in folders in folders.
        OSError: where the system refuses.
    """
    contents: dict[str, bytes] = {}
    left = [""]
    while left:
        inside = left.pop()
        for name in names(folder / inside):
            path = f"{inside}/{name}".lstrip("/")
            if len(left) + len(contents) >= _MAX_FILES or path.count("/") > 3:
                raise Irregular(f"more than {_MAX_FILES:,} files, or folders too deep")
            if stat.S_ISDIR((folder / path).lstat().st_mode):
                left.append(path)
            else:
                contents[path] = read(folder / path, limit)
                limit -= len(contents[path])
    return contents


def _expect(is_kind: Callable[[int], bool], status: os.stat_result) -> None:
    if is_kind(status.st_mode):
        return
    kinds = {stat.S_IFLNK: "a link", stat.S_IFDIR: "a folder", stat.S_IFREG: "a file", stat.S_IFIFO: "a pipe"}
    raise Irregular(kinds.get(stat.S_IFMT(status.st_mode), "a device or socket"))
