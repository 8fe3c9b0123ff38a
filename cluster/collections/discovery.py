"""Discovery of the pairs of a folder, and their manifest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import pyarrow as pa

from cluster.collections.frozen_manifest import ROW_GROUP_ROWS
from cluster.collections.layouts import Discovery, Layout, find_pairs
from cluster.collections.names import why_ignore_folder
from cluster.collections.repetitions import Repetition, find_repetitions
from cluster.storage import Listing, Store
from fusion_core.errors import ManifestError

_HEAD_BYTES = 64


@dataclass(frozen=True, slots=True)
class Collection:
    """The pairs of a source folder."""

    store: Store
    discovery: Discovery
    repetitions: list[Repetition] = field(default_factory=list)
    """Subsets most of whose pairs are in other subsets, too."""

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
    listing = store.listing(dispensable=lambda folder: why_ignore_folder(f"{folder}/") is not None)
    if not listing.entries and not listing.skipped:
        raise ManifestError(f"{store.url} does not exist or is empty; check the path or URL")
    keys = [entry.key for entry in listing.entries]
    discovery = find_pairs(
        keys, layout=layout, read_head=lambda key: store.read(key, 0, _HEAD_BYTES)
    )
    if not discovery.pairs:
        raise ManifestError(
            f"No infrared/visible pair was found among the {len(keys)} files of {store.url} "
            f"(layout: {layout}{_describe_skipped(listing)}); select a layout with --layout, or "
            "write a manifest with the columns ir_uri and vis_uri"
        )
    sizes = {entry.key: entry.size for entry in listing.entries}
    return Collection(
        store,
        replace(discovery, skipped=listing.skipped),
        find_repetitions(discovery.pairs, sizes),
    )


def _describe_skipped(listing: Listing) -> str:
    first = next(iter(listing.skipped.items()), None)
    if first is None:
        return ""
    return f"; {len(listing.skipped)} others were left out, such as {first[0]!r}: {first[1]}"
