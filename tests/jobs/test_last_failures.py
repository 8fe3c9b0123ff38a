"""The failed pairs that are kept in memory."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa
from support.shards import failed, ok

from cluster.runs import ShardContent
from cluster.runs.shard_file import ShardFacts
from jobs.last_failures import LastFailures


def content(shard: int, *, version: str = "1", failures: int = 2) -> ShardContent:
    """Return a shard that was committed later than those with lower numbers."""
    names = [f"{shard}.{number}" for number in range(failures)]
    rows = [ok(f"{shard}.ok"), *(failed(name, error_type="DecodeError") for name in names)]
    time = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=shard)
    facts = ShardFacts(
        fingerprint="", shard=shard, rows=len(rows), failed=failures, pairs="", content="",
        started=time, committed=time,
    )  # fmt: skip
    records = [
        {name: value for name, value in row.to_record().items() if name != "fused"} for row in rows
    ]
    return ShardContent(shard, facts, pa.Table.from_pylist(records), version)


def ids(failures: LastFailures, *shards: int) -> list[str]:
    return [pair.pair_id for pair in failures.of(shards)]


def test_failures_of_the_last_shards_are_kept_in_whatever_order_they_are_read() -> None:
    last = LastFailures(3)
    for shard in (49, *range(0, 49, 2), *range(1, 49, 2), 50):
        last.add(content(shard))
    assert ids(last, 50, 49, 48) == ["50.0", "50.1", "49.0"]
    missing = last.keep_only(dict.fromkeys((50, 49, 3, 2), "1"))
    assert missing == {3, 2}


def test_few_shards_are_kept_however_many_have_failures() -> None:
    last = LastFailures(2)
    for shard in range(1000):
        last.add(content(shard))
    assert len(last.keep_only(dict.fromkeys(range(1000), "1"))) >= 1000 - 8


def test_failures_of_another_version_are_missing() -> None:
    last = LastFailures(2)
    last.add(content(1))
    last.add(content(2, failures=0))
    assert last.keep_only({1: "2"}) == {1}
    last.add(content(1, version="2", failures=3))
    assert last.keep_only({1: "2"}) == set()
    assert ids(last, 1) == ["1.0", "1.1"]


def test_no_failures_are_kept_if_none_are_asked_for() -> None:
    last = LastFailures(0)
    last.add(content(1))
    assert ids(last, 1) == []
    assert last.keep_only({1: "1"}) == {1}
