"""Small file systems that fill up or become read-only."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

Remount = Callable[[str], bool]


@contextmanager
def small_disk(folder: Path) -> Iterator[Remount]:
    """Mount a file system of its own at a folder; yield what changes its size or rights."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, check=False).returncode:
        pytest.skip("mounting a file system takes rights that this user does not have")

    def remount(options: str) -> bool:
        again = ["mount", "-o", f"remount,{options}", str(folder)]
        return subprocess.run(again, check=False).returncode == 0

    try:
        yield remount
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
