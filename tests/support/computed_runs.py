"""Small runs that are computed in this process, without Ray."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cluster.collections.discovery import discover
from cluster.collections.frozen_manifest import MANIFEST_KEY, freeze
from cluster.collections.user_manifest import read_user_manifest
from cluster.runs.config import WorkerConfig
from cluster.runs.messages import ShardTask
from cluster.runs.origins import FilesOrigin, MethodOrigin
from cluster.runs.record import RunRecord
from cluster.runs.worker import ShardProcessor
from cluster.storage.store import Store
from support.collections import write_pairs
from support.records import run_record

AVERAGE = {"sixteen_bit": "percentile", "colour": "luma", "output_range": "clip"}


def compute_run(
    folder: Path,
    pairs: int,
    *,
    subsets: Sequence[str] = ("",),
    damaged: Sequence[int] = (),
    shards: range | None = None,
    keep_images: bool = True,
    files: Mapping[str, bytes] | None = None,
    **changed: Any,
) -> tuple[Store, RunRecord]:
    """Fuse a collection with `average`.

    Args:
        folder: Where collection and run are written.
        pairs: Number of pairs of each subset.
        subsets: Folders of the collection.
        damaged: Pairs of the first subset whose visible image is not one.
        shards: The shards to compute; all by default.
        keep_images: Whether the fused images are kept.
        files: Further files of the collection, such as labels.
        changed: Fields of the record, such as `shard_size`.
    """
    source = Store(str(folder / "in"))
    for subset in subsets:
        write_pairs(folder / "in" / subset, pairs)
    for number in damaged:
        source.write(f"{subsets[0]}/vis/{number:04d}.png".lstrip("/"), b"no image")
    for key, data in (files or {}).items():
        source.write(key, data)
    out = Store(str(folder / "out"))
    info, manifest = freeze(discover(source).batches())
    out.write(MANIFEST_KEY, manifest)
    origin = MethodOrigin(method="average", parameters=AVERAGE, keep_images=keep_images)
    settings = {"name": "average", "metrics": ["EN", "SD"], "shard_size": 4, **changed}
    record = run_record(info, origin=origin, source=source.url, **settings)
    compute(record, out, shards)
    return out, record


def score_run(
    folder: Path, pairs: Sequence[str], *, shards: range | None = None, **changed: Any
) -> tuple[Store, RunRecord]:
    """Score fused images of another program, which a manifest of the user names.

    Args:
        folder: Where manifest and run are written.
        pairs: Rows of the manifest: `pair_id` and locations of the infrared, visible and fused
            image, separated by commas.
        shards: The shards to compute; all by default.
        changed: Fields of the record, such as `shard_size`.
    """
    table = "\n".join(["pair_id,ir_uri,vis_uri,fused_uri", *pairs])
    (folder / "pairs.csv").write_text(table)
    out = Store(str(folder / "scored"))
    info, manifest = freeze(read_user_manifest(Store(str(folder)), "pairs.csv"))
    out.write(MANIFEST_KEY, manifest)
    settings = {"metrics": ["SD"], "source": str(folder / "pairs.csv"), **changed}
    record = run_record(info, origin=FilesOrigin(method="theirs"), **settings)
    compute(record, out, shards)
    return out, record


def compute(record: RunRecord, out: Store, shards: range | None) -> None:
    """Write the record of a run, and compute some of its shards, or all."""
    out.write(record.key, record.model_dump_json().encode())
    processor = ShardProcessor(WorkerConfig(record, out))
    for shard in range(record.plan.count) if shards is None else shards:
        processor.process(ShardTask(shard))
