"""Those who watch a run: what the driver tells them, and the pace that it measures."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cluster.runs.deaths import Death
    from cluster.runs.messages import ShardReport
    from cluster.runs.pool import PoolWorker
    from cluster.runs.snapshot import Snapshot

_RECENT_S = 300.0


class RunObserver:
    """Is told what happens in a run; does nothing with it unless a derived class does."""

    def worker_ready(self, worker: PoolWorker) -> None:
        """Note that a worker has loaded the run."""

    def worker_died(self, worker: PoolWorker, death: Death, shards: list[int]) -> None:
        """Note the death of a worker that was computing these shards."""

    def committed(self, worker: PoolWorker, report: ShardReport) -> None:
        """Note that a worker has committed a shard."""

    def progressed(self, snapshot: Snapshot) -> None:
        """Note the latest counts, a few times per second."""


class Pace:
    """Measures pairs per second over the last five minutes, by a clock that is never set."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def note(self, rows: int) -> None:
        """Note how many pairs are computed, which may be fewer after the death of a worker."""
        now = time.monotonic()
        self._seen.append((now, rows))
        while len(self._seen) > 1 and self._seen[1][0] <= now - _RECENT_S:
            self._seen.popleft()

    @property
    def rate(self) -> float:
        """Pairs per second; 0 before the first pair."""
        if not self._seen:
            return 0.0
        (since, first), (until, last) = self._seen[0], self._seen[-1]
        return max(0, last - first) / (until - since) if until > since else 0.0
