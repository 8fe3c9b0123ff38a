"""Runs that are written without being computed, to measure what reads them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import count, islice
from pathlib import Path

import pyarrow as pa

from cluster.collections import MANIFEST_KEY, FrozenInfo, freeze
from cluster.runs import SHARDS_PREFIX, ResultRow, RunRecord, encode_shard, shard_key
from cluster.runs.origins import MethodOrigin
from fusion_core.images import encode_png
from jobs.bench.measuring import noisy_pair, to_levels

_METRICS = ["EN", "MI", "SSIM_a"]
_DISTINCT_IMAGES = 16
_PAIRS_PER_SUBSET = 4096


def write_run(folder: Path, pairs: int, height: int, width: int, shard_size: int = 64) -> None:
    """Write a finished run whose fused images are noisy gray ones, of which only some differ.

    Args:
        folder: Where the run is written.
        pairs: Number of pairs.
        height: Height of the images in pixels.
        width: Width of the images in pixels.
        shard_size: Number of pairs of each shard.
    """
    images = [
        encode_png(to_levels(noisy_pair(height, width, seed)[0]))
        for seed in range(min(pairs, _DISTINCT_IMAGES))
    ]
    rows, table = make_rows(pairs, images, height, width)
    info, manifest = freeze(table.to_batches())
    (folder / SHARDS_PREFIX).mkdir(parents=True)
    (folder / MANIFEST_KEY).write_bytes(manifest)
    now = datetime.now(UTC)
    record = make_record(info, shard_size)
    (folder / record.key).write_text(record.model_dump_json())
    following = iter(rows)
    for shard in range(record.plan.count):
        data = encode_shard(
            [row.to_record() for row in islice(following, shard_size)],
            _METRICS,
            fingerprint=record.fingerprint,
            shard=shard,
            started=now,
            committed=now,
        )
        (folder / shard_key(shard)).write_bytes(data)


def make_record(info: FrozenInfo, shard_size: int = 64) -> RunRecord:
    """Return the record of a run that was begun now.

    Args:
        info: Its pairs.
        shard_size: Number of pairs of each shard.
    """
    return RunRecord(
        name="made",
        collection="made",
        source="/made",
        origin=MethodOrigin(method="average", parameters={"sixteen_bit": "percentile"}),
        metrics=_METRICS,
        max_pixels=1 << 24,
        shard_size=shard_size,
        rows=info.rows,
        manifest_digest=info.digest,
        irfuse_version="0",
        torch_version="0",
        created=datetime.now(UTC).isoformat(),
    )


def make_rows(
    pairs: int, images: Sequence[bytes] = (b"",), height: int = 1, width: int = 1
) -> tuple[list[ResultRow], pa.Table]:
    """Return the rows of a run, and its manifest.

    Args:
        pairs: Number of pairs.
        images: Fused images, which repeat.
        height: Height of the images in pixels.
        width: Width of the images in pixels.
    """
    rows = [_row(number, images, height, width) for number in range(pairs)]
    columns = ("pair_id", "ir_uri", "vis_uri", "subset")
    listed = [{name: getattr(row, name) for name in columns} for row in rows]
    return rows, pa.Table.from_pylist(listed)


def _row(number: int, images: Sequence[bytes], height: int, width: int) -> ResultRow:
    subset, name = f"part{number // _PAIRS_PER_SUBSET}", f"{number:06d}"
    return ResultRow(
        pair_id=f"{subset}/{name}",
        subset=subset,
        ir_uri=f"/made/{subset}/ir/{name}.png",
        vis_uri=f"/made/{subset}/vis/{name}.png",
        width=width,
        height=height,
        collection="made",
        run="made",
        method="average",
        fused={"bytes": images[number % len(images)], "path": None},
        metrics={metric: number / 7 + place for metric, place in zip(_METRICS, count())},
    )
