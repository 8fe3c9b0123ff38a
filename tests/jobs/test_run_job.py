"""Whole runs on a real Ray cluster of two nodes."""

import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.cli import call_cli, run_cli, start_cli
from support.collections import (
    PAIRS,
    SMALL,
    FinishedRun,
    read_rows,
    run_command,
    run_options,
    stable,
    write_pairs,
)
from support.environment import PROJECT_ROOT, child_environment, forbid_ray
from support.processes import wait_until
from support.progress import RecordedProgress
from support.s3 import S3Server

import irfuse
from cluster.runs.ledger import Ledger
from cluster.runs.record import RunRecord
from cluster.storage.records import read_record
from cluster.storage.store import Store
from fusion_core.errors import (
    InvalidValueError,
    RunConflictError,
    WeightsError,
)
from fusion_core.images.decoding import decode_image
from fusion_core.metrics import METRICS, select_metrics

DEFAULT = select_metrics()
LARGE_ENOUGH = 4
"""Of the small pairs, for `MS_SSIM`."""


def test_every_pair_has_one_row_in_manifest_order(small: FinishedRun) -> None:
    rows = read_rows(small.out)
    assert [row["pair_id"] for row in rows] == [f"{number:04d}" for number in range(SMALL)]
    assert {row["status"] for row in rows} == {"ok"}
    assert decode_image(rows[1]["fused"]["bytes"]).shape == (33, 57, 3)
    assert decode_image(rows[0]["fused"]["bytes"]).shape == (48, 64)


def test_a_run_ends_with_a_picture_of_its_pairs(small: FinishedRun) -> None:
    assert Image.open(small.out / "preview.png").width > 1000


def test_a_run_computes_the_default_metrics_by_default(small: FinishedRun) -> None:
    rows = [row for row in read_rows(small.out) if min(row["height"], row["width"]) > 40]
    assert {row["metric_notes"] for row in rows} == {None}
    assert all(isinstance(row[metric], float) for row in rows for metric in DEFAULT)


def test_a_finished_run_answers_without_ray(
    small: FinishedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbid_ray(monkeypatch)
    monkeypatch.setattr("cluster.session.connection.LocalRay", None)  # not ahead either
    result = irfuse.run(run_options(small.source, small.out))
    assert (result.rows, result.computed) == (SMALL, 0)
    (subset,) = result.summary.subsets
    counts = {name: metric.count for name, metric in subset.metrics.items()}
    assert counts == {**dict.fromkeys(DEFAULT, SMALL), "MS_SSIM": LARGE_ENOUGH}


@pytest.mark.parametrize("method", ["densefuse", "gtf"])
def test_a_run_is_planned_without_torch_and_ray(method: str, tmp_path: Path) -> None:
    write_pairs(tmp_path / "in", 1)
    given = {"source": str(tmp_path / "in"), "out": str(tmp_path / "out"), "method": method}
    code = (
        "import sys, irfuse; from jobs.execution import PlannedRun\n"
        "from jobs.fusing import plan_fusing; from jobs.progress import SilentProgress\n"
        f"job = plan_fusing(irfuse.RunOptions(**{given}), SilentProgress())\n"
        "print(len(PlannedRun(job, SilentProgress()).remaining.tasks))\n"
        "print([m for m in ('torch', 'ray', 'numba', 'scipy', 's3fs') if m in sys.modules])"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], env=child_environment(), capture_output=True, text=True
    )
    assert shown.stdout.split("\n", 1) == ["1", "[]\n"], shown.stderr


def test_a_pair_too_small_for_some_metrics_is_an_ok_row_with_nulls_and_reasons(
    small: FinishedRun,
) -> None:
    row = read_rows(small.out)[1]
    assert [metric for metric in DEFAULT if row[metric] is None] == ["MS_SSIM"]
    assert row["metric_notes"] == f"MS_SSIM is undefined: {METRICS['MS_SSIM'].undefined}"


def test_other_settings_in_the_same_place_are_refused_by_name(small: FinishedRun) -> None:
    changed = {"params": {"strategy": "l1_norm"}, "metrics": ("EN", "SCD")}
    with pytest.raises(
        RunConflictError,
        match=r"\(parameters\.strategy: existing 'addition', requested 'l1_norm'; "
        r"metrics: requested without MI, MI_as_published, Qabf, .*, SD\);",
    ):
        irfuse.run(run_options(small.source, small.out, **changed))


def test_a_collection_has_the_name_of_its_source_unless_it_is_given(
    small: FinishedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbid_ray(monkeypatch)
    assert {row["collection"] for row in read_rows(small.out)} == {"in"}
    named = run_options(small.source, small.out, collection="in")
    assert irfuse.run(named).summary.collection == "in"
    with pytest.raises(RunConflictError, match="collection: existing 'in', requested 'TNO'"):
        irfuse.run(run_options(small.source, small.out, collection="TNO"))


def test_a_run_whose_manifest_was_renamed_keeps_the_name_of_its_collection(
    small: FinishedRun, ray_address: str, tmp_path: Path
) -> None:
    folder = small.source
    lines = ["ir_uri,vis_uri", f"{folder}/ir/0000.png,{folder}/vis/0000.png"]
    (tmp_path / "tno.csv").write_text("\n".join(lines))
    wanted = run_options(tmp_path / "tno.csv", tmp_path / "out", address=ray_address)
    irfuse.run(wanted)
    (tmp_path / "tno.csv").rename(tmp_path / "other.csv")
    renamed = wanted.model_copy(update={"source": str(tmp_path / "other.csv")})
    assert irfuse.run(renamed).summary.collection == "tno"
    assert [row["collection"] for row in read_rows(tmp_path / "out")] == ["tno"]


def test_a_run_that_is_resumed_with_other_code_says_so(small: FinishedRun, tmp_path: Path) -> None:
    shutil.copytree(small.out, tmp_path / "out")
    record = tmp_path / "out" / "run.json"
    changed = json.loads(record.read_text()) | {"code_sha256": "0" * 64}
    record.write_text(json.dumps(changed))
    progress = RecordedProgress()
    irfuse.run(run_options(small.source, tmp_path / "out"), progress)
    assert ["code of irfuse has changed" in note for note in progress.notes] == [True]
    progress = RecordedProgress()
    irfuse.run(run_options(small.source, small.out), progress)
    assert not progress.notes


@pytest.mark.slow
def test_nodes_with_other_code_are_refused(
    small: FinishedRun, ray_address: str, tmp_path: Path
) -> None:
    code = tmp_path / "code"
    for name in ("fusion_core", "cluster", "jobs"):
        shutil.copytree(PROJECT_ROOT / name, code / name)
    with (code / "fusion_core" / "choices.py").open("a") as file:
        file.write("# edited")
    path = f"{code}{os.pathsep}{code / 'jobs' / 'public_api'}"
    arguments = run_command(small.source, tmp_path / "out", ray_address)
    result = run_cli(*arguments, env={"PYTHONPATH": path})
    assert result.returncode == 1
    assert f"Node {socket.gethostname()} has other code of irfuse" in result.stderr
    assert "fusion_core/choices.py differs" in result.stderr
    assert str(code) in result.stderr
    assert not read_rows(tmp_path / "out")


def test_other_patterns_in_the_same_place_are_refused(small: FinishedRun) -> None:
    with pytest.raises(RunConflictError, match=r"pairing\.ir: existing None, requested 'ir'"):
        irfuse.run(run_options(small.source, small.out, ir="ir", vis="vis"))


def test_a_run_of_selected_pairs_resumes_with_the_same_selection_alone(
    small: FinishedRun, ray_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = {"sample": 4, "seed": 2, "limit": 2, "where": "pair_id > '0000'"}
    wanted = run_options(
        small.source, tmp_path, address=ray_address, method="average", weights=None, **chosen
    )
    assert irfuse.run(wanted).rows == 2
    assert len({row["pair_id"] for row in read_rows(tmp_path)} - {"0000"}) == 2
    monkeypatch.setattr("jobs.planning.open_source", None)  # the source is not listed again
    assert irfuse.run(wanted).computed == 0
    for changed, message in (
        ({"limit": None}, "selection.limit: existing 2, requested None"),
        ({"seed": 3}, "selection.seed: existing 2, requested 3"),
        ({"where": None}, "selection.where: existing \"pair_id > '0000'\", requested None"),
        ({"subset": ("day",)}, "selection.subsets: existing without day"),
    ):
        with pytest.raises(RunConflictError) as caught:
            irfuse.run(wanted.model_copy(update=changed))
        assert f"({message})" in str(caught.value)


def test_another_source_in_the_same_place_is_refused(small: FinishedRun, tmp_path: Path) -> None:
    write_pairs(tmp_path, SMALL)
    with pytest.raises(RunConflictError, match="manifest_digest"):
        irfuse.run(run_options(tmp_path, small.out))


def test_what_is_added_to_the_folder_later_is_not_part_of_the_run(
    small: FinishedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbid_ray(monkeypatch)
    added = [small.source / part / "more.png" for part in ("ir", "vis")]
    for path in added:
        path.write_bytes((path.parent / "0000.png").read_bytes())
    try:
        assert irfuse.run(run_options(small.source, small.out)).rows == SMALL
    finally:
        for path in added:
            path.unlink()


def test_a_run_that_was_killed_before_its_manifest_or_a_shard_was_written_goes_on(
    small: FinishedRun, ray_address: str, tmp_path: Path
) -> None:
    (tmp_path / "run.json").write_bytes((small.out / "run.json").read_bytes())
    unfinished = "shards/.shard-000000.parquet.irfuse-tmp-00"
    Store(str(tmp_path)).write(unfinished, b"PAR1 half")
    irfuse.run(run_options(small.source, tmp_path, address=ray_address))
    assert stable(read_rows(tmp_path)) == stable(read_rows(small.out))


def test_a_manifest_file_is_frozen_again_only_if_it_was_edited(
    small: FinishedRun, ray_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest, folder = tmp_path / "list.csv", small.source
    lines = [f"{n},{folder}/ir/{n:04d}.png,{folder}/vis/{n:04d}.png" for n in range(4)]
    manifest.write_text("\n".join(["pair_id,ir_uri,vis_uri", *lines]))
    wanted = run_options(manifest, tmp_path / "out", address=ray_address)
    assert irfuse.run(wanted).rows == 4

    def refuse(batches: object) -> None:
        raise AssertionError("The manifest must not be frozen again")

    with monkeypatch.context() as patch:
        patch.setattr("jobs.planning.freeze", refuse)
        assert irfuse.run(wanted).computed == 0
    manifest.write_text("\n".join(["pair_id,ir_uri,vis_uri", *lines[:3]]))
    with pytest.raises(RunConflictError, match="rows: existing 4, requested 3"):
        irfuse.run(wanted)


MISTAKES: list[tuple[dict[str, Any], type[Exception], str]] = [
    (
        {"method": "res2netfuse", "params": {"convolutions": "separate"}, "weights": None},
        WeightsError,
        "--weights FILE",
    ),
    ({"weights": "/no/such/file"}, WeightsError, "no weight file at /no/such/file"),
    ({"seed": 1}, InvalidValueError, "--seed is for --sample"),
    ({"subset": ("day",)}, InvalidValueError, "Unknown subset 'day'"),
    ({"where": "pair = '1'"}, InvalidValueError, "Unknown column 'pair'; did you mean pair_id"),
    ({"method": "magic"}, InvalidValueError, "the methods are: "),
    ({"params": {"strategy": "best"}}, InvalidValueError, "strategy"),
    ({"params": {"stratgy": "mean"}}, InvalidValueError, "Unknown parameter 'stratgy'"),
    ({"metrics": ("EN", "XYZ")}, InvalidValueError, "Unknown metric 'XYZ'"),
]


def test_mistakes_are_told_before_anything_starts(
    small: FinishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbid_ray(monkeypatch)
    for changed, error, message in MISTAKES:
        with pytest.raises(error, match=message):
            irfuse.run(run_options(small.source, tmp_path / "out", **changed))
    assert not (tmp_path / "out" / "run.json").exists()


def kill_drivers(command: list[str], out: Path, kills: int) -> None:
    """Start the command so many times, and kill it each time after some more shards."""
    moments = random.Random(7)
    store = Store(str(out))
    for _ in range(kills):
        goal = len(store.entries("shards")) + moments.randint(1, 4)
        with start_cli(*command) as driver:
            wait_until(
                lambda goal=goal: len(store.entries("shards")) >= goal,  # type: ignore[misc]
                timeout=90,
                what="shards before the kill",
            )
            driver.send_signal(signal.SIGKILL)
            assert driver.wait(timeout=30).returncode == -signal.SIGKILL
    assert kills <= len(store.entries("shards")) < PAIRS // 3


@pytest.mark.parametrize(("kills", "workers"), [(1, 1), pytest.param(3, 2, marks=pytest.mark.slow)])
def test_a_driver_that_is_killed_loses_and_doubles_nothing(
    collection: Path,
    undisturbed: Path,
    ray_address: str,
    tmp_path: Path,
    kills: int,
    workers: int,
) -> None:
    command = run_command(collection, tmp_path, ray_address, workers=workers)
    kill_drivers(command, tmp_path, kills)
    finished = call_cli(*command)
    assert finished.returncode == 0, finished.stderr
    assert re.search(r"shards; \d+ done, \d+ pairs? to do", finished.stderr)
    assert stable(read_rows(tmp_path)) == stable(read_rows(undisturbed))


@pytest.mark.slow
def test_interrupted_runs_say_how_to_go_on(
    collection: Path, ray_address: str, tmp_path: Path
) -> None:
    command = ["run", collection, "--out", tmp_path, "--weights", "random:0"]
    command += ["--address", ray_address, "--workers", "1", "--shard-size", "1"]
    with start_cli(*command) as driver:
        wait_until(
            lambda: len(Store(str(tmp_path)).entries("shards")) >= 1, timeout=90, what="a shard"
        )
        driver.send_signal(signal.SIGINT)
        result = driver.wait(timeout=30)
    assert result.returncode == 130
    assert "run the same command again" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_run_on_s3_gives_the_same_rows(
    s3_seaweed: S3Server, small: FinishedRun, ray_address: str
) -> None:
    bucket, storage = f"s3://{s3_seaweed.new_bucket()}", s3_seaweed.storage_options
    write_pairs(f"{bucket}/in", SMALL, **storage)
    wanted = run_options(
        f"{bucket}/in",
        f"{bucket}/out",
        address=ray_address,
        storage_options=storage,
    )
    assert irfuse.run(wanted).failed == 0
    rows = read_rows(f"{bucket}/out", storage)
    there, here = f"{bucket}/in", str(small.source)
    moved = [
        {k: v.replace(there, here) if k.endswith("_uri") else v for k, v in row.items()}
        for row in stable(rows)
    ]
    assert moved == stable(read_rows(small.out))
    found = irfuse.status(irfuse.StatusOptions(out=f"{bucket}/out", storage_options=storage))
    assert (found.ok, found.rows_left) == (SMALL, 0)
    out = Store(f"{bucket}/out", storage)
    assert storage["secret"] not in out.read("run.json").decode()
    assert compacted(out) == [True] * len(compacted(Store(str(small.out))))


def compacted(out: Store) -> list[bool]:
    """Return of each shard whether its rows are read from the compacted scores."""
    return [shard.compacted for shard in Ledger(out, read_record(out, RunRecord)).contents()]


def test_the_scores_of_a_finished_run_are_compacted(small: FinishedRun) -> None:
    assert set(compacted(Store(str(small.out)))) == {True}
