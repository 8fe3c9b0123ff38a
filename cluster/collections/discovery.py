"""Creation of a manifest from a source: a folder of pairs or a manifest file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from cluster.collections.frozen_manifest import ROW_GROUP_ROWS
from cluster.collections.layouts import Discovery, Layout, find_pairs
from cluster.collections.user_manifest import read_user_manifest
from cluster.storage import Store
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
                "subset": [pair.subset for pair in part],
            }
            yield pa.RecordBatch.from_pydict(
                {name: pa.array(values, pa.string()) for name, values in columns.items()}
            )


def discover(store: Store, *, layout: Layout = "auto") -> Collection:
    """List a folder and find its pairs.

    Raises:
        ManifestError: The folder is missing or empty, or contains no pair.
        StorageError: The folder cannot be listed.
    """
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
            f"(layout: {layout}); select a layout with --layout, or write a manifest with the "
            "columns ir_uri and vis_uri"
        )
    return Collection(store, discovery)


def manifest_batches(
    store: Store, name: str = "", *, layout: Layout = "auto", allow_local_files: bool = False
) -> Iterator[pa.RecordBatch]:
    """Return the manifest of a source, which is a folder or a manifest file.

    Args:
        store: The folder of pairs, or the folder of the manifest file.
        name: Name of the manifest file; empty for a folder of pairs.
        layout: Layout of the pairs in a folder.
        allow_local_files: Whether a manifest on remote storage may name local files.

    Raises:
        ManifestError: The source has no pairs, or the manifest is invalid.
        StorageError: The source cannot be read.
    """
    if name:
        return read_user_manifest(store, name, allow_local_files=allow_local_files)
    return discover(store, layout=layout).batches()


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
