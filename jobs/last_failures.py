"""The pairs of a run that failed last, without those of all other shards in memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from itertools import islice
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel

from cluster.runs import ShardContent

FAILURE_COLUMNS = ("pair_id", "status", "error_stage", "error_type", "error_message", "node")
_MOST_KEPT = 4
"""Number of shards with failures that are kept, for each failure that is asked for."""


class FailedPair(BaseModel):
    """One failed row."""

    pair_id: str
    stage: str
    type: str
    message: str
    node: str | None = None


def failed_rows(content: ShardContent) -> pa.Table:
    """Return the failed rows of a shard that was read with `FAILURE_COLUMNS`."""
    assert content.table is not None
    rows = content.table.select(list(FAILURE_COLUMNS))
    return rows.filter(pc.equal(rows["status"], "failed")) if content.facts.failed else rows[:0]


def _to_pairs(rows: pa.Table) -> list[FailedPair]:
    return [
        FailedPair(
            pair_id=row["pair_id"],
            stage=row["error_stage"],
            type=row["error_type"],
            message=row["error_message"],
            node=row["node"],
        )
        for row in rows.to_pylist()
    ]


class _Kept(NamedTuple):
    committed: datetime
    shard: int
    version: str
    pairs: list[FailedPair]


class LastFailures:
    """The failed pairs of the shards that were committed last; the others are forgotten.

    Args:
        number: Number of pairs that are asked for.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._kept: dict[int, _Kept] = {}

    def add(self, content: ShardContent) -> None:
        """Keep the failed pairs of a shard, if it is among the last ones."""
        if not content.facts.failed or not self._number:
            return
        pairs = _to_pairs(failed_rows(content)[: self._number])
        shard, committed = content.shard, content.facts.committed
        self._kept[shard] = _Kept(committed, shard, content.version, pairs)
        if len(self._kept) > _MOST_KEPT * self._number:
            last = sorted(self._kept.values(), key=lambda kept: kept[:2])[-self._number :]
            self._kept = {kept.shard: kept for kept in last}

    def keep_only(self, versions: Mapping[int, str]) -> set[int]:
        """Forget all other shards, and return those of these that are not kept.

        Args:
            versions: The shards with their versions, not more than pairs are asked for.
        """
        self._kept = {n: kept for n, kept in self._kept.items() if versions.get(n) == kept.version}
        return versions.keys() - self._kept.keys()

    def of(self, shards: Iterable[int]) -> list[FailedPair]:
        """Return the first failed pairs of some shards, as many as are asked for."""
        pairs = (pair for n in shards if n in self._kept for pair in self._kept[n].pairs)
        return list(islice(pairs, self._number))
