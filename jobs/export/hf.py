"""Export of a run as a folder for the Hub of Hugging Face: a card, and Parquet with images."""

from __future__ import annotations

import io
import json
import posixpath
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cluster.collections import FrozenManifest, PairRow
from cluster.storage import split_query
from jobs.export.card import IMAGE, Split, make_card
from jobs.export.groups import CheckedRows, GroupExporter, check_rows
from jobs.export.labels import COCO, LabelFinder
from jobs.export.objects import read_objects
from jobs.export.preparing import (
    ExportResult,
    Target,
    most_missing_labels,
    open_target,
    publish_lists,
)
from jobs.export.reading import ReadPair
from jobs.export.record import SkippedPair, Written, read_markers
from jobs.export.splits import unknown_lines
from jobs.export.writing import ExportPlan
from jobs.options import ExportHfOptions
from jobs.progress import Progress, SilentProgress

CARD_KEY = "README.md"
_FILE_BYTES = 128_000_000
"""Size of a Parquet file, which is made in memory."""
_ROW_GROUP_BYTES = 8_000_000
_SPLITS = {"train": "train", "val": "validation", "test": "test"}
"""Splits by the beginnings of the names of subsets; all other subsets are in `train`."""
_OBJECTS = pa.struct(
    [("bbox", pa.list_(pa.list_(pa.float32(), 4))), ("category", pa.list_(pa.string()))]
)
_FOR_HUB = {"val": "validation"}
"""Names of splits that the Hub calls otherwise."""
_BOXES, _MASKS = ("txt", "xml"), ("png", "bmp", "tif", "tiff")


class HfExport(ExportResult):
    """Result of an export for the Hub of Hugging Face."""

    splits: dict[str, int]
    """Number of pairs of each split."""
    notes: list[str]
    """What the user should know besides."""


def split_of(subset: str) -> str:
    """Return the split that a subset belongs to.

    >>> split_of("test/night"), split_of("set00/V000")
    ('test', 'train')
    """
    parts = subset.lower().split("/")
    found = (split for part in parts for word, split in _SPLITS.items() if part.startswith(word))
    return next(found, "train")


def export_hf(options: ExportHfOptions, progress: Progress | None = None) -> HfExport:
    """Write the pairs of a run as Parquet with images, and a card; nothing is uploaded.

    Args:
        options: Options of the job.
        progress: Receives the progress; silent by default.

    Raises:
        InvalidValueError: The condition cannot be evaluated, or no pair fits it.
        ManifestError: A label file cannot be read.
        NotFoundError: There is no run, it holds no images, or it is not finished.
        RunConflictError: The folder holds other files, or an export with other settings.
        RunFailedError: Workers cannot be placed, or keep dying.
        StorageError: The run cannot be read, or a file cannot be written.
    """
    progress = progress or SilentProgress()
    plan = plan_hf(options, progress)
    written = plan.carry_out(options, progress)
    assert isinstance(plan.exporter, _ParquetExporter)
    return _finish(options, plan.target, plan.exporter.schema, written)


def plan_hf(options: ExportHfOptions, progress: Progress) -> ExportPlan:
    """Return what `export_hf` has to write; it raises the same errors."""
    target = open_target(
        options,
        form="hf",
        group_bytes=_FILE_BYTES,
        shard_bytes=_FILE_BYTES,
        classes=options.classes,
        license=options.license,
        split=options.split,
    )
    labels = target.labels(options)
    progress.message("Checking the rows")
    return _ParquetExporter(target, labels, check_rows(target)).plan()


class _ParquetExporter(GroupExporter["_Rows"]):
    """Writes Parquet files, one for each split."""

    def __init__(self, target: Target, labels: LabelFinder, rows: CheckedRows) -> None:
        super().__init__(target, labels, rows)
        self._kinds = self._label_kinds(FrozenManifest(target.run))
        self.schema = self._make_schema()
        """Columns of the Parquet files."""

    def _label_kinds(self, manifest: FrozenManifest) -> set[str]:
        """Return the columns that labels need: `objects` for boxes, and `mask`."""
        kinds = {"objects"} if self._labels.coco else set()
        for first in range(0, manifest.rows, 4096):
            for pair in manifest.read(first, min(first + 4096, manifest.rows)):
                label = self._labels.find(pair)
                if label is not None and label.extension in _BOXES:
                    kinds.add("objects")
                if label is not None and label.extension in _MASKS:
                    kinds.add("mask")
        return kinds

    def _make_schema(self) -> pa.Schema:
        further = range(3, self._record.sources + 1)
        names = ("infrared", "visible", *(f"source_{number}" for number in further))
        sources = names if self._export.with_sources else ()
        masks = ("mask",) if "mask" in self._kinds else ()
        images = ("fused", *sources, *masks)
        fields = [pa.field("pair_id", pa.string()), *(pa.field(name, IMAGE) for name in images)]
        if "objects" in self._kinds:
            fields.append(pa.field("objects", _OBJECTS))
        fields += [pa.field("subset", pa.string())]
        fields += [pa.field(name, pa.int32()) for name in ("width", "height")]
        fields += [pa.field(name, pa.float64()) for name in self._record.metrics]
        features = {"info": {"features": {name: {"_type": "Image"} for name in images}}}
        return pa.schema(fields, metadata={"huggingface": json.dumps(features)})

    def _key(self, pair: PairRow, group: int) -> str:
        given = self._export.splits is not None
        split = _FOR_HUB.get(pair.subset, pair.subset) if given else split_of(pair.subset)
        return f"data/{split}-{group:05d}-of-{len(self._groups):05d}.parquet"

    def _new_file(self) -> _Rows:
        return _Rows(self.schema)

    def _add(self, file: _Rows, read: ReadPair, key: str, written: Written) -> None:
        pair = read.located
        name = f"{posixpath.basename(pair.pair_id)}.{read.extension}"
        row = {field: read.row.get(field) for field in self.schema.names}
        row["fused"] = {"bytes": read.data, "path": name}
        if self._export.with_sources:
            row |= {kind: self._source(pair, uri) for kind, uri in pair.sources.items()}
        if (found := self._label(read, key, name, written)) is not None:
            label, data = found
            path = posixpath.basename(split_query(label.uri)[0])
            if label.extension in _MASKS:
                row["mask"] = {"bytes": data, "path": path}
            elif label.extension in _BOXES or label.source == COCO:
                row["objects"] = read_objects(
                    data,
                    label.extension,
                    width=read.row["width"],
                    height=read.row["height"],
                    classes=self._export.classes,
                    name=path,
                )
            else:  # such as labelme, of which there is no column
                del written.labels[pair.pair_id]
        file.add(row)

    def _source(self, pair: PairRow, uri: str) -> dict[str, Any]:
        name = posixpath.basename(split_query(uri)[0])
        return {"bytes": self._images.read_source(pair, uri), "path": name}


class _Rows:
    """A Parquet file in memory, whose row groups hold few images."""

    def __init__(self, schema: pa.Schema) -> None:
        self._schema, self._buffer = schema, io.BytesIO()
        images = [field.name for field in schema if field.type == IMAGE]
        compression = {**dict.fromkeys(_leaves(schema), "zstd")}
        compression |= {f"{name}.bytes": "none" for name in images}
        self._writer = pq.ParquetWriter(self._buffer, schema, compression=compression)
        self._images = images
        self._waiting: list[dict[str, Any]] = []
        self._size = 0

    def add(self, row: dict[str, Any]) -> None:
        """Add a row."""
        size = sum(len((row[name] or {}).get("bytes") or b"") for name in self._images)
        if self._waiting and self._size + size > _ROW_GROUP_BYTES:
            self._flush()
        self._waiting.append(row)
        self._size += size

    def close(self) -> bytes:
        """Return the bytes of the file."""
        self._flush()
        self._writer.close()
        return self._buffer.getvalue()

    def _flush(self) -> None:
        self._writer.write_table(pa.Table.from_pylist(self._waiting, schema=self._schema))
        self._waiting, self._size = [], 0


def _leaves(schema: pa.Schema) -> Iterator[str]:
    """Yield the paths of the columns in Parquet."""
    empty = io.BytesIO()
    with pq.ParquetWriter(empty, schema):
        pass
    metadata = pq.ParquetFile(empty).schema
    yield from (metadata.column(n).path for n in range(len(metadata)))


def _split_in(key: str) -> str:
    """Return the split of a Parquet file."""
    return posixpath.basename(key).partition("-")[0]


def _finish(options: ExportHfOptions, target: Target, schema: pa.Schema, written: int) -> HfExport:
    pairs, sizes = Counter[str](), Counter[str]()
    skipped, labels = list[SkippedPair](), 0
    for marker in read_markers(target.out):
        pairs.update(map(_split_in, marker.images.values()))
        for file in marker.files:
            sizes[_split_in(file.key)] += file.bytes
        skipped += marker.skipped
        labels += len(marker.labels)
    splits = {name: Split(count, sizes[name]) for name, count in sorted(pairs.items())}
    card = make_card(target.run, target.record, target.requested, schema, splits).encode()
    failed, unfit = publish_lists(target.out, {CARD_KEY: card}, skipped)
    return HfExport(
        out=target.out.url,
        run=target.record.name,
        pairs=pairs.total(),
        splits=dict(sorted(pairs.items())),
        notes=unknown_lines(target.splits),
        failed=failed,
        unfit=unfit,
        written=written,
        labels=labels,
        size=sizes.total(),
        most_missing_labels=most_missing_labels(options),
    )
