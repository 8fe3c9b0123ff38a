"""Exports that workers of a cluster write: the same bytes, from one worker or several."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.cli import start_cli
from support.computed_runs import compute_run
from support.environment import child_environment
from support.processes import wait_until
from support.s3 import S3Server

import irfuse
from cluster.storage import Store
from fusion_core.errors import ManifestError
from irfuse import ExportFolderOptions, ExportHfOptions, ExportWebDatasetOptions

PAIRS, SHARD_SIZE = 24, 2
LABELS = {f"labels/{number:04d}.txt": b"0 .5 .5 .5 .5\n" for number in range(PAIRS - 1)}
Export = Callable[..., Any]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Location of a run of twelve shards, with labels and a failed pair."""
    folder = tmp_path_factory.mktemp("run")
    out, _ = compute_run(folder, PAIRS, damaged=(3,), files=LABELS, shard_size=SHARD_SIZE)
    return out.url


def to_folder(run: str, out: object, **options: Any) -> Any:
    return irfuse.export_folder(ExportFolderOptions(run=run, out=str(out), **options))


def to_tars(run: str, out: object, **options: Any) -> Any:
    # Groups of one shard, so that there are several tar files.
    return irfuse.export_webdataset(
        ExportWebDatasetOptions(run=run, out=str(out), shard_bytes=1, **options)
    )


def to_parquet(run: str, out: object, **options: Any) -> Any:
    return irfuse.export_hf(ExportHfOptions(run=run, out=str(out), **options))


def digests(store: Store) -> dict[str, str]:
    """Return the digests of all files but the record, which names the version of irfuse."""
    return {
        entry.key: hashlib.sha256(store.read(entry.key)).hexdigest()
        for entry in store.entries()
        if entry.key != "_irfuse/export.json"
    }


@pytest.mark.parametrize("export", [to_folder, to_tars, to_parquet])
def test_workers_write_the_bytes_that_one_process_writes(
    export: Export, run: str, ray_address: str, tmp_path: Path
) -> None:
    here = export(run, tmp_path / "here", with_sources=True)
    there = export(
        run, tmp_path / "there", with_sources=True, address=ray_address, workers=3, threads=2
    )
    assert here.written == there.written == PAIRS - 1
    expected = digests(Store(str(tmp_path / "here")))
    assert digests(Store(str(tmp_path / "there"))) == expected
    assert len(expected) > 12 or export is to_parquet


def test_workers_write_to_an_object_store(
    run: str, ray_address: str, s3_moto: S3Server, tmp_path: Path
) -> None:
    options = s3_moto.storage_options
    out = f"s3://{s3_moto.new_bucket()}/out"
    to_folder(run, out, storage_options=options, address=ray_address, workers=2)
    to_folder(run, tmp_path)
    assert digests(Store(out, options)) == digests(Store(str(tmp_path)))


def test_an_error_of_a_worker_is_that_of_the_export(ray_address: str, tmp_path: Path) -> None:
    files = {"labels/0000.txt": b"no label\n"}
    out, _ = compute_run(tmp_path / "run", 2, files=files)
    with pytest.raises(ManifestError, match=r"0000.txt cannot be read"):
        to_parquet(out.url, tmp_path / "out", address=ray_address)


def test_an_export_whose_driver_is_killed_resumes_and_leaves_the_same_files(
    run: str, ray_address: str, tmp_path: Path
) -> None:
    to_folder(run, tmp_path / "whole")
    out = tmp_path / "cut"
    command = ["export", "folder", run, out, "--address", ray_address, "--workers", "1"]
    with start_cli(*command, "--threads", "1") as driver:
        wait_until(lambda: list(out.glob("_irfuse/done/*")), timeout=120, what="a shard")
        driver.send_signal(signal.SIGKILL)
        driver.wait(timeout=60)
    resumed = to_folder(run, out, address=ray_address, workers=2)
    assert resumed.pairs == PAIRS - 1
    found = {key: digest for key, digest in digests(Store(str(out))).items() if "tmp" not in key}
    assert found == digests(Store(str(tmp_path / "whole")))


PROGRAM = """
import sys
import irfuse
run, out = sys.argv[1:]
irfuse.export_folder(irfuse.ExportFolderOptions(run=run, out=out))
assert "ray" not in sys.modules
"""


def test_an_export_without_a_cluster_needs_no_ray(run: str, tmp_path: Path) -> None:
    environment = child_environment({"RAY_ADDRESS": "127.0.0.1:1", **os.environ})
    command = [sys.executable, "-c", PROGRAM, run, str(tmp_path)]
    assert subprocess.run(command, env=environment, check=False, timeout=120).returncode == 0
