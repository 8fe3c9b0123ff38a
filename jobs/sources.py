"""The pairs of a source, which is a folder or a manifest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

import pyarrow as pa

from cluster.collections import (
    Discovery,
    FusedImages,
    LabelRows,
    Pairing,
    Repetition,
    Selection,
    discover,
    is_manifest,
    read_user_manifest,
    select,
)
from cluster.storage import redact
from fusion_core.choices import FURTHER_SOURCES
from fusion_core.errors import InvalidValueError
from jobs.options import SourceOptions

Batches = Iterator[pa.RecordBatch]


@dataclass(frozen=True, slots=True)
class Source:
    """The pairs of a source, and what was found besides."""

    read: Callable[[], Batches]
    """Function that reads the selected pairs from the beginning, as the batches of a manifest."""
    discovery: Discovery | None = None
    """Pairs per layout, images without a partner, and ignored files; None for a manifest."""
    repetitions: list[Repetition] = field(default_factory=list)
    """Subsets of a folder most of whose pairs are in other subsets, too."""
    labels: LabelRows = field(default_factory=LabelRows)
    """Label files of the pairs of a folder."""


def open_source(options: SourceOptions) -> Source:
    """List a folder, or open a manifest.

    Raises:
        InvalidValueError: The options that select the pairs do not fit together.
        ManifestError: The folder is missing, or contains no pair.
        StorageError: The folder cannot be listed.
    """
    pairing, selection = pairing_of(options), selection_of(options)
    if is_manifest(options.source):
        store, name = options.file(options.source)
        allow = options.allow_local_files
        read = partial(read_user_manifest, store, name, allow_local_files=allow)
        return Source(_with_further(select(read, selection), options))
    found = discover(options.store(options.source), pairing)
    pairs = _with_further(select(found.batches, selection), options)
    return Source(pairs, found.discovery, found.repetitions, found.labels)


def _with_further(read: Callable[[], Batches], options: SourceOptions) -> Callable[[], Batches]:
    """Return a function that adds the columns of further sources.

    Raises:
        InvalidValueError: There are too many.
        ManifestError: A folder contains no images.
    """
    if len(options.further_source) > len(FURTHER_SOURCES):
        raise InvalidValueError(
            f"Expected at most {len(FURTHER_SOURCES)} further sources, but got "
            f"{len(options.further_source)}"
        )
    for kind, folder in zip(FURTHER_SOURCES, options.further_source, strict=False):
        read = FusedImages(options.store(folder), kind).added_to(read)
    return read


def pairing_of(options: SourceOptions) -> Pairing:
    """Return how the images of a pair are named.

    Raises:
        InvalidValueError: The options do not fit together.
    """
    named = [option for option in (options.ir, options.vis) if option is not None]
    if is_manifest(options.source) and (named or options.layout != "auto"):
        raise InvalidValueError(
            "--layout, --ir and --vis are for folders, but the source is a manifest"
        )
    if len(named) == 1:
        raise InvalidValueError("--ir and --vis must be given together")
    if named and options.layout != "auto":
        raise InvalidValueError("--layout cannot be combined with --ir and --vis")
    root = options.store(options.source).url if named else ""
    below = [pattern.removeprefix(f"{root}/") for pattern in named]
    return Pairing(
        layout=options.layout,
        further=tuple(redact(options.store(folder).url) for folder in options.further_source),
        **dict(zip(("ir", "vis"), below, strict=False)),
    )


def selection_of(options: SourceOptions) -> Selection:
    """Return which pairs of the source are taken.

    Raises:
        InvalidValueError: The options do not fit together.
    """
    if options.seed is not None and options.sample is None:
        raise InvalidValueError("--seed is for --sample, which is missing")
    return Selection(
        subsets=tuple(sorted(set(options.subset))),
        where=options.where,
        sample=options.sample,
        seed=None if options.sample is None else options.seed or 0,
        limit=options.limit,
    )


def identify_source(options: SourceOptions) -> tuple[str, str | None]:
    """Return the full URL of the source and, if it is a manifest, the digest of its bytes.

    Raises:
        StorageError: The manifest cannot be read.
    """
    if not is_manifest(options.source):
        return options.store(options.source).url, None
    store, name = options.file(options.source)
    return redact(store.uri(name)), store.sha256(name)


def describe_rest(source: Source, options: SourceOptions) -> list[str]:
    """Return a sentence for each thing that the user of a run should know about its source."""
    sentences = list(map(describe_repetition, source.repetitions))
    if source.discovery is not None and source.discovery.leftover:
        sentences.insert(0, _describe_leftover(source.discovery, options.source))
    return sentences


def describe_repetition(repetition: Repetition) -> str:
    """Return one sentence about a subset that repeats others."""
    return (
        f"The subset {repetition.subset} repeats {repetition.count} pairs of "
        f"{', '.join(repetition.others)}, as far as names and sizes of the files show"
    )


def _describe_leftover(discovery: Discovery, source: str) -> str:
    parts = [
        *(["images without a partner"] * len(discovery.single)),
        *discovery.skipped.values(),
    ]
    counts = ", ".join(f"{what} ({count})" for what, count in Counter(parts).items())
    return (
        f"{len(discovery.pairs)} pairs found; not used: {counts}; "
        f"`irfuse pairs {redact(source)}` shows them"
    )
