"""Waiting for processes and ending them, always by process id."""

import os
import random
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import psutil

T = TypeVar("T")


def wait_until(
    condition: Callable[[], T | None], *, timeout: float, what: str, interval: float = 0.05
) -> T:
    """Poll until `condition` returns a true value, and return it.

    Raises:
        TimeoutError: The condition was not met within `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"Expected {what} within {timeout:g} s")
        time.sleep(interval)
    return value


def is_alive(process: psutil.Process) -> bool:
    """Whether the process is still running; a zombie or a reused id does not count."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def session_members(leader_pid: int) -> list[psutil.Process]:
    """Return the running processes of a session, including orphans of its leader.

    Ray creates process groups for its workers, but they stay in the session.
    """
    return [
        process
        for process in psutil.process_iter()
        if _session(process.pid) == leader_pid and is_alive(process)
    ]


def end_session(leader_pid: int, *, patience: float = 15.0) -> None:
    """Terminate the leader of a session, then kill the remaining processes of the session."""
    with suppress(psutil.NoSuchProcess, psutil.TimeoutExpired):
        leader = psutil.Process(leader_pid)
        leader.terminate()
        leader.wait(patience)
    wait_until(lambda: not _kill_members(leader_pid), timeout=10, what="killed processes to end")


def free_ports(count: int) -> list[int]:
    """Return unused ports below the range of outgoing connections."""
    ports: set[int] = set()
    while len(ports) < count:
        port = random.randint(15_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            ports.add(port)
    return list(ports)


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:
        return None


def _kill_members(leader_pid: int) -> list[psutil.Process]:
    members = session_members(leader_pid)
    for member in members:
        with suppress(psutil.NoSuchProcess):
            member.kill()
    return members
