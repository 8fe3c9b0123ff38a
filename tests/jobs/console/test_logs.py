"""The log of a command: its lines, and that they and the progress do not disturb each other."""

from __future__ import annotations

import io
import json
import logging
from pathlib import Path

import pytest
from rich.console import Console
from support.cli import call_cli
from support.collections import write_pairs
from support.progress import RecordedProgress

from cluster.runs.events import LOGGER, Event
from cluster.runs.telemetry import RayTelemetry
from jobs.console.logs import json_line, logged, text_line, warned
from jobs.console.progress import BarProgress
from jobs.options import RunOptions
from jobs.progress import SilentProgress

PAIRS, SHARDS = 6, 2


def record_of(event: Event, level: int = logging.INFO) -> logging.LogRecord:
    kept: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = kept.append  # type: ignore[method-assign]
    LOGGER.addHandler(handler)
    before = LOGGER.level
    LOGGER.setLevel(logging.DEBUG)
    try:
        event.emit(level)
    finally:
        LOGGER.removeHandler(handler)
        LOGGER.setLevel(before)
    return kept[0]


def options(tmp_path: Path, **changed: object) -> RunOptions:
    return RunOptions.model_validate({"source": "in", "out": str(tmp_path), **changed})


def test_a_line_of_json_has_the_fields_that_apply_in_their_order() -> None:
    line = json_line(record_of(Event("shard.committed", "ab-out", 3, rows=64, seconds=1.5)))
    found = json.loads(line)
    assert list(found) == ["ts", "level", "event", "run", "shard", "rows", "seconds"]
    assert found["ts"].endswith("Z")
    assert (found["level"], found["event"], found["rows"]) == ("info", "shard.committed", 64)


def test_a_line_of_text_quotes_what_would_not_be_one_word_and_ends_with_the_traceback() -> None:
    event = Event("pair.failed", error='a "b"\nc', node="", traceback="Traceback\n  File x")
    line, *more = text_line(record_of(event, logging.WARNING)).splitlines()
    assert line.endswith(r'WARNING pair.failed error="a \"b\"\nc" node=""')
    assert more == ["    Traceback", "      File x"]


def test_no_field_of_an_event_holds_a_secret() -> None:
    url = "https://host/a.png?X-Amz-Signature=hush"
    event = Event("pair.failed", url, 1, url, url, url, url, url, traceback=f"at {url}\nat {url}")
    for to_line in (json_line, text_line):
        line = to_line(record_of(event))
        assert "hush" not in line
        assert line.count("https://host/a.png?...") == 8


def test_lines_above_a_bar_are_whole_and_the_note_is_one_of_them(tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), width=60, force_terminal=True, color_system=None)
    bar = BarProgress(console)
    with bar.shown(), logged(options(tmp_path, log="text"), bar, bar.print_line) as progress:
        progress.planned(12, 12, 0, 2)
        progress.note("12 files were left out")
        Event("pair.failed", error="x" * 100).emit(logging.WARNING)
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert shown.count("12 files were left out") == 1
    assert "WARNING pair.failed error=" + "x" * 100 in shown


def test_a_log_in_a_file_leaves_the_progress_as_it_is(tmp_path: Path) -> None:
    shown = RecordedProgress()
    file = tmp_path / "logs" / "run.log"
    for _ in range(2):  # the second one is appended
        with logged(options(tmp_path, log="json", log_file=str(file)), shown, None) as progress:
            progress.message("Starting Ray")
            progress.note("a note")
            Event("run.planned", rows=3).emit()
            Event("run.planned").emit(logging.DEBUG)
    assert (shown.messages, shown.notes) == (["Starting Ray"] * 2, ["a note"] * 2)
    events = [json.loads(line)["event"] for line in file.read_text().splitlines()]
    assert events == ["run.note", "run.planned"] * 2


def test_the_level_leaves_out_what_is_less_important(tmp_path: Path) -> None:
    wanted = options(tmp_path, log_file=str(tmp_path / "log"), log_level="warning")
    with logged(wanted, SilentProgress(), None):
        Event("run.planned").emit()
        Event("worker.dead", error_type="hung").emit(logging.WARNING)
    assert [line.split()[2] for line in (tmp_path / "log").read_text().splitlines()] == [
        "worker.dead"
    ]


def test_a_log_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = call_cli(
        "run", tmp_path, "--out", tmp_path / "out", "--log-file", tmp_path / "file" / "log"
    )
    assert result.returncode == 1
    assert "cannot be opened" in result.stderr
    assert "--log-file" in result.stderr


def test_metrics_that_fail_are_one_warning_and_the_run_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(value: float, labels: dict[str, str]) -> None:
        raise RuntimeError("no agent")

    monkeypatch.setattr("cluster.runs.telemetry._recorder", lambda name, metric: fail)
    shown, telemetry = RecordedProgress(), RayTelemetry()
    with warned(shown):
        for _ in range(3):
            telemetry.record("irfuse_rows", 1, run="a", state="done")
        Event("pair.failed").emit(logging.WARNING)  # rows tell of failed pairs
    assert shown.notes == ["Metrics are not exported (RuntimeError: no agent)"]


def test_an_error_in_json_is_the_last_line(tmp_path: Path) -> None:
    result = call_cli("run", tmp_path / "none", "--out", tmp_path / "out", "--log", "json")
    assert result.returncode == 1
    last = json.loads(result.stderr.splitlines()[-1])
    assert (last["event"], last["level"]) == ("command.failed", "error")


def test_every_line_of_a_run_parses_and_there_is_one_for_each_shard(
    ray_address: str, tmp_path: Path
) -> None:
    write_pairs(tmp_path / "in", PAIRS).write("vis/0001.png", b"no image")
    result = call_cli(
        "run", tmp_path / "in", "--out", tmp_path / "out", "--method", "average", "--metrics",
        "EN", "--shard-size", PAIRS // SHARDS, "--workers", 1, "--address", ray_address,
        "--max-failure-rate", 0.5, "--log", "json", "--json",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    events = [json.loads(line) for line in result.stderr.splitlines()]
    names = [event["event"] for event in events]
    assert names.count("shard.committed") == SHARDS
    assert sum(e["rows"] for e in events if e["event"] == "shard.committed") == PAIRS
    assert (names[0], names[-1]) == ("run.planned", "run.finished")
    assert names.count("worker.ready") == 1
    (failed,) = (event for event in events if event["event"] == "pair.failed")
    assert (failed["pair_id"], failed["stage"], failed["attempt"]) == ("0001", "decode", 1)
    assert "Traceback" in failed["traceback"]
    printed = json.loads(result.stdout.splitlines()[-1])
    assert (printed["failed"], printed["estimated_seconds"]) == (1, None)  # too few pairs
    assert 0 < printed["seconds"] < events[-1]["seconds"]
