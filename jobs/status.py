"""The progress of a run and the reasons of its failed pairs, from the shards alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from pydantic import BaseModel

from cluster.runs.ledger import Ledger
from cluster.runs.record import read_run
from cluster.storage.store import Store
from jobs.summarize import _in_order


class FailedPair(BaseModel):
    """One failed row."""

    pair_id: str
    stage: str
    type: str
    message: str


class Status(BaseModel):
    """How far a run is."""

    out: str
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
    """Committed rows over the time in which at least one shard was in work."""
    failures: list[FailedPair]
    """The first failed rows."""

    @property
    def rows_left(self) -> int:
        """Rows that no shard holds yet."""
        return self.rows - self.rows_done


def status(
    out: str, *, failures: int = 10, storage_options: Mapping[str, Any] | None = None
) -> Status:
    """Look how far a run is.

    Args:
        out: The run's location.
        failures: How many failed rows to return with their reasons.
        storage_options: Options for fsspec.

    Raises:
        NotFoundError: The location holds no run.
        StorageError: It cannot be read.
    """
    store = Store(out, storage_options)
    record = read_run(store)
    columns = ("pair_id", "status", "error_stage", "error_type", "error_message")
    done = rows = failed = 0
    stages: dict[str, int] = {}
    spans: list[tuple[datetime, datetime]] = []
    examples: list[FailedPair] = []
    for content in Ledger(store, record).contents(columns):
        done, rows = done + 1, rows + content.rows
        facts = content.facts
        spans.append(
            (datetime.fromisoformat(facts["started"]), datetime.fromisoformat(facts["committed"]))
        )
        for row in content.table.to_pylist() if int(facts["failed"]) and content.table else ():
            if row["status"] == "failed":
                failed += 1
                stages[row["error_stage"]] = stages.get(row["error_stage"], 0) + 1
                if len(examples) < failures:
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
        method=record.method,
        trained=record.weights_trained,
        shards=record.plan.count,
        shards_done=done,
        rows=record.rows,
        rows_done=rows,
        ok=rows - failed,
        failed=failed,
        failed_stages=_in_order(stages),
        pairs_per_second=rows / busy if busy > 0 else None,
        failures=examples,
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
