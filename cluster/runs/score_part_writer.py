"""Writing of compacted scores while a run is computed, and of those that are missing at its end."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import pyarrow as pa

from cluster.runs.config import RunTarget
from cluster.runs.observing import RunObserver
from cluster.runs.score_parts import (
    ROWS_PER_PART,
    SHARDS_PER_PART,
    ShardScores,
    encode_part,
    score_schema,
)
from fusion_core.errors import IrfuseError

if TYPE_CHECKING:
    from cluster.runs.messages import ShardReport
    from cluster.runs.pool import PoolWorker
    from cluster.runs.shards import ShardContent
    from cluster.runs.snapshot import Snapshot

_WRITE_EVERY_S = 600.0
_MOST_PARTS = 4
"""Parts that are kept in memory while the store does not answer."""


class ScorePartWriter(RunObserver):
    """Keeps the rows of committed shards, and writes them when there are enough for a part.

    That is every 512 shards or 32,768 rows, every ten minutes, and at the end. It is done in a
    thread, so that no commit waits for it. Nothing depends on a part: if one cannot be written,
    that is said once, and the rows are read from their shards.

    Args:
        target: The run.
        warn: Called with the problem if a part cannot be written.
        number: The run among those that are computed together, as in `ShardReport.run`.
    """

    def __init__(self, target: RunTarget, warn: Callable[[str], None], number: int = 0) -> None:
        self._out, self._number, self._warn = target.out, number, warn
        self._size = max(1, min(SHARDS_PER_PART, ROWS_PER_PART // target.record.shard_size))
        self._columns = score_schema(target.record.metrics).names
        self._kept: dict[int, ShardScores] = {}
        self._written_at = time.monotonic()
        self._writing: Future[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="irfuse-scores")

    def committed(self, worker: PoolWorker, report: ShardReport) -> None:
        """Keep the rows of a shard."""
        if report.run == self._number and report.scores is not None:
            self.keep(report.scores)

    def progressed(self, snapshot: Snapshot) -> None:
        """Write what was kept for ten minutes."""
        if time.monotonic() - self._written_at >= _WRITE_EVERY_S:
            self._write_aside()

    def keep(self, scores: ShardScores) -> None:
        """Keep the rows of a shard, and write a part if there are enough."""
        self._kept[scores.entry.facts.shard] = scores
        if len(self._kept) >= self._size:
            self._write_aside()

    def keep_content(self, content: ShardContent) -> None:
        """Keep the rows of a shard that was read with all columns but the images."""
        if content.version and content.table is not None:
            table = content.table.select(self._columns)
            self.keep(ShardScores.of(content.version, content.facts, table))

    def close(self) -> None:
        """Write what is left, and wait for it."""
        if self._writing is not None:
            self._writing.result()
        self._write_aside()
        self._thread.shutdown()

    def _write_aside(self) -> None:
        if self._writing is not None and not self._writing.done():
            if len(self._kept) >= _MOST_PARTS * self._size:
                self._kept = {}
            return
        kept, self._kept = list(self._kept.values()), {}
        self._written_at = time.monotonic()
        if kept:
            self._writing = self._thread.submit(self._write, kept)

    def _write(self, shards: list[ShardScores]) -> None:
        try:
            key, data = encode_part(shards)
            self._out.write(key, data)
        except (IrfuseError, pa.ArrowException) as error:
            warn, self._warn = self._warn, lambda text: None
            warn(f"Compacted scores cannot be written, which costs time only: {error}")
