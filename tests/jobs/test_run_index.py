"""The index of runs below a location, and the differences of two runs."""

import csv
import io
import json
import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from rich.console import Console
from support.cli import call_cli
from support.computed_runs import compute_run
from support.records import TIME, method_origin, run_record
from support.s3 import S3Server

from cluster.collections.frozen_manifest import FrozenInfo
from cluster.runs.attempts import Attempt, WorkerCount
from cluster.runs.plan import shard_key
from cluster.storage.store import Store
from fusion_core.errors import NotFoundError
from jobs.console.run_index import print_index
from jobs.options import RunsDiffOptions, RunsOptions, SummarizeOptions
from jobs.run_index import IndexedRun, diff_runs, list_runs
from jobs.summarize import summarize

INFO = FrozenInfo(rows=10, digest="d")
AN_HOUR_AGO = time.time() - 3600


@pytest.fixture(params=["local", "seaweed"])
def prefix(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "local":
        return Store(str(tmp_path / "runs"))
    server: S3Server = request.getfixturevalue("s3_seaweed")
    return Store(f"s3://{server.new_bucket()}/runs", server.storage_options)


def write_run(prefix: Store, key: str, shards: int = 0, **changed: Any) -> None:
    record = run_record(INFO, **{"shard_size": 4, **changed})
    prefix.write(f"{key}/run.json".lstrip("/"), record.model_dump_json().encode())
    for shard in range(shards):
        prefix.write(f"{key}/{shard_key(shard)}".lstrip("/"), b"12345")


def age(prefix: Store) -> None:
    """Let everything below a folder be written an hour ago."""
    for path in Path(prefix.url).rglob("*"):
        os.utime(path, (AN_HOUR_AGO, AN_HOUR_AGO))


def index(prefix: Store, **options: Any) -> dict[str, IndexedRun]:
    storage = prefix.storage_options
    found = list_runs(RunsOptions(prefix=prefix.url, storage_options=storage, **options))
    return {run.out.removeprefix(prefix.url).lstrip("/"): run for run in found.runs}


def test_runs_at_all_depths_are_listed_with_what_is_committed(prefix: Store) -> None:
    write_run(prefix, "a", 2)
    write_run(prefix, "study/runs/TNO/densefuse", 3, name="second", collection="TNO")
    prefix.write("notes.txt", b"no run")
    found = index(prefix)
    assert list(found) == ["a", "study/runs/TNO/densefuse"]
    first, second = found.values()
    assert (first.run, first.rows, first.rows_done, first.size) == ("densefuse", 10, 8, 10)
    assert (second.run, second.collection, second.rows_done) == ("second", "TNO", 10)
    assert first.last_commit is not None
    assert abs(first.last_commit.timestamp() - time.time()) < 120


def test_a_run_at_the_location_itself_is_found(prefix: Store) -> None:
    write_run(prefix, "", 1)
    write_run(prefix, "inner", 1)
    assert {key: run.rows_done for key, run in index(prefix).items()} == {"": 4, "inner": 4}


def test_the_depth_limits_the_search(prefix: Store) -> None:
    write_run(prefix, "1/2/3")
    assert list(index(prefix, depth=3)) == ["1/2/3"]
    with pytest.raises(NotFoundError) as caught:
        index(prefix, depth=2)
    assert str(caught.value) == (
        f"no run below {prefix.url}; run.json is looked for 2 levels deep (`--depth`)"
    )


def test_a_finished_run_is_done_and_has_its_number_of_failed_pairs(tmp_path: Path) -> None:
    out, _ = compute_run(tmp_path, 5, damaged=[1])
    age(out)
    (stalled,) = index(out).values()
    assert (stalled.state, stalled.failed) == ("stalled", None)
    summarize(SummarizeOptions(outs=(out.url,)))
    (run,) = index(out).values()
    assert (run.state, run.failed, run.rows_done) == ("done", 1, 5)


def test_what_was_written_lately_is_running_and_otherwise_stalled(tmp_path: Path) -> None:
    prefix = Store(str(tmp_path))
    write_run(prefix, "a", 1)
    age(prefix)
    write_run(prefix, "b", 1)
    assert {key: run.state for key, run in index(prefix).items()} == {
        "a": "stalled",
        "b": "running",
    }
    assert list(index(prefix, state="stalled")) == ["a"]
    os.utime(tmp_path / "a" / shard_key(0))
    assert list(index(prefix, state="stalled")) == []


ATTEMPT = Attempt(
    id="2026-01-01T00-00-00Z-0000", run="f", argv=["run"], host="h", pid=1, irfuse="0",
    started=TIME, updated=TIME + timedelta(seconds=200), seconds=200.0, planned=10, rows=8,
    failed=1,
    workers=[
        WorkerCount(at=TIME, ready=1, starting=1),
        WorkerCount(at=TIME + timedelta(seconds=20), ready=2, starting=0),
    ],
)  # fmt: skip


def write_attempt(prefix: Store, key: str, **changed: Any) -> None:
    attempt = ATTEMPT.model_copy(update=changed)
    prefix.write(f"{key}/{attempt.key}", attempt.model_dump_json().encode())


def test_speed_and_cost_come_from_the_records_of_attempts(prefix: Store) -> None:
    write_run(prefix, "a", 3)
    write_attempt(prefix, "a", id="2026-01-01T00-00-00Z-0000")
    write_attempt(prefix, "a", id="2026-01-01T01-00-00Z-0000", rows=2, seconds=100.0, failed=0)
    (run,) = index(prefix).values()
    assert run.pairs_per_second == pytest.approx(0.02)
    assert run.core_hours == pytest.approx(2 * (20 + 2 * 180) / 3600)
    assert run.failed == 1


def test_failed_rows_that_a_retry_may_have_computed_again_are_not_counted(tmp_path: Path) -> None:
    prefix = Store(str(tmp_path))
    write_run(prefix, "a", 3)
    write_attempt(prefix, "a", id="2026-01-01T00-00-00Z-0000", rows=10, failed=4)
    write_attempt(prefix, "a", id="2026-01-01T01-00-00Z-0000", rows=4, failed=1)
    (run,) = index(prefix).values()
    assert run.failed is None


def test_a_run_is_done_with_the_summary_of_its_present_shards(tmp_path: Path) -> None:
    out, _ = compute_run(tmp_path, 5)
    summarize(SummarizeOptions(outs=(out.url,)))
    assert [run.state for run in index(out).values()] == ["done"]
    out.delete(shard_key(0))
    assert [run.state for run in index(out).values()] == ["running"]


@pytest.mark.parametrize(
    ("status", "finished", "state"),
    [
        (None, False, "stalled"),  # its driver was killed
        (1, False, "failed"),
        (1, True, "failed"),  # too many pairs have failed
        (130, False, "stalled"),
        (130, True, "done"),  # a retry was interrupted
        (0, True, "done"),
    ],
)
def test_the_last_attempt_decides_the_state(
    tmp_path: Path, status: int | None, finished: bool, state: str
) -> None:
    out, _ = compute_run(tmp_path, 5, shards=None if finished else range(1))
    write_attempt(Store(str(tmp_path)), "out", exit=1, id="2025-01-01T00-00-00Z-0000")
    write_attempt(Store(str(tmp_path)), "out", exit=status)
    age(out)
    if finished:
        summarize(SummarizeOptions(outs=(out.url,)))
    (run,) = index(out).values()
    assert run.state == state


def test_an_attempt_without_an_end_runs_while_its_record_is_written(tmp_path: Path) -> None:
    prefix = Store(str(tmp_path))
    write_run(prefix, "a", 1)
    age(prefix)
    write_attempt(prefix, "a")
    assert [run.state for run in index(prefix).values()] == ["running"]


def test_methods_are_selected(tmp_path: Path) -> None:
    prefix = Store(str(tmp_path))
    for method in ("average", "wls", "cbf"):
        write_run(prefix, method, origin=method_origin(method=method))
    assert list(index(prefix, method=("wls", "cbf"))) == ["cbf", "wls"]


def test_a_record_that_cannot_be_read_is_named_beside_the_others(tmp_path: Path) -> None:
    prefix = Store(str(tmp_path))
    write_run(prefix, "good")
    prefix.write("bad/run.json", b"{")
    found = list_runs(RunsOptions(prefix=prefix.url))
    assert [run.out for run in found.runs] == [prefix.uri("good")]
    (reason,) = found.unreadable.values()
    assert found.unreadable.keys() == {prefix.uri("bad")}
    assert "damaged" in reason


def test_tables_have_a_column_for_each_field(tmp_path: Path) -> None:
    prefix = Store(str(tmp_path / "runs"))
    write_run(prefix, "a", 2)
    write_run(prefix, "b", 3)
    tables = tmp_path / "runs.csv", tmp_path / "runs.parquet"
    runs = index(prefix, csv_file=str(tables[0]), parquet_file=str(tables[1]))
    rows = pq.read_table(tables[1]).to_pylist()
    assert rows == [run.model_dump() for run in runs.values()]
    lines = list(csv.DictReader(io.StringIO(tables[0].read_text())))
    assert [line.keys() for line in lines] == [row.keys() for row in rows]
    assert [line["rows_done"] for line in lines] == ["8", "10"]


@pytest.mark.parametrize("width", [60, 80, 120, 160])
def test_the_table_fits_the_terminal(tmp_path: Path, width: int) -> None:
    prefix = Store(str(tmp_path))
    write_run(prefix, "llvip/densefuse-l1", 2)
    found = list_runs(RunsOptions(prefix=prefix.url))
    console = Console(width=width, file=io.StringIO(), force_terminal=True, color_system=None)
    print_index(console, found, RunsOptions(prefix=prefix.url))
    heading, line, *_ = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert max(len(heading), len(line)) <= width
    assert heading.split()[:3] == ["run", "state", "done"]
    assert line.startswith("llvip/densefuse-l1  ")
    assert ("version" in heading) == (width > 130)


def test_differences_are_one_line_for_each_setting(tmp_path: Path) -> None:
    prefix = Store(str(tmp_path))
    write_run(prefix, "a", metrics=["EN"], created="2026-01-01T00:00:00+00:00")
    origin = method_origin(parameters={"sixteen_bit": "percentile", "strategy": "l1_norm"})
    write_run(prefix, "b", metrics=["EN", "SD"], origin=origin, created="2026-01-02T00:00:00+00:00")
    differences = diff_runs(
        RunsDiffOptions(first=prefix.uri("a"), second=prefix.uri("b"))
    ).differences
    assert {d.setting: (d.first, d.second) for d in differences} == {
        "metrics": (["EN"], ["EN", "SD"]),
        "parameters.strategy": (None, "l1_norm"),
    }
    shown = call_cli("runs", "diff", tmp_path / "a", tmp_path / "b").stdout.splitlines()
    assert shown == [
        f"- {prefix.uri('a')}",
        f"+ {prefix.uri('b')}",
        "metrics: ['EN'] → ['EN', 'SD']",
        "parameters.strategy: None → 'l1_norm'",
    ]


def test_the_command_lists_runs_and_fails_where_there_are_none(tmp_path: Path) -> None:
    write_run(Store(str(tmp_path)), "runs/a", 2)
    shown = json.loads(call_cli("runs", tmp_path / "runs", "--json").stdout)
    assert [run["rows_done"] for run in shown["runs"]] == [8]
    (tmp_path / "empty").mkdir()
    failed = call_cli("runs", tmp_path / "empty")
    assert failed.returncode == 1
    assert f"Error: no run below {tmp_path}/empty; run.json is looked for 4 levels" in failed.stderr
