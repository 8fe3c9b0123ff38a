"""Processing of a shard by a worker: compute the rows, and commit them with one write.

`ShardProcessor` is independent of Ray; `cluster.runs.actor` wraps it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from cluster.collections import FrozenManifest, PairRow
from cluster.runs.plan import shard_key
from cluster.runs.rows import encode_shard, read_records
from cluster.runs.stages import PairStages, Records, WorkerConfig
from cluster.runs.steps import Failure
from fusion_core.errors import RunConflictError

WINDOW_PAIRS = 16
"""Number of pairs of a shard that are processed at once."""


@dataclass(frozen=True, slots=True)
class ShardTask:
    """One shard to compute: all of its rows, or only the failed ones."""

    shard: int
    attempt: int = 1
    failed_only: bool = False


@dataclass(frozen=True, slots=True)
class ShardReport:
    """Report of a committed shard."""

    shard: int
    rows: int
    failed: Mapping[str, int]
    """Number of failed rows of the shard per stage."""
    computed: int
    """Number of newly computed rows; less than `rows` if only failed rows were computed."""


class ShardProcessor:
    """Computes shards and commits them as Parquet objects."""

    def __init__(self, config: WorkerConfig) -> None:
        self._record, self._out = config.record, config.out
        self._manifest = FrozenManifest(self._out)
        if self._manifest.digest != config.record.manifest_digest:
            raise RunConflictError(
                f"The manifest at {self._out.url} differs from the manifest of this run; check "
                "that no other run uses the same output location"
            )
        self._stages = PairStages(config)

    @property
    def progress(self) -> tuple[int, int]:
        """Number of steps and of pairs completed since the start."""
        return self._stages.steps.done, self._stages.pairs_done

    def process(self, task: ShardTask) -> ShardReport:
        """Compute a shard and commit it.

        Raises:
            StorageError: The manifest cannot be read, or the shard cannot be written.
        """
        started = datetime.now(UTC)
        rows, kept = self._rows(task.shard), self._kept(task)
        offsets = _to_compute(rows, kept)
        computed: Records = {}
        for first in range(0, len(offsets), WINDOW_PAIRS):
            window = {o: rows[o] for o in offsets[first : first + WINDOW_PAIRS]}
            attempts = {o: _attempt(task, kept, o) for o in window}
            computed.update(self._stages.compute(window, attempts))
        return self._commit(task, {**kept, **computed}, len(computed), started)

    def offsets(self, task: ShardTask) -> list[int]:
        """Return the offsets of a shard's rows that are to be computed."""
        return _to_compute(self._rows(task.shard), self._kept(task))

    def process_pair(self, task: ShardTask, offset: int) -> Records:
        """Compute one row of a shard without committing it."""
        row = self._rows(task.shard)[offset]
        return self._stages.compute({offset: row}, {offset: self._attempt(task, offset)})

    def failed_row(self, task: ShardTask, offset: int, failure: Failure) -> Records:
        """Return the row of a pair that crashed its workers."""
        row = self._rows(task.shard)[offset]
        return {offset: self._stages.failed_record(row, failure, self._attempt(task, offset))}

    def commit(self, task: ShardTask, records: Records) -> ShardReport:
        """Commit a shard whose rows were computed singly."""
        return self._commit(task, {**self._kept(task), **records}, len(records), datetime.now(UTC))

    def _rows(self, shard: int) -> dict[int, PairRow]:
        return dict(enumerate(self._manifest.read(*self._record.plan.bounds(shard))))

    def _kept(self, task: ShardTask) -> Records:
        """Return the committed rows of the shard if only failed ones are computed again."""
        if not task.failed_only:
            return {}
        with self._out.open(shard_key(task.shard)) as file:
            return dict(enumerate(read_records(file)))

    def _attempt(self, task: ShardTask, offset: int) -> int:
        return _attempt(task, self._kept(task), offset)

    def _commit(
        self, task: ShardTask, records: Records, computed: int, started: datetime
    ) -> ShardReport:
        first, end = self._record.plan.bounds(task.shard)
        ordered = [records[offset] for offset in range(end - first)]
        failed: dict[str, int] = {}
        for record in ordered:
            if record["status"] == "failed":
                failed[record["error_stage"]] = failed.get(record["error_stage"], 0) + 1
        metadata = {
            "fingerprint": self._record.fingerprint,
            "shard": str(task.shard),
            "failed": str(sum(failed.values())),
            "started": started.isoformat(),
            "committed": datetime.now(UTC).isoformat(),
        }
        data = encode_shard(ordered, self._record.metrics, metadata)
        self._stages.steps.count()
        self._out.write(shard_key(task.shard), data)
        return ShardReport(task.shard, len(ordered), failed, computed)


def _to_compute(rows: Mapping[int, PairRow], kept: Records) -> list[int]:
    return [o for o in rows if o not in kept or kept[o]["status"] == "failed"]


def _attempt(task: ShardTask, kept: Records, offset: int) -> int:
    """Return the total number of attempts, including those of earlier calls."""
    return task.attempt + (int(kept[offset]["attempt"]) if offset in kept else 0)
