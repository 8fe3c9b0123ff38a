"""Atomic publishing of files: written to a temporary file, synced, and renamed.

`replace_version` is a compare-and-swap: every process that replaces a file in this way holds a lock
on the file that it replaces, so that the check and the rename cannot be separated by another one.
The kernel releases the lock of a process that was killed. A suspended process that holds it makes
others wait, and after a limit they fail.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import IO, Any

TEMPORARY_MARK = ".irfuse-tmp-"
"""Part of the names of temporary files."""
_LOCK_WAIT_S = 30.0
_LOCK_POLL_S = 0.05
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EBADF)
"""Errors of file systems that have no locks."""


class ReplacedError(Exception):
    """The version of an object that was to be replaced is not there any more."""


def version_in(info: Mapping[str, Any]) -> str:
    """Return the version in an object's fsspec information; empty if it has none."""
    for name in ("ETag", "etag", "generation"):
        if info.get(name):
            return str(info[name])
    changed = modified_in(info)
    return f"{changed}-{info.get('size')}" if changed else ""


def modified_in(info: Mapping[str, Any]) -> float | None:
    """Return the time of the last change in an object's fsspec information, if it has one."""
    for name in ("mtime", "LastModified", "last_modified", "created"):
        changed = info.get(name)
        if isinstance(changed, datetime):
            return changed.timestamp()
        if isinstance(changed, (int, float)):
            return float(changed)
    return None


def publish_file(
    path: Path, data: bytes | memoryview, publish: Callable[[Path, Path], None]
) -> str:
    """Write and fsync a temporary file, and publish it under its final name atomically.

    Returns:
        The version of the file.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise NotADirectoryError(errno.ENOTDIR, "Not a directory") from None
    temporary = path.with_name(f".{path.name}{TEMPORARY_MARK}{uuid.uuid4().hex[:12]}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            version = version_of(os.fstat(file.fileno()))
        publish(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # not supported by some network file systems
        _sync(path.parent)
    return version


def publish_files(objects: Mapping[Path, bytes], scratch: Path) -> None:
    """Write files, sync them together, and rename each; existing ones are replaced.

    A file system writes what many files hold at once faster than each by itself.

    Args:
        objects: The content of each file.
        scratch: Folder of the temporary files, on the same file system.
    """
    for folder in {scratch, *(path.parent for path in objects)}:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            raise NotADirectoryError(errno.ENOTDIR, "Not a directory") from None
    # Their names do not contain those of the files, which may be as long as a name can be.
    mark = f"{TEMPORARY_MARK}{uuid.uuid4().hex[:12]}"
    temporaries = {path: scratch / f"{mark}-{number}" for number, path in enumerate(objects)}
    try:
        for path, data in objects.items():
            temporaries[path].write_bytes(data)
        for temporary in temporaries.values():
            _sync(temporary)
        for path, temporary in temporaries.items():
            temporary.replace(path)
    finally:
        for temporary in temporaries.values():
            temporary.unlink(missing_ok=True)
    for folder in {path.parent for path in objects}:
        with contextlib.suppress(OSError):  # not supported by some network file systems
            _sync(folder)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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


def replace_version(version: str) -> Callable[[Path, Path], None]:
    """Return a function that publishes a file in place of one version of it.

    It raises `ReplacedError` if another version, or none, is there.
    """

    def publish(temporary: Path, path: Path) -> None:
        try:
            with _open_locked(path) as file:
                opened, present = os.fstat(file.fileno()), path.stat()
                same_file = (opened.st_dev, opened.st_ino) == (present.st_dev, present.st_ino)
                if not same_file or version_of(present) != version:
                    raise ReplacedError(path)
                temporary.replace(path)
        except FileNotFoundError:
            raise ReplacedError(path) from None

    return publish


def version_of(status: os.stat_result) -> str:
    """Return the version of a file."""
    return version_in({"mtime": status.st_mtime, "size": status.st_size})


@contextlib.contextmanager
def _open_locked(path: Path) -> Iterator[IO[bytes]]:
    """Open a file with a lock; on file systems without locks, without one.

    Raises:
        OSError: Another process holds the lock for too long.
    """
    try:
        file: IO[bytes] = path.open("r+b")  # NFS locks only files that are open for writing
    except PermissionError:
        file = path.open("rb")
    with file:
        deadline = time.monotonic() + _LOCK_WAIT_S
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise OSError(
                        errno.ETXTBSY, "another process is replacing it and does not go on"
                    ) from None
                time.sleep(_LOCK_POLL_S)
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise
                break
            else:
                break
        yield file
