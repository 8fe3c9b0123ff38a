"""The files of one shard of a run, written before the marker that says so."""

from __future__ import annotations

import io
import posixpath
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from PIL import Image

from cluster.collections import Condition, PairRow
from cluster.runs import RunRecord, ShardContent, Shards
from cluster.storage import Reader, Store
from fusion_core.errors import IrfuseError, NotFoundError, StorageError
from fusion_core.images import decode_image, encode_png, to_eight_bit
from jobs.export.labels import LabelFinder, label_key, largest_class, rewrite_label
from jobs.export.names import Namer, check_key, namer_of, source_keys
from jobs.export.record import (
    ExportedFile,
    ExportedShard,
    ExportRecord,
    LabelOf,
    SkippedPair,
    describe_file,
    find_marker,
    marker_key,
)
from jobs.options import Preset

_JPEG = ("jpg", "jpeg")


class RowCondition:
    """The condition of `--where` on rows, for several threads; without one, all rows fit."""

    def __init__(self, text: str | None) -> None:
        self._condition = None if text is None else Condition(text)
        self._lock = threading.Lock()

    def fitting(self, table: pa.Table) -> set[str]:
        """Return the `pair_id` of each row that fits.

        Raises:
            InvalidValueError: A column does not exist, or values have another type.
        """
        if self._condition is None:
            return set(table.column("pair_id").to_pylist())
        scalars = table.drop_columns([name for name in ("fused",) if name in table.column_names])
        with self._lock:
            parts = [self._condition.select(b) for b in scalars.combine_chunks().to_batches()]
        return {pair_id for part in parts for pair_id in part.column("pair_id").to_pylist()}


class ShardExporter:
    """Writes the files of single shards; several threads may use one.

    Args:
        run: Output location of the run.
        record: Record of the run.
        out: Folder of the export.
        export: Record of the export.
        labels: What finds the labels.
    """

    def __init__(
        self,
        run: Store,
        record: RunRecord,
        out: Store,
        export: ExportRecord,
        labels: LabelFinder,
    ) -> None:
        self.labels = labels
        self._record, self._out, self._export = record, out, export
        self._shards = Shards(run, record)
        self._reader = Reader(run.storage_options, max_pixels=record.max_pixels)
        self._condition = RowCondition(export.where)
        self.namer: Namer = namer_of(export.preset, export.name, export.root)

    def is_done(self, shard: int, content: str) -> bool:
        """Whether the files of a shard are written, from the rows that it has now."""
        marker = find_marker(self._out, shard)
        return marker is not None and marker.content == content

    def export(self, shard: int) -> ExportedShard:
        """Write the files of a shard, and then its marker.

        Raises:
            DamagedShardError: The shard is damaged.
            StorageError: The shard or a file cannot be read, or a file cannot be written.
        """
        files, written = list[ExportedFile](), _Written()
        first, end = self._record.plan.bounds(shard)
        located = iter(self._shards.manifest.read(first, end))
        digest = ""
        for content in self._shards.stream(shard):
            digest = content.facts.content
            objects: dict[str, bytes] = {}
            for row, fits in self._rows(content):
                pair = next(located)
                if row["status"] == "ok" and fits:
                    objects.update(self._files(row, pair, written))
                else:
                    written.skipped.append(_skipped(row))
            self._out.write_all(objects)
            files += [describe_file(key, data) for key, data in objects.items()]
        done = ExportedShard(
            shard=shard,
            content=digest,
            images=written.images,
            labels=written.labels,
            largest_class=max(written.classes, default=None),
            files=files,
            skipped=written.skipped,
        )
        self._out.write(marker_key(shard), done.model_dump_json().encode())
        return done

    def _rows(self, content: ShardContent) -> Iterator[tuple[Mapping[str, Any], bool]]:
        """Yield the rows of a row group, and whether each fits the condition."""
        assert content.table is not None
        fitting = self._condition.fitting(content.table)
        for row in content.to_rows():
            yield row, row["pair_id"] in fitting

    def _files(
        self, row: Mapping[str, Any], located: PairRow, written: _Written
    ) -> Iterator[tuple[str, bytes]]:
        """Yield key and content of each file of a pair."""
        pair = row_pair(row)
        extension, data = self._image(pair.pair_id, row["fused"])
        key = self.namer(pair, extension)
        check_key(key, pair.pair_id)
        written.images[pair.pair_id] = key
        yield key, data
        preset = self._export.preset if self._export.name is None else None
        yield from self._label(pair, located, key, preset, written)
        if self._export.with_sources:
            keys = source_keys(pair, key, preset=preset, root=self._export.root)
            uris = (located.ir_uri, located.vis_uri)
            for key, uri in dict(zip(keys, uris, strict=True)).items():
                check_key(key, pair.pair_id)
                yield key, self._reader.read(uri)

    def _label(
        self, pair: PairRow, located: PairRow, fused_key: str, preset: Preset | None, out: _Written
    ) -> Iterator[tuple[str, bytes]]:
        """Yield key and content of a pair's label, if it has one and it can be found."""
        label = self.labels.find(located)
        if label is None:
            return
        try:
            data = self._reader.read(label.uri)
        except NotFoundError:
            return  # it is listed as missing
        key = label_key(label, pair, fused_key, preset=preset, root=self._export.root)
        check_key(key, pair.pair_id)
        out.labels[pair.pair_id] = LabelOf(key=key, source=label.source)
        if label.extension == "txt":
            out.classes += [n for n in (largest_class(data),) if n is not None]
        yield key, rewrite_label(data, label.extension, fused_key)

    def _image(self, pair_id: str, cell: Mapping[str, Any]) -> tuple[str, bytes]:
        """Return the extension and the bytes of a fused image."""
        stored, path = cell["bytes"], cell["path"]
        data = self._reader.read(path) if stored is None else stored
        extension = "png" if stored is not None else posixpath.splitext(path)[1][1:].lower()
        wanted = self._export.format or extension
        if wanted == extension or (wanted in _JPEG and extension in _JPEG):
            return wanted, data
        try:
            pixels = decode_image(data, max_pixels=self._record.max_pixels)
        except IrfuseError as error:
            raise StorageError(f"The fused image of {pair_id!r} cannot be read: {error}") from None
        image = to_eight_bit(pixels, self._record.origin.sixteen_bit)
        if wanted == "png":
            return wanted, encode_png(image)
        return wanted, encode_jpeg(Image.fromarray(image), self._export.quality or 95)


def row_pair(row: Mapping[str, Any]) -> PairRow:
    """Return the pair of a row, whose locations have no query."""
    return PairRow(row["pair_id"], row["ir_uri"], row["vis_uri"], row["subset"])


def encode_jpeg(image: Image.Image, quality: int) -> bytes:
    """Encode an image as JPEG, with the chroma in full resolution."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, subsampling=0, optimize=True)
    return buffer.getvalue()


@dataclass(slots=True)
class _Written:
    """What is known of the pairs of a shard so far."""

    images: dict[str, str] = field(default_factory=dict)
    labels: dict[str, LabelOf] = field(default_factory=dict)
    classes: list[int] = field(default_factory=list)
    skipped: list[SkippedPair] = field(default_factory=list)


def _skipped(row: Mapping[str, Any]) -> SkippedPair:
    if row["status"] == "ok":
        return SkippedPair(pair_id=row["pair_id"], reason="where")
    detail = f"at {row['error_stage']}: {row['error_message']}"
    return SkippedPair(pair_id=row["pair_id"], reason="failed", detail=detail)
