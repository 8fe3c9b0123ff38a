"""The local file system: links to folders are followed, and only regular files are opened."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from cluster.storage.listing import Identity, Member
from cluster.storage.publishing import version_of
from fusion_core.files import require_regular_file

_NOWHERE = (errno.ENOENT, errno.ELOOP, errno.ENOTDIR)
"""Errors of a link that leads nowhere, and of a file that was removed meanwhile."""


class LocalFiles(LocalFileSystem):  # type: ignore[misc]
    """Local files, of which only regular ones are opened: a FIFO would wait for its writer."""

    def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:  # noqa: ANN401
        if "r" in mode:
            require_regular_file(path)
        return super()._open(path, mode, **options)


def identify_folder(path: str) -> Identity | None:
    """Return the identity of a folder, or None if it cannot be inspected."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def scan_local(path: str) -> Iterator[Member]:
    """Yield the members of a folder.

    Raises:
        OSError: The folder cannot be read.
    """
    try:
        with os.scandir(path) as found:
            yield from (member for entry in found if (member := _examine(entry)) is not None)
    except NotADirectoryError:
        raise NotADirectoryError(errno.ENOTDIR, "it is not a folder") from None


def _examine(entry: os.DirEntry[str]) -> Member | None:
    try:
        found = entry.stat()
    except PermissionError:
        # Reading it as a folder raises the same error with its location.
        return Member(entry.name, "folder")
    except OSError as error:
        if error.errno not in _NOWHERE:
            raise
        # Reading the link as a file gives the reason.
        return Member(entry.name, "file") if entry.is_symlink() else None
    if stat.S_ISDIR(found.st_mode):
        return Member(entry.name, "folder")
    if not stat.S_ISREG(found.st_mode):
        return Member(entry.name, "special")
    return Member(entry.name, "file", found.st_size, version_of(found), found.st_mtime)
