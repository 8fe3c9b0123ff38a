"""`python -m support.guard OWNER_PID COMMAND...`: run COMMAND no longer than the owner lives.

A server must not outlive its test session, even one that was killed and could not clean up.
"""

import signal
import subprocess
import sys
from contextlib import suppress

import psutil

from support.processes import end_session, is_alive


def find_guard(pid: int) -> psutil.Process | None:
    """Return the living guard with this id; None if it is gone and its id perhaps reused."""
    try:
        process = psutil.Process(pid)
        return process if "support.guard" in process.cmdline() else None
    except psutil.NoSuchProcess:
        return None


def main(owner_pid: int, command: list[str]) -> int:
    """Run the command until it ends, the owner is gone or this process is asked to end."""
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
