"""Files that may be opened: regular ones alone, because opening a FIFO waits for its writer."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

_SPECIAL_FILES = {
    stat.S_IFIFO: "a FIFO (named pipe)",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def require_regular_file(path: str | Path) -> None:
    """Reject everything that is not a regular file, without opening it.

    Raises:
        OSError: The path is a folder, a FIFO, a socket or a device, or cannot be inspected.
    """
    kind = stat.S_IFMT(os.stat(path).st_mode)
    if kind == stat.S_IFDIR:
        raise IsADirectoryError(errno.EISDIR, "it is a folder, not a file", str(path))
    if kind in _SPECIAL_FILES:
        raise OSError(
            errno.EINVAL,
            f"it is {_SPECIAL_FILES[kind]}, not a file; put a regular file in its place",
            str(path),
        )
