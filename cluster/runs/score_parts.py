"""Compacted scores: the rows of many shards without their images, in few objects beside them.

What a run has found is needed far more often than its images. Instead of the footers and the
columns of every shard, which are three requests or more, its statistics are read from parts of 512
shards. The shards stay the truth: a part is a cache that can be deleted at any time, and that a run
completes from its shards when it computes its summary.

A part is believed for a shard if

1. it is whole: its key contains the SHA-256 of its bytes;
2. it is of the same run: fingerprint, which contains the digest of the manifest, and columns;
3. the listing of the shards shows the very version of the shard that the part names.

The third condition is what makes parts safe. The version of a shard is told by the write that
commits it, or comes with the bytes that are read, so an entry of a part states what was true when
it was made and stays true: the object of this version holds these rows. Which version is there now
is decided by the listing alone. So it does not matter who writes a part, when, or how often: after
a kill there is no part, or a whole one; a process that was suspended, or that lost against another
one, writes entries of versions that no listing shows any more; a retry replaces the object and with
it the version, so that the entry of the failed rows is not used again; and so does whoever edits a
shard. Parts are never replaced and never deleted. A shard without a valid entry is read itself.
"""

from __future__ import annotations

import hashlib
import io
import re
from array import array
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from cluster.runs.record import RunRecord
from cluster.runs.rows import row_schema
from cluster.runs.shard_file import ShardFacts
from cluster.storage import Store
from fusion_core.errors import StorageError

SCORES_PREFIX = "scores"
SHARDS_PER_PART = 512
ROWS_PER_PART = 64 * SHARDS_PER_PART
_AHEAD = 8
"""Number of parts that are read ahead."""
_DIGITS = 32
_KEY = re.compile(rf"{SCORES_PREFIX}/part-(\d{{6,}})-(\d{{6,}})-([0-9a-f]{{{_DIGITS}}})\.parquet")
_ENTRIES = "irfuse.shards"


class PartEntry(BaseModel):
    """What a part states of one shard."""

    model_config = ConfigDict(frozen=True)

    version: str
    """Version of the object that holds the rows."""
    facts: ShardFacts


_ALL_ENTRIES = TypeAdapter(list[PartEntry])


@dataclass(frozen=True, slots=True)
class ShardScores:
    """The rows of one version of a shard without their images, as a worker reports them."""

    entry: PartEntry
    rows: bytes
    """The table as an Arrow stream, uncompressed: 0.4 kB a row, which take 0.03 ms a shard."""

    @staticmethod
    def of(version: str, facts: ShardFacts, table: pa.Table) -> ShardScores:
        """Return the rows of a table with the columns of `score_schema`."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
        return ShardScores(PartEntry(version=version, facts=facts), sink.getvalue().to_pybytes())

    def to_table(self) -> pa.Table:
        """Return the rows."""
        return pa.ipc.open_stream(self.rows).read_all()


def score_schema(metrics: Sequence[str]) -> pa.Schema:
    """Return the schema of the rows of a run without their images."""
    schema = row_schema(metrics).remove_metadata()
    return schema.remove(schema.get_field_index("fused"))


def encode_part(shards: Sequence[ShardScores]) -> tuple[str, bytes]:
    """Build a part in memory.

    Args:
        shards: The rows of at least one shard of a run, and none of them twice.

    Returns:
        The key of the part and its content.
    """
    shards = sorted(shards, key=lambda scores: scores.entry.facts.shard)
    table = pa.concat_tables(scores.to_table() for scores in shards).combine_chunks()
    entries = _ALL_ENTRIES.dump_json([scores.entry for scores in shards])
    buffer = io.BytesIO()
    texts = [field.name for field in table.schema if pa.types.is_string(field.type)]
    with pq.ParquetWriter(
        buffer, table.schema, compression="zstd", use_dictionary=texts, write_statistics=False
    ) as writer:
        writer.write_table(table, row_group_size=len(table))
        writer.add_key_value_metadata({_ENTRIES: entries})
    data = buffer.getvalue()
    first, last = (shards[place].entry.facts.shard for place in (0, -1))
    digest = hashlib.sha256(data).hexdigest()[:_DIGITS]
    return f"{SCORES_PREFIX}/part-{first:06d}-{last:06d}-{digest}.parquet", data


@dataclass(frozen=True, slots=True)
class FoundScores:
    """The rows of a shard in a part."""

    facts: ShardFacts
    table: pa.Table | None
    """The columns that were asked for; None if there were none."""

    def equals(self, facts: ShardFacts, table: pa.Table | None) -> bool:
        """Whether these are the facts and the rows of a shard; NaN equals NaN."""
        rows = [None if t is None else repr(t.to_pylist()) for t in (self.table, table)]
        return self.facts == facts and rows[0] == rows[1]


@dataclass(frozen=True, slots=True)
class _Part:
    """A part that was read."""

    entries: list[PartEntry]
    table: pa.Table | None

    def scores(self) -> Iterator[tuple[PartEntry, pa.Table | None]]:
        start = 0
        for entry in self.entries:
            rows = None if self.table is None else self.table.slice(start, entry.facts.rows)
            yield entry, rows
            start += entry.facts.rows


class ScoreParts:
    """Finds the rows of shards in the parts of a run.

    Args:
        out: Output location of the run.
        record: Record of the run.
    """

    def __init__(self, out: Store, record: RunRecord) -> None:
        self._out, self._record = out, record
        self._schema = score_schema(record.metrics)
        self._known: dict[str, tuple[array[int], array[int]]] = {}
        """Shards, and hashes of their versions, of the parts that were read."""
        self.unusable: set[str] = set()
        """Keys of objects that are no parts of the run, or damaged ones."""

    @property
    def columns(self) -> list[str]:
        """The columns of parts, which are all but the images."""
        names: list[str] = self._schema.names
        return names

    def have(self, columns: Sequence[str]) -> bool:
        """Whether parts have these columns."""
        return set(columns) <= set(self.columns)

    @contextmanager
    def open(self, versions: Mapping[int, str], columns: Sequence[str]) -> Iterator[PartReader]:
        """Begin to read the parts that may hold shards.

        Args:
            versions: The shards, and the version of each that a listing shows.
            columns: Columns to read.
        """
        with ThreadPoolExecutor(_AHEAD, thread_name_prefix="irfuse-scores") as pool:
            try:
                yield PartReader(self, versions, columns, pool)
            finally:
                pool.shutdown(cancel_futures=True)

    def keys(self) -> list[tuple[int, int, str]]:
        """Return the first and the last shard of each part, and its key, by the first shard.

        Parts that cannot be listed are not used.
        """
        try:
            entries = self._out.entries(SCORES_PREFIX)
        except StorageError:
            return []
        found = []
        for entry in entries:
            match = _KEY.fullmatch(entry.key)
            if match is None:
                self.unusable.add(entry.key)
            else:
                found.append((int(match[1]), int(match[2]), entry.key))
        return sorted(found)

    def useful(self, key: str, versions: Mapping[int, str]) -> bool:
        """Whether a part may hold one of these versions, as far as is known."""
        known = self._known.get(key)
        return known is None or any(
            hash(versions.get(n)) == found for n, found in zip(*known, strict=True)
        )

    def read(self, key: str, columns: Sequence[str]) -> _Part | None:
        """Read a part; None if it is gone, damaged, or of another run."""
        try:
            data = self._out.read(key)
        except StorageError:
            return None
        part = self._decode(key, data, columns)
        if part is None:
            self.unusable.add(key)
        entries = part.entries if part else []
        shards, versions = (e.facts.shard for e in entries), (hash(e.version) for e in entries)
        self._known[key] = array("q", shards), array("q", versions)
        return part

    def _decode(self, key: str, data: bytes, columns: Sequence[str]) -> _Part | None:
        match = _KEY.fullmatch(key)
        if match is None or hashlib.sha256(data).hexdigest()[:_DIGITS] != match[3]:
            return None
        try:
            file = pq.ParquetFile(pa.BufferReader(data))
            entries = _ALL_ENTRIES.validate_json((file.metadata.metadata or {})[_ENTRIES.encode()])
            if file.schema_arrow.remove_metadata() != self._schema:
                return None
            table = file.read(columns=list(columns)) if columns else None
        except (pa.ArrowException, OSError, KeyError, ValidationError):
            return None
        rows = sum(entry.facts.rows for entry in entries)
        whole = file.metadata.num_rows == rows and all(map(self._fits, entries))
        return _Part(entries, table) if whole else None

    def _fits(self, entry: PartEntry) -> bool:
        facts = entry.facts
        first, end = self._record.plan.bounds(facts.shard)
        same_run = facts.fingerprint == self._record.fingerprint
        return same_run and facts.rows == end - first and bool(entry.version)


class PartReader:
    """Returns the rows of shards, which must be asked for in order, each once.

    Parts are read once, when the first of their shards is near, and are in memory until the last
    of the rows that are valid is asked for.
    """

    def __init__(
        self,
        parts: ScoreParts,
        versions: Mapping[int, str],
        columns: Sequence[str],
        pool: ThreadPoolExecutor,
    ) -> None:
        self._parts, self._versions, self._columns, self._pool = parts, versions, columns, pool
        wanted = sorted(versions)
        self._keys = deque(
            (first, key)
            for first, last, key in (parts.keys() if wanted else [])
            if first <= wanted[-1] and last >= wanted[0] and parts.useful(key, versions)
        )
        self._coming: deque[tuple[int, Future[_Part | None]]] = deque()
        self._found: dict[int, FoundScores] = {}

    def take(self, shard: int) -> FoundScores | None:
        """Return the rows of a shard, or None if no part has those of its present version."""
        self._read_until(shard)
        return self._found.pop(shard, None)

    def _read_until(self, shard: int) -> None:
        while True:
            while self._keys and len(self._coming) < _AHEAD:
                first, key = self._keys.popleft()
                self._coming.append(
                    (first, self._pool.submit(self._parts.read, key, self._columns))
                )
            if not self._coming or self._coming[0][0] > shard:
                return
            part = self._coming.popleft()[1].result()
            for entry, table in part.scores() if part else ():
                if self._versions.get(entry.facts.shard) == entry.version:
                    self._found[entry.facts.shard] = FoundScores(entry.facts, table)
