"""Waiting for processes and ending them, always by process id."""

import random
import socket
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TypeVar

import psutil

T = TypeVar("T")


def wait_until(
    condition: Callable[[], T | None], *, timeout: float, what: str, interval: float = 0.05
) -> T:
    """Poll until `condition` returns something true and return that.

    Raises:
        TimeoutError: `timeout` seconds passed first.
    """
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"Expected {what} within {timeout} s")
        time.sleep(interval)
    return value


def is_alive(process: psutil.Process) -> bool:
    """Tell whether this very process still runs; neither a zombie nor a reused id counts."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def family(process: psutil.Process) -> list[psutil.Process]:
    """Return the process and all its descendants."""
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return [process]


def end(processes: Iterable[psutil.Process], *, patience: float = 10.0) -> None:
    """Ask the processes to end, then kill what is left of them and their descendants."""
    roots = list(processes)
    members = {member for root in roots for member in family(root)}
    for root in roots:
        with suppress(psutil.NoSuchProcess):
            root.terminate()
    _, alive = psutil.wait_procs(members, timeout=patience)
    for member in alive:
        with suppress(psutil.NoSuchProcess):
            member.kill()
    psutil.wait_procs(alive, timeout=5)


def free_ports(count: int) -> list[int]:
    """Return ports nobody listens on, below the range used for outgoing connections."""
    ports: list[int] = []
    while len(ports) < count:
        port = random.randint(15_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            ports += [port] if port not in ports else []
    return ports
