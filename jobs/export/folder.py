"""Export of a run as a folder of image files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version

from pydantic import BaseModel, ConfigDict

from cluster.collections import FrozenManifest, PairRow
from cluster.runs import Ledger, RunRecord, row_schema
from cluster.storage import (
    Store,
    find_record,
    read_record,
)
from fusion_core.errors import (
    InvalidValueError,
    NotFoundError,
)
from jobs.export.labels import LabelFinder, open_labels, rewrite_coco
from jobs.export.loss import JpegLoss, measure_loss
from jobs.export.names import UniqueNames, check_key
from jobs.export.preparing import (
    begin,
    check_labels,
    most_missing_labels,
    name_labels,
    require_free,
    require_images,
    require_outside,
    root_of,
    threads_of,
    write_shards,
)
from jobs.export.reading import RowCondition, row_pair
from jobs.export.record import (
    LABELS_KEY,
    SCRATCH,
    SHARED_KEY,
    SKIPPED_KEY,
    ExportedShard,
    ExportRecord,
    LabelOf,
    SharedFiles,
    SkippedPair,
    describe_file,
    read_markers,
    to_csv,
)
from jobs.export.shards import ShardExporter
from jobs.export.yolo import DATA_KEY, describe_dataset
from jobs.options import ExportFolderOptions
from jobs.progress import Progress, SilentProgress

_NAMED = ["pair_id", "subset", "ir_uri", "vis_uri", "status"]


class FolderExport(BaseModel):
    """Result of an export to a folder."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    out: str
    """Folder of the export."""
    run: str
    """Name of the run."""
    rows: int
    """Number of pairs of the run that have a row."""
    pairs: int
    """Number of pairs that have files."""
    failed: int
    """Number of failed pairs, which have none."""
    unfit: int
    """Number of other pairs that do not fit the condition."""
    written: int
    """Number of pairs whose files this call has written; the others had been written before."""
    files: int
    """Number of files."""
    size: int
    """Bytes of all files."""
    example: str
    """Key of a file."""
    unfinished: int
    """Number of pairs of the run that have no row yet."""
    loss: JpegLoss | None
    """What JPEG changes; None for other formats."""
    labels: int
    """Number of exported pairs that have a label."""
    label_example: str
    """Key of a label."""
    coco_dropped: int
    """Number of images of COCO files that have no fused image, and were dropped."""
    missing_labels: int
    """Number of exported pairs that have none."""
    most_missing_labels: int | None
    """Largest number of them that was accepted."""
    notes: list[str]
    """What the user should know besides."""

    def require_labels(self) -> None:
        """Raise an error if more pairs have no label than was accepted.

        Raises:
            ManifestError: There are more.
        """
        check_labels(self.pairs, self.labels, self.most_missing_labels)


def export_folder(options: ExportFolderOptions, progress: Progress | None = None) -> FolderExport:
    """Write the fused images of a run as files.

    Every name is checked before the first file is written. Files of a shard are written before its
    marker, so that an interrupted export resumes where it stopped, and a shard whose failed pairs
    were computed again is written again.

    Args:
        options: Options of the job.
        progress: Receives the progress; silent by default.

    Raises:
        InvalidValueError: A file name is unusable or belongs to two pairs, the condition cannot be
            evaluated, or no pair fits it.
        NotFoundError: There is no run, it holds no images, or it is not finished.
        RunConflictError: The folder holds other files, or an export with other settings.
        StorageError: The run cannot be read, or a file cannot be written.
    """
    progress = progress or SilentProgress()
    run, out = options.store(options.run), options.store(options.out)
    record = read_record(run, RunRecord)
    require_images(run, record)
    require_outside(out, record)
    requested = _describe(options, run, record)
    found = find_record(out, ExportRecord)
    require_free(out, requested, found)
    labels = open_labels(
        requested.labels, options.store(options.labels), FrozenManifest(run), requested.root
    )
    exporter = ShardExporter(run, record, out, found or requested, labels)
    progress.message("Checking the names of the files")
    plan = _plan(exporter, run, record, options)
    begin(out, requested, found)
    threads = threads_of(options, run, out)
    written = write_shards(exporter.export, plan.shards, plan.rows, threads, progress)
    progress.message("Writing the lists of the export")
    return _finish(exporter, options, run, record, found or requested, written)


def _describe(options: ExportFolderOptions, run: Store, record: RunRecord) -> ExportRecord:
    return ExportRecord(
        run=record.fingerprint,
        run_name=record.name,
        run_location=run.url,
        rows=record.rows,
        collection=record.collection,
        root=root_of(run, record),
        preset=options.preset,
        name=options.name,
        format=options.format,
        quality=options.quality if options.format == "jpg" else None,
        labels=name_labels(options),
        with_sources=options.with_sources,
        where=options.where,
        classes=options.classes,
        irfuse_version=version("irfuse"),
    )


@dataclass(frozen=True, slots=True)
class _Plan:
    """The shards that are to be written."""

    shards: list[int]
    rows: int
    """Number of rows of these shards."""


def _plan(
    exporter: ShardExporter, run: Store, record: RunRecord, options: ExportFolderOptions
) -> _Plan:
    """Check the names of all files, and find the shards that are not written yet."""
    ledger = Ledger(run, record)
    listing = ledger.listing()
    if len(listing.shards) < record.plan.count and not options.partial:
        raise NotFoundError(
            f"The run at {run.url} is not finished: {len(listing.shards)} of {record.plan.count} "
            "shards are committed; resume it, or export what there is with --partial"
        )
    condition = RowCondition(options.where)
    scalars = [name for name in row_schema(record.metrics).names if name != "fused"]
    columns = _NAMED if options.where is None else scalars

    def names(pairs: Iterator[PairRow]) -> Iterator[tuple[str, str]]:
        for pair in pairs:
            key = exporter.namer(pair, "png")
            check_key(key, pair.pair_id)
            yield pair.pair_id, key

    def chosen() -> Iterator[tuple[int, str, int, list[PairRow]]]:
        for content in ledger.contents(columns, listing=listing):
            assert content.table is not None
            fitting = condition.fitting(content.table)
            rows = [row for row in content.to_rows() if row["status"] == "ok"]
            pairs = [row_pair(row) for row in rows if row["pair_id"] in fitting]
            yield content.shard, content.facts.content, content.facts.rows, pairs

    unique, todo, rows, fit = UniqueNames(), list[int](), 0, 0
    for shard, content, count, pairs in chosen():
        unique.add([key for _, key in names(iter(pairs))])
        fit += len(pairs)
        if not exporter.is_done(shard, content):
            todo.append(shard)
            rows += count
    unique.check(lambda: (name for *_, pairs in chosen() for name in names(iter(pairs))))
    if not fit:
        what = "fits --where" if options.where is not None else "has a fused image"
        raise InvalidValueError(f"No pair of {run.url} {what}; there is nothing to export")
    return _Plan(todo, rows)


def _finish(
    exporter: ShardExporter,
    options: ExportFolderOptions,
    run: Store,
    record: RunRecord,
    export: ExportRecord,
    written: int,
) -> FolderExport:
    """Write the lists of the export from its markers, and return its result."""
    out = options.store(options.out)
    totals = _Totals()
    for marker in read_markers(out):
        totals.add(marker)
    dropped = _write_shared(out, export, exporter.labels, totals)
    notes = _notes(export, totals) if export.preset == "yolo" and export.name is None else []
    failed = sum(pair.reason == "failed" for pair in totals.skipped)
    return FolderExport(
        out=out.url,
        run=record.name,
        rows=len(totals.images) + len(totals.skipped),
        pairs=len(totals.images),
        failed=failed,
        unfit=len(totals.skipped) - failed,
        written=written,
        files=totals.files,
        size=totals.size,
        example=next(iter(totals.images.values()), ""),
        unfinished=record.rows - len(totals.images) - len(totals.skipped),
        loss=None if export.quality is None else measure_loss(run, record, export.quality),
        labels=len(totals.labels),
        label_example=next((label.key for label in totals.labels.values()), ""),
        coco_dropped=dropped,
        missing_labels=len(totals.images) - len(totals.labels),
        most_missing_labels=most_missing_labels(options),
        notes=notes,
    )


def _notes(export: ExportRecord, totals: _Totals) -> list[str]:
    """Return what the user of YOLO should know."""
    notes = []
    if not export.classes:
        notes.append(f"{DATA_KEY} names no classes but class0, class1, …; --classes names them")
    others = sorted({label.key.rpartition(".")[2] for label in totals.labels.values()} - {"txt"})
    if others:
        kinds = " and ".join(f".{extension}" for extension in others)
        notes.append(f"YOLO reads labels from .txt files; these are {kinds} and must be converted")
    return notes


class _Totals:
    """What all markers say together."""

    def __init__(self) -> None:
        self.images: dict[str, str] = {}
        self.labels: dict[str, LabelOf] = {}
        self.skipped: list[SkippedPair] = []
        self.files = self.size = 0
        self.largest_class: int | None = None

    def add(self, marker: ExportedShard) -> None:
        """Add the files of a shard."""
        self.images.update(marker.images)
        self.labels.update(marker.labels)
        self.skipped += marker.skipped
        self.files += len(marker.files)
        self.size += marker.size
        classes = [n for n in (self.largest_class, marker.largest_class) if n is not None]
        self.largest_class = max(classes, default=None)


def _write_shared(out: Store, export: ExportRecord, labels: LabelFinder, totals: _Totals) -> int:
    """Write the files that belong to no single shard.

    Returns:
        The number of images of COCO files that were dropped.
    """
    shared: dict[str, bytes] = {}
    dropped = 0
    for file in labels.coco:
        data, without = rewrite_coco(file, totals.images)
        dropped += without
        shared[file.exported_key] = data
        for pair_id in file.names.keys() & totals.images.keys():
            totals.labels[pair_id] = LabelOf(key=file.exported_key, source="coco")
    if totals.labels or export.labels not in ("auto", "none"):
        shared[LABELS_KEY] = _label_list(totals)
    if export.preset == "yolo" and export.name is None:
        count = 0 if totals.largest_class is None else totals.largest_class + 1
        classes = export.classes or [f"class{number}" for number in range(count)]
        folders = sorted({key.rpartition("/")[0] for key in totals.images.values()})
        shared[DATA_KEY] = describe_dataset(folders, export.collection, classes).encode()
    out.write_all(shared, scratch=SCRATCH)
    files = [describe_file(key, data) for key, data in shared.items()]
    out.write(SHARED_KEY, SharedFiles(files=files).model_dump_json().encode())
    rows = [(pair.pair_id, pair.reason, pair.detail) for pair in totals.skipped]
    out.write(SKIPPED_KEY, to_csv(("pair_id", "reason", "detail"), rows))
    return dropped


def _label_list(totals: _Totals) -> bytes:
    rows = []
    for pair_id, key in totals.images.items():
        label = totals.labels.get(pair_id)
        found = ("", "", "missing") if label is None else (label.key, label.source, "found")
        rows.append((pair_id, key, *found))
    return to_csv(("pair_id", "image", "label", "label_of", "status"), rows)
