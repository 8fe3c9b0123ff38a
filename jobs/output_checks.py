"""Checks of an output location before anything is written to it."""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path

from cluster.storage import Store
from fusion_core.errors import StorageError
from fusion_core.wording import bytes_of


def check_writable(out: Store, *, probe: bool) -> bool | None:
    """Find out whether an output location can be written.

    Args:
        out: The location.
        probe: Whether to create an empty object and to delete it, without which nothing is known
            of object stores.

    Returns:
        True, or None if that was not found out.

    Raises:
        StorageError: It cannot be written.
    """
    if probe:
        place = Store(str(_nearest_folder(out))) if out.is_local else out
        key = f".irfuse-probe-{secrets.token_hex(4)}"
        place.write(key, b"")
        place.delete(key)
        return True
    if not out.is_local:
        return None
    folder = _nearest_folder(out)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise StorageError(
            f"{out.url} cannot be written: permission denied in {folder}; choose another output "
            "location, or ask for the right to write there"
        )
    return True


def check_space(out: Store, size: int) -> None:
    """Check that the disk of a local output location has enough space.

    Args:
        out: The location.
        size: Number of bytes that will be written.

    Raises:
        StorageError: There is less space.
    """
    if not out.is_local:
        return
    free = shutil.disk_usage(_nearest_folder(out)).free
    if size > free:
        raise StorageError(
            f"{out.url} has {bytes_of(free)} left on its disk, and about {bytes_of(size)} would be "
            "written; choose another output location"
        )


def _nearest_folder(out: Store) -> Path:
    """Return the folder of a local output location, or the nearest one above it that exists."""
    folder = Path(out.url)
    while not folder.exists():
        folder = folder.parent
    return folder
