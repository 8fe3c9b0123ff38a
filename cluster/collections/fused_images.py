"""Existing fused images, matched to pairs by their names."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

import pyarrow as pa

from cluster.collections.frozen_manifest import FUSED_COLUMN
from cluster.collections.names import has_image_extension
from cluster.storage import Store
from fusion_core.errors import ManifestError


def require_fused(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield the batches unchanged, provided that they have the column of fused images.

    Raises:
        ManifestError: The column is missing.
    """
    for batch in batches:
        if FUSED_COLUMN not in batch.schema.names:
            raise ManifestError(
                "The locations of the fused images are missing: pass their folder with --fused, "
                f"or a manifest with the column {FUSED_COLUMN}"
            )
        yield batch


class FusedImages:
    """A folder of existing fused images, matched to pairs by their names.

    Raises:
        ManifestError: The folder contains no images.
        StorageError: The folder cannot be listed.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        keys = [entry.key for entry in self._store.entries() if has_image_extension(entry.key)]
        if not keys:
            raise ManifestError(f"{self._store.url} contains no images; check the path or URL")
        self._by_path = {posixpath.splitext(key)[0].casefold(): key for key in keys}
        self._by_stem: dict[str, list[str]] = {}
        for key in keys:
            stem = posixpath.splitext(posixpath.basename(key))[0].casefold()
            self._by_stem.setdefault(stem, []).append(key)

    def add_to(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Add the column of fused images; it is empty for pairs without a match."""
        for batch in batches:
            rows = zip(
                *(batch.column(name).to_pylist() for name in ("pair_id", "ir_uri", "vis_uri")),
                strict=True,
            )
            fused = [self._find(*row) for row in rows]
            columns = {name: batch.column(name) for name in batch.schema.names}
            yield pa.RecordBatch.from_pydict(
                {**columns, FUSED_COLUMN: pa.array(fused, pa.string())}
            )

    def _find(self, pair_id: str, ir_uri: str, vis_uri: str) -> str:
        """Match by the full pair_id first, then by a stem that only one fused image has."""
        key = self._by_path.get(pair_id.casefold())
        stems = [posixpath.basename(pair_id)]
        stems += [posixpath.splitext(posixpath.basename(uri))[0] for uri in (ir_uri, vis_uri)]
        stems += [f"{prefix}{stems[0]}" for prefix in ("fused", "fused_", "fusion_", "f")]
        for stem in stems:
            if key is None:
                candidates = self._by_stem.get(stem.casefold(), [])
                key = candidates[0] if len(candidates) == 1 else None
        return self._store.uri(key) if key else ""
