"""Exports that are killed, whose store has faults, or whose disk is full or closed."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.cli import call_cli, start_cli
from support.computed_runs import compute_run
from support.disks import Remount
from support.environment import child_environment
from support.processes import wait_until
from support.s3 import S3Server
from support.s3_proxy import (
    cut_answer,
    cut_request,
    refused,
    reset,
    reset_after_taking,
    s3_proxy,
    slow_down,
)

import irfuse
from cluster.runs import RunRecord
from cluster.storage import Store
from irfuse import ExportCheckOptions, ExportFolderOptions

PAIRS, SHARD_SIZE = 24, 2
FORMS = ("folder", "webdataset", "hf")
Run = tuple[Store, RunRecord]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of twelve shards."""
    folder = tmp_path_factory.mktemp("run")
    return compute_run(folder, PAIRS, shard_size=SHARD_SIZE)


def digests(out: Store) -> dict[str, str]:
    """Return the digests of all files but the record and what was left half-written."""
    return {
        entry.key: hashlib.sha256(out.read(entry.key)).hexdigest()
        for entry in out.entries()
        if not entry.key.startswith(("_irfuse/export.json", "_irfuse/temporary/"))
    }


@pytest.mark.parametrize("form", FORMS)
def test_a_killed_export_resumes_and_leaves_the_same_files(
    form: str, run: Run, tmp_path: Path
) -> None:
    small = ("--shard-bytes", "1") if form == "webdataset" else ()
    command = ("export", form, run[0].url)
    assert call_cli(*command, tmp_path / "whole", *small).returncode == 0
    out = tmp_path / "killed"
    with start_cli(*command, out, "--threads", "1", *small) as process:
        wait_until(lambda: out.exists(), timeout=120, what="the beginning", interval=0.001)
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=60)
    assert call_cli(*command, out, *small).returncode == 0
    assert digests(Store(str(out))) == digests(Store(str(tmp_path / "whole")))
    irfuse.check_export(ExportCheckOptions(out=str(out))).require_sound()


def test_faults_of_the_store_do_not_change_an_export(
    run: Run, s3_moto: S3Server, tmp_path: Path
) -> None:
    bucket = f"s3://{s3_moto.new_bucket()}"
    there = Store(f"{bucket}/run", s3_moto.storage_options)
    for entry in run[0].entries():
        there.write(entry.key, run[0].read(entry.key))
    with s3_proxy(s3_moto) as proxy:
        faults = [
            proxy.add(slow_down, "GET", r"/shard-000000\.parquet", times=2),
            proxy.add(cut_answer, "GET", r"/shard-000003\.parquet"),
            proxy.add(reset, "GET", r"/shard-000007\.parquet"),
            proxy.add(cut_answer, "GET", r"/run/manifest\.parquet"),
            proxy.add(reset_after_taking, "PUT", r"/_irfuse/export\.json"),
            proxy.add(slow_down, "PUT", r"/fused/0001\.png", times=2),
            proxy.add(cut_request, "PUT", r"/fused/0005\.png"),
            proxy.add(reset_after_taking, "PUT", r"/fused/0009\.png"),
            proxy.add(refused(500, "InternalError"), "PUT", r"/done/shard-000004"),
        ]
        options: dict[str, Any] = {"storage_options": proxy.s3.storage_options}
        result = irfuse.export_folder(
            ExportFolderOptions(run=there.url, out=f"{bucket}/out", **options)
        )
    assert [fault for fault in faults if fault.met < fault.times] == []
    assert result.pairs == PAIRS
    irfuse.export_folder(ExportFolderOptions(run=run[0].url, out=str(tmp_path)))
    found = digests(Store(f"{bucket}/out", s3_moto.storage_options))
    assert found == digests(Store(str(tmp_path)))


def test_an_export_whose_disk_is_full_says_so_and_is_finished_when_there_is_room(
    run: Run, disk: tuple[Path, Remount], tmp_path: Path
) -> None:
    out, remount = disk
    whole = tmp_path / "whole"
    irfuse.export_folder(ExportFolderOptions(run=run[0].url, out=str(whole)))
    size = sum(path.stat().st_blocks * 512 for path in whole.rglob("*"))
    assert remount(f"size={size // 2}")
    command = ("export", "folder", run[0].url, out)
    full = call_cli(*command)
    assert full.returncode == 1
    assert f"Cannot write {out}/" in full.stderr
    assert "No space left on device; free some space" in full.stderr
    assert "Traceback" not in full.stderr
    assert remount("size=64m")
    assert call_cli(*command).returncode == 0
    assert digests(Store(str(out))) == digests(Store(str(whole)))


def test_a_folder_without_rights_is_named(run: Run, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "irfuse", "export", "folder", run[0].url, f"{tmp_path}/out"]
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("the superuser may write everywhere, and there is no setpriv")
        command = ["setpriv", "--bounding-set=-dac_override", *command]
    tmp_path.chmod(0o500)
    ended = subprocess.run(
        command, env=child_environment(), capture_output=True, text=True, check=False, timeout=120
    )
    tmp_path.chmod(0o700)
    assert ended.returncode == 1
    assert f"Cannot write {tmp_path}/out/_irfuse/export.json: access denied" in ended.stderr
    assert "check the credentials and permissions" in ended.stderr
