"""The environment of a Ray that irfuse starts on this machine, for itself alone.

Its processes listen on the loopback address, require a token that only this process and its
children know, and keep their files in a folder that other users cannot enter and that is removed
afterwards. Nothing is written to the user's home.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from cluster.session.ray_internals import (
    LOOPBACK_ONLY,
    loopback_only,
    reread_authentication,
)
from fusion_core.errors import RunFailedError

LOOPBACK = "127.0.0.1"

_SETTINGS = {
    "node_ip_address": LOOPBACK,
    "include_dashboard": False,
    "no_monitor": True,
    "include_log_monitor": False,
    "_system_config": {"enable_metrics_collection": False},
}
"""Arguments of `RayParams`: the autoscaler and what forwards the output of workers are not needed,
and take a second of the start and another one of the end. Nothing reads metrics of this Ray."""
_PREFIX = "irfuse_ray_"
_LOCK = "in-use"
_FILES = "r"
"""The folder for Ray inside of ours, because Ray opens it to all users."""
_LONGEST_PARENT = 20
"""Characters. With the names of the folders below it, paths of sockets may have 107."""
_REMOVAL_S = 5.0
_LONGEST_END_S = 30.0


class LocalRay:
    """A Ray of this process, which starts at once and in processes of its own.

    Args:
        settings: Arguments of `RayParams`.
        variables: Environment variables of Ray's processes.

    Raises:
        RunFailedError: No folder for its files can be created.
    """

    def __init__(self, settings: Mapping[str, Any], variables: Mapping[str, str]) -> None:
        self._token, self._has_answered = secrets.token_hex(32), False
        with ExitStack() as stack:
            folder = str(stack.enter_context(_session_folder()))
            settings = {**_SETTINGS, **settings, "temp_dir": folder}
            own = {LOOPBACK_ONLY: "0", **_authentication(self._token)}
            environment = {**os.environ, **variables, **own}
            script = str(Path(__file__).with_name("head.py"))
            self._process = subprocess.Popen(
                [sys.executable, "-P", script, json.dumps(settings)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
                process_group=0,  # Ctrl-C is for this process, which then stops Ray
            )
            self._folder = stack.pop_all()

    def address(self) -> str:
        """Wait until Ray has started, and return its address.

        Raises:
            RunFailedError: Ray cannot be started.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        self._has_answered = True
        answer = json.loads(line) if line.strip() else {"error": "its process has ended"}
        if "error" in answer:
            raise RunFailedError(f"Ray cannot be started on this machine: {answer['error']}")
        return str(answer["address"])

    @contextmanager
    def environment(self) -> Iterator[None]:
        """Let this process connect to this Ray, and to no other, in the block."""
        with ExitStack() as stack:
            stack.enter_context(loopback_only())
            stack.enter_context(_own_token(self._token))
            yield

    def release(self) -> None:
        """Let Ray stop, without waiting for it; what has not started yet does not."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        if not self._has_answered:
            self._kill()

    def end(self) -> None:
        """Wait until Ray has stopped, and remove its files."""
        try:
            self._process.wait(_LONGEST_END_S)
        except subprocess.TimeoutExpired:
            self._kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._folder.close()

    def _kill(self) -> None:
        """Kill the process and those of Ray, which are in its group."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)


def _authentication(token: str) -> Mapping[str, str]:
    """Return the variables with which Ray requires and presents a token."""
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}


@contextmanager
def _own_token(token: str) -> Iterator[None]:
    """Require a token of this session's own, instead of the one that Ray keeps in the home."""
    with _variables(_authentication(token)):
        reread_authentication()
        yield
    reread_authentication()


@contextmanager
def _variables(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables, and restore them afterwards."""
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
