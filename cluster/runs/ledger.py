"""The committed shards of a run, as found in its output location."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from cluster.runs.plan import SHARDS_PREFIX, parse_shard_key, shard_key
from cluster.runs.record import RunRecord
from cluster.runs.rows import shard_metadata
from cluster.storage import Store
from fusion_core.errors import StorageError

_READERS = 16
_READ_AHEAD = 64
"""Number of shards to read ahead."""


@dataclass(frozen=True, slots=True)
class ShardContent:
    """One committed shard: its metadata and, if columns were requested, its rows."""

    shard: int
    metadata: Mapping[str, str]
    rows: int
    table: pa.Table | None


class Ledger:
    """Lists and reads the committed shards of a run."""

    def __init__(self, out: Store, record: RunRecord) -> None:
        self._out = out
        self._record = record

    def finished(self) -> set[int]:
        """Return the numbers of the committed shards, from one listing."""
        shards = (parse_shard_key(entry.key) for entry in self._out.entries(SHARDS_PREFIX))
        count = self._record.plan.count
        return {shard for shard in shards if shard is not None and shard < count}

    def contents(self, columns: Sequence[str] = ()) -> Iterator[ShardContent]:
        """Read the committed shards in order, with the requested columns only.

        Raises:
            StorageError: A shard cannot be read, or belongs to another run.
        """
        read = self._reader(columns)
        with ThreadPoolExecutor(_READERS) as pool:
            ahead: deque[Future[ShardContent]] = deque()
            for shard in sorted(self.finished()):
                ahead.append(pool.submit(read, shard))
                if len(ahead) == _READ_AHEAD:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()

    def _reader(self, columns: Sequence[str]) -> Callable[[int], ShardContent]:
        def read(shard: int) -> ShardContent:
            key = shard_key(shard)
            with self._out.open(key) as file:
                try:
                    parquet = pq.ParquetFile(file)
                    metadata = shard_metadata(parquet.schema_arrow.metadata)
                    table = parquet.read(columns=list(columns)) if columns else None
                except (pa.ArrowException, OSError) as error:
                    raise StorageError(
                        f"{self._out.uri(key)} is damaged ({error}); delete it and run the "
                        "command again"
                    ) from None
            if metadata.get("fingerprint") != self._record.fingerprint:
                raise StorageError(
                    f"{self._out.uri(key)} was written by a run with other settings; delete it and "
                    "run the command again"
                )
            return ShardContent(shard, metadata, parquet.metadata.num_rows, table)

        return read
