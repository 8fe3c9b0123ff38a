"""From a source to a manifest: find the pairs of a collection, or take the user's own list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cluster.collections.discovery import discover
from cluster.collections.frozen_manifest import FrozenInfo, freeze
from cluster.collections.layouts import Discovery, Layout
from cluster.storage.reader import split_object_url
from cluster.storage.store import Store
from fusion_core.errors import ManifestError


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
