"""What every export does before and while it writes files."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from pydantic import BaseModel, ConfigDict

from cluster.collections import FrozenManifest, common_folder, is_manifest
from cluster.runs import RunRecord
from cluster.storage import (
    Store,
    find_record,
    read_record,
    redact,
    require_same_settings,
    split_query,
)
from fusion_core.errors import (
    InvalidValueError,
    ManifestError,
    NotFoundError,
    RunConflictError,
)
from jobs.export.grouping import group_shards
from jobs.export.labels import LabelFinder, open_labels
from jobs.export.record import (
    SCRATCH,
    SHARED_KEY,
    SKIPPED_KEY,
    ExportRecord,
    SharedFiles,
    SkippedPair,
    describe_file,
    to_csv,
)
from jobs.export.splits import Splits, open_splits
from jobs.options import ExportOptions


class ExportResult(BaseModel):
    """What all exports report."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    out: str
    """Folder of the export."""
    run: str
    """Name of the run."""
    pairs: int
    """Number of pairs that have been exported."""
    failed: int
    """Number of failed pairs, which have not."""
    unfit: int
    """Number of other pairs that do not fit the condition."""
    written: int
    """Number of pairs that this call has written; the others had been written before."""
    size: int
    """Bytes of all files."""
    labels: int
    """Number of exported pairs that have a label."""
    most_missing_labels: int | None
    """Largest number of pairs without a label that was accepted."""

    def require_labels(self) -> None:
        """Raise an error if more pairs have no label than was accepted.

        Raises:
            ManifestError: There are more.
        """
        missing = self.pairs - self.labels
        if self.most_missing_labels is not None and missing > self.most_missing_labels:
            raise ManifestError(
                f"{missing} of {self.pairs} exported pairs have no label, more than "
                f"--max-missing-labels {self.most_missing_labels}; all files are written"
            )


@dataclass(frozen=True, slots=True)
class Target:
    """A run, and the folder that it is exported to."""

    run: Store
    record: RunRecord
    """Record of the run."""
    out: Store
    requested: ExportRecord
    found: ExportRecord | None
    """Record of the export that has begun already."""
    splits: Splits
    """The splits that files name."""

    @property
    def export(self) -> ExportRecord:
        """Record of the export."""
        return self.found or self.requested

    def labels(self, options: ExportOptions) -> LabelFinder:
        """Return what finds the labels of pairs.

        Raises:
            ManifestError: The folder of labels holds none, or a file cannot be read.
        """
        manifest = FrozenManifest(self.run)
        folder = options.store(options.labels)
        return open_labels(self.requested.labels, folder, manifest, self.requested.root)


def open_target(
    options: ExportOptions,
    group_bytes: int | None = None,
    split: Sequence[str] = (),
    **settings: Any,  # noqa: ANN401
) -> Target:
    """Check that a run can be exported to a folder.

    Args:
        options: Options of the export.
        group_bytes: Size of the groups of shards that are written together, if there are groups.
        split: Files that name the pairs of the splits.
        **settings: Settings that exports of this form have in addition.

    Raises:
        InvalidValueError: The folder is inside of the collection, or a pair is in two splits.
        NotFoundError: There is no run, it holds no images, or a file names none of its pairs.
        RunConflictError: The folder holds other files, or an export with other settings.
        StorageError: The run or the folder cannot be read.
    """
    run, out = options.store(options.run), options.store(options.out)
    record = read_record(run, RunRecord)
    _require_images(run, record)
    _require_outside(out, record)
    root = _root_of(run, record)
    splits = open_splits(split, options, FrozenManifest(run), root)
    found = find_record(out, ExportRecord)
    groups: tuple[int, ...] = () if found is None else found.groups
    if found is None and group_bytes is not None:
        groups = group_shards(run, record, group_bytes, with_sources=options.with_sources)
    requested = ExportRecord(
        run=record.fingerprint,
        run_name=record.name,
        run_location=run.url,
        rows=record.rows,
        collection=record.collection,
        root=root,
        labels=_name_labels(options),
        with_sources=options.with_sources,
        where=options.where,
        splits=splits.digest,
        groups=groups,
        irfuse_version=version("irfuse"),
        **settings,
    )
    _require_free(out, requested, found)
    return Target(run, record, out, requested, found, splits)


def _require_free(out: Store, requested: ExportRecord, found: ExportRecord | None) -> None:
    """Check that a folder is empty, or holds the export that is requested."""
    if found is not None:
        require_same_settings(found, requested, option="OUT")
    elif entries := out.entries():
        raise RunConflictError(
            f"{out.url} is not empty (it contains {entries[0].key}), and holds no export; choose "
            "a new or empty folder"
        )


def begin(target: Target) -> None:
    """Write the record unless it is there; only one of several processes creates it.

    Raises:
        RunConflictError: Another process has begun another export there.
    """
    out, requested = target.out, target.requested
    out.remove_stale_temporaries(SCRATCH)
    if target.found is not None:
        return
    if not out.create(requested.key, requested.model_dump_json(indent=2).encode()):
        created = read_record(out, ExportRecord)
        require_same_settings(created, requested, option="OUT")
        if created.groups != requested.groups:
            raise RunConflictError(
                f"Another process has begun the export to {out.url}; run the same command again"
            )


def _name_labels(options: ExportOptions) -> str:
    """Return `auto`, `none`, or the full location of a folder."""
    known = options.labels in ("auto", "none")
    return options.labels if known else options.store(options.labels).url


def _require_images(run: Store, record: RunRecord) -> None:
    """Check that the rows of a run hold images, or name their files."""
    if not (record.origin.encodes or record.origin.reads_fused):
        raise NotFoundError(
            f"{run.url} holds no images, because it was made with --no-keep-images; fuse the "
            "collection again without it"
        )


def _require_outside(out: Store, record: RunRecord) -> None:
    """Check that an export is not found as a part of its own collection."""
    place, source = out.url, record.source
    if out.is_local and "://" not in source:
        place, source = os.path.realpath(place), os.path.realpath(source)
    if not is_manifest(source) and f"{place}/".startswith(f"{source}/"):
        raise InvalidValueError(
            f"{out.url} is inside of the collection {redact(record.source)}, whose pairs would be "
            "found among the exported files; choose a folder outside of it"
        )


def _root_of(run: Store, record: RunRecord) -> str:
    """Return the location of the collection, to which names are relative."""
    if not is_manifest(record.source):
        return record.source
    return common_folder(
        split_query(uri)[0]
        for batch in FrozenManifest(run).batches()
        for name in ("ir_uri", "vis_uri")
        for uri in batch.column(name).to_pylist()
    )


def require_pairs(target: Target, count: int) -> None:
    """Check that there are pairs to export.

    Args:
        target: The run and the folder.
        count: Number of pairs with a fused image that fit the condition and are in a split.

    Raises:
        InvalidValueError: There is none.
    """
    if not count:
        export = target.requested
        chosen = {"where": export.where, "split": export.splits}
        conditions = " and ".join(f"--{name}" for name, value in chosen.items() if value)
        what = f"fits {conditions}" if conditions else "has a fused image"
        raise InvalidValueError(f"No pair of {target.run.url} {what}; there is nothing to export")


def most_missing_labels(options: ExportOptions) -> int | None:
    """Return the largest number of pairs without a label that is accepted; None for any."""
    if options.max_missing_labels is None and options.labels not in ("auto", "none"):
        return 0
    return options.max_missing_labels


def publish_lists(
    out: Store, shared: Mapping[str, bytes], skipped: Sequence[SkippedPair]
) -> tuple[int, int]:
    """Write the files that belong to no single shard, and the list of pairs without files.

    Returns:
        Number of failed pairs, and of other pairs that do not fit the condition.
    """
    out.write_all(shared, scratch=SCRATCH)
    files = SharedFiles(files=[describe_file(key, data) for key, data in shared.items()])
    out.write(SHARED_KEY, files.model_dump_json().encode())
    rows = [(pair.pair_id, pair.reason, pair.detail) for pair in skipped]
    out.write(SKIPPED_KEY, to_csv(("pair_id", "reason", "detail"), rows))
    failed = sum(pair.reason == "failed" for pair in skipped)
    return failed, len(skipped) - failed
