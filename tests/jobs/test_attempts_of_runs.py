"""What commands leave in OUT/attempts."""

import signal
from pathlib import Path

import pytest
from support.cli import start_cli
from support.collections import run_command, run_options, write_pairs
from support.processes import wait_until

import irfuse
from cluster.runs.attempts import newest_attempt, read_attempts
from cluster.storage.store import Store
from fusion_core.errors import RunFailedError
from jobs.command_line import command_line
from jobs.options import RunOptions


def test_the_command_has_no_secrets() -> None:
    options = RunOptions(
        source="https://host/pairs.csv?X-Amz-Signature=hush",
        out="runs/a",
        params={"strategy": "l1_norm"},
        metrics=("EN", "SD"),
        keep_images=False,
        name="-10 %",
        storage_options={"key": "hush"},
    )
    words = command_line(options)
    assert words[:3] == ["irfuse", "run", "https://host/pairs.csv?..."]
    text = " ".join(words)
    assert "hush" not in text
    assert "--param strategy=l1_norm" in text
    assert "--metrics EN --metrics SD" in text
    assert "--no-keep-images" in text
    assert "--name=-10 %" in words


def test_every_command_that_computes_leaves_a_record(ray_address: str, tmp_path: Path) -> None:
    out = Store(str(tmp_path / "out"))
    write_pairs(tmp_path / "in", 6).write("vis/0001.png", b"no image")
    wanted = run_options(tmp_path / "in", out.url, address=ray_address, max_failure_rate=0.0)
    with pytest.raises(RunFailedError):
        irfuse.run(wanted)
    (failed,) = read_attempts(out)
    assert (failed.exit, failed.rows, failed.failed) == (1, 6, 1)
    assert "1 of 6 pairs failed" in str(failed.error)
    (first,) = failed.first_failures
    assert (first.stage, first.type, first.pair_id) == ("decode", "ImageDecodeError", "0001")
    assert "decode_pair" in first.traceback
    assert next(iter(failed.nodes.values())).irfuse == failed.irfuse
    with pytest.raises(RunFailedError):
        irfuse.run(wanted)  # nothing is left to compute
    assert read_attempts(out) == [failed]
    irfuse.run(wanted.model_copy(update={"max_failure_rate": 1.0, "retry_failed": True}))
    last = newest_attempt(out)
    assert last is not None
    assert (last.exit, last.planned, last.rows, last.failed) == (0, 1, 1, 1)


def test_a_killed_driver_leaves_a_record_without_an_exit_and_the_run_resumes_without_records(
    collection: Path, ray_address: str, tmp_path: Path
) -> None:
    out = Store(str(tmp_path))
    with start_cli(*run_command(collection, tmp_path, ray_address)) as driver:
        wait_until(
            lambda: driver.poll() is not None or out.entries("shards"), timeout=240, what="a shard"
        )
        driver.send_signal(signal.SIGKILL)
    (killed,) = read_attempts(out)
    assert (killed.exit, killed.ended, killed.error) == (None, None, None)
    out.delete(killed.key)
    assert irfuse.run(run_options(collection, tmp_path, address=ray_address)).failed == 0
    (last,) = read_attempts(out)
    assert last.exit == 0
