"""From a source to a manifest: find the pairs of a collection, or take the user's own list."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from cluster.layouts import Discovery, Layout, find_pairs
from cluster.manifest import (
    FUSED_COLUMN,
    ROW_GROUP_ROWS,
    FrozenInfo,
    freeze,
)
from cluster.storage import Store, split_object_url
from cluster.user_manifest import is_manifest, read_user_manifest
from fusion_core.errors import ManifestError

_HEAD_BYTES = 64


@dataclass(frozen=True, slots=True)
class Collection:
    """The pairs of a source folder."""

    store: Store
    discovery: Discovery

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield manifest batches."""
        pairs = self.discovery.pairs
        for first in range(0, len(pairs), ROW_GROUP_ROWS):
            part = pairs[first : first + ROW_GROUP_ROWS]
            columns = {
                "pair_id": [pair.pair_id for pair in part],
                "ir_uri": [self.store.uri(pair.ir_key) for pair in part],
                "vis_uri": [self.store.uri(pair.vis_key) for pair in part],
                "group": [pair.group for pair in part],
            }
            yield pa.RecordBatch.from_pydict(
                {name: pa.array(values, pa.string()) for name, values in columns.items()}
            )


def discover(
    source: str, *, layout: Layout = "auto", storage_options: Mapping[str, Any] | None = None
) -> Collection:
    """List a folder once and find its pairs.

    Raises:
        ManifestError: There is nothing, or no pair.
        StorageError: The folder cannot be listed.
    """
    store = Store(source, storage_options)
    keys = [entry.key for entry in store.entries()]
    unnamable = next((key for key in keys if not _is_unicode(key)), None)
    if unnamable is not None:
        raise ManifestError(
            f"The file name {unnamable!r} in {store.url} is not valid Unicode; rename it"
        )
    if not keys:
        raise ManifestError(f"{store.url} does not exist or is empty; check the path or URL")
    discovery = find_pairs(
        keys, layout=layout, read_head=lambda key: store.read(key, 0, _HEAD_BYTES)
    )
    if not discovery.pairs:
        raise ManifestError(
            f"No infrared/visible pair was found among the {len(keys)} files of {store.url} "
            f"(layout: {layout}); name the layout with --layout, or write a manifest with the "
            "columns ir_uri and vis_uri"
        )
    return Collection(store, discovery)


def manifest_batches(
    source: str,
    *,
    layout: Layout = "auto",
    allow_local_files: bool = False,
    storage_options: Mapping[str, Any] | None = None,
) -> Iterator[pa.RecordBatch]:
    """Return the manifest of a source, be it a folder or a manifest already.

    Raises:
        ManifestError: The source has no pairs, or the manifest is not one.
        StorageError: The source cannot be read.
    """
    if is_manifest(source):
        folder, name = split_object_url(source)
        store = Store(folder, storage_options)
        return read_user_manifest(store, name, allow_local_files=allow_local_files)
    return discover(source, layout=layout, storage_options=storage_options).batches()


def pairs(
    source: str,
    output: str,
    *,
    layout: Layout = "auto",
    storage_options: Mapping[str, Any] | None = None,
) -> tuple[Discovery, FrozenInfo]:
    """Find the pairs of a folder and write them as a Parquet manifest.

    Args:
        source: Folder: local path or URL.
        output: Where to write the manifest, ending in `.parquet`.
        layout: How the pairs lie in the folder.
        storage_options: Options for fsspec.

    Returns:
        What was found, and the manifest's number of rows and digest.

    Raises:
        ManifestError: No pair was found, or the output is not named `.parquet`.
        StorageError: The source cannot be listed or the manifest not be written.
    """
    if not output.lower().endswith(".parquet"):
        raise ManifestError(f"Expected an output that ends in .parquet, but got {output}")
    collection = discover(source, layout=layout, storage_options=storage_options)
    info, manifest = freeze(collection.batches())
    folder, name = split_object_url(output)
    Store(folder, storage_options).write(name, manifest)
    return collection.discovery, info


def require_fused(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Pass batches on that say themselves where the fused images are.

    Raises:
        ManifestError: They do not.
    """
    for batch in batches:
        if FUSED_COLUMN not in batch.schema.names:
            raise ManifestError(
                "Nothing says where the fused images are: give their folder with --fused, or a "
                f"manifest with the column {FUSED_COLUMN}"
            )
        yield batch


class FusedImages:
    """Fused images made elsewhere, found by what they are called."""

    def __init__(self, url: str, storage_options: Mapping[str, Any] | None = None) -> None:
        self._store = Store(url, storage_options)
        keys = [entry.key for entry in self._store.entries() if _is_image(entry.key)]
        if not keys:
            raise ManifestError(f"{self._store.url} holds no images; check the path or URL")
        self._by_path = {posixpath.splitext(key)[0].casefold(): key for key in keys}
        self._by_stem: dict[str, list[str]] = {}
        for key in keys:
            stem = posixpath.splitext(posixpath.basename(key))[0].casefold()
            self._by_stem.setdefault(stem, []).append(key)

    def add_to(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Add the column of fused images; it is empty where none matches."""
        for batch in batches:
            rows = zip(
                *(batch.column(name).to_pylist() for name in ("pair_id", "ir_uri", "vis_uri")),
                strict=True,
            )
            found = [self._find(*row) for row in rows]
            columns = {name: batch.column(name) for name in batch.schema.names}
            yield pa.RecordBatch.from_pydict(
                {**columns, FUSED_COLUMN: pa.array(found, pa.string())}
            )

    def _find(self, pair_id: str, ir_uri: str, vis_uri: str) -> str:
        """Match by the whole pair_id, then by a stem that only one fused image has."""
        key = self._by_path.get(pair_id.casefold())
        stems = [posixpath.basename(pair_id)]
        stems += [posixpath.splitext(posixpath.basename(uri))[0] for uri in (ir_uri, vis_uri)]
        stems += [f"{prefix}{stems[0]}" for prefix in ("fused", "fused_", "fusion_", "f")]
        for stem in stems:
            if key is None:
                candidates = self._by_stem.get(stem.casefold(), [])
                key = candidates[0] if len(candidates) == 1 else None
        return self._store.uri(key) if key else ""


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_image(key: str) -> bool:
    return posixpath.splitext(key)[1].lower() in {
        ".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".jp2", ".ppm", ".pgm",
    }  # fmt: skip
