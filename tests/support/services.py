"""Servers of a test session, started by the first pytest-xdist worker that needs them."""

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock

from support.environment import child_environment
from support.guard import find_guard
from support.processes import end_session, wait_until

START_DEADLINE_S = 120.0
LOG_TAIL_CHARACTERS = 4000

Connection = dict[str, Any]


class ServiceError(Exception):
    """A server of the test session did not start."""


@dataclass(frozen=True)
class Launch:
    """A command, and a function that returns the connection once its server responds."""

    command: list[str]
    connection: Callable[[], Connection | None]


@dataclass(frozen=True)
class Services:
    """The servers of one pytest session: files below `root`, processes owned by `owner_pid`."""

    root: Path
    owner_pid: int

    def get(self, name: str, prepare: Callable[[Path], Launch]) -> Connection:
        """Return the connection of the session's server `name`, and start it if necessary.

        Raises:
            ServiceError: The server ended or did not respond; the message contains its log.
        """
        state = self.root / f"{name}.service.json"
        with FileLock(self.root / f"{name}.lock"):
            if state.exists():
                known = json.loads(state.read_text())
                if find_guard(known["pid"]):
                    return known["connection"]
            folder = self.root / name
            folder.mkdir(exist_ok=True)
            pid, connection = self._start(name, prepare(folder))
            state.write_text(json.dumps({"pid": pid, "connection": connection}))
            return connection

    def end(self) -> None:
        """End every server of the session, and wait until they have ended."""
        pids = [json.loads(path.read_text())["pid"] for path in self.root.glob("*.service.json")]
        guards = [guard for pid in pids if (guard := find_guard(pid))]
        for guard in guards:
            with suppress(psutil.NoSuchProcess):
                guard.terminate()
        for guard in guards:
            end_session(guard.pid, patience=30)

    def _start(self, name: str, launch: Launch) -> tuple[int, Connection]:
        log = self.root / f"{name}.log"
        with log.open("wb") as output:
            guard = subprocess.Popen(
                [sys.executable, "-m", "support.guard", str(self.owner_pid), *launch.command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.root / name,
                env=child_environment(),
                start_new_session=True,
            )

        def answer() -> Connection | None:
            if guard.poll() is not None:
                raise ChildProcessError(f"it ended with code {guard.returncode}")
            return launch.connection()

        connection = None
        try:
            connection = wait_until(answer, timeout=START_DEADLINE_S, what="an answer")
        except (ChildProcessError, TimeoutError) as error:
            tail = log.read_text(errors="replace")[-LOG_TAIL_CHARACTERS:]
            raise ServiceError(f"The {name} server did not start: {error}. Log:\n{tail}") from error
        finally:
            if connection is None:
                end_session(guard.pid, patience=30)
        return guard.pid, connection
