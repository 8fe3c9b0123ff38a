"""The shard plan: the rows of each shard, and the key of its object."""

from __future__ import annotations

import re
from dataclasses import dataclass

SHARDS_PREFIX = "shards"
LARGEST_SHARD = 64
_SHARDS_OF_A_SMALL_RUN = 64
_SMALLEST_SHARD = 4
_KEY = re.compile(rf"{SHARDS_PREFIX}/shard-(\d{{6,}})\.parquet")


@dataclass(frozen=True, slots=True)
class ShardPlan:
    """The rows of each shard, as a pure function of the number of rows and the shard size."""

    rows: int
    shard_size: int

    @property
    def count(self) -> int:
        """Number of shards."""
        return -(-self.rows // self.shard_size)

    def bounds(self, shard: int) -> tuple[int, int]:
        """Return the first row of a shard and the row after its last row."""
        start = shard * self.shard_size
        return start, min(start + self.shard_size, self.rows)


def default_shard_size(rows: int) -> int:
    """Return 64, or less for small collections, so that all workers get shards."""
    return max(_SMALLEST_SHARD, min(LARGEST_SHARD, -(-rows // _SHARDS_OF_A_SMALL_RUN)))


def shard_key(shard: int) -> str:
    """Return the key of a shard's object."""
    return f"{SHARDS_PREFIX}/shard-{shard:06d}.parquet"


def parse_shard_key(key: str) -> int | None:
    """Return the shard that a key belongs to, or None for other keys."""
    match = _KEY.fullmatch(key)
    shard = int(match[1]) if match else None
    return shard if shard is not None and shard_key(shard) == key else None
