"""What a worker has done: counts for the metrics, and totals and failures for the driver.

Pairs are counted when their rows are computed, a window of up to 16 pairs at once, so that rates
are smooth whatever the size of a shard. A pair is counted once for each command that computes it:
`--retry-failed` counts the pairs that it computes again and no other row of their shards. If a
worker dies, its shards are computed again, but pairs of them that were counted long enough before,
so that their counts have left the worker, are not counted again.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from cluster.runs.attempts import FirstFailure
from cluster.runs.pair_state import PairState
from cluster.runs.record import RunRecord
from cluster.runs.telemetry import (
    NoTelemetry,
    Telemetry,
    failure_type,
    method_label,
    run_label,
)
from cluster.storage import Retry, Store

_INTERVAL_VARIABLE = "RAY_metrics_report_interval_ms"
REPORT_INTERVAL_S = float(os.environ.get(_INTERVAL_VARIABLE) or 10_000) / 1e3
"""Seconds after which Ray has sent the metrics of a worker to the agent of its node."""
_MOST_FAILURES = 100
"""Failed pairs that a report of a shard names."""
_MOST_KINDS = 50
"""Kinds of failures of which a worker keeps a traceback."""
_COMPUTING = ("fuse", "score")


@dataclass(frozen=True, slots=True)
class Usage:
    """What a worker has done for a run since its last report, committed or not."""

    bytes_read: int = 0
    bytes_written: int = 0
    megapixels: float = 0.0
    compute_seconds: float = 0.0
    retries: Mapping[str, int] = field(default_factory=dict)
    """Number of repeated requests by operation and code, as in `read 503`."""

    def __add__(self, other: Usage) -> Usage:
        retries = dict(self.retries)
        for name, count in other.retries.items():
            retries[name] = retries.get(name, 0) + count
        return Usage(
            self.bytes_read + other.bytes_read,
            self.bytes_written + other.bytes_written,
            self.megapixels + other.megapixels,
            self.compute_seconds + other.compute_seconds,
            retries,
        )


@dataclass(frozen=True, slots=True)
class FailedPair:
    """A failed row, for the log."""

    pair_id: str
    stage: str
    type: str
    message: str
    attempt: int


@dataclass(frozen=True, slots=True)
class WorkDone:
    """What a report of a committed shard tells about the work."""

    usage: Usage = field(default_factory=Usage)
    failed: int = 0
    """Number of failed rows among those that were computed."""
    failures: tuple[FailedPair, ...] = ()
    """The first failed pairs among those that were computed."""
    first_failures: tuple[FirstFailure, ...] = ()
    """Failures of kinds that this worker has not reported yet."""
    seconds: float = 0.0
    """Time from the start of the computation to the commit."""


class RunMeter:
    """Counts what a worker does for one run.

    Args:
        record: Record of the run.
        out: Output location of the run.
        telemetry: Where the values of metrics go; by default nowhere.
    """

    def __init__(self, record: RunRecord, out: Store, telemetry: Telemetry | None = None) -> None:
        self._telemetry = telemetry or NoTelemetry()
        self._run, self._method = run_label(record, out), method_label(record)
        self._node = socket.gethostname()
        self._usage = Usage()
        self._first_failures: list[tuple[int | None, FirstFailure]] = []
        self._kinds: set[tuple[str, str]] = set()
        self._counted: dict[int, deque[tuple[float, int]]] = {}
        self._lock = threading.Lock()

    def window(
        self,
        states: Sequence[PairState],
        records: Mapping[int, Mapping[str, Any]],
        *,
        shard: int | None = None,
        counted: int = 0,
    ) -> None:
        """Count a window of pairs whose rows were computed.

        Args:
            states: The pairs.
            records: Their rows, by offset in the shard.
            shard: The shard whose rows are computed in their order; None for single pairs.
            counted: Number of the first ones of the pairs that were counted before.
        """
        self._note_usage(states)
        for state in states:
            if state.failure is not None and state.failure.traceback:
                self._note_failure(state, records[state.offset], shard)
        new = states[min(counted, len(states)) :]
        self._count([records[state.offset] for state in new])
        for state in new:
            for stage, spent in state.spent_ms.items():
                self._send("irfuse_stage_seconds", spent / 1e3, stage=stage)
        if shard is not None and new:
            with self._lock:
                log = self._counted.setdefault(shard, deque())
                log.append((time.monotonic(), (log[-1][1] if log else 0) + len(new)))

    def crashed(self, record: Mapping[str, Any]) -> None:
        """Count a pair that crashed its workers."""
        self._count([record])

    def written(self, size: int) -> None:
        """Count the bytes of a shard that is written."""
        with self._lock:
            self._usage += Usage(bytes_written=size)
        self._send("irfuse_bytes_total", size, direction="write")

    def committed(self, shard: int, seconds: float) -> None:
        """Count the commit of a shard, which took this time in seconds."""
        self._send("irfuse_stage_seconds", seconds, stage="commit")
        with self._lock:
            self._counted.pop(shard, None)

    def retried(self, retry: Retry) -> None:
        """Count a repeated request to the storage."""
        with self._lock:
            self._usage += Usage(retries={f"{retry.operation} {retry.code}": 1})
        self._send("irfuse_storage_retries_total", 1, operation=retry.operation, code=retry.code)

    def settled(self) -> dict[int, int]:
        """Return for each shard in work how many of its pairs have counts that left the worker."""
        before = time.monotonic() - REPORT_INTERVAL_S
        with self._lock:
            return {
                shard: max((count for at, count in log if at <= before), default=0)
                for shard, log in self._counted.items()
            }

    def handed_back(self, shard: int) -> int:
        """Forget a shard that is not computed further, and return how many pairs were counted."""
        with self._lock:
            log = self._counted.pop(shard, None)
        return log[-1][1] if log else 0

    def work_done(
        self, shard: int, records: Sequence[Mapping[str, Any]], seconds: float
    ) -> WorkDone:
        """Return what the report of a shard tells about its computed rows."""
        failures = [row for row in records if row["status"] == "failed"]
        with self._lock:
            # Those of single pairs are told with any shard, because another worker may commit it.
            first = [found for own, found in self._first_failures if own in (shard, None)]
            self._first_failures = [f for f in self._first_failures if f[0] not in (shard, None)]
            usage, self._usage = self._usage, Usage()
            return WorkDone(
                usage,
                len(failures),
                tuple(
                    FailedPair(
                        row["pair_id"], row["error_stage"], row["error_type"],
                        row["error_message"], row["attempt"],
                    )
                    for row in failures[:_MOST_FAILURES]
                ),
                tuple(first),
                seconds,
            )  # fmt: skip

    def _note_usage(self, states: Sequence[PairState]) -> None:
        read = sum(state.bytes_read for state in states)
        sizes = (state.size for state in states if state.size is not None)
        megapixels = sum(width * height for width, height in sizes) / 1e6
        spent_ms = sum(state.spent_ms.get(stage, 0.0) for state in states for stage in _COMPUTING)
        with self._lock:
            self._usage += Usage(read, 0, megapixels, spent_ms / 1e3)
        self._send("irfuse_bytes_total", read, direction="read")
        self._send("irfuse_megapixels_total", megapixels)
        self._send("irfuse_compute_seconds_total", spent_ms / 1e3, node=self._node)

    def _count(self, records: Sequence[Mapping[str, Any]]) -> None:
        statuses = Counter(record["status"] for record in records)
        for status, count in statuses.items():
            self._send("irfuse_pairs_total", count, method=self._method, status=status)
        failed = [record for record in records if record["status"] == "failed"]
        kinds = Counter((r["error_stage"], failure_type(r["error_type"])) for r in failed)
        for (stage, kind), count in kinds.items():
            self._send("irfuse_pair_failures_total", count, stage=stage, type=kind)

    def _note_failure(self, state: PairState, record: Mapping[str, Any], shard: int | None) -> None:
        failure = state.failure
        assert failure is not None
        kind = failure.stage, failure.type
        with self._lock:
            if kind in self._kinds or len(self._kinds) >= _MOST_KINDS:
                return
            self._kinds.add(kind)
            found = FirstFailure(
                at=datetime.now(UTC),
                stage=failure.stage,
                type=failure.type,
                message=failure.message,
                pair_id=record["pair_id"],
                node=self._node,
                traceback=failure.traceback or "",
            )
            self._first_failures.append((shard, found))

    def _send(self, name: str, value: float, **labels: str) -> None:
        self._telemetry.record(name, value, run=self._run, **labels)
