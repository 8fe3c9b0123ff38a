"""Freezing of a manifest: the normalised list of a run's pairs, identified by its digest.

A manifest is streamed in record batches from its origin (a discovery, CSV or Parquet) into the
run's frozen copy, so that memory does not grow with the number of rows.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from cluster.collections.unique_ids import UniqueIds
from fusion_core.choices import FURTHER_SOURCES
from fusion_core.errors import ManifestError

MANIFEST_KEY = "manifest.parquet"
ROW_GROUP_ROWS = 4096
FUSED_COLUMN = "fused_uri"
REFERENCE_COLUMN = "reference_uri"
LABEL_COLUMN = "label_uri"
FURTHER_COLUMNS = tuple(f"source_{n}_uri" for n, _ in enumerate(FURTHER_SOURCES, start=3))
"""Columns of the sources of a pair after the infrared and the visible image."""
TEXT_COLUMNS = (
    "pair_id", "ir_uri", "vis_uri", "subset", *FURTHER_COLUMNS, FUSED_COLUMN, REFERENCE_COLUMN,
    LABEL_COLUMN,
)  # fmt: skip
DIGEST_KEY = b"irfuse.digest"


@dataclass(frozen=True, slots=True)
class FrozenInfo:
    """Size and identity of a frozen manifest."""

    rows: int
    digest: str
    further: int = 0
    """Number of sources of a pair after the infrared and the visible image."""


def freeze(batches: Iterable[pa.RecordBatch]) -> tuple[FrozenInfo, bytes]:
    """Validate a manifest and build the frozen copy, which contains its digest.

    Returns:
        Size and identity of the manifest, and the Parquet object.

    Raises:
        ManifestError: The manifest has no rows, or a `pair_id` is empty or not unique.
    """
    digest = ManifestDigest()
    ids = UniqueIds()
    buffer = io.BytesIO()
    writer: pq.ParquetWriter | None = None
    for batch in _rechunk(batches):
        writer = writer or pq.ParquetWriter(
            buffer, batch.schema, compression="zstd", write_page_checksum=True
        )
        digest.add(batch)
        ids.add(batch.column("pair_id").to_pylist())
        writer.write_batch(batch, row_group_size=ROW_GROUP_ROWS)
    if writer is None:
        raise ManifestError(
            "The manifest has no pairs; run `irfuse pairs SOURCE` to see which pairs are found"
        )
    writer.add_key_value_metadata({DIGEST_KEY: digest.hex().encode()})
    writer.close()
    ids.check(pq.ParquetFile(buffer))
    further = sum(column in writer.schema.names for column in FURTHER_COLUMNS)
    return FrozenInfo(ids.count, digest.hex(), further), buffer.getvalue()


def _rechunk(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Split and join batches into full row groups."""
    waiting: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        waiting.append(batch)
        rows += batch.num_rows
        if rows < ROW_GROUP_ROWS:
            continue
        table = _join(waiting)
        whole = rows - rows % ROW_GROUP_ROWS
        yield from table.slice(0, whole).to_batches(max_chunksize=ROW_GROUP_ROWS)
        waiting, rows = table.slice(whole).to_batches(), rows - whole
    if rows:
        yield from _join(waiting).to_batches()


def _join(batches: Sequence[pa.RecordBatch]) -> pa.Table:
    try:
        return pa.Table.from_batches(batches).combine_chunks()
    except pa.ArrowInvalid as error:
        raise ManifestError(
            f"The type of a manifest column changes between rows: {error}"
        ) from None


class ManifestDigest:
    """SHA-256 over names and values, independent of the boundaries of batches."""

    def __init__(self) -> None:
        self._columns: dict[str, hashlib._Hash] = {}

    def add(self, batch: pa.RecordBatch) -> None:
        """Add the rows of a batch."""
        for name in batch.schema.names:
            hasher = self._columns.setdefault(name, hashlib.sha256())
            values = map(_measured, _to_python(batch.column(name), name))
            hasher.update("".join(values).encode("utf-8", "replace"))

    def hex(self) -> str:
        """Return the digest of all rows so far."""
        whole = hashlib.sha256()
        for name in sorted(self._columns):
            whole.update(f"{_measured(name)}{self._columns[name].hexdigest()}".encode())
        return whole.hexdigest()


def _measured(value: object) -> str:
    """Return a value with its length in front, so that no two lists of values look alike."""
    if value is None:
        return "-"
    text = str(value)
    return f"{len(text)}:{text}"


def _to_python(column: pa.Array, name: str) -> list[object]:
    """Return a column's values, as text if Python cannot represent them (the year 20000)."""
    try:
        return list(column.to_pylist())
    except (ValueError, OverflowError):
        try:
            return list(column.cast(pa.string()).to_pylist())
        except pa.ArrowException:
            raise ManifestError(f"Column {name!r} contains values that cannot be read") from None
