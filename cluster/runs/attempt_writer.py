"""Writing of the record of an attempt while a run is computed."""

from __future__ import annotations

import os
import socket
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from cluster.runs.attempts import (
    WRITE_EVERY_S,
    Attempt,
    ClusterResources,
    DeathRecord,
    FirstFailure,
    NodeSoftware,
    WorkerCount,
    new_attempt_id,
)
from cluster.runs.config import RunTarget
from cluster.runs.metering import Usage
from cluster.runs.observing import RunObserver
from cluster.storage import redact_text
from fusion_core.errors import IrfuseError
from fusion_core.wording import encodable

if TYPE_CHECKING:
    from cluster.runs.deaths import Death
    from cluster.runs.messages import ShardReport
    from cluster.runs.pool import PoolWorker
    from cluster.runs.snapshot import Snapshot

_SOON_S = 15.0
"""Seconds after which a worker that is ready, or has died, is in the record."""
_MOST_DEATHS = 100
_MOST_COUNTS = 1000
_MOST_FAILURES = 50


class AttemptWriter(RunObserver):
    """Keeps the record of an attempt, and writes it.

    That is at the start and at the end, every five minutes, and soon after workers became ready or
    died. A record that cannot be written is said once, and does not fail the run.

    Args:
        target: The run.
        planned: Number of rows that remain to be computed.
        argv: The command, without secrets.
        warn: Called with the problem if the record cannot be written.
        number: The run among those that are computed together, as in `ShardReport.run`.
    """

    def __init__(
        self,
        target: RunTarget,
        planned: int,
        argv: Sequence[str],
        warn: Callable[[str], None],
        number: int = 0,
    ) -> None:
        now = datetime.now(UTC)
        self._out, self._number, self._warn = target.out, number, warn
        self._began = self._written = time.monotonic()
        self._soon: float | None = None
        self._usage = Usage()
        self._failures: dict[tuple[str, str], FirstFailure] = {}
        self._writing: Future[None] | None = None
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="irfuse-attempt")
        self.record = Attempt(
            id=new_attempt_id(now),
            run=target.record.fingerprint,
            argv=list(map(encodable, argv)),
            host=socket.gethostname(),
            pid=os.getpid(),
            irfuse=target.record.irfuse_version,
            started=now,
            updated=now,
            planned=planned,
        )

    def connected(self, cluster: ClusterResources, device: Literal["cpu", "cuda"]) -> None:
        """Note the cluster, and write the record for the first time."""
        self._change(cluster=cluster, device=device)
        self._write_aside()

    def worker_ready(self, worker: PoolWorker) -> None:
        """Note the software of a node."""
        if worker.info is not None:
            software = worker.info.software
            known = NodeSoftware(
                irfuse=software.irfuse,
                torch=software.torch,
                ray=software.ray,
                python=software.python,
            )
            self._change(nodes={**self.record.nodes, worker.info.node: known})
            self._write_soon()

    def worker_died(self, worker: PoolWorker, death: Death, shards: list[int]) -> None:
        """Note the death of a worker."""
        found = DeathRecord(
            at=datetime.now(UTC),
            reason=death.kind,
            node=worker.node,
            shards=shards,
            message=redact_text(encodable(death.reason)),
        )
        self._change(
            deaths=dict(Counter(self.record.deaths) + Counter([death.kind])),
            death_records=[*self.record.death_records, found][-_MOST_DEATHS:],
        )
        self._write_soon()

    def committed(self, worker: PoolWorker, report: ShardReport) -> None:
        """Note the rows of a shard, and what computing them has taken."""
        if report.run != self._number:
            return
        self._usage += report.work.usage
        for failure in report.work.first_failures:
            if len(self._failures) < _MOST_FAILURES:
                self._failures.setdefault((failure.stage, failure.type), failure)
        record = self.record
        self._change(
            rows=record.rows + report.computed,
            failed=record.failed + report.work.failed,
            shards=record.shards + 1,
            last_commit=datetime.now(UTC),
        )

    def progressed(self, snapshot: Snapshot) -> None:
        """Note changes of the workers, and write the record every five minutes."""
        counts = self.record.workers
        found = snapshot.workers, snapshot.waiting, dict(snapshot.nodes)
        if not counts or found != (counts[-1].ready, counts[-1].starting, counts[-1].nodes):
            ready, starting, nodes = found
            now = datetime.now(UTC)
            self._count(WorkerCount(at=now, ready=ready, starting=starting, nodes=nodes))
        now_s = time.monotonic()
        if now_s - self._written >= WRITE_EVERY_S or (self._soon and now_s >= self._soon):
            self._write_aside()

    def left(self) -> None:
        """Note that no workers compute any longer."""
        self._count(WorkerCount(at=datetime.now(UTC), ready=0, starting=0))

    def end(self, status: int, error: str | None) -> None:
        """Write the record for the last time."""
        error = None if error is None else redact_text(encodable(error))
        self._change(ended=datetime.now(UTC), exit=status, error=error)
        self._writer.shutdown()
        self._write(self._current())

    def _count(self, count: WorkerCount) -> None:
        """Note the number of workers; of the oldest entries, only their sum is kept."""
        counts, seconds = [*self.record.workers, count], self.record.earlier_worker_seconds
        if len(counts) > _MOST_COUNTS:
            oldest = counts.pop(0)
            seconds += oldest.seconds_until(counts[0].at)
        self._change(workers=counts, earlier_worker_seconds=seconds)

    def _change(self, **values: Any) -> None:  # noqa: ANN401
        self.record = self.record.model_copy(update=values)

    def _current(self) -> Attempt:
        usage = self._usage
        self._change(
            updated=datetime.now(UTC),
            seconds=time.monotonic() - self._began,
            bytes_read=usage.bytes_read,
            bytes_written=usage.bytes_written,
            megapixels=usage.megapixels,
            compute_seconds=usage.compute_seconds,
            storage_retries=dict(usage.retries),
            first_failures=list(self._failures.values()),
        )
        return self.record

    def _write_soon(self) -> None:
        self._soon = self._soon or time.monotonic() + _SOON_S

    def _write_aside(self) -> None:
        """Write the record in a thread, because a store may take minutes to answer."""
        if self._writing is None or self._writing.done():
            self._written, self._soon = time.monotonic(), None
            self._writing = self._writer.submit(self._write, self._current())

    def _write(self, record: Attempt) -> None:
        try:
            self._out.write(record.key, record.model_dump_json(indent=2).encode())
        except IrfuseError as error:
            warn, self._warn = self._warn, lambda text: None
            warn(f"The record of this attempt cannot be written: {error}")
