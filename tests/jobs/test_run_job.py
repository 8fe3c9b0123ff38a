"""Whole runs on a real Ray cluster of two nodes."""

import json
import os
import random
import shutil
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
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
from support.environment import PROJECT_ROOT
from support.processes import wait_until
from support.s3 import S3Server

import irfuse
from cluster.storage.store import Store
from fusion_core.errors import (
    InvalidValueError,
    ManifestError,
    RunConflictError,
    RunFailedError,
    WeightsError,
)
from fusion_core.images.decoding import decode_image
from fusion_core.metrics import METRICS, select_metrics
from irfuse import ScoreOptions
from jobs.progress import SilentProgress

DEFAULT = select_metrics()
LARGE_ENOUGH = 4
"""Of the small pairs, for `MS_SSIM`."""


class Notes(SilentProgress):
    """Keeps the notes of a job."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def note(self, text: str) -> None:
        self.texts.append(text)


def forbid_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> Iterator[None]:
        raise AssertionError("Ray must not be started")

    monkeypatch.setattr("jobs.execution.ray_session", refuse)


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
    result = irfuse.run(run_options(small.source, small.out))
    assert (result.rows, result.computed) == (SMALL, 0)
    (subset,) = result.summary.subsets
    counts = {name: metric.count for name, metric in subset.metrics.items()}
    assert counts == {**dict.fromkeys(DEFAULT, SMALL), "MS_SSIM": LARGE_ENOUGH}


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
    notes = Notes()
    irfuse.run(run_options(small.source, tmp_path / "out"), notes)
    assert ["code of irfuse has changed" in note for note in notes.texts] == [True]
    notes = Notes()
    irfuse.run(run_options(small.source, small.out), notes)
    assert not notes.texts


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
    monkeypatch.setattr("jobs.execution.open_source", None)  # the source is not listed again
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
        patch.setattr("jobs.execution.freeze", refuse)
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
    assert "shards are done" in finished.stderr
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
    record = Store(f"{bucket}/out", storage).read("run.json").decode()
    assert storage["secret"] not in record


@pytest.fixture(scope="module")
def mended(ray_address: str, tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """A run in which one of six pairs failed; its image is whole by now."""
    folder = tmp_path_factory.mktemp("mended")
    store = write_pairs(folder / "in", 6)
    picture = store.read("vis/0005.png")
    store.write("vis/0005.png", b"")
    wanted = run_options(store.url, folder / "out", address=ray_address, max_failure_rate=0.5)
    assert irfuse.run(wanted).failed == 1
    store.write("vis/0005.png", picture)
    return FinishedRun(folder / "in", folder / "out")


def test_failed_rows_can_be_retried_alone(
    mended: FinishedRun, ray_address: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(mended.out, out)
    wanted = run_options(mended.source, out, address=ray_address, max_failure_rate=0.5)
    before = read_rows(out)
    assert irfuse.run(wanted).computed == 0
    result = irfuse.run(wanted.model_copy(update={"retry_failed": True}))
    after = read_rows(out)
    assert (result.failed, result.computed) == (0, 1)
    assert [b for b, a in zip(before, after, strict=True) if b != a] == [before[5]]
    assert (after[5]["status"], after[5]["attempt"]) == ("ok", 2)


@pytest.mark.slow
def test_an_old_summary_does_not_outlive_an_interrupted_retry(
    mended: FinishedRun, ray_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(mended.out, tmp_path / "out")
    wanted = run_options(mended.source, tmp_path / "out", address=ray_address, max_failure_rate=0.5)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("jobs.summarize.summarize_run", interrupt)
        with pytest.raises(KeyboardInterrupt):
            irfuse.run(wanted.model_copy(update={"retry_failed": True}))
    assert irfuse.run(wanted).failed == 0


def write_broken_pairs(folder: Path, count: int) -> Path:
    """Write a manifest of so many pairs whose visible image is no image."""
    store = write_pairs(folder, 1)
    store.write("vis/0000.png", b"")
    line = f"{store.path('ir/0000.png')},{store.path('vis/0000.png')}"
    manifest = folder / "list.csv"
    lines = [f"{number:04d},{line}" for number in range(count)]
    manifest.write_text("\n".join(["pair_id,ir_uri,vis_uri", *lines]))
    return manifest


@pytest.mark.slow
def test_a_retry_goes_on_although_all_that_is_left_fails_again(
    ray_address: str, tmp_path: Path
) -> None:
    source = write_broken_pairs(tmp_path, 240)
    wanted = run_options(
        source, tmp_path / "out", address=ray_address, shard_size=60, max_failure_rate=1.0
    )
    irfuse.run(wanted)
    again = wanted.model_copy(update={"retry_failed": True, "max_failure_rate": 0.1})
    with pytest.raises(RunFailedError, match=r"240 of 240 pairs failed"):
        irfuse.run(again)
    assert {row["attempt"] for row in read_rows(tmp_path / "out")} == {2}


def test_too_many_failures_are_an_error_but_everything_is_committed(
    ray_address: str, tmp_path: Path
) -> None:
    store = write_pairs(tmp_path / "in", 9)
    for number in (1, 4):
        store.write(f"ir/{number:04d}.png", b"<html>")
    wanted = run_options(tmp_path / "in", tmp_path / "out", address=ray_address)
    with pytest.raises(RunFailedError, match=r"2 of 9 pairs failed \(2 at decode\).*10%"):
        irfuse.run(wanted)
    assert [row["status"] for row in read_rows(tmp_path / "out")].count("ok") == 7
    lenient = wanted.model_copy(update={"max_failure_rate": 0.5})
    assert irfuse.run(lenient).failed == 2


def test_a_run_that_fails_wholesale_stops_early(ray_address: str, tmp_path: Path) -> None:
    source = write_broken_pairs(tmp_path, 400)
    with pytest.raises(RunFailedError, match=r"Stopped: .* at decode"):
        irfuse.run(run_options(source, tmp_path / "out", address=ray_address, shard_size=20))
    assert len(Store(str(tmp_path / "out")).entries("shards")) < 20


def test_fused_images_made_elsewhere_get_the_scores_of_the_run(
    small: FinishedRun, ray_address: str, tmp_path: Path
) -> None:
    fused = Store(str(tmp_path / "fused"))
    expected = read_rows(small.out)
    for row in expected[:-1]:
        fused.write(f"{row['pair_id']}.png", row["fused"]["bytes"])
    result = irfuse.score_collection(
        ScoreOptions(
            source=str(small.source),
            fused=fused.url,
            name="theirs",
            out=str(tmp_path / "out"),
            address=ray_address,
            workers=1,
            max_failure_rate=0.5,
        )
    )
    rows = read_rows(tmp_path / "out")
    assert (result.failed, len(rows)) == (1, SMALL)
    assert {row["method"] for row in rows} == {"theirs"}
    for row, other in zip(rows[:-1], expected[:-1], strict=True):
        assert {m: row[m] for m in DEFAULT} == {m: other[m] for m in DEFAULT}
    assert rows[0]["fused"] == {"bytes": None, "path": fused.uri("0000.png")}
    assert (rows[-1]["error_stage"], rows[-1]["fused"]) == ("read", None)
    assert "no fused image" in rows[-1]["error_message"]


def test_a_retry_finds_fused_images_that_were_made_later(
    small: FinishedRun, ray_address: str, tmp_path: Path
) -> None:
    fused, expected = Store(str(tmp_path / "fused")), read_rows(small.out)
    for row in expected[:-1]:
        fused.write(f"{row['pair_id']}.webp", row["fused"]["bytes"])
    wanted = ScoreOptions(
        source=str(small.source), fused=fused.url, name="theirs", out=str(tmp_path / "out"),
        metrics=("EN",), address=ray_address, workers=1, max_failure_rate=0.5,
    )  # fmt: skip
    assert irfuse.score_collection(wanted).failed == 1
    for row in expected:
        fused.write(f"{row['pair_id']}.png", row["fused"]["bytes"])
    assert irfuse.score_collection(wanted).failed == 1
    result = irfuse.score_collection(wanted.model_copy(update={"retry_failed": True}))
    rows = read_rows(tmp_path / "out")
    assert (result.failed, result.computed) == (0, 1)
    assert [row["attempt"] for row in rows] == [1] * (SMALL - 1) + [2]
    kept = [f"{row['pair_id']}.webp" for row in expected[:-1]]
    paths = [fused.uri(name) for name in (*kept, f"{expected[-1]['pair_id']}.png")]
    assert [row["fused"]["path"] for row in rows] == paths


def test_fused_images_that_the_manifest_names_get_the_chosen_scores(
    small: FinishedRun, ray_address: str, tmp_path: Path
) -> None:
    collection = small.source
    pair = f"{collection}/ir/0001.png,{collection}/vis/0001.png"
    lines = ["ir_uri,vis_uri,fused_uri", f"{pair},{collection}/ir/0001.png"]
    lines.append(f"{pair.replace('0001', '0002')},")
    (tmp_path / "list.csv").write_text("\n".join(lines))
    result = irfuse.score_collection(
        ScoreOptions(
            source=str(tmp_path / "list.csv"), name="infrared", out=str(tmp_path / "out"),
            metrics=("EN", "SSIM_a"), workers=1, address=ray_address, max_failure_rate=0.5,
        )
    )  # fmt: skip
    scored, missing = read_rows(tmp_path / "out")
    assert (result.failed, scored["status"], missing["error_stage"]) == (1, "ok", "read")
    assert scored["fused"] == {"bytes": None, "path": f"{collection}/ir/0001.png"}
    assert set(METRICS) & set(scored) == {"EN", "SSIM_a"}
    assert min(scored["EN"], scored["SSIM_a"]) > 0


def test_fused_images_are_compared_with_reference_images(
    small: FinishedRun, ray_address: str, tmp_path: Path
) -> None:
    result = irfuse.score_collection(
        ScoreOptions(
            source=str(small.source), fused=str(small.source / "vis"), name="visible",
            reference=str(small.source / "ir"), metrics=("EN",), out=str(tmp_path / "out"),
            address=ray_address, workers=1,
        )
    )  # fmt: skip
    rows = read_rows(tmp_path / "out")
    (metrics,) = (subset.metrics for subset in result.summary.subsets)
    assert list(metrics) == ["EN", "SSIM_ref", "PSNR_ref", "MSE_ref", "VIF_ref"]
    assert min(row["PSNR_ref"] for row in rows) > 0


def test_fused_images_that_nobody_names_are_asked_for(small: FinishedRun, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"--fused, or a manifest with the column fused_uri"):
        irfuse.score_collection(
            ScoreOptions(source=str(small.source), name="theirs", out=str(tmp_path))
        )


@pytest.mark.slow
def test_the_published_pictures_and_means_come_out_on_s3_as_on_disk(
    shared_reference: Path, s3_seaweed: S3Server, ray_address: str, tmp_path: Path
) -> None:
    bucket = f"s3://{s3_seaweed.new_bucket()}"
    source = Store(f"{bucket}/tno", s3_seaweed.storage_options)
    for path in sorted((shared_reference / "tno").glob("*.png")):
        source.write(path.name, path.read_bytes())
    wanted = {
        "params": {"strategy": "addition", "output_range": "minmax"},
        "weights": shared_reference / "weights" / "densefuse_gray_1e2.safetensors",
        "address": ray_address,
        "shard_size": None,
    }
    irfuse.run(run_options(shared_reference / "tno", tmp_path, **wanted))
    irfuse.run(
        run_options(
            source.url, f"{bucket}/out", storage_options=s3_seaweed.storage_options, **wanted
        )
    )
    rows = read_rows(tmp_path)
    remote = read_rows(f"{bucket}/out", s3_seaweed.storage_options)
    assert [row["pair_id"] for row in rows] == [str(number) for number in range(1, 22)]
    for row, other in zip(rows, remote, strict=True):
        keys = ("pair_id", "status", "fused", *DEFAULT)
        assert {k: row[k] for k in keys} == {k: other[k] for k in keys}
        published = shared_reference / "fused" / "densefuse_addition" / f"{row['pair_id']}.png"
        ours = decode_image(row["fused"]["bytes"]).astype(int)
        assert np.abs(ours - decode_image(published.read_bytes())).max() <= 1
    means = {m: np.mean([row[m] for row in rows[:20]]) for m in ("EN", "SCD", "SSIM_a")}
    assert means == pytest.approx({"EN": 6.66296, "SCD": 1.83379, "SSIM_a": 0.72829}, abs=1e-4)
