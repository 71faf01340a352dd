"""Reads untrusted files and folders: regular files only, of bounded size."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

_MAX_FILES = 1000
"""In a folder and its subfolders. A checkpoint has 22."""


class Irregular(Exception):
    """A path is not a regular file or folder; `str()` says what it is: `a link`, `larger than 10 bytes`."""


def read(path: Path, limit: int, *, follow: bool = False) -> bytes:
    """The content of a regular file.

    Args:
        path: links in the folders above it are followed.
        limit: bytes.
        follow: whether the file itself may be a link.

    Raises:
        Irregular: for a link, folder, pipe, device or socket, and for a file larger than `limit`.
        OSError: when the file cannot be read.
    """
    # Checked before opening: a pipe waits for a writer, and opening a device may have effects.
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
    """The names in a folder, sorted. Raises Irregular and OSError like `read`."""
    _expect(stat.S_ISDIR, folder.lstat())
    return sorted(path.name for path in folder.iterdir())


def read_all(folder: Path, limit: int) -> dict[str, bytes]:
    """The contents of all files in a folder and its subfolders, by relative path: `d/manifest`.

    Args:
        folder: at most three levels deep.
        limit: bytes of all files together.

    Raises:
        Irregular: like `read`, and for too many files or levels.
        OSError: when a file cannot be read.
    """
    contents: dict[str, bytes] = {}
    unread = [""]
    while unread:
        parent = unread.pop()
        for name in names(folder / parent):
            path = f"{parent}/{name}".lstrip("/")
            if len(unread) + len(contents) >= _MAX_FILES or path.count("/") > 3:
                raise Irregular(f"more than {_MAX_FILES:,} files, or folders too deep")
            if stat.S_ISDIR((folder / path).lstat().st_mode):
                unread.append(path)
            else:
                contents[path] = read(folder / path, limit)
                limit -= len(contents[path])
    return contents


def _expect(is_kind: Callable[[int], bool], status: os.stat_result) -> None:
    if is_kind(status.st_mode):
        return
    kinds = {stat.S_IFLNK: "a link", stat.S_IFDIR: "a folder", stat.S_IFREG: "a file", stat.S_IFIFO: "a pipe"}
    raise Irregular(kinds.get(stat.S_IFMT(status.st_mode), "a device or socket"))
