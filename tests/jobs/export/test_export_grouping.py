"""The groups of shards that are written together, which files are made of in memory."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.computed_runs import compute_run, score_run

from cluster.runs import RunRecord, shard_key
from cluster.storage import Store
from jobs.export.grouping import group_shards

PAIRS, SHARD_SIZE = 8, 2


def write_sources(folder: Path, run: RunRecord, size: int) -> None:
    """Put files of a size in place of the sources."""
    for modality in ("ir", "vis"):
        for number in range(run.rows):
            (folder / f"in/{modality}/{number:04d}.png").write_bytes(bytes(size))


def test_shards_are_joined_up_to_a_size_with_the_sources_of_their_pairs(tmp_path: Path) -> None:
    out, record = compute_run(tmp_path, PAIRS, shard_size=SHARD_SIZE)
    sizes = [len(out.read(shard_key(shard))) for shard in range(record.plan.count)]
    write_sources(tmp_path, record, sum(sizes))
    assert group_shards(out, record, sum(sizes), with_sources=False) == (0,)
    assert group_shards(out, record, sum(sizes) - 1, with_sources=False) == (0, 3)
    assert group_shards(out, record, 9 * sum(sizes), with_sources=True) == (0, 2)
    assert group_shards(out, record, 1, with_sources=True) == (0, 1, 2, 3)


@pytest.fixture
def scored(tmp_path: Path) -> tuple[Store, RunRecord]:
    """A run of `irfuse score`, whose rows name fused images of 1000 bytes."""
    (tmp_path / "fused").mkdir()
    for number in range(PAIRS):
        (tmp_path / f"fused/{number}.png").write_bytes(bytes(1000))
    rows = [f"{n},ir/{n}.png,vis/{n}.png,fused/{n}.png" for n in range(PAIRS)]
    return score_run(tmp_path, rows, shards=range(0), shard_size=SHARD_SIZE)


def test_fused_images_that_rows_only_name_count(scored: tuple[Store, RunRecord]) -> None:
    assert group_shards(*scored, 4000, with_sources=False) == (0, 2)
    assert group_shards(*scored, 8000, with_sources=False) == (0,)


def test_files_that_have_vanished_are_left_to_the_export(
    scored: tuple[Store, RunRecord],
) -> None:
    assert group_shards(*scored, 4000, with_sources=True) == (0, 2)
