"""Output locations that fill up, become read-only or vanish while a run writes to them."""

import os
import shutil
import sys
from pathlib import Path

import pytest
from support.cli import RunningCommand, call_cli, start_cli
from support.collections import PAIRS, read_rows, run_command, stable
from support.disks import Remount
from support.processes import wait_until

from cluster.storage.store import Store

WAIT_S = 240.0


def shards(out: Path) -> list[Path]:
    return sorted((out / "shards").glob("*.parquet"))


def wait_for_shards(driver: RunningCommand, out: Path, count: int) -> None:
    wait_until(
        lambda: driver.poll() is not None or len(shards(out)) >= count,
        timeout=WAIT_S,
        what="shards",
    )
    assert driver.poll() is None, driver.stderr


def assert_unfinished(out: Path, undisturbed: Path) -> None:
    """All that is there are whole shards of a part of the pairs."""
    rows = {row["pair_id"]: row for row in stable(read_rows(undisturbed))}
    found = stable(read_rows(out))
    assert len(found) == 3 * len(shards(out)) < PAIRS
    assert all(row == rows[row["pair_id"]] for row in found)
    assert not (out / "summary.json").exists()


def assert_finishes(arguments: list[str], out: Path, undisturbed: Path) -> None:
    result = call_cli(*arguments)
    assert result.returncode == 0, result.stderr
    assert stable(read_rows(out)) == stable(read_rows(undisturbed))
    keys, expected = (
        {e.key for e in Store(str(run)).entries() if not e.key.startswith(("attempts/", "scores/"))}
        for run in (out, undisturbed)
    )
    assert keys == expected


def test_a_run_whose_disk_is_full_says_so_and_is_finished_when_there_is_room(
    collection: Path,
    undisturbed: Path,
    ray_address: str,
    disk: tuple[Path, Remount],
) -> None:
    out, remount = disk
    arguments = run_command(collection, out, ray_address)
    assert remount("size=4k")
    result = call_cli(*arguments)
    assert result.returncode == 1
    assert f"Cannot write {out}/" in result.stderr
    assert "No space left on device; free some space" in result.stderr
    size = sum(path.stat().st_size for path in shards(undisturbed))
    assert remount(f"size={size // 2}")
    result = call_cli(*arguments)
    assert result.returncode == 1
    assert f"Cannot write {out}/shards/shard-0000" in result.stderr
    assert "No space left on device; free some space" in result.stderr
    assert "Traceback" not in result.stderr
    assert shards(out)
    assert_unfinished(out, undisturbed)
    assert remount("size=64m")
    assert_finishes(arguments, out, undisturbed)


@pytest.mark.slow
def test_a_run_whose_disk_becomes_read_only_says_so_and_is_finished_when_it_is_writable(
    collection: Path,
    undisturbed: Path,
    ray_address: str,
    disk: tuple[Path, Remount],
) -> None:
    out, remount = disk
    arguments = run_command(collection, out, ray_address)
    with start_cli(*arguments) as driver:
        wait_for_shards(driver, out, 2)
        # Refused while a file is open for writing.
        wait_until(lambda: remount("ro"), timeout=WAIT_S, what="a read-only disk", interval=0.001)
        result = driver.wait(timeout=WAIT_S)
    assert result.returncode == 1
    assert f"Cannot write {out}/shards/shard-0000" in result.stderr
    assert "Read-only file system; make it writable" in result.stderr
    assert_unfinished(out, undisturbed)
    assert remount("rw")
    assert_finishes(arguments, out, undisturbed)


@pytest.mark.slow
def test_a_run_whose_out_is_removed_says_so_and_is_finished_by_the_same_command(
    collection: Path, undisturbed: Path, ray_address: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    arguments = run_command(collection, out, ray_address)
    with start_cli(*arguments) as driver:
        wait_for_shards(driver, out, 2)
        out.rename(tmp_path / "gone")
        result = driver.wait(timeout=WAIT_S)
    assert result.returncode == 1
    assert str(out) in result.stderr
    assert "removed" in result.stderr
    assert "Traceback" not in result.stderr
    assert_finishes(arguments, out, undisturbed)


def test_an_out_without_rights_is_named_before_anything_is_computed(
    collection: Path, tmp_path: Path
) -> None:
    tmp_path.chmod(0o500)
    arguments = run_command(collection, tmp_path / "out", "local")
    python = [sys.executable, "-m", "irfuse", *arguments]
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("the superuser may write everywhere, and there is no setpriv")
        python = ["setpriv", "--bounding-set=-dac_override", *python]
    with RunningCommand(python) as driver:
        result = driver.wait(timeout=WAIT_S)
    assert result.returncode == 1
    assert f"Cannot write {tmp_path}/out/run.json: access denied" in result.stderr
    assert "check the credentials and permissions" in result.stderr
    assert "Starting Ray" not in result.stderr
    tmp_path.chmod(0o700)
    assert not (tmp_path / "out").exists()
