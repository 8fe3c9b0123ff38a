"""Groups of shards whose pairs are written together to files that are made in memory."""

from __future__ import annotations

import contextlib

from cluster.collections import FrozenManifest
from cluster.runs import SHARDS_PREFIX, RunRecord, shard_key
from cluster.storage import Reader, Store
from fusion_core.errors import NotFoundError

_SAMPLED_PAIRS = 8


def group_shards(
    run: Store, record: RunRecord, size: int, *, with_sources: bool
) -> tuple[int, ...]:
    """Return the first shard of each group of consecutive shards.

    Args:
        run: Output location of the run.
        record: Record of the run.
        size: Bytes of the pairs of a group, about; a shard that is larger is a group of its own.
        with_sources: Whether the source files are exported, too.

    Raises:
        StorageError: The run or a file cannot be read.
    """
    sizes = {entry.key: entry.size for entry in run.entries(SHARDS_PREFIX)}
    further = _further_bytes(run, record, with_sources=with_sources)
    first, total = [0], 0.0
    for shard in range(record.plan.count):
        start, end = record.plan.bounds(shard)
        own = sizes.get(shard_key(shard), 0) + (end - start) * further
        if shard > first[-1] and total + own > size:
            first.append(shard)
            total = 0
        total += own
    return tuple(first)


def _further_bytes(run: Store, record: RunRecord, *, with_sources: bool) -> float:
    """Return how much is exported of a pair besides its row: the mean over some pairs."""
    if not (with_sources or record.origin.reads_fused):
        return 0.0
    manifest, reader = (
        FrozenManifest(run),
        Reader(run.storage_options, max_pixels=record.max_pixels),
    )
    count, total = min(_SAMPLED_PAIRS, manifest.rows), 0
    for number in range(count):
        place = number * manifest.rows // count
        (pair,) = manifest.read(place, place + 1)
        uris = list(pair.sources.values()) if with_sources else []
        if record.origin.reads_fused:
            uris.append(pair.fused_uri)
        for uri in filter(None, uris):
            # Files that have vanished are named with their pairs when these are exported.
            with contextlib.suppress(NotFoundError):
                total += len(reader.read(uri))
    return total / count if count else 0.0
