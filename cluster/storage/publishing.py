"""Files published whole: written beside their place, synced, and moved there in one step."""

from __future__ import annotations

import contextlib
import errno
import os
import uuid
from collections.abc import Callable
from pathlib import Path

TEMPORARY_MARK = ".irfuse-tmp-"
"""Part of the name of files that are being written."""


def publish_file(path: Path, data: bytes, publish: Callable[[Path, Path], None]) -> None:
    """Write, fsync and publish a file under its final name in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}{TEMPORARY_MARK}{uuid.uuid4().hex[:12]}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        publish(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems know no fsync of folders
            os.fsync(folder)
    finally:
        os.close(folder)


def link_new(temporary: Path, path: Path) -> None:
    """Publish a file unless there is one, also where hard links are not to be had."""
    try:
        os.link(temporary, path)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK):
            raise
        if path.exists():
            raise FileExistsError(path) from None
        temporary.replace(path)
