"""Export of a run as a folder of image files."""

from __future__ import annotations

from collections.abc import Iterator

from cluster.collections import PairRow
from cluster.runs import Ledger, row_schema
from fusion_core.errors import NotFoundError
from jobs.export.coco import rewrite_coco
from jobs.export.labels import COCO, LabelFinder
from jobs.export.loss import JpegLoss, measure_loss
from jobs.export.names import UniqueNames, check_key
from jobs.export.preparing import (
    ExportResult,
    Target,
    most_missing_labels,
    open_target,
    publish_lists,
    require_pairs,
)
from jobs.export.reading import RowCondition, row_pair
from jobs.export.record import (
    LABELS_KEY,
    ExportedShard,
    ExportRecord,
    LabelOf,
    SkippedPair,
    read_markers,
    to_csv,
    written_contents,
)
from jobs.export.shards import ShardExporter
from jobs.export.splits import unknown_lines
from jobs.export.writing import ExportPlan
from jobs.export.yolo import DATA_KEY, describe_dataset
from jobs.options import ExportFolderOptions
from jobs.progress import Progress, SilentProgress

_NAMED = ["pair_id", "subset", "ir_uri", "vis_uri", "status"]
_REMEDY = "use --preset pair-id, whose names are unique, or a --name with {pair_id} or {subset}"
"""What helps if names of files are equal."""


class FolderExport(ExportResult):
    """Result of an export to a folder."""

    rows: int
    """Number of pairs of the run that have a row."""
    files: int
    """Number of files."""
    example: str
    """Key of a file."""
    unfinished: int
    """Number of pairs of the run that have no row yet."""
    loss: JpegLoss | None
    """What JPEG changes; None for other formats."""
    label_example: str
    """Key of a label."""
    coco_dropped: int
    """Number of images of COCO files that have no fused image, and were dropped."""
    missing_labels: int
    """Number of exported pairs that have no label."""
    notes: list[str]
    """What the user should know besides."""


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
        RunFailedError: Workers cannot be placed, or keep dying.
        StorageError: The run cannot be read, or a file cannot be written.
    """
    progress = progress or SilentProgress()
    plan = plan_folder(options, progress)
    written = plan.carry_out(options, progress)
    progress.message("Writing the lists of the export")
    assert isinstance(plan.exporter, ShardExporter)
    return _finish(plan.exporter, options, plan.target, written)


def plan_folder(options: ExportFolderOptions, progress: Progress) -> ExportPlan:
    """Return what `export_folder` has to write; it raises the same errors."""
    target = open_target(
        options,
        preset=options.preset,
        name=options.name,
        format=options.format,
        quality=options.quality if options.format == "jpg" else None,
        classes=options.classes,
        split=options.split,
    )
    exporter = ShardExporter(target, target.labels(options))
    progress.message("Checking the names of the files")
    return _plan(exporter, target, options)


def _plan(exporter: ShardExporter, target: Target, options: ExportFolderOptions) -> ExportPlan:
    """Check the names of all files, and find the shards that are not written yet."""
    run, record = target.run, target.record
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
            placed = (
                target.splits.place(row_pair(row)) for row in rows if row["pair_id"] in fitting
            )
            pairs = [pair for pair in placed if pair is not None]
            yield content.shard, content.facts.content, content.facts.rows, pairs

    done = written_contents(target.out)
    unique, todo, rows, fit = UniqueNames(), list[int](), 0, dict[int, int]()
    for shard, content, count, pairs in chosen():
        unique.add([key for _, key in names(iter(pairs))])
        fit[shard] = len(pairs)
        if done.get(shard) != content:
            todo.append(shard)
            rows += count
    unique.check(lambda: (name for *_, pairs in chosen() for name in names(iter(pairs))), _REMEDY)
    require_pairs(target, sum(fit.values()))
    return ExportPlan(target, exporter, todo, todo, rows, fit)


def _finish(
    exporter: ShardExporter, options: ExportFolderOptions, target: Target, written: int
) -> FolderExport:
    """Write the lists of the export from its markers, and return its result."""
    run, record, out, export = target.run, target.record, target.out, target.export
    totals = _Totals()
    for marker in read_markers(out):
        totals.add(marker)
    shared, dropped = _shared_files(export, exporter.labels, totals)
    failed, unfit = publish_lists(out, shared, totals.skipped)
    notes = unknown_lines(target.splits)
    if export.preset == "yolo" and export.name is None:
        notes += _notes(export, totals)
    return FolderExport(
        out=out.url,
        run=record.name,
        rows=len(totals.images) + len(totals.skipped),
        pairs=len(totals.images),
        failed=failed,
        unfit=unfit,
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


def _shared_files(
    export: ExportRecord, labels: LabelFinder, totals: _Totals
) -> tuple[dict[str, bytes], int]:
    """Return the files that belong to no single shard.

    Returns:
        Key and content of each, and the number of images of COCO files that were dropped.
    """
    shared: dict[str, bytes] = {}
    dropped = 0
    for file in labels.coco:
        data, without = rewrite_coco(file, totals.images)
        dropped += without
        shared[file.exported_key] = data
        for pair_id in file.names.keys() & totals.images.keys():
            totals.labels[pair_id] = LabelOf(key=file.exported_key, source=COCO)
    if totals.labels or export.labels not in ("auto", "none"):
        shared[LABELS_KEY] = _label_list(totals)
    if export.preset == "yolo" and export.name is None:
        count = 0 if totals.largest_class is None else totals.largest_class + 1
        classes = export.classes or [f"class{number}" for number in range(count)]
        folders = sorted({key.rpartition("/")[0] for key in totals.images.values()})
        shared[DATA_KEY] = describe_dataset(folders, export.collection, classes).encode()
    return shared, dropped


def _label_list(totals: _Totals) -> bytes:
    rows = []
    for pair_id, key in totals.images.items():
        label = totals.labels.get(pair_id)
        found = ("", "", "missing") if label is None else (label.key, label.source, "found")
        rows.append((pair_id, key, *found))
    return to_csv(("pair_id", "image", "label", "label_of", "status"), rows)
