"""Dry runs of exports: the estimate, the problems, and nothing that is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.cli import call_cli
from support.computed_runs import compute_run

import irfuse
from cluster.storage import Store
from fusion_core.errors import InvalidValueError, RunFailedError
from irfuse import (
    ExportDryRun,
    ExportFolderOptions,
    ExportHfOptions,
    ExportWebDatasetOptions,
    dry_run_export,
)

PAIRS, FAILED = 6, 1


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A run of twelve pairs in three shards, one of which failed and another one has a label."""
    files = {"labels/test/0001.txt": b"0 .5 .5 .1 .1\n"}
    folder, subsets = tmp_path_factory.mktemp("tried"), ("train", "test")
    return compute_run(folder, PAIRS, subsets=subsets, damaged=(3,), files=files)[0]


def sizes(folder: Path) -> tuple[int, int]:
    """Return number and bytes of the files of pairs below a folder."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    lists = (".csv", ".json", ".md")
    own = [path for path in files if "_irfuse" not in path.parts and path.suffix not in lists]
    return len(own), sum(path.stat().st_size for path in own)


@pytest.mark.parametrize(
    ("options", "job"),
    [
        (ExportFolderOptions, irfuse.export_folder),
        (ExportWebDatasetOptions, irfuse.export_webdataset),
        (ExportHfOptions, irfuse.export_hf),
    ],
)
def test_the_estimate_is_that_of_the_files(
    run: Store, tmp_path: Path, options: Any, job: Any
) -> None:
    given = options(run=run.url, out=str(tmp_path / "out"), with_sources=True)
    tried = dry_run_export(given.model_copy(update={"dry_run": True}))
    assert not (tmp_path / "out").exists()
    tried.require_ready()
    assert (tried.rows, tried.pairs, tried.pairs_left) == (2 * PAIRS, 11, 11)
    assert (tried.sampled, tried.labels, tried.writable) == (11, 1, True)
    job(given)
    count, size = sizes(tmp_path / "out")
    assert tried.files == pytest.approx(count, abs=1)
    assert tried.size == pytest.approx(size, rel=0.2 if options is ExportFolderOptions else 0.7)
    again = dry_run_export(given)
    assert (again.pairs_left, again.files, again.sampled) == (0, 0, 0)


def test_all_problems_are_named(run: Store, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    given = ExportFolderOptions(
        run=run.url, out=str(tmp_path / "file" / "out"), where="nonsense > 1", probe_write=True
    )
    tried = dry_run_export(given)
    assert tried.writable is False
    assert len(tried.problems) == 2
    with pytest.raises(RunFailedError, match="2 problems"):
        tried.require_ready()


def test_an_export_without_space_would_not_start(
    run: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        free = 10

    monkeypatch.setattr("shutil.disk_usage", lambda path: Full)
    tried = dry_run_export(ExportFolderOptions(run=run.url, out=str(tmp_path / "out")))
    (problem,) = tried.problems
    assert "has 10 B left on its disk" in problem


def test_the_command_prints_the_estimate_and_writes_nothing(run: Store, tmp_path: Path) -> None:
    result = call_cli("export", "folder", run.url, str(tmp_path / "out"), "--dry-run")
    assert result.returncode == 0, result.stderr
    assert "Pairs       11 to export" in result.stdout
    assert "12 files" in result.stdout
    assert result.stdout.endswith("Nothing was written.\n")
    assert not (tmp_path / "out").exists()


def test_the_job_refuses_the_option(run: Store, tmp_path: Path) -> None:
    given = ExportFolderOptions(run=run.url, out=str(tmp_path / "out"), dry_run=True)
    with pytest.raises(InvalidValueError, match="dry_run_export"):
        irfuse.export_folder(given)
    assert not (tmp_path / "out").exists()
    assert isinstance(dry_run_export(given), ExportDryRun)
