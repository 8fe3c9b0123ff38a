"""The committed shards of a run: read with all checks, and committed without losing a row.

A commit never replaces a row by a worse one. A new shard is created only where there is none. If a
twin of this worker has committed it meanwhile, or if failed rows are computed again, each pair
keeps the better of its two rows, and the shard is replaced only if it is still the one that was
read; otherwise it is read again. An `ok` row is never replaced, so that any number of writers, in
any order, end with a row for each pair that is as good as the best of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cluster.collections import FrozenManifest
from cluster.runs.plan import shard_key
from cluster.runs.record import RunRecord
from cluster.runs.rows import row_schema
from cluster.runs.shard_file import (
    ShardFacts,
    content_digest,
    encode_shard,
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
    RunFailedError,
    StorageError,
)

Row = Mapping[str, Any]
"""Mapping from column name to value."""

_MOST_CONFLICTS = 20
"""Number of times that a commit gives way to other writers until it fails."""
_NAMED_DAMAGES = 3


@dataclass(frozen=True, slots=True)
class Damage:
    """A shard whose object does not hold the rows that the plan of the run demands."""

    shard: int
    reason: str
    version: str
    """Version of the object."""


class DamagedShardError(StorageError):
    """A shard is damaged."""

    def __init__(self, uri: str, damage: Damage) -> None:
        super().__init__(
            f"{uri} is damaged: {damage.reason}; run the same command again with --verify, which "
            "computes it again"
        )
        self.damage = damage


class DamagedRunError(StorageError):
    """Shards of a run are damaged."""

    def __init__(self, url: str, damages: Sequence[Damage]) -> None:
        super().__init__(
            f"{describe_damages(damages)} in {url}; run the same command again with --verify, "
            f"which computes {'it' if len(damages) == 1 else 'them'} again"
        )
        self.damages = damages


def describe_damages(damages: Sequence[Damage]) -> str:
    """Return a phrase that names the first damaged shards with the reasons."""
    named = "; ".join(f"shard {d.shard}: {d.reason}" for d in damages[:_NAMED_DAMAGES])
    more = len(damages) - _NAMED_DAMAGES
    count = f"{len(damages)} shard{'' if len(damages) == 1 else 's'}"
    return f"{count} damaged ({named}{f'; and {more} more' if more > 0 else ''})"


@dataclass(frozen=True, slots=True)
class ShardContent:
    """One committed shard: its facts and, if columns were requested, its rows."""

    shard: int
    facts: ShardFacts
    table: pa.Table | None
    version: str
    """Version of the object."""

    def to_rows(self) -> list[Row]:
        """Return the rows that were read."""
        return self.table.to_pylist() if self.table is not None else []


class Shards:
    """Reads and commits the shards of a run.

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
        names = [*columns, "pair_id"] if columns else []

        def read(parquet: pq.ParquetFile) -> pa.Table | None:
            return parquet.read(columns=names) if names else None

        return self._read_twice(shard, pairs or self.expected_pairs(shard), read, whole=False)

    def read_whole(self, shard: int, *, pairs: str = "") -> ShardContent:
        """Read all columns of a shard, images included, and compare the digest of their values.

        Raises:
            DamagedShardError: The shard is damaged, also when it is read a second time.
            StorageError: The shard cannot be read.
        """

        def read(parquet: pq.ParquetFile) -> pa.Table:
            return pa.concat_tables(read_groups(parquet))

        return self._read_twice(shard, pairs or self.expected_pairs(shard), read, whole=True)

    def read_row(self, shard: int, offset: int) -> Row:
        """Read the row of one pair with its fused image, but no images of other row groups.

        Raises:
            DamagedShardError: The shard is damaged, also when it is read a second time.
            StorageError: The shard cannot be read.
        """
        image: dict[str, Any] | None = None

        def read(parquet: pq.ParquetFile) -> pa.Table:
            nonlocal image
            image = read_image(parquet, offset)
            return parquet.read(columns=[name for name in self._schema.names if name != "fused"])

        content = self._read_twice(shard, self.expected_pairs(shard), read, whole=False)
        return {**content.to_rows()[offset], "fused": image}

    def _read_twice(
        self,
        shard: int,
        expected: str,
        read: Callable[[pq.ParquetFile], pa.Table | None],
        *,
        whole: bool,
    ) -> ShardContent:
        try:
            return self._read_once(shard, expected, read, whole=whole)
        except (NotFoundError, AccessDeniedError):
            raise
        except StorageError:  # a retry may have replaced the shard while it was read
            return self._read_once(shard, expected, read, whole=whole)

    def _read_once(
        self,
        shard: int,
        expected: str,
        read: Callable[[pq.ParquetFile], pa.Table | None],
        *,
        whole: bool,
    ) -> ShardContent:
        key = shard_key(shard)
        file, version = self._out.open_version(key)
        facts, table = None, None
        with file:
            try:
                parquet = open_shard(file)
                facts = read_facts(parquet)
                problem = self._facts_problem(shard, expected, facts, parquet)
                table = None if problem else read(parquet)
            except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
                problem = f"it cannot be read ({str(error).splitlines()[0]})"
        if table is not None and facts is not None:
            problem = _values_problem(expected, facts, table, whole=whole)
        if problem or facts is None:
            raise DamagedShardError(self._out.uri(key), Damage(shard, problem or "", version))
        return ShardContent(shard, facts, table, version)

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

    def commit(
        self,
        shard: int,
        computed: Mapping[int, Row],
        found: ShardContent | None,
        started: datetime,
    ) -> list[Row]:
        """Publish the rows of a shard.

        Args:
            shard: Number of the shard.
            computed: Mapping from offset in the shard to computed row.
            found: The whole shard as it was read before, which has the other rows; None if there
                was none.
            started: Time at which the computation began.

        Returns:
            The rows that are committed now.

        Raises:
            StorageError: The shard cannot be written.
            RunFailedError: Other processes keep replacing the shard.
        """
        present: list[Row] | None = list(found.to_rows()) if found else None
        version = found.version if found else None
        own = {**dict(enumerate(present or [])), **computed}
        first, end = self._record.plan.bounds(shard)
        if len(own) != end - first:
            raise RunFailedError(
                f"{self._out.uri(shard_key(shard))} was damaged while its failed pairs were "
                "computed; run the same command again"
            )
        for _ in range(_MOST_CONFLICTS):
            rows = [own[offset] for offset in range(len(own))]
            if present is not None:
                rows = [_better(*both) for both in zip(present, rows, strict=True)]
                if all(row is old for row, old in zip(rows, present, strict=True)):
                    return present
            if self._publish(shard, rows, version, started):
                return rows
            present, version = self._present(shard)
        raise RunFailedError(
            f"{self._out.uri(shard_key(shard))} cannot be committed because other processes keep "
            "replacing it; check that no other run uses the same output location"
        )

    def _publish(
        self, shard: int, rows: Sequence[Row], version: str | None, started: datetime
    ) -> bool:
        """Publish a shard in place of a version, or where there is none."""
        data = encode_shard(
            rows,
            self._record.metrics,
            fingerprint=self._record.fingerprint,
            shard=shard,
            started=started,
            committed=datetime.now(UTC),
        )
        key = shard_key(shard)
        if version is None:
            return self._out.create(key, data)
        return self._out.replace(key, data, version)

    def _present(self, shard: int) -> tuple[list[Row] | None, str | None]:
        """Return the rows and the version of a shard; no rows if it is damaged."""
        try:
            content = self.read_whole(shard)
        except NotFoundError:
            return None, None
        except DamagedShardError as error:
            return None, error.damage.version
        return content.to_rows(), content.version


def _values_problem(
    expected: str, facts: ShardFacts, table: pa.Table, *, whole: bool
) -> str | None:
    """Return what is wrong with the values of a shard."""
    if pairs_digest(table["pair_id"].to_pylist()) != expected:
        return "its pairs are not those of the manifest"
    if whole and content_digest([table]) != facts.content:
        return "its values are not those that were committed"
    return None


def _better(old: Row, new: Row) -> Row:
    """Return the better one of two rows of a pair; of two failed ones the one tried more often."""
    if old["status"] == "ok" or old is new:
        return old
    return new if new["status"] == "ok" or new["attempt"] > old["attempt"] else old
