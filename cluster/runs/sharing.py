"""Runs that score different fused images of the same pairs, which may be computed together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import zip_longest

from cluster.collections import FrozenManifest
from cluster.runs.config import RunTarget
from cluster.runs.origins import FilesOrigin
from cluster.runs.record import RunRecord

_SHARED = (
    "metrics", "channels", "own_metrics", "measures", "max_pixels", "bands", "resize", "shard_size",
    "rows",
)  # fmt: skip


def share_sources(first: RunTarget, second: RunTarget) -> bool:
    """Whether two runs score existing fused images of the same pairs in the same way.

    Raises:
        StorageError: A manifest cannot be read.
    """
    if not all(_scores_files(target.record) for target in (first, second)):
        return False
    if _settings(first.record) != _settings(second.record):
        return False
    pairs = (_sources(FrozenManifest(target.out)) for target in (first, second))
    return all(a == b for a, b in zip_longest(*pairs))


def _scores_files(record: RunRecord) -> bool:
    origin = record.origin
    read_more = origin.reads_reference or origin.reads_further
    return isinstance(origin, FilesOrigin) and not read_more


def _settings(record: RunRecord) -> Mapping[str, object]:
    known = record.model_dump(include=set(_SHARED))
    return {**known, "sixteen_bit": record.origin.sixteen_bit}


def _sources(manifest: FrozenManifest) -> Iterator[tuple[str, ...]]:
    for batch in manifest.batches():
        yield from zip(
            *(batch.column(name).to_pylist() for name in ("pair_id", "ir_uri", "vis_uri")),
            strict=True,
        )
