"""The index of a run for random access: which rows there are, from the footers of its shards."""

from __future__ import annotations

import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from cluster.collections import Condition
from cluster.runs.damage import Damage, DamagedShardError
from cluster.runs.plan import SHARDS_PREFIX, parse_shard_key, shard_key
from cluster.runs.record import RunRecord
from cluster.runs.rows import row_schema
from cluster.runs.shard_file import open_shard, read_facts
from cluster.storage import Entry, Store, read_record
from fusion_core.errors import NotFoundError

_TAIL_BYTES = 64 * 1024
"""Bytes of the one request for a footer, which is smaller for all but very wide rows."""
_READERS = 16
_LENGTH_AT_END = 8
"""Bytes after the footer: its length and Parquet's mark."""


@dataclass(frozen=True, slots=True)
class ShardIndex:
    """What is known of a shard without its rows."""

    shard: int
    version: str
    """Version of the object; a retry of failed pairs makes another one."""
    groups: tuple[int, ...]
    """Number of rows of each row group."""
    usable: NDArray[np.int32]
    """Offsets of the rows that have a fused image and fit the condition."""

    def group_of(self, offset: int) -> tuple[int, int]:
        """Return the row group of a row, and the number of the row in it.

        Raises:
            IndexError: The shard has no such row.
        """
        for group, rows in enumerate(self.groups):
            if offset < rows:
                return group, offset
            offset -= rows
        raise IndexError(offset)


@dataclass(frozen=True, slots=True)
class RunIndex:
    """The rows of a run that have a fused image."""

    out: Store
    record: RunRecord
    shards: list[ShardIndex]

    @property
    def complete(self) -> bool:
        """Whether all shards of the run are committed."""
        return len(self.shards) == self.record.plan.count


def open_index(out: Store, where: str | None = None) -> RunIndex:
    """Read the index of a run: one request per shard, and one more if it has failed rows.

    Args:
        out: Output location of the run.
        where: Condition on the columns of the rows, for which these are read.

    Raises:
        NotFoundError: There is no run, or it holds no images.
        DamagedShardError: A shard is damaged, or was written by a run with other settings.
        InvalidValueError: The condition cannot be evaluated.
        StorageError: The run cannot be read.
    """
    record = read_record(out, RunRecord)
    if not (record.origin.encodes or record.origin.reads_fused):
        raise NotFoundError(
            f"{out.url} holds no images, because it was made with --no-keep-images; fuse the "
            "collection again without it"
        )
    numbered = [(parse_shard_key(entry.key), entry) for entry in out.entries(SHARDS_PREFIX)]
    entries = [(n, entry) for n, entry in numbered if n is not None and n < record.plan.count]
    with ThreadPoolExecutor(_READERS) as pool:
        found = pool.map(
            lambda item: _read_shard(out, record, item[0], item[1], where is not None), entries
        )
        shards = []
        condition = None if where is None else Condition(where)
        for index, table in found:
            usable = index.usable
            if table is not None:
                usable = _usable(table, condition)
            shards.append(ShardIndex(index.shard, index.version, index.groups, usable))
    return RunIndex(out, record, shards)


def _read_shard(
    out: Store, record: RunRecord, shard: int, entry: Entry, all_columns: bool
) -> tuple[ShardIndex, pa.Table | None]:
    """Return a shard with all rows, and the rows themselves if they decide which are usable."""
    try:
        parquet = pq.ParquetFile(io.BytesIO(_read_footer(out, entry)))
        facts = read_facts(parquet)
    except (pa.ArrowException, OSError) as error:
        reason = f"it cannot be read ({str(error).splitlines()[0]})"
        raise DamagedShardError(out.uri(entry.key), Damage(shard, reason, entry.version)) from None
    if facts is None or facts.fingerprint != record.fingerprint or facts.shard != shard:
        reason = "it was written by a run with other settings"
        raise DamagedShardError(out.uri(entry.key), Damage(shard, reason, entry.version))
    metadata = parquet.metadata
    groups = tuple(metadata.row_group(n).num_rows for n in range(metadata.num_row_groups))
    index = ShardIndex(shard, entry.version, groups, np.arange(facts.rows, dtype=np.int32))
    if not (facts.failed or all_columns):
        return index, None
    names = row_schema(record.metrics).names
    columns = [name for name in names if name != "fused"] if all_columns else ["status"]
    return index, read_columns(out, shard, columns)


def read_columns(out: Store, shard: int, columns: Sequence[str]) -> pa.Table:
    """Read columns of all rows of a shard."""
    with out.open(shard_key(shard)) as file:
        return open_shard(file).read(columns=list(columns))


def _read_footer(out: Store, entry: Entry) -> bytes:
    """Return the end of a shard, from its footer on."""
    tail = out.read(entry.key, max(0, entry.size - _TAIL_BYTES), entry.size)
    length = int.from_bytes(tail[-_LENGTH_AT_END:-4], "little") + _LENGTH_AT_END
    if length > len(tail) and length <= entry.size:
        tail = out.read(entry.key, entry.size - length, entry.size)
    return tail


def _usable(table: pa.Table, condition: Condition | None) -> NDArray[np.int32]:
    ok = np.asarray([status == "ok" for status in table.column("status").to_pylist()])
    if condition is not None:
        fitting: set[str] = set()
        for batch in table.combine_chunks().to_batches():
            fitting.update(condition.select(batch).column("pair_id").to_pylist())
        ok &= np.asarray([pair_id in fitting for pair_id in table.column("pair_id").to_pylist()])
    return np.flatnonzero(ok).astype(np.int32)
