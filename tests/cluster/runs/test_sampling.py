"""The measurement of pairs by a worker of a run that has not begun."""

from pathlib import Path

import pytest
from support.collections import write_pairs
from support.computed_runs import AVERAGE, compute_run
from support.records import method_origin, run_record

from cluster.collections.discovery import discover
from cluster.collections.frozen_manifest import freeze
from cluster.collections.manifest_reader import PairRow, pairs_at
from cluster.runs.config import WorkerConfig
from cluster.runs.rows import TIMED_STAGES
from cluster.runs.sampling import MeasuredPart, Sample
from cluster.runs.worker import ShardProcessor
from cluster.session.resources import WorkerResources
from cluster.storage.store import Store


def trial(folder: Path, count: int) -> tuple[ShardProcessor, list[PairRow]]:
    """A worker of a run of `folder/in` that has not begun, and some of the pairs."""
    info, manifest = freeze(discover(Store(str(folder / "in"))).batches())
    origin = method_origin(method="average", parameters=AVERAGE, weights_trained=None)
    record = run_record(info, origin=origin, metrics=["EN", "SD"], shard_size=4)
    config = WorkerConfig(record, Store(str(folder / "out")), trial=True)
    return ShardProcessor(config), pairs_at(manifest, range(count))


def sample(*parts: MeasuredPart, pairs: int) -> Sample:
    return Sample(
        pairs=pairs,
        seconds=1.0,
        start_s=1.0,
        kernels_s=0.0,
        parts=list(parts),
        together=1,
        workers=1,
        resources=WorkerResources(),
        ray="0",
    )


def test_pairs_are_measured_and_nothing_is_written(tmp_path: Path) -> None:
    write_pairs(tmp_path / "in", 6)
    (tmp_path / "in/vis/0001.png").write_bytes(b"no image")
    worker, pairs = trial(tmp_path, 6)
    part = worker.measure(pairs)
    assert len(part.compute_ms) == 5
    assert min(part.compute_ms) > 0
    assert part.stages_ms.keys() == set(TIMED_STAGES)
    assert part.megapixels == pytest.approx((2 * 48 * 64 + 33 * 57 + 2 * 64 * 48) / 1e6)
    assert {name: failure.stage for name, failure in part.failures.items()} == {"0001": "decode"}
    assert part.memory_bytes > 50e6
    assert not (tmp_path / "out").exists()


def test_the_bytes_of_shards_follow_from_those_of_a_sample(tmp_path: Path) -> None:
    out, record = compute_run(tmp_path, 40, shard_size=8)
    written = sum(entry.size for entry in out.entries("shards"))
    worker, pairs = trial(tmp_path, 40)
    found = sample(worker.measure(pairs[2:34:4]), worker.measure(pairs[4:34:4]), pairs=16)
    shards = record.plan.count
    estimated = shards * found.overhead_bytes
    estimated += 40 * found.image_bytes + (40 - shards) * found.row_bytes
    assert estimated == pytest.approx(written, rel=0.1)


def test_rows_of_a_manifest_are_taken_in_their_order(tmp_path: Path) -> None:
    write_pairs(tmp_path, 5)
    _, manifest = freeze(discover(Store(str(tmp_path))).batches())
    assert [pair.pair_id for pair in pairs_at(manifest, [4, 0])] == ["0004", "0000"]
