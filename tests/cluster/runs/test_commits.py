"""Commits of shards: which rows they keep."""

from pathlib import Path
from typing import Any

import pytest
from support.records import TIME
from support.shards import GOOD, RECORD, begun_run, encoded, failed, ok, records

from cluster.runs.commits import Committer
from cluster.runs.plan import shard_key
from cluster.runs.rows import ResultRow
from cluster.runs.shards import ShardContent
from cluster.storage.store import Store
from fusion_core.errors import RunFailedError


@pytest.fixture
def out(tmp_path: Path) -> Store:
    return begun_run(tmp_path)


@pytest.fixture
def committer(out: Store) -> Committer:
    return Committer(out, RECORD)


def statuses(committer: Committer, shard: int = 0) -> list[tuple[str, int]]:
    rows = committer.shards.read_whole(shard).to_rows()
    return [(row["status"], row["attempt"]) for row in rows]


def commit(committer: Committer, shard: int, *rows: ResultRow) -> list[Any]:
    return list(committer.commit(shard, records(*rows), None, TIME).rows)


def test_a_new_shard_is_committed(committer: Committer) -> None:
    commit(committer, 1, ok("p2"), failed("p3"))
    assert statuses(committer, 1) == [("ok", 1), ("failed", 1)]


def test_a_suspended_twin_keeps_the_rows_that_are_there(out: Store, committer: Committer) -> None:
    kept = commit(committer, 0, failed("p0"), failed("p1"))
    assert [row["status"] for row in kept] == ["ok", "ok"]
    assert out.read(shard_key(0)) == GOOD


def test_of_two_twins_each_pair_keeps_its_ok_row(committer: Committer) -> None:
    commit(committer, 1, ok("p2"), failed("p3"))
    commit(committer, 1, failed("p2"), ok("p3"))
    assert statuses(committer, 1) == [("ok", 1), ("ok", 1)]


def test_a_damaged_shard_is_replaced(out: Store, committer: Committer) -> None:
    out.write(shard_key(0), encoded([ok("p2"), ok("p3")], 1))
    commit(committer, 0, ok("p0"), ok("p1"))
    assert statuses(committer) == [("ok", 1), ("ok", 1)]


@pytest.fixture
def half_failed(committer: Committer) -> ShardContent:
    """A shard with two failed rows, as two drivers read it for their retries."""
    commit(committer, 1, failed("p2"), failed("p3"))
    return committer.shards.read_whole(1)


def test_a_retry_records_the_newer_reason(committer: Committer, half_failed: ShardContent) -> None:
    again = failed("p2", attempt=2, error_message="other")
    committer.commit(1, {0: again.to_record()}, half_failed, TIME)
    rows = committer.shards.read_whole(1).to_rows()
    assert [row["error_message"] for row in rows] == ["other", "m"]


def test_a_retry_that_was_suspended_does_not_replace_newer_rows(
    committer: Committer, half_failed: ShardContent
) -> None:
    committer.commit(1, records(ok("p2", attempt=2), ok("p3", attempt=2)), half_failed, TIME)
    late = records(failed("p2", attempt=2), failed("p3", attempt=2))
    kept = committer.commit(1, late, half_failed, TIME).rows
    assert [row["status"] for row in kept] == ["ok", "ok"]
    assert statuses(committer, 1) == [("ok", 2), ("ok", 2)]


def test_two_retries_at_once_keep_what_either_has_done(
    committer: Committer, half_failed: ShardContent
) -> None:
    committer.commit(1, {0: ok("p2", attempt=2).to_record()}, half_failed, TIME)
    committer.commit(1, {1: ok("p3", attempt=2).to_record()}, half_failed, TIME)
    assert statuses(committer, 1) == [("ok", 2), ("ok", 2)]


def test_a_retry_of_a_removed_shard_commits_all_of_its_rows(
    out: Store, committer: Committer, half_failed: ShardContent
) -> None:
    out.delete(shard_key(1))
    committer.commit(1, {0: ok("p2", attempt=2).to_record()}, half_failed, TIME)
    assert statuses(committer, 1) == [("ok", 2), ("failed", 1)]


def test_a_commit_does_not_fight_for_ever(
    out: Store, committer: Committer, monkeypatch: pytest.MonkeyPatch
) -> None:
    out.delete(shard_key(0))
    monkeypatch.setattr(out, "create", lambda *_: None)
    with pytest.raises(RunFailedError, match="other processes keep replacing"):
        commit(committer, 0, ok("p0"), ok("p1"))
