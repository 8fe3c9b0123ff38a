"""The progress of a run and the reasons of its failed pairs, computed from its shards."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from pydantic import BaseModel

from cluster.runs import Damage, Ledger, RunRecord, in_stage_order
from cluster.storage import read_record
from jobs.options import StatusOptions
from jobs.progress import Progress


class FailedPair(BaseModel):
    """One failed row."""

    pair_id: str
    stage: str
    type: str
    message: str


class DamagedShard(BaseModel):
    """One damaged shard."""

    shard: int
    reason: str


class Status(BaseModel):
    """The progress of a run."""

    out: str
    collection: str
    run: str
    method: str
    trained: bool | None
    shards: int
    shards_done: int
    rows: int
    rows_done: int
    ok: int
    failed: int
    failed_stages: dict[str, int]
    pairs_per_second: float | None
    """Committed rows per second of the time in which at least one shard was in progress."""
    failures: list[FailedPair]
    """The first failed rows."""
    damaged_shards: list[DamagedShard]
    """Shards whose rows are computed again when the run is continued; they count as not done."""

    @property
    def rows_left(self) -> int:
        """Number of rows that are not committed yet."""
        return self.rows - self.rows_done


def status(options: StatusOptions, progress: Progress | None = None) -> Status:
    """Report the progress of the run at OUT and the reasons of failed pairs.

    Args:
        options: Options of the job.
        progress: Receives the progress; silent by default.

    Raises:
        NotFoundError: The location contains no run.
        StorageError: The run cannot be read.
    """
    store = options.store(options.out)
    record = read_record(store, RunRecord)
    columns = ("pair_id", "status", "error_stage", "error_type", "error_message")
    done = rows = failed = 0
    stages: dict[str, int] = {}
    spans: list[tuple[datetime, datetime]] = []
    examples: list[FailedPair] = []
    damages: list[Damage] = []
    for content in Ledger(store, record).contents(columns, on_damage=damages.append):
        facts = content.facts
        done, rows = done + 1, rows + facts.rows
        spans.append((facts.started, facts.committed))
        for row in content.to_rows() if facts.failed else ():
            if row["status"] == "failed":
                failed += 1
                stages[row["error_stage"]] = stages.get(row["error_stage"], 0) + 1
                if len(examples) < options.failures:
                    examples.append(
                        FailedPair(
                            pair_id=row["pair_id"],
                            stage=row["error_stage"],
                            type=row["error_type"],
                            message=row["error_message"],
                        )
                    )
    busy = _covered_seconds(spans)
    return Status(
        out=store.url,
        collection=record.collection,
        run=record.name,
        method=record.origin.method,
        trained=record.origin.trained,
        shards=record.plan.count,
        shards_done=done,
        rows=record.rows,
        rows_done=rows,
        ok=rows - failed,
        failed=failed,
        failed_stages=in_stage_order(stages),
        pairs_per_second=rows / busy if busy > 0 else None,
        failures=examples,
        damaged_shards=[DamagedShard(shard=d.shard, reason=d.reason) for d in damages],
    )


def _covered_seconds(spans: Iterable[tuple[datetime, datetime]]) -> float:
    """Return the length of the union of intervals."""
    total, reached = 0.0, None
    for start, end in sorted(spans):
        begin = start if reached is None or start > reached else reached
        if end > begin:
            total += (end - begin).total_seconds()
            reached = end
    return total
