"""The `irfuse` command as a process of its own, which a test may signal or kill."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import psutil
from support.environment import child_environment
from support.processes import end


@dataclass(frozen=True)
class CommandResult:
    """What a finished command left behind."""

    returncode: int
    stdout: str
    stderr: str


class RunningCommand:
    """A command in a process group of its own; leaving the context ends it and its children.

    Output goes to files: a pipe would stay open while children of a killed driver live on.
    """

    def __init__(self, command: Sequence[str], *, env: Mapping[str, str] | None = None) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="irfuse-command-")
        self._stdout = Path(self._folder.name, "stdout")
        self._stderr = Path(self._folder.name, "stderr")
        with self._stdout.open("wb") as stdout, self._stderr.open("wb") as stderr:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                env=child_environment(**env or {}),
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Process id of the command itself, which is also its session and group id."""
        return self._process.pid

    ...
