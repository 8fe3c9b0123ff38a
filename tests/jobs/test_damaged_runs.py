"""Finished runs whose files were damaged: what notices it, and what mends it."""

import os
import shutil
from pathlib import Path

import pytest
from support.cli import call_cli
from support.collections import (
    SHARD_SIZE,
    SMALL,
    FinishedRun,
    read_rows,
    run_command,
    run_options,
    stable,
)
from support.progress import RecordedProgress

import irfuse
from cluster.runs import DamagedRunError
from irfuse import StatusOptions, SummarizeOptions, VerifyOptions
from jobs.summary_files import write_summary


def shard(out: Path, number: int) -> Path:
    return out / "shards" / f"shard-{number:06d}.parquet"


@pytest.fixture
def out(small: FinishedRun, tmp_path: Path) -> Path:
    """A copy of a finished run, whose summary is up to date."""
    shutil.copytree(small.out, tmp_path / "out")
    irfuse.run(run_options(small.source, tmp_path / "out"))
    return tmp_path / "out"


def test_a_shard_in_the_place_of_another_one_is_reported_and_computed_again(
    small: FinishedRun, out: Path, ray_address: str
) -> None:
    before = stable(read_rows(out))
    shutil.copyfile(shard(out, 0), shard(out, 1))
    reason = "shard 1: its rows are those of shard 0"
    with pytest.raises(DamagedRunError, match=reason):
        irfuse.summarize(SummarizeOptions(outs=(str(out),)))
    found = irfuse.status(StatusOptions(out=str(out)))
    assert (found.rows_done, found.damaged_shards[0].shard) == (SMALL - SHARD_SIZE, 1)
    progress = RecordedProgress()
    result = irfuse.run(run_options(small.source, out, address=ray_address), progress)
    assert any(reason in text for text in progress.messages)
    assert (result.computed, result.rows) == (SHARD_SIZE, SMALL)
    assert stable(read_rows(out)) == before


def change_image_in_place(out: Path) -> None:
    """Change a byte of an image in a way that no listing shows."""
    path = shard(out, 0)
    status, data = path.stat(), bytearray(path.read_bytes())
    data[data.index(b"IDAT") + 100] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_a_damaged_image_is_found_by_verify_and_mended_by_run(
    small: FinishedRun, out: Path, ray_address: str
) -> None:
    before = stable(read_rows(out))
    change_image_in_place(out)
    found = call_cli("verify", out)
    assert found.returncode == 1
    assert "1 sound, 1 damaged" in found.stdout
    assert "shard 0: it cannot be read" in found.stdout
    assert "--verify" in found.stderr
    mended = call_cli(*run_command(small.source, out, ray_address, "--verify"))
    assert mended.returncode == 0, mended.stderr
    assert stable(read_rows(out)) == before
    assert call_cli("verify", out).returncode == 0


def test_an_undamaged_run_is_sound(out: Path) -> None:
    found = irfuse.verify(VerifyOptions(out=str(out)))
    assert (found.sound, found.missing, found.damaged) == (2, 0, [])
    assert found.summary_is_current


def test_an_unfinished_run_is_not_damaged(out: Path) -> None:
    shard(out, 1).unlink()
    found = irfuse.verify(VerifyOptions(out=str(out)))
    assert (found.sound, found.missing, found.damaged) == (1, 1, [])
    assert not found.summary_is_current


def test_a_damaged_manifest_is_found(out: Path) -> None:
    path = out / "manifest.parquet"
    data = bytearray(path.read_bytes())
    data[20] ^= 1
    path.write_bytes(data)
    found = call_cli("verify", out)
    assert found.returncode == 1
    assert "manifest.parquet is damaged" in found.stderr


@pytest.mark.parametrize("name", ["summary.csv", "summary.json"])
def test_a_summary_file_that_was_changed_is_written_again_without_ray(
    small: FinishedRun, out: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.execution.ray_session", None)
    good = (out / name).read_bytes()
    for content in (good[:-40], good.replace(b"0.", b"1.")):
        (out / name).write_bytes(content)
        irfuse.run(run_options(small.source, out))
        assert (out / name).read_bytes() == good
    (out / name).unlink()
    irfuse.run(run_options(small.source, out))
    assert (out / name).read_bytes() == good


def test_a_summary_of_other_shards_is_computed_again(small: FinishedRun, out: Path) -> None:
    old = (out / "summary.json").read_bytes()
    os.utime(shard(out, 0))
    progress = RecordedProgress()
    irfuse.run(run_options(small.source, out), progress)
    assert "Computing the summary" in progress.messages
    assert (out / "summary.json").read_bytes() != old
    progress = RecordedProgress()
    irfuse.run(run_options(small.source, out), progress)
    assert "Computing the summary" not in progress.messages


def test_a_summary_that_a_suspended_process_replaced_is_computed_again(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    twins = [True]

    def write_while_a_twin_commits(*arguments: object) -> None:
        if twins:
            twins.pop()
            os.utime(shard(out, 0))  # a shard was replaced after this process had listed them
        write_summary(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("jobs.summarize.write_summary", write_while_a_twin_commits)
    irfuse.summarize(SummarizeOptions(outs=(str(out),)))
    assert irfuse.verify(VerifyOptions(out=str(out))).summary_is_current


def test_what_would_be_out_of_date_is_removed_before_rows_are_computed(
    small: FinishedRun, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shard(out, 1).unlink()
    half = out / ".manifest.parquet.irfuse-tmp-0123"  # of a driver that was killed
    half.write_bytes(b"half")
    os.utime(half, (1, 1))
    monkeypatch.setattr("jobs.execution.ray_session", None)
    with pytest.raises(TypeError):
        irfuse.run(run_options(small.source, out))
    left = {"run.json", "manifest.parquet", "shards", "scores", "attempts"}
    assert {path.name for path in out.iterdir()} == left
