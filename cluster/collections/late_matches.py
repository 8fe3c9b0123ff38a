"""Fused images that were made after the manifest of a run was frozen.

The frozen manifest never changes, because its digest is part of the settings of the run. Matches
that are found later are an object of their own, whose rows are those of the manifest.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cluster.collections.frozen_manifest import DIGEST_KEY, FUSED_COLUMN
from cluster.collections.fused_images import FusedImages
from cluster.collections.manifest_reader import LATE_MATCHES_KEY, FrozenManifest
from cluster.storage import Store

_MATCHED_KEY = b"irfuse.matched"


def match_late(out: Store, images: FusedImages) -> tuple[int, int]:
    """Match the pairs of a run that have no fused image yet, and keep all other matches.

    Args:
        out: The output location of the run.
        images: The fused images that exist now.

    Returns:
        Number of pairs that had no fused image, and how many of them have one now.

    Raises:
        ManifestError: Two images could belong to a pair, or an image to two pairs.
        StorageError: The location cannot be read or written.
    """
    while True:
        manifest = FrozenManifest(out)
        missing = sum(map(_count_missing, manifest.batches()))
        left, matches = _encode(images.added_to(manifest.batches, keep=True)(), manifest.digest)
        if left == missing or _publish(out, matches, manifest.late_version):
            return missing, missing - left


def _count_missing(batch: pa.RecordBatch) -> int:
    return int(pc.sum(pc.equal(batch.column(FUSED_COLUMN), "")).as_py())


def _encode(batches: Iterator[pa.RecordBatch], digest: str) -> tuple[int, bytes]:
    """Return the number of pairs without a fused image, and the object of the matches."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    schema = pa.schema(
        [("pair_id", pa.string()), (FUSED_COLUMN, pa.string())],
        metadata={DIGEST_KEY: digest.encode(), _MATCHED_KEY: now.encode()},
    )
    left, buffer = 0, io.BytesIO()
    with pq.ParquetWriter(buffer, schema, compression="zstd", write_page_checksum=True) as writer:
        for batch in batches:
            left += _count_missing(batch)
            writer.write_batch(batch.select(schema.names).replace_schema_metadata(schema.metadata))
    return left, buffer.getvalue()


def _publish(out: Store, matches: bytes, version: str | None) -> bool:
    """Write the matches, unless another driver has written some meanwhile."""
    if version is None:
        return out.create(LATE_MATCHES_KEY, matches) is not None
    return out.replace(LATE_MATCHES_KEY, matches, version) is not None
