"""Discovery of the pairs of a folder, and their manifest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from cluster.collections.frozen_manifest import LABEL_COLUMN, ROW_GROUP_ROWS
from cluster.collections.labels import LabelledPair, Labels, find_labels
from cluster.collections.layouts import Discovery, Layout, find_by_patterns, find_pairs
from cluster.collections.listing import list_files
from cluster.collections.names import why_ignore_file, why_ignore_folder
from cluster.collections.repetitions import Repetition, find_repetitions
from cluster.storage import Listing, Store
from fusion_core.errors import ManifestError

_HEAD_BYTES = 64


class Pairing(BaseModel):
    """How the images of a pair are named: in a layout, or by two patterns."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    layout: Layout = "auto"
    """Layout of the pairs; `auto` tries all."""
    ir: str | None = None
    """Folder or pattern of the infrared images."""
    vis: str | None = None
    """Folder or pattern of the visible images."""
    further: tuple[str, ...] = ()
    """Folders of the third source, the fourth, and so on."""


@dataclass(frozen=True, slots=True)
class Collection:
    """The pairs of a source folder."""

    store: Store
    discovery: Discovery
    repetitions: list[Repetition] = field(default_factory=list)
    """Subsets most of whose pairs are in other subsets, too."""
    labels: Labels = field(default_factory=Labels)
    """Label files of the pairs."""

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
            if self.labels.keys:
                keys = [self.labels.keys.get(pair.pair_id) for pair in part]
                columns[LABEL_COLUMN] = [self.store.uri(key) if key else "" for key in keys]
            yield pa.RecordBatch.from_pydict(
                {name: pa.array(values, pa.string()) for name, values in columns.items()}
            )


def discover(store: Store, pairing: Pairing | None = None) -> Collection:
    """List a folder and find its pairs.

    Images in the folders of further sources belong to no infrared/visible pair.

    Args:
        store: The folder.
        pairing: How the images of a pair are named; detected by default.

    Raises:
        ManifestError: The folder is missing or empty, or contains no pair, or a pattern matches no
            image.
        StorageError: The folder cannot be listed.
    """
    listing = list_files(store)
    if not listing.entries and not listing.skipped:
        raise ManifestError(f"{store.url} does not exist or is empty; check the path or URL")
    pairing = pairing or Pairing()
    apart = tuple(f"{folder}/" for folder in pairing.further)
    entries = [e for e in listing.entries if not store.uri(e.key).startswith(apart)]
    discovery = _find(store, replace(listing, entries=entries), pairing)
    sizes = {entry.key: entry.size for entry in listing.entries}
    found = [LabelledPair(p.pair_id, p.ir_key, p.vis_key, p.subset) for p in discovery.pairs]
    used = {key for pair in discovery.pairs for key in (pair.ir_key, pair.vis_key)}
    labels = find_labels((key for key in sizes if key not in used), found)
    return Collection(
        store,
        replace(_without_labels(discovery, sizes, labels), skipped=listing.skipped),
        find_repetitions(discovery.pairs, sizes),
        labels,
    )


def _without_labels(discovery: Discovery, keys: Iterable[str], labels: Labels) -> Discovery:
    """Return what was found, without the labels of pairs among the ignored files."""
    taken = set(labels.keys.values())
    ignored, examples = dict(discovery.ignored), dict(discovery.ignored_examples)
    for reason, count in Counter(map(_why_ignore, taken)).items():
        if reason not in ignored:
            continue
        ignored[reason] -= count
        if examples.get(reason) in taken:
            others = (key for key in keys if key not in taken and _why_ignore(key) == reason)
            examples[reason] = next(others, "")
        if ignored[reason] <= 0 or not examples.get(reason):
            del ignored[reason], examples[reason]
    return replace(discovery, ignored=ignored, ignored_examples=examples)


def _why_ignore(key: str) -> str | None:
    folder, _, name = key.rpartition("/")
    return why_ignore_folder(f"{folder}/" if folder else "") or why_ignore_file(name)


def _find(store: Store, listing: Listing, pairing: Pairing) -> Discovery:
    keys = [entry.key for entry in listing.entries]
    if pairing.ir is not None and pairing.vis is not None:
        found = find_by_patterns(keys, pairing.ir, pairing.vis)
        how = "the wildcards of --ir and --vis never stand for the same text"
    else:
        found = find_pairs(
            keys, layout=pairing.layout, read_head=lambda key: store.read_head(key, _HEAD_BYTES)
        )
        how = f"layout: {pairing.layout}"
    if not found.pairs:
        raise ManifestError(
            f"No infrared/visible pair was found among the {len(keys)} files of {store.url}"
            f"{_describe_unused(found, listing)} ({how}); name the folders or patterns of the "
            "images with --ir and --vis, or write a manifest with the columns ir_uri and vis_uri"
        )
    return found


def _describe_unused(found: Discovery, listing: Listing) -> str:
    """Return examples of what the folder contains instead of pairs."""
    examples = [*found.single[:1], *found.single[-1:]]
    examples += [f"{key} ({reason})" for reason, key in found.ignored_examples.items()]
    examples += [f"{key} ({reason})" for key, reason in list(listing.skipped.items())[:1]]
    return f", such as {', '.join(dict.fromkeys(examples))}" if examples else ""
