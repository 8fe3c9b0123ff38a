"""Several runs of fused images of the same pairs, computed together."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from support.collections import read_rows, stable, write_pairs
from support.records import run_record

from cluster.collections.discovery import discover
from cluster.collections.frozen_manifest import MANIFEST_KEY, freeze
from cluster.collections.fused_images import FusedImages
from cluster.runs.config import RunTarget, WorkerConfig
from cluster.runs.messages import ShardTask
from cluster.runs.origins import FilesOrigin
from cluster.runs.processors import RunProcessors
from cluster.runs.sharing import share_sources
from cluster.storage.store import Store
from fusion_core.images.encoding import encode_png
from fusion_core.images.synthetic import synthetic_pair
from fusion_core.metrics import select_metrics

PAIRS, SHARD_SIZE = 6, 4
METHODS = ("first", "second", "third")


@pytest.fixture
def source(tmp_path: Path) -> Store:
    """Pairs, one with a damaged source, and fused images, some missing, damaged or too small."""
    store = write_pairs(tmp_path / "in", PAIRS)
    store.write("vis/0003.png", b"no image")
    for number, method in enumerate(METHODS):
        for pair in range(PAIRS):
            size = ((48, 64), (33, 57), (64, 48))[pair % 3]
            image, _ = synthetic_pair(*size, seed=10 * number + pair)
            if (method, pair) == ("second", 4):
                image = image[1:]
            if (method, pair) not in {("first", 1), ("third", 0)}:
                Store(str(tmp_path / method)).write(f"{pair:04d}.png", encode_png(image))
    Store(str(tmp_path / "third")).write("0002.png", b"no image")
    return store


def target(source: Store, folder: Path, method: str, **changed: Any) -> RunTarget:
    """Begin a run that scores the images of a method."""
    out = Store(str(folder))

    def read() -> Any:
        return discover(source).batches()

    images = FusedImages(Store(f"{source.url}/../{method}"))
    info, manifest = freeze(images.added_to(read)())
    out.write(MANIFEST_KEY, manifest)
    settings = {
        "name": method, "origin": FilesOrigin(method=method), "metrics": select_metrics(),
        "shard_size": SHARD_SIZE, **changed,
    }  # fmt: skip
    return RunTarget(run_record(info, **settings), out)


def processors(targets: Sequence[RunTarget]) -> RunProcessors:
    first, *others = targets
    return RunProcessors(WorkerConfig(first.record, first.out, companions=tuple(others)))


def test_runs_that_are_computed_together_have_the_rows_that_they_have_alone(
    source: Store, tmp_path: Path
) -> None:
    alone = [target(source, tmp_path / "alone" / method, method) for method in METHODS]
    for each in alone:
        for shard in (0, 1):
            processors([each]).process(ShardTask(shard))
    together = [target(source, tmp_path / "together" / method, method) for method in METHODS]
    worker = processors(together)
    reports = [worker.process(ShardTask(shard, also=(1, 2))) for shard in (0, 1)]
    assert [[report.run for report in found] for found in reports] == [[0, 1, 2]] * 2
    assert worker.progress[1] == PAIRS * len(METHODS)
    statuses = []
    for one, other in zip(alone, together, strict=True):
        rows = stable(read_rows(other.out.url))
        assert rows == stable(read_rows(one.out.url)), one.record.name
        statuses.append([row["error_stage"] for row in rows])
    assert statuses == [
        [None, "read", None, "decode", None, None],
        [None, None, None, "decode", "check", None],
        ["read", None, "decode", "decode", None, None],
    ]


def test_a_shard_of_one_of_the_runs_is_computed_alone(source: Store, tmp_path: Path) -> None:
    together = [target(source, tmp_path / "out" / method, method) for method in METHODS]
    worker = processors(together)
    (report,) = worker.process(ShardTask(1, run=2))
    assert (report.run, report.rows, report.shard) == (2, 2, 1)
    assert [len(each.out.entries("shards")) for each in together] == [0, 0, 1]
    assert worker.offsets(ShardTask(1, run=1)) == [0, 1]
    records = worker.process_pair(ShardTask(1, run=1), 0) | worker.process_pair(
        ShardTask(1, run=1), 1
    )
    (report,) = worker.commit(ShardTask(1, run=1), records)
    assert (report.run, report.failed) == (1, {"check": 1})


def test_a_joint_task_falls_apart_into_one_for_each_run() -> None:
    task = ShardTask(3, attempt=2, run=1, also=(2, 4))
    assert task.single() == [ShardTask(3, attempt=2, run=n) for n in (1, 2, 4)]


@pytest.mark.parametrize(
    "changed",
    [
        {"metrics": ["EN"]},
        {"shard_size": 3},
        {"origin": FilesOrigin(method="m", sixteen_bit="full")},
        {"origin": FilesOrigin(method="m", reference="/ideal")},
        {"resize": "smaller"},
    ],
)
def test_runs_with_other_settings_do_not_share(
    source: Store, tmp_path: Path, changed: dict[str, Any]
) -> None:
    first = target(source, tmp_path / "a", "first")
    assert share_sources(first, target(source, tmp_path / "b", "second"))
    assert not share_sources(first, target(source, tmp_path / "c", "second", **changed))


def test_runs_of_other_pairs_do_not_share(source: Store, tmp_path: Path) -> None:
    first = target(source, tmp_path / "a", "first")
    pairs = [{"pair_id": f"{n:04d}", "ir_uri": "i", "vis_uri": "v", "subset": "",
              "fused_uri": "f"} for n in range(PAIRS)]  # fmt: skip
    info, manifest = freeze([pa.RecordBatch.from_pylist(pairs)])
    out = Store(str(tmp_path / "b"))
    out.write(MANIFEST_KEY, manifest)
    changed = {"metrics": select_metrics(), "shard_size": SHARD_SIZE}
    record = run_record(info, origin=FilesOrigin(method="m"), **changed)
    assert not share_sources(first, RunTarget(record, out))
