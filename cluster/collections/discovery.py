"""Discovery of the pairs of a folder, and their manifest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from cluster.collections.frozen_manifest import LABEL_COLUMN, ROW_GROUP_ROWS
from cluster.collections.hashes import HashedTexts
from cluster.collections.labels import LabelFiles, LabelledPair, LabelRows, may_be_label
from cluster.collections.layouts import (
    Discovery,
    DividedFiles,
    File,
    Layout,
    Pair,
    Patterns,
    find_in_parts,
)
from cluster.collections.listing import FileStream
from cluster.collections.names import why_ignore_file, why_ignore_folder
from cluster.collections.repetitions import Repetition, Repetitions
from cluster.collections.spool import RECORDS_AT_ONCE, Parts
from cluster.storage import Store
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
    labels: LabelRows = field(default_factory=LabelRows)
    """Label files of the pairs."""

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield manifest batches."""
        pairs, labels = iter(self.discovery.pairs), iter(self.labels.rows)
        label = next(labels, None)
        for first in range(0, len(self.discovery.pairs), ROW_GROUP_ROWS):
            ids, irs, vis, subsets = zip(*islice(pairs, ROW_GROUP_ROWS), strict=True)
            columns = {
                "pair_id": list(ids),
                "ir_uri": list(map(self.store.uri, irs)),
                "vis_uri": list(map(self.store.uri, vis)),
                "subset": list(subsets),
            }
            if self.labels.rows:
                uris = [""] * len(ids)
                while label is not None and label[0] < first + len(ids):
                    uris[label[0] - first] = self.store.uri(label[1])
                    label = next(labels, None)
                columns[LABEL_COLUMN] = uris
            yield pa.RecordBatch.from_pydict(
                {name: pa.array(values, pa.string()) for name, values in columns.items()}
            )


def discover(
    store: Store, pairing: Pairing | None = None, *, at_once: int = RECORDS_AT_ONCE
) -> Collection:
    """List a folder and find its pairs.

    Images in the folders of further sources belong to no infrared/visible pair.

    Args:
        store: The folder.
        pairing: How the images of a pair are named; detected by default.
        at_once: Number of files that are in memory together.

    Raises:
        ManifestError: The folder is missing or empty, or contains no pair, or a pattern matches no
            image.
        StorageError: The folder cannot be listed.
    """
    pairing = pairing or Pairing()
    further = tuple(f"{folder}/" for folder in pairing.further)
    stream, besides = FileStream(store), _Besides(at_once)
    source = _without(stream, store, further, besides)
    first = next(source, None)
    if not stream.count and not stream.skipped:
        raise ManifestError(f"{store.url} does not exist or is empty; check the path or URL")
    files, found, how = _find(
        store, chain(() if first is None else (first,), source), pairing, besides
    )
    if not found.pairs:
        raise ManifestError(
            f"No infrared/visible pair was found among the {len(files)} files of {store.url}"
            f"{_describe_unused(found, stream.skipped)} ({how}); name the folders or patterns "
            "of the images with --ir and --vis, or write a manifest with the columns ir_uri and "
            "vis_uri"
        )
    pairs = (LabelledPair(*pair) for pair in found.pairs)
    labels = besides.labels.match(pairs, len(found.pairs))
    return Collection(
        store,
        replace(_without_labels(found, files, labels), skipped=stream.skipped),
        besides.repetitions.find(),
        labels,
    )


class _Besides:
    """What is looked for besides the pairs: their repetitions, and their labels."""

    def __init__(self, at_once: int) -> None:
        self.at_once = at_once
        self._apart: list[str] = []
        self.begin()

    def add_apart(self, key: str) -> None:
        """Take note of a file that can be no image of a pair."""
        if may_be_label(key):
            self._apart.append(key)

    def begin(self) -> None:
        """Forget all parts."""
        self.repetitions, self.labels = Repetitions(), LabelFiles(at_once=self.at_once)
        self.labels.add(self._apart)

    def add(self, files: Sequence[File], pairs: Sequence[Pair]) -> None:
        """Take note of the files of a part and of its pairs."""
        used = {key for pair in pairs for key in (pair.ir_key, pair.vis_key)}
        self.labels.add(key for key, _ in files if key not in used)
        self.repetitions.add(pairs, dict(files))


def _without_labels(
    discovery: Discovery, files: DividedFiles | Parts[File], labels: LabelRows
) -> Discovery:
    """Return what was found, without the labels of pairs among the ignored files."""
    ignored, examples = dict(discovery.ignored), dict(discovery.ignored_examples)
    taken = HashedTexts(key for _, key in labels.rows)
    counts = Counter(_why_ignore(key) for _, key in labels.rows)
    for reason, count in counts.items():
        if reason not in ignored:
            continue
        ignored[reason] -= count
        if examples.get(reason, "") in taken:
            examples[reason] = _first_ignored(files, reason, taken)
        if ignored[reason] <= 0 or not examples.get(reason):
            del ignored[reason], examples[reason]
    return replace(discovery, ignored=ignored, ignored_examples=examples)


def _first_ignored(files: DividedFiles | Parts[File], reason: str, taken: Container[str]) -> str:
    """Return the first file that is ignored for a reason and not taken as a label, if any."""
    keys = (key for part in files for key, _ in part)
    return min((key for key in keys if _why_ignore(key) == reason and key not in taken), default="")


def _why_ignore(key: str) -> str | None:
    folder, _, name = key.rpartition("/")
    return why_ignore_folder(f"{folder}/" if folder else "") or why_ignore_file(name)


def _without(
    stream: FileStream, store: Store, further: tuple[str, ...], besides: _Besides
) -> Iterator[File]:
    """Yield the files outside of the folders of further sources."""
    for key, size in stream:
        if further and store.uri(key).startswith(further):
            besides.add_apart(key)
        else:
            yield key, size


def _find(
    store: Store, files: Iterator[File], pairing: Pairing, besides: _Besides
) -> tuple[DividedFiles | Parts[File], Discovery, str]:
    """Return the files, in parts, what was found among them, and how it was looked for."""
    if pairing.ir is not None and pairing.vis is not None:
        patterns = Patterns(pairing.ir, pairing.vis)
        parts = patterns.divide(files, besides.at_once)
        how = "the wildcards of --ir and --vis never stand for the same text"
        return parts, patterns.find(parts, besides), how
    divided = DividedFiles(files, besides.at_once)
    found = find_in_parts(
        divided,
        layout=pairing.layout,
        read_head=lambda key: store.read_head(key, _HEAD_BYTES),
        watch=besides,
    )
    return divided, found, f"layout: {pairing.layout}"


def _describe_unused(found: Discovery, skipped: Mapping[str, str]) -> str:
    """Return examples of what the folder contains instead of pairs."""
    examples = [*found.single[:1], *found.single[-1:]]
    examples += [f"{key} ({reason})" for reason, key in found.ignored_examples.items()]
    examples += [f"{key} ({reason})" for key, reason in list(skipped.items())[:1]]
    return f", such as {', '.join(dict.fromkeys(examples))}" if examples else ""
