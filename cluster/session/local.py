"""The environment of a Ray that irfuse starts on this machine, for itself alone.

Its processes listen on the loopback address, require a token that only this process and its
children know, and keep their files in a folder that other users cannot enter and that is removed
afterwards. Nothing is written to the user's home.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from cluster.session.ray_internals import loopback_only, reread_authentication
from fusion_core.errors import RunFailedError

_PREFIX = "irfuse_ray_"
_LOCK = "in-use"
_FILES = "r"
"""The folder for Ray inside of ours, because Ray opens it to all users."""
_LONGEST_PARENT = 20
"""Characters. With the names of the folders below it, paths of sockets may have 107."""
_REMOVAL_S = 5.0


@contextmanager
def local_environment() -> Iterator[Path]:
    """Prepare the environment for a Ray of this process, and restore it afterwards.

    Yields the folder for Ray's files, which is removed at the end.

    Raises:
        RunFailedError: No folder can be created.
    """
    with ExitStack() as stack:
        folder = stack.enter_context(_session_folder())
        stack.enter_context(loopback_only())
        stack.enter_context(_own_token())
        yield folder


@contextmanager
def _own_token() -> Iterator[None]:
    """Require a token of this session's own, instead of the one that Ray keeps in the home."""
    # Ray requires a token by default if the mode is not set; it does not notice if it is set late.
    with _variables({"RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_AUTH_MODE": None}):
        reread_authentication()
        yield
    reread_authentication()


@contextmanager
def _variables(values: Mapping[str, str | None]) -> Iterator[None]:
    """Set environment variables, or delete those that are None, and restore them afterwards."""
    before = {name: os.environ.get(name) for name in values}
    _set(values)
    try:
        yield
    finally:
        _set(before)


def _set(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value


@contextmanager
def _session_folder() -> Iterator[Path]:
    """Create a folder that only this user can enter, and remove it afterwards.

    The folder is locked while it is in use. Folders that are not belong to processes that were
    killed, and are removed, too.
    """
    parent = _parent()
    try:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
    except OSError as error:
        raise RunFailedError(
            f"Ray needs a folder for its files, and none can be created in {parent}: "
            f"{error.strerror}; set RAY_TMPDIR to a folder with a short path that can be written"
        ) from None
    with (folder / f"{_LOCK}.new").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Under the name that others look for, a file without a lock would count as abandoned.
        os.rename(lock.name, folder / _LOCK)
        try:
            _remove_abandoned(parent)
            yield folder / _FILES
        finally:
            _remove(folder)


def _parent() -> Path:
    """Return the folder for temporary files, or /tmp if its path is too long for Ray's sockets.

    Raises:
        RunFailedError: The user has set a folder whose path is too long.
    """
    given = os.environ.get("RAY_TMPDIR")
    parent = given or tempfile.gettempdir()
    if len(parent) <= _LONGEST_PARENT:
        return Path(parent)
    if given:
        raise RunFailedError(
            f"RAY_TMPDIR is {given}, which is too long for the paths of Ray's sockets; expected at "
            f"most {_LONGEST_PARENT} characters"
        )
    return Path("/tmp")


def _remove_abandoned(parent: Path) -> None:
    for folder in parent.glob(f"{_PREFIX}*"):
        try:
            with (folder / _LOCK).open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue  # in use, of another user, not of this module, or gone


def _remove(folder: Path) -> None:
    """Remove a folder, in which processes that are ending may still create files."""
    deadline = time.monotonic() + _REMOVAL_S
    while folder.exists():
        shutil.rmtree(folder, ignore_errors=True)
        if time.monotonic() > deadline:
            return
        time.sleep(0.05)
