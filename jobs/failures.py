"""All failed pairs of a run."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from cluster.runs import Damage, Ledger, RunRecord, Stage
from cluster.storage import read_record
from jobs.options import FailuresOptions
from jobs.progress import Progress
from jobs.table_files import write_tables

_TEXTS = ("pair_id", "subset", "stage", "type", "message", "ir_uri", "vis_uri", "node")
_SCHEMA = pa.schema(
    [*((name, pa.string()) for name in _TEXTS), ("attempt", pa.int32()), ("shard", pa.int32())]
)
_RENAMED = {"stage": "error_stage", "type": "error_type", "message": "error_message"}


class Failure(BaseModel):
    """One failed pair."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    pair_id: str
    subset: str
    stage: Stage
    """Stage at which it failed."""
    type: str
    """Class of the error."""
    message: str
    """Reason of the failure."""
    ir_uri: str
    """Location of the infrared image, without the query of a URL."""
    vis_uri: str
    """Location of the visible image, without the query of a URL."""
    node: str | None
    """Host that computed the row."""
    attempt: int
    """Number of attempts to compute the pair."""
    shard: int


class Failures(BaseModel):
    """The failed pairs of a run."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    out: str
    rows_done: int
    """Number of pairs with a committed row."""
    failures: list[Failure]
    """The failed pairs that were asked for, in the order of the manifest."""
    damaged_shards: list[int]
    """Shards that cannot be read, and whose failed pairs are therefore missing."""


def list_failures(options: FailuresOptions, progress: Progress | None = None) -> Failures:
    """List the failed pairs of the run at OUT with their reasons and locations.

    Args:
        options: Options of the job.
        progress: Receives the progress; silent by default.

    Raises:
        NotFoundError: The location contains no run.
        StorageError: The run cannot be read, or a file cannot be written.
    """
    store = options.store(options.out)
    record = read_record(store, RunRecord)
    columns = [_RENAMED.get(name, name) for name in _SCHEMA.names if name != "shard"]
    found: list[Failure] = []
    damages: list[Damage] = []
    rows_done = 0
    ledger = Ledger(store, record)
    for content in ledger.contents([*columns, "status"], on_damage=damages.append):
        rows_done += content.facts.rows
        for row in content.to_rows() if content.facts.failed else ():
            if row["status"] == "failed" and options.stage in (None, row["error_stage"]):
                values: dict[str, Any] = {n: row[_RENAMED.get(n, n)] for n in _TEXTS}
                found.append(Failure(**values, attempt=row["attempt"], shard=content.shard))
    values = {name: [getattr(failure, name) for failure in found] for name in _SCHEMA.names}
    write_tables(pa.table(values, schema=_SCHEMA), options)
    return Failures(
        out=store.url,
        rows_done=rows_done,
        failures=found,
        damaged_shards=[damage.shard for damage in damages],
    )
