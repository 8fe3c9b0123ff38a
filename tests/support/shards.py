"""A run of two shards of two pairs each, and rows of it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from cluster.collections.frozen_manifest import MANIFEST_KEY, freeze
from cluster.runs.plan import shard_key
from cluster.runs.rows import ResultRow
from cluster.storage.store import Store
from support.records import encoded_shard, result_row, run_record

IMAGE = bytes(range(256)) * 20
IDS = ["p0", "p1", "p2", "p3"]
INFO, MANIFEST = freeze(
    [
        pa.RecordBatch.from_pylist(
            [{"pair_id": name, "ir_uri": "i", "vis_uri": "v", "subset": "s"} for name in IDS]
        )
    ]
)
RECORD = run_record(INFO, shard_size=2)


def ok(name: str, value: float = 1.0, **changed: Any) -> ResultRow:
    fused = {"bytes": name.encode() + IMAGE, "path": None}
    return result_row(name, metrics={"EN": value}, fused=fused, **changed)


def failed(name: str, **changed: Any) -> ResultRow:
    settings: dict[str, Any] = {
        "status": "failed", "error_stage": "read", "error_message": "m", "metrics": {"EN": None},
    }  # fmt: skip
    return result_row(name, **{**settings, **changed})


def records(*rows: ResultRow) -> dict[int, dict[str, Any]]:
    return {offset: row.to_record() for offset, row in enumerate(rows)}


def encoded(rows: Sequence[ResultRow], shard: int = 0, **changed: Any) -> bytes:
    facts = {"fingerprint": RECORD.fingerprint, "shard": shard, **changed}
    return encoded_shard(rows, ["EN"], **facts)


GOOD = encoded([ok("p0"), ok("p1")])
"""The first shard."""


def begun_run(folder: Path) -> Store:
    """Return the output location of the run, of which the first shard is committed."""
    out = Store(str(folder))
    out.write(MANIFEST_KEY, MANIFEST)
    out.write(shard_key(0), GOOD)
    return out
