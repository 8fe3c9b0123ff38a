"""The shard plan, and the rows that a shard's Parquet object holds."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, BinaryIO, Literal

import pyarrow as pa
import pyarrow.parquet as pq

_ROW_GROUP_BYTES = 256 * 1024 * 1024
"""Readers fail on row groups with more than 2 GiB of pictures."""
Stage = Literal["read", "decode", "check", "fuse", "score", "encode", "crash"]
STAGES: tuple[Stage, ...] = ("read", "decode", "check", "fuse", "score", "encode", "crash")
TIMED_STAGES = ("read", "decode", "fuse", "score", "encode")


@dataclass(slots=True)
class ResultRow:
    """One pair's row, as the Parquet schema has it; the metrics are columns of their own."""

    pair_id: str
    subset: str
    ir_uri: str
    vis_uri: str
    method: str
    width: int | None = None
    height: int | None = None
    status: Literal["ok", "failed"] = "ok"
    error_stage: Stage | None = None
    error_type: str | None = None
    error_message: str | None = None
    fused: dict[str, bytes | str | None] | None = None
    metrics: dict[str, float | None] = field(default_factory=dict)
    metric_notes: str | None = None
    read_ms: float | None = None
    decode_ms: float | None = None
    fuse_ms: float | None = None
    score_ms: float | None = None
    encode_ms: float | None = None
    attempt: int = 1
    node: str = ""

    def to_record(self) -> dict[str, Any]:
        """Return column name to value, metrics flattened."""
        record = asdict(self)
        record.update(record.pop("metrics"))
        return record


def row_schema(metrics: Sequence[str]) -> pa.Schema:
    """Return the Arrow schema of every shard of a run.

    The `huggingface` entry lets `datasets.load_dataset("parquet", …)` show the pictures.
    """
    text = pa.string()
    milliseconds = [pa.field(f"{stage}_ms", pa.float64()) for stage in TIMED_STAGES]
    fields = [
        pa.field("pair_id", text, nullable=False),
        pa.field("subset", text, nullable=False),
        pa.field("ir_uri", text, nullable=False),
        pa.field("vis_uri", text, nullable=False),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("method", text, nullable=False),
        pa.field("status", text, nullable=False),
        pa.field("error_stage", text),
        pa.field("error_type", text),
        pa.field("error_message", text),
        pa.field("fused", pa.struct([("bytes", pa.binary()), ("path", text)])),
        *(pa.field(name, pa.float64()) for name in metrics),
        pa.field("metric_notes", text),
        *milliseconds,
        pa.field("attempt", pa.int32(), nullable=False),
        pa.field("node", text, nullable=False),
    ]
    features = {"info": {"features": {"fused": {"_type": "Image"}}}}
    return pa.schema(fields, metadata={"huggingface": json.dumps(features)})


def encode_shard(
    records: Sequence[Mapping[str, Any]], metrics: Sequence[str], facts: Mapping[str, str]
) -> bytes:
    """Build a shard's Parquet object in memory.

    Args:
        records: Column name to value, one mapping a row.
        metrics: The run's metric columns.
        facts: What describes the shard as a whole (`irfuse.` is put before each name).
    """
    schema = row_schema(metrics)
    notes = {f"irfuse.{name}": value for name, value in facts.items()}
    table = pa.Table.from_pylist(list(records), schema=schema)
    table = table.replace_schema_metadata({**(schema.metadata or {}), **notes})
    plain = ["fused.bytes"]  # PNG does not compress further, and has no useful statistics
    counted = [name for name in schema.names if name != "fused"]
    pictures = table["fused"].nbytes
    buffer = io.BytesIO()
    pq.write_table(
        table,
        buffer,
        row_group_size=max(1, len(table) * _ROW_GROUP_BYTES // max(pictures, _ROW_GROUP_BYTES)),
        compression={
            **dict.fromkeys([*counted, "fused.path"], "zstd"),
            **dict.fromkeys(plain, "none"),
        },
        use_dictionary=["subset", "method", "status", "error_stage", "error_type", "node"],
        write_statistics=counted,
    )
    return buffer.getvalue()


def read_records(file: BinaryIO) -> list[dict[str, Any]]:
    """Return the rows of a shard's Parquet object."""
    parquet = pq.ParquetFile(file)
    groups = (parquet.read_row_group(group) for group in range(parquet.num_row_groups))
    return [record for group in groups for record in group.to_pylist()]


def shard_facts(metadata: Mapping[bytes, bytes] | None) -> dict[str, str]:
    """Return the facts that `encode_shard` put into a file's metadata."""
    pairs = ((key.decode(), value.decode()) for key, value in (metadata or {}).items())
    return {key.removeprefix("irfuse."): value for key, value in pairs if key.startswith("irfuse.")}
