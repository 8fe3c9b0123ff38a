"""What workers are doing that are not ready yet."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from cluster.session.resources import free_and_total, free_and_total_memory
from cluster.session.watch import started_here
from fusion_core.wording import bytes_of, count_of

_SILENT_S = 4.0
"""Seconds after which the resources of the cluster are named."""
_RESOURCES_EVERY_S = 5.0


@dataclass(frozen=True, slots=True)
class Starting:
    """A worker that is not ready yet."""

    since: float
    """Time at which it was requested."""
    activity: str
    """What it is doing by its own account; empty until its process answers."""


class ActivityReport:
    """Describes what workers are doing that are not ready yet.

    Args:
        use_gpu: Whether each worker requires a GPU.
    """

    def __init__(self, *, use_gpu: bool) -> None:
        self.memory = 0
        """Memory in bytes that a worker requests."""
        self._use_gpu = use_gpu
        self._asked_at = -_RESOURCES_EVERY_S
        self._resources = ""

    def describe(self, workers: Sequence[Starting]) -> str:
        """Return a description, or an empty string if all workers are ready."""
        if not workers:
            return ""
        activities = Counter(worker.activity for worker in workers if worker.activity)
        if activities:
            activity, count = activities.most_common(1)[0]
            return f"{activity} on {count_of(count, 'worker')}"
        now = time.monotonic()
        if now - min(worker.since for worker in workers) < _SILENT_S:
            return f"Starting {count_of(len(workers), 'worker')}"
        if now - self._asked_at >= _RESOURCES_EVERY_S:
            self._asked_at, self._resources = now, self._find_resources()
        return self._resources or f"Starting {count_of(len(workers), 'worker')}"

    def _find_resources(self) -> str:
        """Return what the workers may be waiting for, or an empty string."""
        kind = "GPU" if self._use_gpu else "CPU"
        free, total = free_and_total("GPU" if self._use_gpu else "CPU")
        if not total:
            return f"Waiting for a {kind} (the cluster has none)"
        if not free and started_here():
            return ""  # nobody else uses this Ray, so the workers themselves have them
        if not free:
            return f"Starting workers ({free} of {total} {kind}s are free)"
        if not self.memory:
            return ""
        free, total = free_and_total_memory()
        if free >= self.memory:
            return ""
        return (
            f"Waiting for {bytes_of(self.memory)} of memory ({bytes_of(free)} of "
            f"{bytes_of(total)} are not taken)"
        )
