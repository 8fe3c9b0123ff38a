"""Processing of a shard by a worker: compute the rows, and commit them with one write.

`ShardProcessor` is independent of Ray; `cluster.runs.actor` wraps it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property

from cluster.collections import PairRow
from cluster.runs.commits import Committer
from cluster.runs.computer import Computer
from cluster.runs.config import WorkerConfig
from cluster.runs.damage import DamagedShardError
from cluster.runs.messages import ShardReport, ShardTask
from cluster.runs.metering import RunMeter
from cluster.runs.origins import Fuser
from cluster.runs.pair_state import Failure, PairState
from cluster.runs.sampling import MeasuredPart, measure_part
from cluster.runs.shards import Row, ShardContent
from cluster.runs.stages import PairStages, Records
from cluster.runs.telemetry import Telemetry
from fusion_core.errors import NotFoundError


class ShardProcessor:
    """Computes shards and commits them as Parquet objects.

    Args:
        config: Settings of the worker.
        fuser: The loaded method, if it is the one of the run.
        telemetry: Where the values of metrics go; by default nowhere.
        computer: What computes; by default the method and the metrics of the run.
    """

    def __init__(
        self,
        config: WorkerConfig,
        fuser: Fuser | None = None,
        telemetry: Telemetry | None = None,
        computer: Computer | None = None,
    ) -> None:
        self._record = config.record
        self.meter = RunMeter(config.record, config.out, telemetry)
        self._out = config.out
        if not config.trial:
            _ = self._committer  # a manifest that is not that of the run is an error at once
        self.stages = PairStages(config, fuser, computer)

    @cached_property
    def _committer(self) -> Committer:
        return Committer(self._out, self._record, self.meter.written)

    def measure(self, pairs: Sequence[PairRow]) -> MeasuredPart:
        """Compute pairs, write nothing, and return what that took."""
        return measure_part(self.stages, self._record, pairs)

    @property
    def progress(self) -> tuple[int, int]:
        """Number of steps and of pairs completed since the start."""
        return self.stages.steps.done, self.stages.pairs_done

    def process(self, task: ShardTask) -> ShardReport:
        """Compute a shard and commit it.

        Raises:
            HandedBack: The worker is about to be taken away.
            StorageError: The manifest cannot be read, or the shard cannot be written.
        """
        started = datetime.now(UTC)
        rows, found = self.rows(task.shard), self._found(task)
        committed = dict(enumerate(found.to_rows())) if found else {}
        offsets = _to_compute(rows, committed)
        attempts = {offset: _attempt(task, committed, offset) for offset in offsets}
        computed = self.stages.compute(
            {offset: rows[offset] for offset in offsets}, attempts, self.window_counter(task)
        )
        return self._commit(task, computed, found, started)

    def window_counter(self, task: ShardTask) -> Callable[[Sequence[PairState], Records], None]:
        """Return a function that counts the windows of a shard, in their order."""
        done = 0

        def count(states: Sequence[PairState], records: Records) -> None:
            nonlocal done
            counted = max(0, task.counted - done)
            self.meter.window(states, records, shard=task.shard, counted=counted)
            done += len(states)

        return count

    def offsets(self, task: ShardTask) -> list[int]:
        """Return the offsets of a shard's rows that are to be computed."""
        return _to_compute(self.rows(task.shard), self._committed(task))

    def process_pair(self, task: ShardTask, offset: int, *, counted: bool = False) -> Records:
        """Compute one row of a shard without committing it.

        Args:
            task: The task.
            offset: Offset of the row in the shard.
            counted: Whether the pair was counted before.
        """
        row = self.rows(task.shard)[offset]
        attempt = _attempt(task, self._committed(task), offset)

        def count(states: Sequence[PairState], records: Records) -> None:
            self.meter.window(states, records, counted=int(counted))

        return self.stages.compute({offset: row}, {offset: attempt}, count)

    def failed_row(self, task: ShardTask, offset: int, failure: Failure) -> Records:
        """Return the row of a pair that crashed its workers."""
        row = self.rows(task.shard)[offset]
        attempt = _attempt(task, self._committed(task), offset)
        record = self.stages.failed_record(row, failure, attempt)
        self.meter.crashed(record)
        return {offset: record}

    def commit(
        self, task: ShardTask, records: Records, started: datetime | None = None
    ) -> ShardReport:
        """Commit a shard whose rows were computed elsewhere.

        Args:
            task: The task.
            records: Mapping from offset to row.
            started: Time at which the computation began; now by default.
        """
        return self._commit(task, records, self._found(task), started or datetime.now(UTC))

    def rows(self, shard: int) -> dict[int, PairRow]:
        """Return the rows of a shard in the manifest, by their offsets."""
        return dict(
            enumerate(self._committer.shards.manifest.read(*self._record.plan.bounds(shard)))
        )

    def _found(self, task: ShardTask) -> ShardContent | None:
        """Return the whole committed shard if only its failed rows are computed again."""
        if not task.failed_only:
            return None
        try:
            return self._committer.shards.read_whole(task.shard)
        except (DamagedShardError, NotFoundError):
            return None  # all of its rows are computed again

    def _committed(self, task: ShardTask) -> Mapping[int, Row]:
        """Return the status and the attempts of the rows that `_found` returns."""
        if not task.failed_only:
            return {}
        try:
            content = self._committer.shards.read(task.shard, ["status", "attempt"])
        except (DamagedShardError, NotFoundError):
            return {}
        return dict(enumerate(content.to_rows()))

    def _commit(
        self, task: ShardTask, computed: Records, found: ShardContent | None, started: datetime
    ) -> ShardReport:
        self.stages.steps.count()
        begin = time.perf_counter()
        commit = self._committer.commit(task.shard, computed, found, started)
        self.meter.committed(task.shard, time.perf_counter() - begin)
        failed = Counter(row["error_stage"] for row in commit.rows if row["status"] == "failed")
        seconds = (datetime.now(UTC) - started).total_seconds()
        rows_done = [computed[offset] for offset in sorted(computed)]
        work = self.meter.work_done(task.shard, rows_done, seconds)
        return ShardReport(
            task.shard,
            len(commit.rows),
            dict(failed),
            len(computed),
            task.run,
            work,
            commit.scores(self._record.metrics),
        )


def _to_compute(rows: Mapping[int, PairRow], committed: Mapping[int, Row]) -> list[int]:
    return [o for o in rows if o not in committed or committed[o]["status"] == "failed"]


def _attempt(task: ShardTask, committed: Mapping[int, Row], offset: int) -> int:
    """Return the total number of attempts, including those of earlier calls."""
    return task.attempt + (int(committed[offset]["attempt"]) if offset in committed else 0)
