"""The rows of a run.

`ResultRow` is the single definition of the columns. The Arrow schema, and the table in the
documentation (printed by `python -m cluster.runs.rows`), are derived from its fields.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from cluster.runs.origins import FusedCell
from cluster.runs.stage_names import STAGES, Stage

Status = Literal["ok", "failed"]

_ARROW_TYPES: dict[object, pa.DataType] = {
    str: pa.string(),
    int: pa.int32(),
    float: pa.float64(),
    Stage: pa.string(),
    Status: pa.string(),
    FusedCell: pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
}


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
    resized: str | None = None
    """Source that `--resize` brought to this size, and its size before, such as
    `visible 1280x960`; null if neither."""
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


if __name__ == "__main__":
    print(column_table())
