"""Writing of the record of an attempt."""

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.computed_runs import compute_run

from cluster.runs import attempt_writer
from cluster.runs.attempt_writer import AttemptWriter
from cluster.runs.attempts import ClusterResources, WorkerCount, newest_attempt
from cluster.runs.config import RunTarget
from cluster.runs.deaths import Death
from cluster.runs.messages import ShardReport
from cluster.runs.metering import Usage, WorkDone
from cluster.runs.pool import PoolWorker
from cluster.runs.snapshot import Snapshot
from cluster.storage.store import Store
from fusion_core.errors import StorageError

LAPTOP = ClusterResources(nodes=1, cpus=2, gpus=0, memory_bytes=1e9, local=True)


@pytest.fixture
def target(tmp_path: Path) -> RunTarget:
    out, record = compute_run(tmp_path, 4, shards=range(0))
    return RunTarget(record, out)


def writer(target: RunTarget, warnings: list[str] | None = None) -> AttemptWriter:
    notes: list[str] = [] if warnings is None else warnings
    return AttemptWriter(target, 4, ["irfuse", "run"], notes.append)


def worker() -> PoolWorker:
    handle: Any = None
    return PoolWorker(handle, None, 0.0)


def report(computed: int, failed: int, read: int, *, run: int = 0) -> ShardReport:
    work = WorkDone(Usage(bytes_read=read, compute_seconds=1.0, retries={"read 503": 1}), failed)
    return ShardReport(0, computed, {}, computed, run, work)


def snapshot(ready: int, starting: int) -> Snapshot:
    return Snapshot(0, 0, ready, starting, 0, nodes={"host": ready})


def test_the_usage_of_all_reports_adds_up(target: RunTarget) -> None:
    attempt, first, second = writer(target), worker(), worker()
    attempt.committed(first, report(3, 1, 100))
    attempt.committed(first, report(3, 0, 250))
    attempt.committed(second, report(2, 0, 50))
    attempt.committed(second, report(9, 9, 999, run=1))  # of another run of the same group
    attempt.end(0, None)
    found = newest_attempt(target.out)
    assert found is not None
    assert (found.rows, found.failed, found.shards) == (8, 1, 3)
    assert (found.bytes_read, found.compute_seconds) == (400, 3.0)
    assert found.storage_retries == {"read 503": 3}
    assert (found.exit, found.ended is None, found.planned) == (0, False, 4)


def test_a_running_attempt_is_on_disk_without_an_exit(target: RunTarget) -> None:
    attempt = writer(target)
    attempt.connected(LAPTOP, "cpu")
    attempt._writer.shutdown()
    found = newest_attempt(target.out)
    assert found is not None
    assert (found.exit, found.ended, found.cluster) == (None, None, LAPTOP)


def test_it_is_written_again_after_five_minutes(
    target: RunTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rows_on_disk() -> int:
        assert attempt._writing is not None
        attempt._writing.result()
        found = newest_attempt(target.out)
        return -1 if found is None else found.rows

    attempt = writer(target)
    attempt.connected(LAPTOP, "cpu")
    assert rows_on_disk() == 0
    attempt.committed(worker(), report(4, 0, 1))
    attempt.progressed(snapshot(1, 0))
    assert rows_on_disk() == 0
    monkeypatch.setattr(attempt_writer, "WRITE_EVERY_S", 0.0)
    attempt.progressed(snapshot(1, 0))
    assert rows_on_disk() == 4
    attempt.end(0, None)


def test_it_is_written_soon_after_a_death(
    target: RunTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = writer(target)
    attempt.connected(LAPTOP, "cpu")
    monkeypatch.setattr(attempt_writer, "_SOON_S", 0.0)
    attempt.worker_died(worker(), Death("node", "lost", "node"), [])
    assert attempt._writing is not None
    attempt._writing.result()
    attempt.progressed(snapshot(0, 1))
    attempt._writing.result()
    found = newest_attempt(target.out)
    assert found is not None
    assert (found.deaths, found.exit) == ({"node": 1}, None)
    attempt.end(0, None)


def test_a_write_that_is_due_while_another_is_in_progress_follows_it(
    target: RunTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered, write = threading.Event(), Store.write

    def write_slowly(self: Store, key: str, data: bytes) -> None:
        answered.wait(60)
        write(self, key, data)

    monkeypatch.setattr(Store, "write", write_slowly)
    monkeypatch.setattr(attempt_writer, "_SOON_S", 0.0)
    attempt = writer(target)
    attempt.connected(LAPTOP, "cpu")
    attempt.worker_died(worker(), Death("node", "lost", "node"), [])
    attempt.progressed(snapshot(0, 1))
    answered.set()
    assert attempt._writing is not None
    attempt._writing.result()
    attempt.progressed(snapshot(0, 1))
    attempt._writing.result()
    found = newest_attempt(target.out)
    assert found is not None
    assert found.deaths == {"node": 1}
    attempt.end(0, None)


def test_workers_are_noted_when_their_number_changes(target: RunTarget) -> None:
    attempt = writer(target)
    for ready, starting in ((0, 2), (0, 2), (1, 1), (1, 1), (2, 0)):
        attempt.progressed(snapshot(ready, starting))
    attempt.left()
    attempt.end(0, None)
    assert [count.ready for count in attempt.record.workers] == [0, 1, 2, 0]


def test_the_oldest_numbers_of_workers_are_kept_as_a_sum(
    target: RunTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt_writer, "_MOST_COUNTS", 2)
    attempt, begin = writer(target), datetime.now(UTC)
    for second, ready in enumerate((1, 3, 2, 5, 0)):
        at = begin + timedelta(seconds=10 * second)
        attempt._count(WorkerCount(at=at, ready=ready, starting=0))
    assert [count.ready for count in attempt.record.workers] == [5, 0]
    assert attempt.record.earlier_worker_seconds == 10 + 30 + 20
    assert attempt.record.core_seconds == 10 + 30 + 20 + 50


def test_deaths_are_counted_by_reason_and_have_no_secrets(target: RunTarget) -> None:
    attempt = writer(target)
    death = Death("worker", "killed at https://host/a?sig=hush", "crash")
    attempt.worker_died(worker(), death, [3])
    attempt.worker_died(worker(), death, [])
    attempt.end(1, "cannot read https://host/b?token=hush")
    text = attempt.record.model_dump_json()
    assert attempt.record.deaths == {"crash": 2}
    assert attempt.record.death_records[0].shards == [3]
    assert "hush" not in text
    assert "https://host/b?..." in text


def test_a_record_that_cannot_be_written_is_said_once(
    target: RunTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Store, key: str, data: bytes) -> None:
        raise StorageError("no space left")

    monkeypatch.setattr(Store, "write", refuse)
    warnings: list[str] = []
    attempt = writer(target, warnings)
    attempt.connected(LAPTOP, "cpu")
    attempt.end(0, None)
    assert warnings == ["The record of this attempt cannot be written: no space left"]


def test_names_that_no_encoding_has_are_escaped(target: RunTarget) -> None:
    attempt = AttemptWriter(target, 4, ["irfuse", "run", "l\udcffog"], pytest.fail)
    attempt.end(1, "l\udcffog cannot be written")
    found = newest_attempt(target.out)
    assert found is not None
    assert found.argv[-1] == r"l\udcffog"
    assert found.error == r"l\udcffog cannot be written"
