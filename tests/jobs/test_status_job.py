"""The status of runs, and the list of their failed pairs."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from rich.console import Console
from support.cli import call_cli
from support.computed_runs import compute_run

import irfuse
from cluster.runs.attempts import Attempt, WorkerCount, new_attempt_id
from cluster.runs.config import WorkerConfig
from cluster.runs.messages import ShardTask
from cluster.runs.plan import shard_key
from cluster.runs.record import RunRecord
from cluster.runs.shards import Shards
from cluster.runs.worker import ShardProcessor
from cluster.storage.store import Store
from jobs.console.status import print_status
from jobs.failures import list_failures
from jobs.options import FailuresOptions, StatusOptions
from jobs.status import StatusReader
from jobs.summarize import update_summary

PAIRS, SHARD_SIZE = 12, 4


@pytest.fixture
def half(tmp_path: Path) -> tuple[Store, RunRecord]:
    """A run of three shards, two of which are there; two pairs of the second one are damaged."""
    return compute_run(
        tmp_path, PAIRS, damaged=[5, 6], shards=range(2), shard_size=SHARD_SIZE
    )  # fmt: skip


def write_attempt(out: Store, record: RunRecord, **changed: Any) -> None:
    now = datetime.now(UTC)
    begin = changed.pop("started", now)
    known = {
        "id": new_attempt_id(begin), "run": record.fingerprint, "argv": ["irfuse", "run"],
        "host": "head", "pid": 1, "irfuse": "0", "started": begin, "updated": now, "planned": PAIRS,
    }  # fmt: skip
    attempt = Attempt.model_validate({**known, **changed})
    out.write(attempt.key, attempt.model_dump_json().encode())


def compute_shard(out: Store, record: RunRecord, shard: int) -> None:
    ShardProcessor(WorkerConfig(record, out)).process(ShardTask(shard))


def terminal(width: int) -> Console:
    return Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)


def shown_by(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_running_run_has_an_estimate_from_its_last_shards(
    half: tuple[Store, RunRecord],
) -> None:
    out, record = half
    count = WorkerCount(at=datetime.now(UTC), ready=3, starting=1, nodes={"a": 2, "b": 1})
    before = datetime.now(UTC) - timedelta(days=1)
    write_attempt(out, record, started=before, exit=1, deaths={"crash": 1, "node": 2})
    write_attempt(out, record, workers=[count], deaths={"crash": 1})
    found = irfuse.status(StatusOptions(out=out.url))
    assert (found.state, found.rows_done, found.rows_left) == ("running", 8, 4)
    assert found.recent_pairs_per_second is not None
    assert found.eta_seconds == pytest.approx(4 / found.recent_pairs_per_second)
    assert found.workers_by_node == {"a": 2, "b": 1}
    assert found.deaths == {"crash": 2, "node": 2}
    assert sum(found.rows_by_node.values()) == 8
    assert sum(found.stage_shares.values()) == pytest.approx(1.0)
    assert [failure.pair_id for failure in found.failures] == ["0005", "0006"]


@pytest.mark.parametrize(
    ("changed", "state"),
    [
        ({"exit": 1}, "failed"),
        ({"exit": 130}, "stalled"),
        ({"started": datetime(2026, 1, 1, tzinfo=UTC)}, "running"),
    ],
)
def test_a_run_that_does_not_run_has_no_estimate(
    half: tuple[Store, RunRecord], changed: dict[str, Any], state: str
) -> None:
    write_attempt(*half, **changed)
    found = irfuse.status(StatusOptions(out=half[0].url))
    assert found.state == state
    assert (found.eta_seconds is None) == (state != "running")
    assert (found.reason is None) == (state == "running")


def test_a_killed_driver_is_stalled_after_ten_minutes(
    half: tuple[Store, RunRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_attempt(*half)
    now = time.time()
    monkeypatch.setattr("jobs.status.time.time", lambda: now + 601)
    found = irfuse.status(StatusOptions(out=half[0].url))
    assert (found.state, found.reason) == (
        "stalled",
        "nothing has been written for 10 min, so its driver has probably been killed; run the same "
        "command again to resume",
    )


def note_reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list to which each shard is added that is read from now on."""
    read: list[int] = []
    whole: Callable[..., Any] = Shards.read

    def counted(self: Shards, shard: int, *arguments: Any, **named: Any) -> Any:
        read.append(shard)
        return whole(self, shard, *arguments, **named)

    monkeypatch.setattr(Shards, "read", counted)
    return read


def test_only_shards_that_are_new_or_replaced_are_read_again(
    half: tuple[Store, RunRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, record = half
    read = note_reads(monkeypatch)
    reader = StatusReader(StatusOptions(out=out.url))
    assert reader.read().rows_done == 8
    assert reader.read().rows_done == 8
    assert sorted(read) == [0, 1]
    compute_shard(out, record, 2)
    out.delete("shards/shard-000000.parquet")
    found = reader.read()
    assert (found.rows_done, read[2:]) == (8, [2])


def test_failures_that_were_not_kept_are_read_again_when_those_after_them_are_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, _ = compute_run(tmp_path, 8, damaged=range(8), shards=range(8), shard_size=1)
    options = StatusOptions(out=out.url, failures=1)
    reader = StatusReader(options)
    before = reader.read()
    read = note_reads(monkeypatch)
    for shard in (5, 6, 7):
        out.delete(shard_key(shard))
    found = reader.read()
    assert read == [4]
    assert found.failures == StatusReader(options).read().failures
    assert len(before.failures) == len(found.failures) == 1
    assert before.failures != found.failures
    assert found.failed_stages == {"decode": 5}


@pytest.mark.parametrize("width", [40, 80, 120])
def test_the_watched_status_fits_the_terminal_and_ends_with_the_run(
    half: tuple[Store, RunRecord], width: int
) -> None:
    out, record = half
    write_attempt(out, record, exit=0)
    compute_shard(out, record, 2)
    update_summary(out, record)
    options = StatusOptions(out=out.url, watch=True, every=0.5)
    console = terminal(width)
    print_status(console, irfuse.status(options), options)
    lines = shown_by(console).splitlines()
    assert any("100 %" in line and "12 of 12 pairs" in line for line in lines)
    assert all(len(line) <= width for line in lines if "\x1b" not in line)


def test_damaged_shards_are_shown_with_the_command_that_mends_them(
    half: tuple[Store, RunRecord],
) -> None:
    out, _ = half
    out.write("shards/shard-000001.parquet", out.read("shards/shard-000000.parquet"))
    remedy = (
        "run the command that made the run (`irfuse run` or `irfuse score`) again with --verify"
    )
    shown = call_cli("status", out.url, env={"COLUMNS": "120"}).stdout.splitlines()
    assert shown[-2].endswith("damaged  shard 1: its rows are those of shard 0")
    assert shown[-1].strip() == f"{remedy}, which computes it again"
    listed = call_cli("failures", out.url, env={"COLUMNS": "120"}).stdout
    assert f"Damaged shards, which are left out: 1; {remedy}" in listed


def test_a_run_is_followed_until_it_is_done(
    half: tuple[Store, RunRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, record = half
    write_attempt(out, record)
    options = StatusOptions(out=out.url, watch=True, every=0.5, json_output=True)
    first = irfuse.status(options)
    steps: Iterator[Callable[[], object]] = iter(
        [lambda: compute_shard(out, record, 2), lambda: update_summary(out, record)]
    )
    whole = StatusReader.read

    def read_after_a_step(self: StatusReader) -> irfuse.Status:
        next(steps)()
        return whole(self)

    monkeypatch.setattr(StatusReader, "read", read_after_a_step)
    output = io.StringIO()
    monkeypatch.setattr("sys.stdout", output)
    print_status(terminal(80), first, options)
    states = [irfuse.Status.model_validate_json(line) for line in output.getvalue().splitlines()]
    assert [(found.state, found.rows_done) for found in states] == [
        ("running", 8),
        ("running", 12),
        ("done", 12),
    ]


@pytest.mark.parametrize(
    ("changed", "state", "reason"),
    [
        ({"exit": 130}, "stalled", "the last attempt was interrupted; run the same command again"),
        ({"exit": 1, "error": "The disk is full"}, "failed", "The disk is full"),
    ],
)
@pytest.mark.parametrize("form", [(), ("--json",)])
def test_watching_ends_with_the_reason_when_the_run_has_ended(
    half: tuple[Store, RunRecord],
    changed: dict[str, Any],
    state: str,
    reason: str,
    form: tuple[str, ...],
) -> None:
    out, record = half
    write_attempt(out, record, **changed)
    result = call_cli("status", out.url, "--watch", *form, env={"COLUMNS": "150"})
    assert (result.returncode, len(result.stdout.splitlines()) == 1) == (1, form != ())
    assert f"Error: {out.url} is {state}: {reason}" in result.stderr
    assert reason in result.stdout


def test_an_interrupt_ends_watching_and_says_that_the_run_goes_on(
    half: tuple[Store, RunRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, record = half
    write_attempt(out, record)

    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("jobs.console.status.check_interrupts", interrupted)
    result = call_cli("status", out.url, "--watch", "--json")
    assert (result.returncode, len(result.stdout.splitlines())) == (130, 1)
    assert result.stderr == "Stopped watching; the run itself is not stopped.\n"


def test_all_failed_pairs_are_listed_with_what_is_known(
    half: tuple[Store, RunRecord], tmp_path: Path
) -> None:
    files = {name: str(tmp_path / f"failed.{name}") for name in ("csv", "parquet")}
    options = FailuresOptions(out=half[0].url, csv_file=files["csv"], parquet_file=files["parquet"])
    found = list_failures(options)
    assert [failure.pair_id for failure in found.failures] == ["0005", "0006"]
    first = found.failures[0]
    assert (first.stage, first.type, first.attempt, first.shard) == (
        "decode", "ImageDecodeError", 1, 1,
    )  # fmt: skip
    assert first.ir_uri.endswith("ir/0005.png")
    assert first.vis_uri.endswith("vis/0005.png")
    rows = [failure.model_dump() for failure in found.failures]
    assert pq.read_table(files["parquet"]).to_pylist() == rows
    with Path(files["csv"]).open(newline="") as file:
        assert [row["message"] for row in csv.DictReader(file)] == [r["message"] for r in rows]


def test_failed_pairs_of_another_stage_are_left_out(half: tuple[Store, RunRecord]) -> None:
    result = call_cli("failures", half[0].url, "--stage", "fuse")
    assert (result.returncode, result.stdout) == (0, "0 of 8 pairs failed at fuse\n")


def test_the_command_shows_a_line_for_each_failed_pair(half: tuple[Store, RunRecord]) -> None:
    result = call_cli("failures", half[0].url, env={"COLUMNS": "120"})
    assert result.stdout.splitlines()[0].split()[:3] == ["pair", "stage", "type"]
    assert result.stdout.splitlines()[-1] == "2 of 8 pairs failed"
