"""The `irfuse` command, in this process or in a separate process that a test may signal or kill."""

import io
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import irfuse
from support.environment import child_environment
from support.processes import end_session


@dataclass(frozen=True)
class CommandResult:
    """Exit code and output of a finished command."""

    returncode: int
    stdout: str
    stderr: str


def _heed_interrupts() -> None:
    """Handle SIGINT, which background jobs of a shell ignore."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class RunningCommand:
    """A command in its own session, all of whose processes are ended with the context.

    Output goes to files, because a pipe would stay open until the children of a killed driver end.
    """

    def __init__(self, command: Sequence[str], *, env: dict[str, str] | None = None) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="irfuse-command-")
        self._outputs = [Path(self._folder.name, name) for name in ("stdout", "stderr")]
        with self._outputs[0].open("wb") as stdout, self._outputs[1].open("wb") as stderr:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                env=child_environment(env),
                start_new_session=True,
                preexec_fn=_heed_interrupts,
            )

    def __enter__(self) -> "RunningCommand":
        return self

    def __exit__(self, *_: object) -> None:
        end_session(self.pid)
        self._folder.cleanup()

    @property
    def pid(self) -> int:
        """The driver's process id, which is also the id of its session."""
        return self._process.pid

    @property
    def stdout(self) -> str:
        """Standard output so far."""
        return self._outputs[0].read_text(errors="replace")

    @property
    def stderr(self) -> str:
        """Standard error so far."""
        return self._outputs[1].read_text(errors="replace")

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the driver alone, not to its children."""
        os.kill(self.pid, number)

    def poll(self) -> int | None:
        """Return the driver's exit code, or None while it runs."""
        return self._process.poll()

    def wait(self, *, timeout: float) -> CommandResult:
        """Wait for the driver alone and return its result.

        Raises:
            TimeoutError: The driver is still running; the message contains its output.
        """
        try:
            code = self._process.wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError(
                f"Expected {self._process.args!r} to end within {timeout:g} s, but it still runs\n"
                f"stdout:\n{self.stdout}\nstderr:\n{self.stderr}"
            ) from error
        return CommandResult(code, self.stdout, self.stderr)


def start_cli(*args: str | Path, env: dict[str, str] | None = None) -> RunningCommand:
    """Start `irfuse ARGS`; use the result as a context manager."""
    return RunningCommand([sys.executable, "-m", "irfuse", *map(str, args)], env=env)


def run_cli(
    *args: str | Path, env: dict[str, str] | None = None, timeout: float = 120.0
) -> CommandResult:
    """Run `irfuse ARGS` to its end and return exit code and output."""
    with start_cli(*args, env=env) as command:
        return command.wait(timeout=timeout)


def run_module(name: str, *args: str, timeout: float) -> CommandResult:
    """Run `python -m NAME ARGS` to its end and return exit code and output."""
    with RunningCommand([sys.executable, "-m", name, *args]) as command:
        return command.wait(timeout=timeout)


def call_cli(*args: object, env: dict[str, str] | None = None) -> CommandResult:
    """Call `irfuse ARGS` in this process, which saves seconds of imports."""
    stdout, stderr = io.StringIO(), io.StringIO()
    code: object = 0
    try:
        with (
            patch.object(sys, "argv", ["irfuse", *map(str, args)]),
            patch.dict(os.environ, env or {}),
            redirect_stdout(stdout),
            redirect_stderr(stderr),
        ):
            irfuse.main()
    except SystemExit as ended:
        code = ended.code
    return CommandResult(
        code if isinstance(code, int) else int(code is not None),
        stdout.getvalue(),
        stderr.getvalue(),
    )
