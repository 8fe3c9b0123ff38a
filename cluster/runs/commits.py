"""Commits of shards, which lose no row.

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

import pyarrow as pa

from cluster.runs.damage import DamagedShardError
from cluster.runs.plan import shard_key
from cluster.runs.record import RunRecord
from cluster.runs.score_parts import ShardScores, score_schema
from cluster.runs.shard_file import ShardFacts, encode_shard, open_shard, read_facts
from cluster.runs.shards import Row, ShardContent, Shards
from cluster.storage import Store
from fusion_core.errors import NotFoundError, RunFailedError

_MOST_CONFLICTS = 20
"""Number of times that a commit gives way to other writers until it fails."""


@dataclass(frozen=True, slots=True)
class Commit:
    """A committed shard."""

    rows: Sequence[Row]
    facts: ShardFacts
    version: str
    """Version of the object that holds these rows; empty if the store does not tell it."""

    def scores(self, metrics: Sequence[str]) -> ShardScores | None:
        """Return the rows without their images; None if the version is unknown."""
        if not self.version:
            return None
        table = pa.Table.from_pylist(list(self.rows), schema=score_schema(metrics))
        return ShardScores.of(self.version, self.facts, table)


class Committer:
    """Reads and commits the shards of a run.

    Args:
        out: Output location of the run.
        record: Record of the run.
        on_write: Called with the size in bytes of each shard that is about to be written.

    Raises:
        NotFoundError: The run has no manifest.
        RunConflictError: The manifest is not that of the run.
    """

    def __init__(
        self, out: Store, record: RunRecord, on_write: Callable[[int], None] = lambda size: None
    ) -> None:
        self._out, self._record, self._on_write = out, record, on_write
        self.shards = Shards(out, record)

    def commit(
        self,
        shard: int,
        computed: Mapping[int, Row],
        found: ShardContent | None,
        started: datetime,
    ) -> Commit:
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
        present = Commit(found.to_rows(), found.facts, found.version) if found else None
        version = found.version if found else None
        own = {**dict(enumerate(present.rows if present else [])), **computed}
        first, end = self._record.plan.bounds(shard)
        if len(own) != end - first:
            raise RunFailedError(
                f"{self._out.uri(shard_key(shard))} was damaged while its failed pairs were "
                "computed; run the same command again"
            )
        for _ in range(_MOST_CONFLICTS):
            rows = [own[offset] for offset in range(len(own))]
            if present is not None:
                rows = [_better(*both) for both in zip(present.rows, rows, strict=True)]
                if all(row is old for row, old in zip(rows, present.rows, strict=True)):
                    return present
            if published := self._publish(shard, rows, version, started):
                return published
            present, version = self._present(shard)
        raise RunFailedError(
            f"{self._out.uri(shard_key(shard))} cannot be committed because other processes keep "
            "replacing it; check that no other run uses the same output location"
        )

    def _publish(
        self, shard: int, rows: Sequence[Row], version: str | None, started: datetime
    ) -> Commit | None:
        """Publish a shard in place of a version, or where there is none; None if it is not so."""
        data = encode_shard(
            rows,
            self._record.metrics,
            fingerprint=self._record.fingerprint,
            shard=shard,
            started=started,
            committed=datetime.now(UTC),
        )
        key = shard_key(shard)
        self._on_write(len(data))
        if version is None:
            published = self._out.create(key, data)
        else:
            published = self._out.replace(key, data, version)
        if published is None:
            return None
        facts = read_facts(open_shard(pa.BufferReader(data)))
        assert facts is not None
        return Commit(rows, facts, published.version)

    def _present(self, shard: int) -> tuple[Commit | None, str | None]:
        """Return the rows and the version of a shard; no rows if it is damaged."""
        try:
            content = self.shards.read_whole(shard)
        except NotFoundError:
            return None, None
        except DamagedShardError as error:
            return None, error.damage.version
        return Commit(content.to_rows(), content.facts, content.version), content.version


def _better(old: Row, new: Row) -> Row:
    """Return the better one of two rows of a pair; of two failed ones the one tried more often."""
    if old["status"] == "ok" or old is new:
        return old
    return new if new["status"] == "ok" or new["attempt"] > old["attempt"] else old
