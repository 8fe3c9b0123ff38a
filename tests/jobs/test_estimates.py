"""The estimate of a run from a sample."""

from dataclasses import replace
from typing import Any

import pytest

from cluster.runs.sampling import MeasuredPart, Sample
from cluster.session.resources import WorkerResources
from jobs.estimates import Work, add_estimates, estimate

GB = 10**9
PART = MeasuredPart(
    compute_ms=[100.0] * 8,
    stages_ms={"read": 8.0, "decode": 8.0, "fuse": 400.0, "score": 400.0, "encode": 8.0},
    megapixels=8.0,
    failures={},
    shard_bytes=1_000 + 7 * 100 + 8 * 5_000,
    image_bytes=8 * 5_000,
    overhead_bytes=1_000,
    memory_bytes=GB,
)
SAMPLE = Sample(
    pairs=16,
    seconds=0.8,
    start_s=10.0,
    kernels_s=0.0,
    parts=[PART, PART],
    together=2,
    workers=2,
    resources=WorkerResources(),
    ray="0",
)
WORK = Work(
    rows=64_000,
    shards=1_000,
    rows_per_shard=64,
    sources=2,
    megapixels=1.0,
    bytes_per_pair=2_000.0,
)


def estimated(work: Work = WORK, sample: Sample = SAMPLE, **changed: Any) -> Any:
    return estimate(work, sample, **{"around_s": 5.0, "price": None, **changed})


def test_time_is_that_of_the_pairs_and_of_what_is_around_them() -> None:
    found = estimated()
    assert found.seconds == pytest.approx(64_000 * 0.1 / 2, rel=0.02)
    assert found.seconds > 64_000 * 0.1 / 2 + 15
    assert found.core_hours == pytest.approx(2 * (3200 + 10) / 3600)


def test_larger_pairs_than_those_of_the_sample_take_more() -> None:
    larger = estimated(replace(WORK, megapixels=2.0))
    assert larger.seconds == pytest.approx(2 * estimated().seconds, rel=0.02)
    assert larger.bytes_written == pytest.approx(2 * estimated().bytes_written, rel=0.05)


def test_bytes_are_those_of_images_rows_and_shards() -> None:
    found = estimated()
    assert found.bytes_written == 1_000 * 1_000 + 64_000 * 5_000 + 63_000 * 100
    assert found.bytes_read == 64_000 * 2_000
    assert found.memory_per_worker == GB


def test_no_more_workers_compute_than_there_are_shards() -> None:
    few = estimated(replace(WORK, rows=64, shards=1), replace(SAMPLE, workers=8))
    assert few.workers == 1
    assert few.core_hours == pytest.approx((6.4 + 10) / 3600)


def test_the_range_is_wider_where_pairs_differ() -> None:
    found = estimated()
    assert (found.seconds_low, found.seconds_high) == pytest.approx(
        (0.8 * found.seconds, 1.2 * found.seconds)
    )
    differing = replace(PART, compute_ms=[10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 10.0, 160.0])
    wide = estimated(sample=replace(SAMPLE, parts=[differing, differing]))
    assert wide.seconds_high > 1.4 * wide.seconds


def test_the_price_is_that_of_all_workers() -> None:
    assert estimated(price=0.9).price == pytest.approx(0.9 * estimated().core_hours)
    assert estimated().price is None


def test_runs_one_after_the_other_take_the_sum_and_the_memory_of_the_largest() -> None:
    small, large = estimated(price=1.0), estimated(replace(WORK, rows=128_000, shards=2_000))
    found = add_estimates([small, large])
    assert found is not None
    assert found.seconds == small.seconds + large.seconds
    assert found.bytes_written == small.bytes_written + large.bytes_written
    assert (found.memory_per_worker, found.workers, found.price) == (GB, 2, small.price)
    assert add_estimates([]) is None
