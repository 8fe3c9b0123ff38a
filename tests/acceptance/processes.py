"""Starting the processes of a run and measuring their use of CPUs and GPUs."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

import psutil

from cluster.runs import FusionWorker

Role = Literal["driver", "workers", "ray"]
ROLES: tuple[Role, ...] = ("driver", "workers", "ray")

IRFUSE = (sys.executable, "-m", "irfuse")
"""Command line of this checkout."""
_EVERY_S = 0.5
_LONGEST_LOOK_S = 5.0


def find_workers(root: int) -> list[psutil.Process]:
    """Return the worker processes below `root`."""
    return [process for process in _below(root) if _is_worker(process)]


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for the processes that are started in the block."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def repeatedly(look: Callable[[], None]) -> Iterator[None]:
    """Call a function twice per second, in a thread, for the duration of the block."""
    done = threading.Event()

    def watch() -> None:
        look()
        while not done.wait(_EVERY_S):
            look()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


class CpuWatch:
    """Measures the CPU time of a driver, of its workers and of all other processes below it."""

    def __init__(self, driver: int) -> None:
        self._driver = driver
        self._spent: dict[tuple[int, float], tuple[Role, float]] = {}
        self._totals: list[tuple[float, dict[Role, float]]] = []

    def look(self) -> None:
        """Record the CPU time of each process so far."""
        for process in _below(self._driver):
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                identity = process.pid, process.create_time()
                self._spent[identity] = self._role(process), times.user + times.system
        totals: dict[Role, float] = dict.fromkeys(ROLES, 0.0)
        for role, spent in self._spent.values():
            totals[role] += spent
        self._totals.append((time.time(), totals))

    def between(self, start: float, stop: float) -> dict[Role, float]:
        """Return user and system time by role between two moments (seconds since the epoch)."""
        before, after = self._at(start), self._at(stop)
        return {role: after[role] - before[role] for role in ROLES}

    def _at(self, moment: float) -> dict[Role, float]:
        seen = [totals for looked_at, totals in self._totals if looked_at <= moment]
        return seen[-1] if seen else dict.fromkeys(ROLES, 0.0)

    def _role(self, process: psutil.Process) -> Role:
        if process.pid == self._driver:
            return "driver"
        return "workers" if _is_worker(process) else "ray"


class GpuWatch:
    """Measures the share of time in which the busiest GPUs compute, as reported by nvidia-smi."""

    def __init__(self, gpus: int = 1) -> None:
        self._gpus = gpus
        self._program = shutil.which("nvidia-smi")
        self._busy: list[tuple[float, float]] = []

    def look(self) -> None:
        """Record the current mean utilisation of the GPUs, if there are any."""
        if self._program is None:
            return
        query = ["--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
        with contextlib.suppress(subprocess.TimeoutExpired):
            result = subprocess.run(
                [self._program, *query], capture_output=True, text=True, timeout=_LONGEST_LOOK_S
            )
            numbers = sorted(float(line) for line in result.stdout.split() if line.isdecimal())
            if numbers:
                busiest = numbers[-self._gpus :]
                self._busy.append((time.time(), sum(busiest) / len(busiest) / 100))

    def between(self, start: float, stop: float) -> float | None:
        """Return the mean share between two moments, or None if there are no samples."""
        seen = [share for moment, share in self._busy if start <= moment <= stop]
        return sum(seen) / len(seen) if seen else None


def _below(root: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(root)
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []


def _is_worker(process: psutil.Process) -> bool:
    try:
        title = process.cmdline()[:1]
    except psutil.Error:
        return False
    return bool(title) and title[0].startswith(f"ray::{FusionWorker.__name__}")
