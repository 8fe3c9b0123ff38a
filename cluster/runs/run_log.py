"""The log of a run: what happens in it, as events."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from cluster.runs.events import Event
from cluster.runs.observing import RunObserver
from cluster.storage import Retry

if TYPE_CHECKING:
    from cluster.runs.deaths import Death
    from cluster.runs.messages import ShardReport
    from cluster.runs.pool import PoolWorker


class RunLog(RunObserver):
    """Writes what happens in a run to the log.

    Args:
        run: Value of the label `run` of the metrics.
        number: The run among those that are computed together, as in `ShardReport.run`.
    """

    def __init__(self, run: str, number: int = 0) -> None:
        self._run, self._number = run, number
        self._kinds: set[tuple[str, str]] = set()

    def worker_ready(self, worker: PoolWorker) -> None:
        """Log a worker that is ready."""
        if self._number == 0:
            Event("worker.ready", self._run, node=worker.node).emit()

    def worker_died(self, worker: PoolWorker, death: Death, shards: list[int]) -> None:
        """Log the death of a worker, once for each shard that it was computing."""
        if self._number == 0:
            for shard in shards or (None,):
                Event(
                    "worker.dead",
                    self._run,
                    shard=shard,
                    error_type=death.kind,
                    error=death.reason,
                    node=worker.node,
                ).emit(logging.WARNING)

    def committed(self, worker: PoolWorker, report: ShardReport) -> None:
        """Log the commit of a shard, its failed pairs, and requests that were repeated."""
        if report.run != self._number:
            return
        work, node = report.work, worker.node
        tracebacks = {f.pair_id: f.traceback for f in work.first_failures}
        for failed in work.failures:
            kind = failed.stage, failed.type
            known = kind in self._kinds
            traceback = None if known else tracebacks.get(failed.pair_id)
            if traceback:
                self._kinds.add(kind)
            Event(
                "pair.failed",
                self._run,
                report.shard,
                failed.pair_id,
                failed.stage,
                failed.type,
                failed.message,
                node,
                failed.attempt,
                traceback=traceback,
            ).emit(logging.WARNING)
        for name, count in work.usage.retries.items():
            operation, _, code = name.partition(" ")
            log_retries(self._run, Retry(operation, code), count, node)
        Event(
            "shard.committed",
            self._run,
            report.shard,
            node=node,
            rows=report.computed,
            seconds=round(work.seconds, 3),
        ).emit()


def log_retries(run: str, retry: Retry, count: int = 1, node: str | None = None) -> None:
    """Log requests to the storage that were repeated."""
    Event(
        "storage.retry",
        run,
        stage=retry.operation,
        error_type=retry.code,
        error=f"repeated {count} times" if count > 1 else "repeated",
        node=node,
    ).emit(logging.WARNING)
