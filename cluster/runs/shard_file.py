"""The Parquet object of a shard: its rows, and the facts by which it is recognised and checked.

The facts are metadata of the object. They contain the settings and the place of the shard, and
digests of the names of its pairs and of all its values, so that a shard is believed for its content
and not for the name of its object. In addition, Parquet's page checksums are written, which every
reader that verifies them compares with the pages that it reads.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, ValidationError

from cluster.runs.rows import row_schema

ROW_GROUP_BYTES = 8 * 1024 * 1024
"""Limit of the images in a row group, which must be read as a whole to read one image."""
_REPEATING = [
    "run", "collection", "subset", "method", "status", "error_stage", "error_type", "node",
]  # fmt: skip
_LARGEST_ARRAY = 2**31 - 1
"""Bytes of all values of a binary array."""
_PREFIX = "irfuse."
_IMAGES = "fused"


class ShardFacts(BaseModel):
    """The metadata of a shard."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    fingerprint: str
    """Fingerprint of the run's settings."""
    shard: int
    """Number of the shard."""
    rows: int
    """Number of rows."""
    failed: int
    """Number of failed rows."""
    pairs: str
    """Digest of the names of its pairs; see `pairs_digest`."""
    content: str
    """Digest of all values, images included; see `content_digest`."""
    started: datetime
    """Time at which the computation of the shard began."""
    committed: datetime
    """Time at which it ended."""


def pairs_digest(pair_ids: Iterable[str]) -> str:
    """Return the SHA-256 over the names of pairs, in their order."""
    digest = hashlib.sha256()
    for pair_id in pair_ids:
        _update(digest, pair_id.encode())
    return digest.hexdigest()


def content_digest(tables: Iterable[pa.Table]) -> str:
    """Return the SHA-256 over all values of the rows, however they are split into row groups."""
    digest = hashlib.sha256()
    for table in tables:
        scalars = table.drop_columns([_IMAGES]).to_pylist()
        images = (cell.as_py() for cell in table.column(_IMAGES))  # one in memory
        _add_rows(digest, scalars, images)
    return digest.hexdigest()


def _digest_of_records(records: Sequence[Mapping[str, Any]], schema: pa.Schema) -> str:
    """Return the `content_digest` of rows that are about to be written, without copies of images.

    The other values pass through a table, so that they are the ones that will be read.
    """
    fields = [field for field in schema if field.name != _IMAGES]
    digest = hashlib.sha256()
    scalars = pa.Table.from_pylist(list(records), schema=pa.schema(fields)).to_pylist()
    _add_rows(digest, scalars, (record[_IMAGES] for record in records))
    return digest.hexdigest()


def _add_rows(
    digest: hashlib._Hash,
    scalars: Sequence[Mapping[str, Any]],
    images: Iterable[Mapping[str, Any] | None],
) -> None:
    for row, image in zip(scalars, images, strict=True):
        data = image["bytes"] if image else None
        path = {"path": image["path"]} if image else None
        _update(digest, json.dumps([row, path, data is None]).encode())
        _update(digest, data or b"")


def _update(digest: hashlib._Hash, data: bytes) -> None:
    """Add data after its length, so that no two sequences of data are alike."""
    digest.update(len(data).to_bytes(8, "big"))
    digest.update(data)


def encode_shard(
    records: Sequence[Mapping[str, Any]],
    metrics: Sequence[str],
    *,
    fingerprint: str,
    shard: int,
    started: datetime,
    committed: datetime,
) -> memoryview:
    """Build a shard's Parquet object in memory.

    Args:
        records: Mappings from column name to value, one per row.
        metrics: The run's metric columns.
        fingerprint: Fingerprint of the run's settings.
        shard: Number of the shard.
        started: Time at which the computation of the shard began.
        committed: Time at which it ended.
    """
    schema = row_schema(metrics)
    facts = ShardFacts(
        fingerprint=fingerprint,
        shard=shard,
        rows=len(records),
        failed=sum(record["status"] == "failed" for record in records),
        pairs=pairs_digest(record["pair_id"] for record in records),
        content=_digest_of_records(records, schema),
        started=started,
        committed=committed,
    )
    own = {f"{_PREFIX}{name}": str(value) for name, value in facts.model_dump(mode="json").items()}
    schema = schema.with_metadata({**(schema.metadata or {}), **own})
    scalars = [name for name in schema.names if name != _IMAGES]
    # Unlike an object of Python, it is written without the interpreter lock.
    buffer = pa.BufferOutputStream()
    with pq.ParquetWriter(
        buffer,
        schema,
        # PNG does not compress further, and its bytes have no useful statistics.
        compression={**dict.fromkeys([*scalars, "fused.path"], "zstd"), "fused.bytes": "none"},
        use_dictionary=_REPEATING,
        write_statistics=scalars,
        write_page_checksum=True,
    ) as writer:
        for group in _row_groups(records, schema):
            writer.write_table(group)
    return memoryview(buffer.getvalue()).cast("B")


def _row_groups(records: Sequence[Mapping[str, Any]], schema: pa.Schema) -> Iterator[pa.Table]:
    """Make the row groups one by one, because all together are as large as the shard."""
    scalars = schema.remove(schema.get_field_index(_IMAGES))
    for part in _split(records):
        table = pa.Table.from_pylist(part, schema=scalars)
        images = _to_column([record[_IMAGES] for record in part])
        columns = dict(zip(scalars.names, table.columns, strict=True)) | {_IMAGES: images}
        yield pa.Table.from_arrays([columns[name] for name in schema.names], schema=schema)


def _to_column(cells: Sequence[Mapping[str, Any] | None]) -> pa.StructArray:
    """Return images as an array, for which Python joins their bytes without its lock."""
    images = [cell["bytes"] if cell else None for cell in cells]
    paths = [cell["path"] if cell else None for cell in cells]
    sizes = [len(image or b"") for image in images]
    present = [image for image in images if image is not None]
    if len(present) < len(images) or sum(sizes) > _LARGEST_ARRAY:
        data = pa.array(images, pa.binary())
    else:
        offsets = np.cumsum([0, *sizes], dtype=np.int32)
        buffers = [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(present))]
        data = pa.Array.from_buffers(pa.binary(), len(images), buffers)
    fields = [pa.field("bytes", pa.binary()), pa.field("path", pa.string())]
    missing = pa.array([cell is None for cell in cells])
    return pa.StructArray.from_arrays(
        [data, pa.array(paths, pa.string())], fields=fields, mask=missing
    )


def _split(records: Sequence[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    """Split rows into parts of at most `ROW_GROUP_BYTES` of images, or one larger image."""
    part: list[Mapping[str, Any]] = []
    size = 0
    for record in records:
        cell = record[_IMAGES] or {}
        image = len(cell.get("bytes") or b"")
        if part and size + image > ROW_GROUP_BYTES:
            yield part
            part, size = [], 0
        part.append(record)
        size += image
    yield part


def open_shard(
    file: BinaryIO | pa.NativeFile, metadata: pq.FileMetaData | None = None
) -> pq.ParquetFile:
    """Open a shard's Parquet object; each read compares the pages with their checksums.

    Reads are joined to few large ones, which are held in memory until the object is closed.

    Args:
        file: The object.
        metadata: Its footer, if that has been read already.

    Raises:
        pa.ArrowException: The object is not a whole Parquet file.
    """
    return pq.ParquetFile(file, page_checksum_verification=True, pre_buffer=True, metadata=metadata)


def read_facts(parquet: pq.ParquetFile) -> ShardFacts | None:
    """Return the facts of a shard, or None if the object has none."""
    metadata = parquet.schema_arrow.metadata or {}
    own = {
        key.decode().removeprefix(_PREFIX): value.decode()
        for key, value in metadata.items()
        if key.startswith(_PREFIX.encode())
    }
    try:
        return ShardFacts.model_validate(own)
    except ValidationError:
        return None


def read_groups(parquet: pq.ParquetFile) -> Iterator[pa.Table]:
    """Read a shard's rows, one row group after the other."""
    for group in range(parquet.num_row_groups):
        yield parquet.read_row_group(group)


def read_image(parquet: pq.ParquetFile, row: int) -> dict[str, Any] | None:
    """Read the `fused` cell of one row, and of the images only the row group that holds it.

    Raises:
        IndexError: The shard has no such row.
    """
    for group in range(parquet.num_row_groups):
        rows = parquet.metadata.row_group(group).num_rows
        if row < rows:
            cell: dict[str, Any] | None = (
                parquet.read_row_group(group, columns=[_IMAGES]).column(_IMAGES)[row].as_py()
            )
            return cell
        row -= rows
    raise IndexError(row)
