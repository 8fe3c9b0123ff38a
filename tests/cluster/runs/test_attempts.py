"""Records of attempts: their names, and what is read of a folder of them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cluster.runs.attempts import (
    Attempt,
    WorkerCount,
    new_attempt_id,
    newest_attempt,
    read_attempts,
)
from cluster.storage.store import Store

BEGIN = datetime(2026, 11, 24, 18, 49, 28, tzinfo=UTC)


def attempt(begin: datetime = BEGIN, **changed: object) -> Attempt:
    known = {
        "id": new_attempt_id(begin), "run": "f" * 64, "argv": ["irfuse", "run"], "host": "head",
        "pid": 1, "irfuse": "0.1.0", "started": begin, "updated": begin, "planned": 9,
    }  # fmt: skip
    return Attempt.model_validate({**known, **changed})


def write(out: Store, record: Attempt) -> Attempt:
    out.write(record.key, record.model_dump_json().encode())
    return record


def test_the_name_of_a_record_is_the_time_of_its_start() -> None:
    assert attempt().key.startswith("attempts/2026-11-24T18-49-28Z-")


def test_attempts_are_read_in_their_order(tmp_path: Path) -> None:
    out = Store(str(tmp_path))
    later = write(out, attempt(BEGIN + timedelta(hours=1)))
    earlier = write(out, attempt())
    assert read_attempts(out) == [earlier, later]
    assert newest_attempt(out) == later


def test_a_record_that_is_not_understood_is_left_out(tmp_path: Path) -> None:
    out = Store(str(tmp_path))
    known = write(out, attempt())
    out.write("attempts/2027-01-01T00-00-00Z-aaaa.json", b'{"id": "of a later version"}')
    out.write("attempts/notes.txt", b"no record")
    assert newest_attempt(out) == known
    assert read_attempts(out) == [known]


def test_a_run_without_attempts_has_none(tmp_path: Path) -> None:
    assert newest_attempt(Store(str(tmp_path))) is None
    assert read_attempts(Store(str(tmp_path))) == []


def test_core_seconds_are_those_of_workers_that_are_ready() -> None:
    counts = [
        WorkerCount(at=BEGIN + timedelta(seconds=s), ready=ready, starting=0)
        for s, ready in ((0, 0), (10, 2), (40, 1))
    ]
    record = attempt(workers=counts, updated=BEGIN + timedelta(seconds=50))
    assert record.core_seconds == 2 * 30 + 1 * 10


def test_an_attempt_that_ended_before_its_workers_were_counted_took_no_core_seconds() -> None:
    assert attempt(ended=BEGIN + timedelta(seconds=9)).core_seconds == 0
