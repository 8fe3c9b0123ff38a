"""`python -m support.guard OWNER_PID COMMAND...`: run COMMAND no longer than the owner lives.

A server must not outlive its test session, even one that was killed and could not clean up.
"""

import signal
import subprocess
import sys
from contextlib import suppress

import psutil
from support.processes import end, is_alive


def find_guard(pid: int) -> list[psutil.Process]:
    """Return the guard with this id, or nothing when it is gone and its id perhaps reused."""
    try:
        process = psutil.Process(pid)
        return [process] if "support.guard" in process.cmdline() else []
    except psutil.NoSuchProcess:
        return []


def main(owner_pid: int, command: list[str]) -> int:
    """Run the command until it ends, the owner is gone or this process is asked to end."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    owner = psutil.Process(owner_pid)
    child = subprocess.Popen(command)
    server = psutil.Process(child.pid)
    try:
        while child.poll() is None and is_alive(owner):
            with suppress(subprocess.TimeoutExpired):
                child.wait(timeout=0.3)
        return child.returncode or 0
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        end([server])


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
