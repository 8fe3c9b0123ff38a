"""The metrics of a run that the driver sets: rows, workers, deaths, and the time that is left."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cluster.runs.config import RunTarget
from cluster.runs.observing import Pace, RunObserver
from cluster.runs.telemetry import Telemetry, run_info, run_label
from cluster.storage import Retry, watched_retries

if TYPE_CHECKING:
    from cluster.runs.deaths import Death
    from cluster.runs.messages import ShardReport
    from cluster.runs.pool import PoolWorker
    from cluster.runs.snapshot import Snapshot

_SET_EVERY_S = 2.0


class RunGauges(RunObserver):
    """Sets the metrics of one run.

    Args:
        target: The run.
        todo: Number of rows that remain to be computed.
        telemetry: Where the values of metrics go.
        number: The run among those that are computed together, as in `ShardReport.run`.
        total_todo: Number of rows that remain of all runs that are computed together.
    """

    def __init__(
        self,
        target: RunTarget,
        todo: int,
        telemetry: Telemetry,
        *,
        number: int = 0,
        total_todo: int | None = None,
    ) -> None:
        self._target, self._telemetry = target, telemetry
        self._run, self._number = run_label(target.record, target.out), number
        self._total_todo = todo if total_todo is None else total_todo
        self._done, self._failed = target.record.rows - todo, 0
        self._started, self._last_commit = time.time(), 0.0
        self._info: dict[str, str] = {}
        self._pace = Pace()
        self._set_at = -_SET_EVERY_S

    @contextmanager
    def shown(self, device: str) -> Iterator[None]:
        """Set the metrics while the block runs, and in the end those of a run without workers."""
        self._info = run_info(self._target.record, device)
        self._set()
        with watched_retries(self._retried):
            yield
        self._set()
        self._send("irfuse_eta_seconds", 0)
        for state in ("ready", "starting"):
            self._send("irfuse_workers", 0, state=state)

    def worker_died(self, worker: PoolWorker, death: Death, shards: list[int]) -> None:
        """Count the death."""
        self._send("irfuse_worker_deaths_total", 1, reason=death.kind)

    def committed(self, worker: PoolWorker, report: ShardReport) -> None:
        """Count the rows of a shard."""
        if report.run != self._number:
            return
        self._done += report.computed
        self._failed += sum(report.failed.values())
        self._last_commit = time.time()

    def progressed(self, snapshot: Snapshot) -> None:
        """Set the gauges, every other second."""
        now = time.monotonic()
        if now - self._set_at < _SET_EVERY_S:
            return
        self._set_at = now
        self._pace.note(snapshot.rows)
        self._set()
        self._send("irfuse_workers", snapshot.workers, state="ready")
        self._send("irfuse_workers", snapshot.waiting, state="starting")
        if rate := self._pace.rate:
            self._send("irfuse_eta_seconds", max(0, self._total_todo - snapshot.rows) / rate)

    def _set(self) -> None:
        """Set the gauges that stay or grow; Ray forgets those that are not set for 20 s."""
        self._send("irfuse_run_info", 1, **self._info)
        self._send("irfuse_started_timestamp_seconds", self._started)
        if self._last_commit:
            self._send("irfuse_last_commit_timestamp_seconds", self._last_commit)
        total = self._target.record.rows
        counts = {"total": total, "done": self._done, "failed": self._failed}
        for state, count in {**counts, "left": total - self._done}.items():
            self._send("irfuse_rows", count, state=state)

    def _retried(self, retry: Retry) -> None:
        self._send("irfuse_storage_retries_total", 1, operation=retry.operation, code=retry.code)

    def _send(self, name: str, value: float, **labels: str) -> None:
        self._telemetry.record(name, value, run=self._run, **labels)
