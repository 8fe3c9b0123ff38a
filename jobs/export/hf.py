"""Export of a run as a folder for the Hub of Hugging Face: a card, and Parquet with images."""

from __future__ import annotations

import hashlib
import io
import json
import posixpath
from collections import Counter
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict

from cluster.collections import FrozenManifest
from cluster.runs import Ledger, RunRecord, row_schema
from cluster.storage import Store, find_record, read_record, split_query
from fusion_core.errors import InvalidValueError, NotFoundError
from jobs.export.card import make_card
from jobs.export.labels import LabelFinder, open_labels
from jobs.export.objects import read_objects
from jobs.export.preparing import (
    begin,
    check_labels,
    grouped,
    most_missing_labels,
    name_labels,
    require_free,
    require_images,
    require_outside,
    root_of,
    threads_of,
    write_shards,
)
from jobs.export.reading import ReadPair, RowCondition, RunImages
from jobs.export.record import (
    SCRATCH,
    SHARED_KEY,
    SKIPPED_KEY,
    ExportedShard,
    ExportRecord,
    LabelOf,
    SharedFiles,
    SkippedPair,
    describe_file,
    is_done,
    marker_key,
    read_markers,
    to_csv,
)
from jobs.options import ExportHfOptions
from jobs.progress import Progress, SilentProgress

CARD_KEY = "README.md"
_FILE_BYTES = 128_000_000
"""Size of a Parquet file, which is made in memory."""
_ROW_GROUP_BYTES = 8_000_000
_SPLITS = {"train": "train", "val": "validation", "test": "test"}
"""Splits by the beginnings of the names of subsets; all other subsets are in `train`."""
_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_OBJECTS = pa.struct(
    [("bbox", pa.list_(pa.list_(pa.float32(), 4))), ("category", pa.list_(pa.string()))]
)
_BOXES, _MASKS = ("txt", "xml"), ("png", "bmp", "tif", "tiff")


class HfExport(BaseModel):
    """Result of an export for the Hub of Hugging Face."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    out: str
    """Folder of the export."""
    run: str
    """Name of the run."""
    pairs: int
    """Number of pairs in the Parquet files."""
    splits: dict[str, int]
    """Number of pairs of each split."""
    failed: int
    """Number of failed pairs, which are in none."""
    unfit: int
    """Number of other pairs that do not fit the condition."""
    written: int
    """Number of pairs that this call has written."""
    labels: int
    """Number of exported pairs that have a label."""
    size: int
    """Bytes of the Parquet files."""
    most_missing_labels: int | None
    """Largest number of pairs without a label that was accepted."""

    def require_labels(self) -> None:
        """Raise an error if more pairs have no label than was accepted.

        Raises:
            ManifestError: There are more.
        """
        check_labels(self.pairs, self.labels, self.most_missing_labels)


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
        StorageError: The run cannot be read, or a file cannot be written.
    """
    progress = progress or SilentProgress()
    run, out = options.store(options.run), options.store(options.out)
    record = read_record(run, RunRecord)
    require_images(run, record)
    require_outside(out, record)
    requested = ExportRecord(
        form="hf",
        run=record.fingerprint,
        run_name=record.name,
        run_location=run.url,
        rows=record.rows,
        collection=record.collection,
        root=root_of(run, record),
        shard_bytes=_FILE_BYTES,
        labels=name_labels(options),
        with_sources=options.with_sources,
        where=options.where,
        classes=options.classes,
        license=options.license,
        irfuse_version=version("irfuse"),
    )
    found = find_record(out, ExportRecord)
    require_free(out, requested, found)
    manifest = FrozenManifest(run)
    labels = open_labels(requested.labels, options.store(options.labels), manifest, requested.root)
    progress.message("Checking the rows")
    contents = _check_rows(run, record, options)
    exporter = _ParquetExporter(run, record, out, requested, labels, contents)
    todo = exporter.remaining()
    begin(out, requested, found)
    rows = sum(exporter.rows(group) for group in todo)
    threads = threads_of(options, run, out, large_files=True)
    written = write_shards(exporter.export, todo, rows, threads, progress)
    return _finish(options, run, record, out, requested, written)


def _check_rows(run: Store, record: RunRecord, options: ExportHfOptions) -> dict[int, str]:
    """Check that rows fit the condition, and return the digest of each shard."""
    condition, contents, fit = RowCondition(options.where), dict[int, str](), 0
    columns = [name for name in row_schema(record.metrics).names if name != "fused"]
    for content in Ledger(run, record).contents(columns):
        assert content.table is not None
        contents[content.shard] = content.facts.content
        fitting = condition.fitting(content.table)
        rows = content.to_rows()
        fit += sum(row["status"] == "ok" and row["pair_id"] in fitting for row in rows)
    if len(contents) < record.plan.count:
        raise NotFoundError(
            f"The run at {run.url} is not finished: {len(contents)} of {record.plan.count} shards "
            "are committed; resume it"
        )
    if not fit:
        raise InvalidValueError(f"No pair of {run.url} can be exported; check --where")
    return contents


class _ParquetExporter:
    """Writes the Parquet files of groups of shards; several threads may use one."""

    def __init__(
        self,
        run: Store,
        record: RunRecord,
        out: Store,
        export: ExportRecord,
        labels: LabelFinder,
        contents: Mapping[int, str],
    ) -> None:
        self._out, self._record, self._export = out, record, export
        self._labels, self._contents = labels, contents
        self._images = RunImages(run, record, export)
        self._groups = list(grouped(run, record, export.shard_bytes or 1))
        self._kinds = self._label_kinds(FrozenManifest(run))
        self._schema = self._make_schema()

    def _label_kinds(self, manifest: FrozenManifest) -> set[str]:
        """Return the columns that labels need: `objects` for boxes, and `mask`."""
        kinds = set()
        for first in range(0, manifest.rows, 4096):
            for pair in manifest.read(first, min(first + 4096, manifest.rows)):
                label = self._labels.find(pair)
                if label is not None and label.extension in _BOXES:
                    kinds.add("objects")
                if label is not None and label.extension in _MASKS:
                    kinds.add("mask")
        return kinds

    def _make_schema(self) -> pa.Schema:
        sources = ("infrared", "visible") if self._export.with_sources else ()
        masks = ("mask",) if "mask" in self._kinds else ()
        images = ("fused", *sources, *masks)
        fields = [pa.field("pair_id", pa.string()), *(pa.field(name, _IMAGE) for name in images)]
        if "objects" in self._kinds:
            fields.append(pa.field("objects", _OBJECTS))
        fields += [pa.field("subset", pa.string())]
        fields += [pa.field(name, pa.int32()) for name in ("width", "height")]
        fields += [pa.field(name, pa.float64()) for name in self._record.metrics]
        features = {"info": {"features": {name: {"_type": "Image"} for name in images}}}
        return pa.schema(fields, metadata={"huggingface": json.dumps(features)})

    def remaining(self) -> list[int]:
        """Return the numbers of the groups that are not written."""
        every = range(len(self._groups))
        return [n for n in every if not is_done(self._out, n, self._content(n))]

    def rows(self, group: int) -> int:
        """Return the number of rows of a group."""
        bounds = [self._record.plan.bounds(shard) for shard in self._groups[group]]
        return bounds[-1][1] - bounds[0][0]

    def _content(self, group: int) -> str:
        digests = "".join(self._contents[shard] for shard in self._groups[group])
        return hashlib.sha256(digests.encode()).hexdigest()

    def export(self, group: int) -> ExportedShard:
        """Write the Parquet files of a group of shards, one for each split, and then their marker.

        Raises:
            ManifestError: A label file cannot be read.
            StorageError: A shard or a file cannot be read, or a file cannot be written.
        """
        files: dict[str, _Rows] = {}
        images, labels, skipped = dict[str, str](), dict[str, LabelOf](), list[SkippedPair]()
        for shard in self._groups[group]:
            for _, pairs in self._images.groups(shard):
                for pair in pairs:
                    if isinstance(pair, SkippedPair):
                        skipped.append(pair)
                        continue
                    split = split_of(pair.pair.subset)
                    key = f"data/{split}-{group:05d}-of-{len(self._groups):05d}.parquet"
                    images[pair.pair.pair_id] = key
                    rows = files.setdefault(key, _Rows(self._schema))
                    rows.add(self._row(pair, labels, key))
        objects = {key: rows.close() for key, rows in files.items()}
        self._out.write_all(objects, scratch=SCRATCH)
        done = ExportedShard(
            shard=group,
            content=self._content(group),
            images=images,
            labels=labels,
            files=[describe_file(key, data) for key, data in objects.items()],
            skipped=skipped,
        )
        self._out.write(marker_key(group), done.model_dump_json().encode())
        return done

    def _row(self, read: ReadPair, labels: dict[str, LabelOf], key: str) -> dict[str, Any]:
        pair = read.located
        name = f"{posixpath.basename(pair.pair_id)}.{read.extension}"
        row = {field: read.row.get(field) for field in self._schema.names}
        row["fused"] = {"bytes": read.data, "path": name}
        if self._export.with_sources:
            sources = {"infrared": pair.ir_uri, "visible": pair.vis_uri}
            row |= {kind: self._file(uri) for kind, uri in sources.items()}
        label = self._labels.find(pair)
        if label is None:
            return row
        try:
            file = self._file(label.uri)
        except NotFoundError:
            return row  # it counts as missing
        labels[pair.pair_id] = LabelOf(key=key, source=label.source)
        if label.extension in _MASKS:
            row["mask"] = file
        elif label.extension in _BOXES:
            row["objects"] = read_objects(
                file["bytes"],
                label.extension,
                width=read.row["width"],
                height=read.row["height"],
                classes=self._export.classes,
                name=file["path"],
            )
        return row

    def _file(self, uri: str) -> dict[str, Any]:
        name = posixpath.basename(split_query(uri)[0])
        return {"bytes": self._images.files.read(uri), "path": name}


class _Rows:
    """A Parquet file in memory, whose row groups hold few images."""

    def __init__(self, schema: pa.Schema) -> None:
        self._schema, self._buffer = schema, io.BytesIO()
        images = [field.name for field in schema if field.type == _IMAGE]
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


def _finish(
    options: ExportHfOptions,
    run: Store,
    record: RunRecord,
    out: Store,
    export: ExportRecord,
    written: int,
) -> HfExport:
    splits, skipped, labels, size = Counter[str](), list[SkippedPair](), 0, 0
    for marker in read_markers(out):
        splits.update(posixpath.basename(key).partition("-")[0] for key in marker.images.values())
        skipped += marker.skipped
        labels, size = labels + len(marker.labels), size + marker.size
    card = make_card(run, record, export, dict(sorted(splits.items()))).encode()
    out.write(CARD_KEY, card)
    shared = SharedFiles(files=[describe_file(CARD_KEY, card)])
    out.write(SHARED_KEY, shared.model_dump_json().encode())
    rows = [(pair.pair_id, pair.reason, pair.detail) for pair in skipped]
    out.write(SKIPPED_KEY, to_csv(("pair_id", "reason", "detail"), rows))
    failed = sum(pair.reason == "failed" for pair in skipped)
    return HfExport(
        out=out.url,
        run=record.name,
        pairs=splits.total(),
        splits=dict(sorted(splits.items())),
        failed=failed,
        unfit=len(skipped) - failed,
        written=written,
        labels=labels,
        size=size,
        most_missing_labels=most_missing_labels(options),
    )
