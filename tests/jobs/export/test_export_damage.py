"""Exports of runs whose shards are damaged or whose files have vanished, and how they go on."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.cli import call_cli
from support.collections import read_rows
from support.computed_runs import compute_run, score_run

import irfuse
from cluster.runs import RunRecord, shard_key
from cluster.runs.config import WorkerConfig
from cluster.runs.damage import DamagedShardError
from cluster.runs.messages import ShardTask
from cluster.runs.worker import ShardProcessor
from cluster.storage import Store
from fusion_core.errors import NotFoundError
from irfuse import (
    ExportCheckOptions,
    ExportFolderOptions,
    ExportHfOptions,
    ExportWebDatasetOptions,
)

PAIRS, SHARD_SIZE, DAMAGED = 8, 2, 2
Run = tuple[Store, RunRecord]
FORMS: dict[str, Callable[..., Any]] = {
    "folder": lambda **given: irfuse.export_folder(ExportFolderOptions(**given)),
    "webdataset": lambda **given: irfuse.export_webdataset(
        ExportWebDatasetOptions(shard_bytes=1, **given)
    ),
    "hf": lambda **given: irfuse.export_hf(ExportHfOptions(**given)),
}
of_each_form = pytest.mark.parametrize("form", FORMS)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run of four shards."""
    return compute_run(tmp_path / "run", PAIRS, shard_size=SHARD_SIZE)


@pytest.fixture
def scored(run: Run, tmp_path: Path) -> Run:
    """A run of `irfuse score` over the fused images of `run`, in a folder of their own."""
    FORMS["folder"](run=run[0].url, out=str(tmp_path / "files"), preset="pair-id")
    return score_run(tmp_path, [row(n, "files") for n in range(PAIRS)], shard_size=SHARD_SIZE)


def row(number: int, fused: str) -> str:
    """Return the row of a pair in a manifest of the user."""
    name = f"{number:04d}"
    return f"{name},run/in/ir/{name}.png,run/in/vis/{name}.png,{fused}/{name}.png"


def compute(record: RunRecord, out: Store, *shards: int) -> None:
    processor = ShardProcessor(WorkerConfig(record, out))
    for shard in shards:
        processor.process(ShardTask(shard))


def change_image(run: Store, pair_id: str) -> None:
    """Change a byte of an image of the damaged shard."""
    fused = next(row["fused"] for row in read_rows(run.url) if row["pair_id"] == pair_id)
    data = bytearray(run.read(shard_key(DAMAGED)))
    data[data.index(fused["bytes"]) + 100] ^= 1
    run.write(shard_key(DAMAGED), bytes(data))


def digests(folder: Path) -> dict[str, str]:
    """Return the digests of the exported files."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "_irfuse" not in path.parts
    }


def times(out: Path) -> dict[Path, int]:
    """Return the times at which the images and tar files of an export were written."""
    files = [path for ending in ("png", "tar", "parquet") for path in out.rglob(f"*.{ending}")]
    return {path: path.stat().st_mtime_ns for path in files}


def kept(form: str, written: dict[Path, int]) -> int:
    """Return the number of pairs in the files of an export that stopped."""
    pairs = len(written) * (SHARD_SIZE if form == "webdataset" else 1)
    # There is one Parquet file. Otherwise, the shard after the damaged one may have been written.
    assert pairs == 0 if form == "hf" else pairs >= DAMAGED * SHARD_SIZE
    return pairs


@of_each_form
def test_a_damaged_shard_is_named_and_the_export_goes_on_when_it_is_mended(
    form: str, run: Run, tmp_path: Path
) -> None:
    export, out = FORMS[form], tmp_path / "out"
    change_image(run[0], "0005")
    with pytest.raises(DamagedShardError) as caught:
        export(run=run[0].url, out=str(out), threads=1)
    message = str(caught.value)
    assert f"{shard_key(DAMAGED)} is damaged: from '0004' on, it cannot be read (" in message
    assert "`irfuse run` or `irfuse score`) again with --verify, which computes it" in message
    before = times(out)
    # What `irfuse run … --verify` does with a damaged shard.
    compute(run[1], run[0], DAMAGED)
    result = export(run=run[0].url, out=str(out))
    assert (result.pairs, result.written) == (PAIRS, PAIRS - kept(form, before))
    assert before.items() <= times(out).items()
    export(run=run[0].url, out=str(tmp_path / "whole"))
    irfuse.check_export(ExportCheckOptions(out=str(out))).require_sound()
    assert digests(out) == digests(tmp_path / "whole")


def test_the_command_prints_the_damage_without_a_traceback(run: Run, tmp_path: Path) -> None:
    change_image(run[0], "0004")
    ran = call_cli("export", "folder", run[0].url, tmp_path / "out")
    assert ran.returncode == 1
    assert f"{shard_key(DAMAGED)} is damaged: from '0004' on" in " ".join(ran.stderr.split())
    assert "Traceback" not in ran.stderr


@of_each_form
def test_a_vanished_fused_file_is_named_and_the_export_goes_on_when_it_is_back(
    form: str, scored: Run, tmp_path: Path
) -> None:
    export, out, file = FORMS[form], tmp_path / "out", tmp_path / "files/0005.png"
    data = file.read_bytes()
    file.unlink()
    with pytest.raises(NotFoundError) as caught:
        export(run=scored[0].url, out=str(out), threads=1)
    assert str(caught.value) == (
        f"Cannot read {file}: it does not exist, although it is the fused image of '0005' in "
        f"{shard_key(DAMAGED)}; put it back, and run the same command again, which goes on where "
        "it stopped"
    )
    before = times(out)
    file.write_bytes(data)
    result = export(run=scored[0].url, out=str(out))
    assert (result.pairs, result.written) == (PAIRS, PAIRS - kept(form, before))
    assert before.items() <= times(out).items()
    irfuse.check_export(ExportCheckOptions(out=str(out))).require_sound()


@of_each_form
def test_a_vanished_source_is_named(form: str, run: Run, tmp_path: Path) -> None:
    Path(run[1].source, "ir/0003.png").unlink()
    with pytest.raises(NotFoundError, match=r"0003.png: .* it is a source of '0003'; put it back"):
        FORMS[form](run=run[0].url, out=str(tmp_path / "out"), with_sources=True)


def test_damage_that_a_worker_of_a_cluster_finds_reaches_the_driver(run: Run) -> None:
    run[0].write(shard_key(DAMAGED), b"no Parquet")
    with pytest.raises(DamagedShardError) as caught:
        irfuse.export_folder(ExportFolderOptions(run=run[0].url, out=f"{run[0].url}-out"))
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.damage) == (str(caught.value), caught.value.damage)
