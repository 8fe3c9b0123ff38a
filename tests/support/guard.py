"""Run a command until its owner ends: `python -m support.guard OWNER_PID COMMAND...`.

A server must not outlive its test session, even if the session is killed.
"""

import signal
import subprocess
import sys
from contextlib import suppress

import psutil

from support.processes import end_session, is_alive


def find_guard(pid: int) -> psutil.Process | None:
    """Return the running guard with this id, or None if it has ended, even if the id is reused."""
    try:
        process = psutil.Process(pid)
        return process if "support.guard" in process.cmdline() else None
    except psutil.NoSuchProcess:
        return None


def main(owner_pid: int, command: list[str]) -> int:
    """Run the command until it ends, its owner ends, or this process receives a signal."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    owner = psutil.Process(owner_pid)
    server = subprocess.Popen(command, start_new_session=True)
    try:
        while server.poll() is None and is_alive(owner):
            with suppress(subprocess.TimeoutExpired):
                server.wait(timeout=0.3)
        return server.returncode or 0
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        end_session(server.pid)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
