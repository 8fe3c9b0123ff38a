"""Records, rows and worker settings of small runs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from cluster.collections.frozen_manifest import FrozenInfo
from cluster.runs.config import WorkerConfig
from cluster.runs.origins import MethodOrigin
from cluster.runs.payload import Payload
from cluster.runs.record import RunRecord
from cluster.runs.rows import ResultRow
from cluster.runs.shard_file import encode_shard
from cluster.storage.store import Store
from fusion_core.networks.weights import Weights

TIME = datetime(2026, 1, 1, tzinfo=UTC)


def method_origin(**changed: Any) -> MethodOrigin:
    """DenseFuse with its default parameters, or with other fields."""
    settings: dict[str, Any] = {
        "method": "densefuse",
        "parameters": {"sixteen_bit": "percentile"},
        "weights_trained": False,
    }
    return MethodOrigin(**{**settings, **changed})


def run_record(info: FrozenInfo, **changed: Any) -> RunRecord:
    """The record of a run of a manifest, with other fields where given."""
    settings: dict[str, Any] = {
        "name": "densefuse",
        "collection": "pairs",
        "source": "/in",
        "origin": method_origin(),
        "metrics": ["EN"],
        "max_pixels": 1_000_000,
        "shard_size": 64,
        "rows": info.rows,
        "manifest_digest": info.digest,
        "irfuse_version": "0",
        "torch_version": "0",
        "created": "2026-01-01T00:00:00+00:00",
    }
    return RunRecord(**{**settings, **changed})


def worker_config(
    out: Store, info: FrozenInfo, *, weights: Weights | None = None, **changed: Any
) -> WorkerConfig:
    """The settings of a worker of such a run, with random weights by default."""
    return WorkerConfig(run_record(info, **changed), out, Payload(weights or Weights.from_seed(0)))


def result_row(pair_id: str = "p", **changed: Any) -> ResultRow:
    """A good row without an image or metrics, with other fields where given."""
    settings: dict[str, Any] = {
        "pair_id": pair_id,
        "subset": "s",
        "ir_uri": "i",
        "vis_uri": "v",
        "collection": "c",
        "run": "r",
        "method": "m",
    }
    return ResultRow(**{**settings, **changed})


def encoded_shard(rows: Sequence[ResultRow], metrics: Sequence[str] = (), **changed: Any) -> bytes:
    """The Parquet object of a shard, with other facts where given."""
    facts: dict[str, Any] = {"fingerprint": "f", "shard": 0, "started": TIME, "committed": TIME}
    return bytes(encode_shard([r.to_record() for r in rows], metrics, **{**facts, **changed}))
