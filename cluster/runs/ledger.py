"""The ledger of a run: which shards are committed, and what they contain."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property

from cluster.runs.damage import Damage, DamagedShardError
from cluster.runs.plan import SHARDS_PREFIX, parse_shard_key
from cluster.runs.record import RunRecord
from cluster.runs.score_parts import PartReader, ScoreParts
from cluster.runs.shards import ShardContent, Shards
from cluster.storage import Entry, Store

_READERS = 16
_READ_AHEAD = 64
"""Number of shards to read ahead."""


@dataclass(frozen=True, slots=True)
class Listing:
    """The shards of a run that have an object, from one listing."""

    shards: frozenset[int]
    digest: str
    """Digest of the keys and versions, which differs once a shard is added, replaced or removed."""
    versions: Mapping[int, str] = field(default_factory=dict)
    """Version of each shard."""

    @classmethod
    def of(cls, entries: Iterable[Entry], count: int) -> Listing:
        """Return what the listed objects of a run say about its shards.

        Args:
            entries: Objects, sorted by their keys, which are relative to the run.
            count: Number of shards that the run has.
        """
        found: dict[int, str] = {}
        digest = hashlib.sha256()
        for entry in entries:
            shard = parse_shard_key(entry.key)
            if shard is not None and shard < count:
                found[shard] = entry.version
                digest.update(f"{entry.key}\n{entry.size}\n{entry.version}\n".encode())
        return cls(frozenset(found), digest.hexdigest(), found)

    @property
    def present(self) -> dict[int, str]:
        """The version of each of the shards."""
        return {shard: self.versions[shard] for shard in self.shards if shard in self.versions}

    def only(self, shards: Iterable[int]) -> Listing:
        """Return the listing with these shards alone."""
        return Listing(frozenset(shards), self.digest, self.versions)


class Ledger:
    """Lists and reads the committed shards of a run."""

    def __init__(self, out: Store, record: RunRecord) -> None:
        self._out = out
        self._record = record

    @cached_property
    def _shards(self) -> Shards:
        return Shards(self._out, self._record)

    @cached_property
    def parts(self) -> ScoreParts:
        """The compacted scores of the run."""
        return ScoreParts(self._out, self._record)

    def listing(self) -> Listing:
        """Return the shards that have an object; what they contain is not checked."""
        return Listing.of(self._out.entries(SHARDS_PREFIX), self._record.plan.count)

    def verify_manifest(self) -> None:
        """Compare the rows of the manifest with their digest.

        Raises:
            RunConflictError: The manifest is not that of the run.
            StorageError: The manifest is damaged.
        """
        self._shards.manifest.verify()

    def contents(
        self,
        columns: Sequence[str] = (),
        *,
        listing: Listing | None = None,
        on_damage: Callable[[Damage], None] | None = None,
        on_read: Callable[[ShardContent], None] | None = None,
    ) -> Iterator[ShardContent]:
        """Read the committed shards in order, and compare them with the plan of the run.

        Rows are taken from the compacted scores where these are of the listed version of a shard.
        Other shards are read themselves, and compared with the manifest.

        Args:
            columns: Columns to read; there may be more.
            listing: The shards to read; by default those of a new listing.
            on_damage: Called for each damaged shard, which is left out. By default an exception is
                raised for the first one.
            on_read: Called for each shard that was read itself, with all columns of its rows but
                the images.

        Raises:
            DamagedShardError: A shard is damaged.
            StorageError: A shard cannot be read.
        """
        listing = listing or self.listing()
        if listing.shards:
            _ = self._shards  # a manifest that is missing or of another run is an error in any case
        own = columns if on_read is None else self.parts.columns

        def read(shard: int, pairs: str) -> ShardContent:
            return self._shards.read(shard, own, pairs=pairs)

        present = listing.present if self.parts.have(columns) else {}
        with self.parts.open(present, columns) as parts:
            for content in self._in_parallel(read, listing, on_damage, parts):
                if on_read is not None and not content.compacted:
                    on_read(content)
                yield content

    def verify(
        self,
        listing: Listing,
        on_damage: Callable[[Damage], None],
        on_difference: Callable[[int], None] = lambda shard: None,
    ) -> Iterator[ShardContent]:
        """Read the committed shards whole, images included, and yield sound ones without images.

        Args:
            listing: The shards to read.
            on_damage: Called for each damaged shard.
            on_difference: Called for each sound shard whose compacted scores are other ones.

        Raises:
            StorageError: A shard cannot be read.
        """

        def read(shard: int, pairs: str) -> ShardContent:
            return self._shards.verify(shard, pairs=pairs)

        with self.parts.open(listing.present, self.parts.columns) as parts:
            for content in self._in_parallel(read, listing, on_damage, None):
                found = parts.take(content.shard)
                same_version = content.version == listing.versions.get(content.shard)
                if found and same_version and not found.equals(content.facts, content.table):
                    on_difference(content.shard)
                yield content

    def _in_parallel(
        self,
        read: Callable[[int, str], ShardContent],
        listing: Listing,
        on_damage: Callable[[Damage], None] | None,
        parts: PartReader | None,
    ) -> Iterator[ShardContent]:
        ahead: deque[Future[ShardContent] | ShardContent] = deque()

        def take() -> Iterator[ShardContent]:
            try:
                first = ahead.popleft()
                yield first if isinstance(first, ShardContent) else first.result()
            except DamagedShardError as error:
                if on_damage is None:
                    raise
                on_damage(error.damage)

        with ThreadPoolExecutor(_READERS) as pool:
            try:
                for shard in sorted(listing.shards):
                    found = parts.take(shard) if parts is not None else None
                    if found is None:
                        # Asked for in order, so that one row group of the manifest is in memory.
                        pairs = self._shards.expected_pairs(shard)
                        ahead.append(pool.submit(read, shard, pairs))
                    else:
                        version = listing.versions[shard]
                        ahead.append(ShardContent(shard, found.facts, found.table, version, True))
                    if len(ahead) == _READ_AHEAD:
                        yield from take()
                while ahead:
                    yield from take()
            finally:
                pool.shutdown(cancel_futures=True)
