"""The pairs of a run with their fused images, as an export takes them."""

from __future__ import annotations

import io
import posixpath
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from PIL import Image

from cluster.collections import Condition, PairRow
from cluster.runs import RunRecord, Shards, shard_key
from cluster.storage import Reader, Store, split_query
from fusion_core.errors import IrfuseError, NotFoundError, StorageError
from fusion_core.images import decode_image, encode_png, to_eight_bit
from jobs.export.record import ExportRecord, SkippedPair
from jobs.export.splits import Splits

_JPEG = ("jpg", "jpeg")


@dataclass(frozen=True, slots=True)
class ReadPair:
    """A pair that is exported."""

    row: Mapping[str, Any]
    """The row without the fused image."""
    pair: PairRow
    """The pair as the row has it, whose locations have no query; its subset is the split."""
    located: PairRow
    """The pair as the manifest has it."""
    extension: str
    """Extension of the fused image."""
    data: bytes
    """The file of the fused image."""


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


class RunImages:
    """Reads the pairs of single shards; several threads may use one.

    Args:
        run: Output location of the run.
        record: Record of the run.
        export: Record of the export.
        splits: The splits that files name.
    """

    def __init__(self, run: Store, record: RunRecord, export: ExportRecord, splits: Splits) -> None:
        self._record, self._export, self._splits = record, export, splits
        self._shards = Shards(run, record)
        self._condition = RowCondition(export.where)
        self.files = Reader(run.storage_options, max_pixels=record.max_pixels)

    def groups(self, shard: int) -> Iterator[tuple[str, list[ReadPair | SkippedPair]]]:
        """Yield the digest of a shard with the pairs of each of its row groups.

        Raises:
            DamagedShardError: The shard is damaged; the message names a pair and the remedy.
            NotFoundError: The file of a fused image does not exist any more.
            StorageError: The shard or a fused image cannot be read.
        """
        located = iter(self._shards.manifest.read(*self._record.plan.bounds(shard)))
        for content in self._shards.stream(shard):
            assert content.table is not None
            fitting = self._condition.fitting(content.table)
            pairs = [
                self._read(shard, dict(row), pair, fits=row["pair_id"] in fitting)
                for row, pair in zip(content.to_rows(), located, strict=False)
            ]
            yield content.facts.content, pairs

    def read_source(self, pair: PairRow, uri: str) -> bytes:
        """Return a source file of a pair, as the manifest has it.

        Raises:
            NotFoundError: It does not exist any more; the message names the pair and the remedy.
            StorageError: It cannot be read.
        """
        return self._read_file(uri, f"a source of {pair.pair_id!r}")

    def _read(
        self, shard: int, row: dict[str, Any], located: PairRow, *, fits: bool
    ) -> ReadPair | SkippedPair:
        cell = row.pop("fused")
        if row["status"] != "ok":
            detail = f"at {row['error_stage']}: {row['error_message']}"
            return SkippedPair(pair_id=row["pair_id"], reason="failed", detail=detail)
        if not fits:
            return SkippedPair(pair_id=row["pair_id"], reason="where")
        placed = self._splits.place(row_pair(row))
        if placed is None:
            return SkippedPair(pair_id=row["pair_id"], reason="split")
        return ReadPair(row, placed, located, *self._image(shard, located, cell["bytes"]))

    def _image(self, shard: int, located: PairRow, stored: bytes | None) -> tuple[str, bytes]:
        """Return the extension and the bytes of a fused image."""
        pair_id, data, extension = located.pair_id, stored, "png"
        if data is None:  # of a run of `irfuse score`; the locations in its rows have no query
            uri = located.fused_uri
            data = self._read_file(uri, f"the fused image of {pair_id!r} in {shard_key(shard)}")
            extension = posixpath.splitext(split_query(uri)[0])[1][1:].lower()
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

    def _read_file(self, uri: str, what: str) -> bytes:
        try:
            return self.files.read(uri)
        except NotFoundError as error:
            raise NotFoundError(
                f"{error}, although it is {what}; put it back, and run the same command again, "
                "which goes on where it stopped"
            ) from None


def row_pair(row: Mapping[str, Any]) -> PairRow:
    """Return the pair of a row, whose locations have no query."""
    return PairRow(row["pair_id"], row["ir_uri"], row["vis_uri"], row["subset"])


def encode_jpeg(image: Image.Image, quality: int) -> bytes:
    """Encode an image as JPEG, with the chroma in full resolution."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, subsampling=0, optimize=True)
    return buffer.getvalue()
