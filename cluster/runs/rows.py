"""The rows of a run, and the Parquet object that contains the rows of one shard.

`ResultRow` is the single definition of the columns. The Arrow schema, and the table in the
documentation (printed by `python -m cluster.runs.rows`), are derived from its fields.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO, Literal, get_args

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field

from cluster.runs.origins import FusedCell

ROW_GROUP_BYTES = 8 * 1024 * 1024
"""Limit of the images in a row group, which must be read as a whole to read one image."""

Stage = Literal["read", "decode", "check", "fuse", "score", "encode", "crash"]
STAGES: tuple[Stage, ...] = get_args(Stage)
Status = Literal["ok", "failed"]

_ARROW_TYPES: dict[object, pa.DataType] = {
    str: pa.string(),
    int: pa.int32(),
    float: pa.float64(),
    Stage: pa.string(),
    Status: pa.string(),
    FusedCell: pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
}
_REPEATING = [
    "subset", "collection", "run", "method", "status", "error_stage", "error_type", "node",
]  # fmt: skip
_METADATA_PREFIX = "irfuse."


class ResultRow(BaseModel):
    """The row of one pair; the fields are the columns, in their order."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    pair_id: str
    """Name of the pair, unique in the run, from the manifest."""
    subset: str
    """Part of the collection that the pair belongs to, such as `train`, from the manifest."""
    ir_uri: str
    """Location of the infrared image, without the query of a URL."""
    vis_uri: str
    """Location of the visible image, without the query of a URL."""
    width: int | None = None
    """Width of the sources in pixels; null if they could not be decoded."""
    height: int | None = None
    """Height of the sources in pixels; null if they could not be decoded."""
    collection: str
    """Name of the collection (`--collection`)."""
    run: str
    """Name of the run (`--name`)."""
    method: str
    """Fusion method, or the `--name` of a score."""
    status: Status = "ok"
    """`ok` or `failed`."""
    error_stage: Stage | None = None
    """Stage at which the pair failed; null in an `ok` row."""
    error_type: str | None = None
    """Class of the error; null in an `ok` row."""
    error_message: str | None = None
    """Reason of the failure; null in an `ok` row."""
    fused: FusedCell | None = None
    """PNG bytes of the fused image, or the path of an existing one; null in a failed row or with
    `--no-keep-images`."""
    metrics: dict[str, float | None] = Field(default_factory=dict)
    """One column per metric; null in a failed row, or where the metric is undefined."""
    metric_notes: str | None = None
    """Reason why metrics are undefined."""
    read_ms: float | None = None
    """Time in milliseconds spent on reading."""
    decode_ms: float | None = None
    """Time in milliseconds spent on decoding."""
    fuse_ms: float | None = None
    """Time in milliseconds spent on fusing."""
    score_ms: float | None = None
    """Time in milliseconds spent on scoring."""
    encode_ms: float | None = None
    """Time in milliseconds spent on encoding."""
    attempt: int = 1
    """Number of attempts to compute the pair; greater than 1 after a retry or a crash."""
    node: str = ""
    """Host that computed the row."""

    def to_record(self) -> dict[str, Any]:
        """Return a mapping from column name to value, one entry per metric."""
        record = dict(self)
        record.update(record.pop("metrics"))
        return record


TIMED_STAGES = tuple(
    name.removesuffix("_ms") for name in ResultRow.model_fields if name.endswith("_ms")
)


def in_stage_order(stages: Mapping[str, int]) -> dict[str, int]:
    """Return counts per stage in the order of the stages."""
    return {stage: stages[stage] for stage in STAGES if stage in stages}


def row_schema(metrics: Sequence[str]) -> pa.Schema:
    """Return the Arrow schema of every shard of a run.

    With the `huggingface` entry `datasets.load_dataset("parquet", …)` decodes the images.
    """
    fields: list[pa.Field] = []
    for name, info in ResultRow.model_fields.items():
        if name == "metrics":
            fields += [pa.field(metric, pa.float64()) for metric in metrics]
            continue
        arrow_type, nullable = _arrow_type(info.annotation)
        fields.append(pa.field(name, arrow_type, nullable=nullable))
    features = {"info": {"features": {"fused": {"_type": "Image"}}}}
    return pa.schema(fields, metadata={"huggingface": json.dumps(features)})


def _arrow_type(annotation: Any) -> tuple[pa.DataType, bool]:  # noqa: ANN401
    """Return the type of a field's column, and whether it may be null."""
    if annotation in _ARROW_TYPES:
        return _ARROW_TYPES[annotation], False
    options = [option for option in get_args(annotation) if option is not type(None)]
    return _ARROW_TYPES[options[0]], True


def column_table() -> str:
    """Return the columns as a Markdown table."""
    lines = ["| column | type | |", "|---|---|---|"]
    for name, info in ResultRow.model_fields.items():
        text = " ".join((info.description or "").split())
        if name == "metrics":
            lines.append(f"| name of the metric | double | {text} |")
            continue
        arrow_type, _ = _arrow_type(info.annotation)
        lines.append(f"| `{name}` | {arrow_type} | {text} |")
    return "\n".join(lines)


def encode_shard(
    records: Sequence[Mapping[str, Any]], metrics: Sequence[str], metadata: Mapping[str, str]
) -> bytes:
    """Build a shard's Parquet object in memory.

    Args:
        records: Mappings from column name to value, one per row.
        metrics: The run's metric columns.
        metadata: Metadata of the shard.
    """
    schema = row_schema(metrics)
    own = {f"{_METADATA_PREFIX}{name}": value for name, value in metadata.items()}
    schema = schema.with_metadata({**(schema.metadata or {}), **own})
    scalars = [name for name in schema.names if name != "fused"]
    buffer = io.BytesIO()
    with pq.ParquetWriter(
        buffer,
        schema,
        # PNG does not compress further, and its bytes have no useful statistics.
        compression={**dict.fromkeys([*scalars, "fused.path"], "zstd"), "fused.bytes": "none"},
        use_dictionary=_REPEATING,
        write_statistics=scalars,
    ) as writer:
        for part in _row_groups(records):
            writer.write_table(pa.Table.from_pylist(part, schema=schema))
    return buffer.getvalue()


def _row_groups(records: Sequence[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    """Split rows into groups of at most `ROW_GROUP_BYTES` of images, or one larger image."""
    part: list[Mapping[str, Any]] = []
    size = 0
    for record in records:
        cell = record["fused"] or {}
        picture = len(cell.get("bytes") or b"")
        if part and size + picture > ROW_GROUP_BYTES:
            yield part
            part, size = [], 0
        part.append(record)
        size += picture
    yield part


def read_records(file: BinaryIO) -> list[dict[str, Any]]:
    """Return the rows of a shard's Parquet object."""
    parquet = pq.ParquetFile(file)
    groups = (parquet.read_row_group(group) for group in range(parquet.num_row_groups))
    return [record for group in groups for record in group.to_pylist()]


def shard_metadata(metadata: Mapping[bytes, bytes] | None) -> dict[str, str]:
    """Return the metadata of a shard that `encode_shard` wrote."""
    entries = ((key.decode(), value.decode()) for key, value in (metadata or {}).items())
    return {
        key.removeprefix(_METADATA_PREFIX): value
        for key, value in entries
        if key.startswith(_METADATA_PREFIX)
    }


if __name__ == "__main__":
    print(column_table())
