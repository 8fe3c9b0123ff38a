"""The estimate that a run makes of its own time, from its first pairs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from cluster.runs.events import Event
from cluster.runs.observing import RunObserver

if TYPE_CHECKING:
    from cluster.runs.messages import ShardReport
    from cluster.runs.pool import PoolWorker
    from cluster.runs.snapshot import Snapshot

_LEAST_S, _LEAST_PAIRS = 20.0, 8
"""Time and pairs from which the speed is measured."""


class EndEstimate(RunObserver):
    """Estimates once how long a run takes until its last shard is committed, and logs that.

    The remaining pairs are expected to be computed as fast as those of the first 20 s, and at least
    8 of them, in which the number of workers was the same. A run that ends before has no estimate.

    Args:
        run: Value of the label `run` of the metrics.
        todo: Number of rows that remain to be computed.
        number: The run among those that are computed together, as in `ShardReport.run`.
    """

    def __init__(self, run: str, todo: int, number: int = 0) -> None:
        self._run, self._todo, self._number = run, todo, number
        self._total_todo = todo
        self._began = time.monotonic()
        self._committed = self._rows = 0
        self._workers = 0
        self._since: tuple[float, int] | None = None
        self.seconds = 0.0
        """Time until the latest commit of a shard."""
        self.estimated_seconds: float | None = None
        """Estimated time until the last one; None until it is known."""

    def begin(self, total_todo: int) -> None:
        """Note the number of rows that remain of all runs that are computed together."""
        self._total_todo = total_todo
        self._rows, self._since = 0, None

    def committed(self, worker: PoolWorker, report: ShardReport) -> None:
        """Note the time of the commit."""
        self._committed += report.computed
        if report.run == self._number:
            self.seconds = time.monotonic() - self._began

    def progressed(self, snapshot: Snapshot) -> None:
        """Measure the speed between two moments at which pairs were finished, until it is known."""
        if self.estimated_seconds is not None or self._committed >= self._total_todo:
            return
        finished = snapshot.rows - self._rows
        self._rows = snapshot.rows
        if snapshot.workers != self._workers or finished < 0:  # a worker came, or has died
            self._workers, self._since = snapshot.workers, None
        elif finished:
            self._measure(time.monotonic())

    def _measure(self, now: float) -> None:
        if self._since is None:
            self._since = now, self._rows
            return
        since, before = self._since
        pairs = self._rows - before
        if now - since >= _LEAST_S and pairs >= _LEAST_PAIRS:
            left = (self._total_todo - self._rows) * (now - since) / pairs
            self.estimated_seconds = now - self._began + left
            Event(
                "run.estimate",
                self._run,
                rows=self._todo,
                seconds=round(self.estimated_seconds, 3),
            ).emit()
