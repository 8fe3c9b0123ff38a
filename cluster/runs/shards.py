"""The committed shards of a run, read and compared with the plan of the run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cluster.collections import FrozenManifest
from cluster.runs.damage import Damage, DamagedShardError
from cluster.runs.plan import shard_key
from cluster.runs.record import RunRecord
from cluster.runs.rows import row_schema
from cluster.runs.shard_file import (
    ShardFacts,
    content_digest,
    open_shard,
    pairs_digest,
    read_facts,
    read_groups,
    read_image,
)
from cluster.storage import Store
from fusion_core.errors import (
    AccessDeniedError,
    NotFoundError,
    RunConflictError,
    StorageError,
)

Row = Mapping[str, Any]
"""Mapping from column name to value."""


@dataclass(frozen=True, slots=True)
class ShardContent:
    """One committed shard: its facts and, if columns were requested, its rows."""

    shard: int
    facts: ShardFacts
    table: pa.Table | None
    version: str
    """Version of the object."""
    compacted: bool = False
    """Whether the rows were not read from the object, but from the compacted scores."""

    def to_rows(self) -> list[Row]:
        """Return the rows that were read."""
        return self.table.to_pylist() if self.table is not None else []


@dataclass(frozen=True, slots=True)
class _Values:
    """What was read of the values of a shard."""

    table: pa.Table | None = None
    """The rows that are kept."""
    content: str | None = None
    """Digest of all values, if all were read."""


class Shards:
    """Reads the shards of a run.

    Raises:
        NotFoundError: The run has no manifest.
        RunConflictError: The manifest is not that of the run.
    """

    def __init__(self, out: Store, record: RunRecord) -> None:
        self._out, self._record = out, record
        self._schema = row_schema(record.metrics).remove_metadata()
        self.manifest = FrozenManifest(out)
        if self.manifest.digest != record.manifest_digest:
            raise RunConflictError(
                f"The manifest at {out.url} differs from the manifest of this run; check that no "
                "other run uses the same output location"
            )

    def expected_pairs(self, shard: int) -> str:
        """Return the digest of the names of a shard's pairs, from the manifest."""
        first, end = self._record.plan.bounds(shard)
        return pairs_digest(row.pair_id for row in self.manifest.read(first, end))

    def read(self, shard: int, columns: Sequence[str] = (), *, pairs: str = "") -> ShardContent:
        """Read a shard and compare it with the plan of its run.

        Args:
            shard: Number of the shard.
            columns: Columns to read.
            pairs: The result of `expected_pairs`, if it is known already.

        Raises:
            DamagedShardError: The shard is damaged, also when it is read a second time.
            StorageError: The shard cannot be read.
        """

        def read(parquet: pq.ParquetFile) -> _Values:
            return _Values(parquet.read(columns=[*columns, "pair_id"]) if columns else None)

        return self._read_twice(shard, pairs or self.expected_pairs(shard), read)

    def read_whole(self, shard: int) -> ShardContent:
        """Read all columns of a shard, images included, and compare the digest of their values.

        Raises:
            DamagedShardError: The shard is damaged, also when it is read a second time.
            StorageError: The shard cannot be read.
        """

        def read(parquet: pq.ParquetFile) -> _Values:
            table = pa.concat_tables(read_groups(parquet))
            return _Values(table, content_digest([table]))

        return self._read_twice(shard, self.expected_pairs(shard), read)

    def verify(self, shard: int, *, pairs: str = "") -> ShardContent:
        """Check a shard like `read_whole`, but keep the images of one row group alone in memory.

        Returns:
            The facts of the shard, and its rows without images.

        Raises:
            DamagedShardError: The shard is damaged, also when it is read a second time.
            StorageError: The shard cannot be read.
        """

        def read(parquet: pq.ParquetFile) -> _Values:
            kept: list[pa.Table] = []

            def groups() -> Iterator[pa.Table]:
                for group in read_groups(parquet):
                    kept.append(group.drop_columns(["fused"]))
                    yield group

            digest = content_digest(groups())
            return _Values(pa.concat_tables(kept), digest)

        return self._read_twice(shard, pairs or self.expected_pairs(shard), read)

    def stream(self, shard: int) -> Iterator[ShardContent]:
        """Yield the rows of a shard, one row group after the other, so that few images are held.

        The pages are compared with their checksums, but not all values with their digest.

        Raises:
            DamagedShardError: The shard is damaged; parts of it may have been yielded. The message
                names the first pair that cannot be read.
            StorageError: The shard cannot be read.
        """
        key, expected = shard_key(shard), self.expected_pairs(shard)
        reached, _ = self._record.plan.bounds(shard)
        file, version = self._out.open_version(key)
        with file:
            try:
                parquet = open_shard(file)
                facts = read_facts(parquet)
                problem = self._facts_problem(shard, expected, facts, parquet)
                if facts is not None and problem is None:
                    for table in read_groups(parquet):
                        yield ShardContent(shard, facts, table, version)
                        reached += table.num_rows
                    return
            except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
                pair = self.manifest.read(reached, reached + 1)[0].pair_id
                problem = f"from {pair!r} on, it cannot be read ({str(error).splitlines()[0]})"
        raise DamagedShardError(self._out.uri(key), Damage(shard, problem or "", version))

    def read_row(self, shard: int, offset: int) -> Row:
        """Read the row of one pair with its fused image, but no images of other row groups.

        Raises:
            DamagedShardError: The shard is damaged, also when it is read a second time.
            StorageError: The shard cannot be read.
        """
        image: dict[str, Any] | None = None

        def read(parquet: pq.ParquetFile) -> _Values:
            nonlocal image
            image = read_image(parquet, offset)
            names = [name for name in self._schema.names if name != "fused"]
            return _Values(parquet.read(columns=names))

        content = self._read_twice(shard, self.expected_pairs(shard), read)
        return {**content.to_rows()[offset], "fused": image}

    def _read_twice(
        self, shard: int, expected: str, read: Callable[[pq.ParquetFile], _Values]
    ) -> ShardContent:
        try:
            return self._read_once(shard, expected, read)
        except (NotFoundError, AccessDeniedError):
            raise
        except StorageError:  # a retry may have replaced the shard while it was read
            return self._read_once(shard, expected, read)

    def _read_once(
        self, shard: int, expected: str, read: Callable[[pq.ParquetFile], _Values]
    ) -> ShardContent:
        key = shard_key(shard)
        file, version = self._out.open_version(key)
        facts, values = None, _Values()
        with file:
            try:
                parquet = open_shard(file)
                facts = read_facts(parquet)
                problem = self._facts_problem(shard, expected, facts, parquet)
                values = values if problem else read(parquet)
            except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
                problem = f"it cannot be read ({str(error).splitlines()[0]})"
        if not problem and facts is not None:
            problem = _values_problem(expected, facts, values)
        if problem or facts is None:
            raise DamagedShardError(self._out.uri(key), Damage(shard, problem or "", version))
        return ShardContent(shard, facts, values.table, version)

    def _facts_problem(
        self, shard: int, expected: str, facts: ShardFacts | None, parquet: pq.ParquetFile
    ) -> str | None:
        """Return what is wrong with a shard, as far as its metadata shows."""
        first, end = self._record.plan.bounds(shard)
        rows = parquet.metadata.num_rows
        if facts is None:
            return "it was not written by this version of irfuse"
        if facts.fingerprint != self._record.fingerprint:
            return "it was written by a run with other settings"
        if facts.shard != shard:
            return f"its rows are those of shard {facts.shard}"
        if not rows == facts.rows == end - first:
            return f"it has {rows} rows instead of {end - first}"
        if not parquet.schema_arrow.remove_metadata().equals(self._schema):
            return "its columns are not those of the run"
        if facts.pairs != expected:
            return "its pairs are not those of the manifest"
        return None


def _values_problem(expected: str, facts: ShardFacts, values: _Values) -> str | None:
    """Return what is wrong with the values of a shard, as far as they were read."""
    table = values.table
    if table is not None and pairs_digest(table["pair_id"].to_pylist()) != expected:
        return "its pairs are not those of the manifest"
    if values.content is not None and values.content != facts.content:
        return "its values are not those that were committed"
    return None
