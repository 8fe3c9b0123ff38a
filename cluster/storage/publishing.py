"""Atomic publishing of files: written to a temporary file, synced, and renamed."""

from __future__ import annotations

import contextlib
import errno
import os
import uuid
from collections.abc import Callable
from pathlib import Path

TEMPORARY_MARK = ".irfuse-tmp-"
"""Part of the names of temporary files."""


def publish_file(path: Path, data: bytes, publish: Callable[[Path, Path], None]) -> None:
    """Write and fsync a temporary file, and publish it under its final name atomically."""
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
        with contextlib.suppress(OSError):  # not supported by some network file systems
            os.fsync(folder)
    finally:
        os.close(folder)


def link_new(temporary: Path, path: Path) -> None:
    """Publish a file unless one exists already, with or without support for hard links."""
    try:
        os.link(temporary, path)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK):
            raise
        if path.exists():
            raise FileExistsError(path) from None
        temporary.replace(path)
