"""Whole runs on a real Ray cluster of two nodes."""

import random
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.cli import run_cli, start_cli
from support.collections import PAIRS, read_rows, run_options, stable, write_pairs
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
from fusion_core.images.encoding import encode_png
from fusion_core.images.synthetic import synthetic_pair
from fusion_core.metrics import METRICS
from irfuse import ScoreOptions


def forbid_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> Iterator[None]:
        raise AssertionError("Ray must not be started")

    monkeypatch.setattr("jobs.execution.ray_session", refuse)


def test_every_pair_has_one_row_in_manifest_order(undisturbed: Path) -> None:
    rows = read_rows(undisturbed)
    assert [row["pair_id"] for row in rows] == [f"{number:04d}" for number in range(PAIRS)]
    assert {row["status"] for row in rows} == {"ok"}
    assert decode_image(rows[1]["fused"]["bytes"]).shape == (99, 171, 3)
    assert decode_image(rows[0]["fused"]["bytes"]).shape == (144, 192)


def test_a_run_computes_every_metric_by_default(undisturbed: Path) -> None:
    rows = read_rows(undisturbed)
    assert {row["metric_notes"] for row in rows} == {None}
    assert all(isinstance(row[metric], float) for row in rows for metric in METRICS)


def test_a_run_summarizes_every_metric_by_default(
    collection: Path, undisturbed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbid_ray(monkeypatch)
    (subset,) = irfuse.run(run_options(collection, undisturbed)).summary.subsets
    assert {n: m.count for n, m in subset.metrics.items()} == dict.fromkeys(METRICS, PAIRS)


def test_the_command_computes_only_the_chosen_metrics(ray_address: str, tmp_path: Path) -> None:
    store = write_pairs(tmp_path / "in", 2)
    result = run_cli(
        "run", store.url, "--out", tmp_path / "out", "--weights", "random:0",
        "--metrics", "EN,SSIM_a", "--address", ray_address, "--workers", "1",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    rows = read_rows(tmp_path / "out")
    assert [set(METRICS) & set(row) for row in rows] == [{"EN", "SSIM_a"}] * 2
    assert all(row["EN"] > 0 and row["SSIM_a"] > 0 for row in rows)


def test_fused_images_made_elsewhere_get_only_the_chosen_scores(
    ray_address: str, tmp_path: Path
) -> None:
    store = write_pairs(tmp_path / "in", 2)
    irfuse.score_collection(
        ScoreOptions(
            source=store.url, fused=f"{store.url}/ir", name="ir", out=str(tmp_path / "out"),
            metrics=("EN", "SSIM_a"), address=ray_address, workers=1,
        )
    )  # fmt: skip
    rows = read_rows(tmp_path / "out")
    assert [set(METRICS) & set(row) for row in rows] == [{"EN", "SSIM_a"}] * 2
    assert all(row["EN"] > 0 and row["SSIM_a"] > 0 for row in rows)


def test_a_pair_too_small_for_some_metrics_is_an_ok_row_with_nulls_and_reasons(
    ray_address: str, tmp_path: Path
) -> None:
    store = write_pairs(tmp_path / "in", 1)
    ir, vis = synthetic_pair(5, 5, seed=1)
    store.write("ir/five.png", encode_png(ir))
    store.write("vis/five.png", encode_png(vis))
    result = irfuse.run(run_options(tmp_path / "in", tmp_path / "out", address=ray_address))
    large, five = read_rows(tmp_path / "out")
    assert (result.failed, five["pair_id"], five["status"]) == (0, "five", "ok")
    assert [metric for metric in METRICS if five[metric] is None] == ["MS_SSIM"]
    assert five["metric_notes"] == f"MS_SSIM is undefined: {METRICS['MS_SSIM'].undefined}"
    assert large["metric_notes"] is None
    assert result.summary.subsets[0].metrics["MS_SSIM"].count == 1


def test_a_finished_run_answers_without_ray(
    collection: Path, undisturbed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbid_ray(monkeypatch)
    result = irfuse.run(run_options(collection, undisturbed))
    assert (result.rows, result.computed) == (PAIRS, 0)
    assert result.summary.subsets[0].metrics["EN"].count == PAIRS


def test_other_settings_in_the_same_place_are_refused_by_name(
    collection: Path, undisturbed: Path
) -> None:
    with pytest.raises(RunConflictError, match=r"parameters: .*l1_norm.*metrics: "):
        irfuse.run(
            run_options(
                collection, undisturbed, params={"strategy": "l1_norm"}, metrics=("EN", "SCD")
            )
        )


def test_another_source_in_the_same_place_is_refused(undisturbed: Path, tmp_path: Path) -> None:
    write_pairs(tmp_path, PAIRS)
    with pytest.raises(RunConflictError, match="manifest_digest"):
        irfuse.run(run_options(tmp_path, undisturbed))


def test_what_is_added_to_the_folder_later_is_not_part_of_the_run(
    ray_address: str, tmp_path: Path
) -> None:
    write_pairs(tmp_path / "in", 4)
    wanted = run_options(tmp_path / "in", tmp_path / "out", address=ray_address)
    irfuse.run(wanted)
    write_pairs(tmp_path / "in", 6)
    assert irfuse.run(wanted).rows == 4


def test_a_run_that_was_killed_before_its_manifest_was_written_goes_on(
    collection: Path, undisturbed: Path, ray_address: str, tmp_path: Path
) -> None:
    (tmp_path / "run.json").write_bytes((undisturbed / "run.json").read_bytes())
    irfuse.run(run_options(collection, tmp_path, address=ray_address))
    assert stable(read_rows(tmp_path)) == stable(read_rows(undisturbed))


def test_an_edited_manifest_file_is_noticed(
    collection: Path, ray_address: str, tmp_path: Path
) -> None:
    manifest = tmp_path / "list.csv"
    lines = [f"{n},{collection}/ir/{n:04d}.png,{collection}/vis/{n:04d}.png" for n in range(4)]
    manifest.write_text("\n".join(["pair_id,ir_uri,vis_uri", *lines]))
    wanted = run_options(manifest, tmp_path / "out", address=ray_address)
    assert irfuse.run(wanted).rows == 4
    manifest.write_text("\n".join(["pair_id,ir_uri,vis_uri", *lines[:3]]))
    with pytest.raises(RunConflictError, match="rows: 4 there, 3 now"):
        irfuse.run(wanted)


def test_a_manifest_file_that_is_as_it_was_is_not_frozen_again(
    collection: Path, ray_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = tmp_path / "list.csv"
    manifest.write_text(f"ir_uri,vis_uri\n{collection}/ir/0000.png,{collection}/vis/0000.png\n")
    wanted = run_options(manifest, tmp_path / "out", address=ray_address)
    assert irfuse.run(wanted).computed == 1

    def refuse(batches: object) -> None:
        raise AssertionError("The manifest must not be frozen again")

    monkeypatch.setattr("jobs.execution.freeze", refuse)
    assert irfuse.run(wanted).computed == 0


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        (
            {"method": "res2netfuse", "params": {"convolutions": "separate"}, "weights": None},
            WeightsError,
            "--weights FILE",
        ),
        ({"weights": "/no/such/file"}, WeightsError, "no weight file at /no/such/file"),
        ({"method": "magic"}, InvalidValueError, "the methods are: densefuse"),
        ({"params": {"strategy": "best"}}, InvalidValueError, "strategy"),
        ({"params": {"stratgy": "mean"}}, InvalidValueError, "Unknown parameter 'stratgy'"),
        ({"metrics": ("EN", "VIF")}, InvalidValueError, "Unknown metric 'VIF'"),
    ],
)
def test_mistakes_are_told_before_anything_starts(
    collection: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changed: dict[str, Any],
    error: type[Exception],
    message: str,
) -> None:
    forbid_ray(monkeypatch)
    with pytest.raises(error, match=message):
        irfuse.run(run_options(collection, tmp_path / "out", **changed))
    assert not (tmp_path / "out" / "run.json").exists()


def test_a_driver_that_is_killed_three_times_loses_and_doubles_nothing(
    collection: Path, undisturbed: Path, ray_address: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command = ["run", collection, "--out", out, "--weights", "random:0", "--shard-size", "3"]
    command += ["--address", ray_address, "--workers", "2"]
    moments = random.Random(7)
    for _ in range(3):
        goal = len(Store(str(out)).entries("shards")) + moments.randint(1, 4)
        with start_cli(*command) as driver:
            wait_until(
                lambda goal=goal: len(Store(str(out)).entries("shards")) >= goal,  # type: ignore[misc]
                timeout=90,
                what="shards before the kill",
            )
            driver.send_signal(signal.SIGKILL)
            assert driver.wait(timeout=30).returncode == -signal.SIGKILL
    assert 3 <= len(Store(str(out)).entries("shards")) < PAIRS // 3
    finished = run_cli(*command, timeout=120)
    assert finished.returncode == 0, finished.stderr
    assert "shards are done" in finished.stderr
    assert stable(read_rows(out)) == stable(read_rows(undisturbed))


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
    s3: S3Server, collection: Path, undisturbed: Path, ray_address: str
) -> None:
    bucket = f"s3://{s3.new_bucket()}"
    write_pairs(f"{bucket}/in", PAIRS, scale=3, **s3.storage_options)
    wanted = run_options(
        f"{bucket}/in", f"{bucket}/out", address=ray_address, storage_options=s3.storage_options
    )
    assert irfuse.run(wanted).failed == 0
    rows = read_rows(f"{bucket}/out", s3.storage_options)
    there = f"{bucket}/in"
    moved = [
        {k: v.replace(there, str(collection)) if k.endswith("_uri") else v for k, v in row.items()}
        for row in stable(rows)
    ]
    assert moved == stable(read_rows(undisturbed))
    found = irfuse.status(f"{bucket}/out", storage_options=s3.storage_options)
    assert (found.ok, found.rows_left) == (PAIRS, 0)
    record = Store(f"{bucket}/out", s3.storage_options).read("run.json").decode()
    assert s3.storage_options["secret"] not in record


def test_failed_rows_can_be_retried_alone(ray_address: str, tmp_path: Path) -> None:
    store = write_pairs(tmp_path / "in", 12)
    picture = store.read("vis/0005.png")
    store.write("vis/0005.png", b"")
    wanted = run_options(tmp_path / "in", tmp_path / "out", address=ray_address)
    assert irfuse.run(wanted).failed == 1
    before = read_rows(tmp_path / "out")
    store.write("vis/0005.png", picture)
    assert irfuse.run(wanted).computed == 0
    result = irfuse.run(wanted.model_copy(update={"retry_failed": True}))
    after = read_rows(tmp_path / "out")
    assert (result.failed, result.computed) == (0, 1)
    assert [b for b, a in zip(before, after, strict=True) if b != a] == [before[5]]
    assert (after[5]["status"], after[5]["attempt"]) == ("ok", 2)


def test_an_old_summary_does_not_outlive_an_interrupted_retry(
    ray_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = write_pairs(tmp_path / "in", 6)
    picture = store.read("vis/0005.png")
    store.write("vis/0005.png", b"")
    wanted = run_options(
        tmp_path / "in", tmp_path / "out", address=ray_address, max_failure_rate=0.5
    )
    assert irfuse.run(wanted).failed == 1
    store.write("vis/0005.png", picture)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("jobs.execution.summarize_run", interrupt)
        with pytest.raises(KeyboardInterrupt):
            irfuse.run(wanted.model_copy(update={"retry_failed": True}))
    assert irfuse.run(wanted).failed == 0


def test_a_retry_goes_on_although_all_that_is_left_fails_again(
    ray_address: str, tmp_path: Path
) -> None:
    store = write_pairs(tmp_path / "in", 1)
    data = store.read("ir/0000.png")
    for number in range(240):
        store.write(f"ir/{number:04d}.png", data)
        store.write(f"vis/{number:04d}.png", b"")
    wanted = run_options(
        tmp_path / "in", tmp_path / "out", address=ray_address, shard_size=60, max_failure_rate=1.0
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
    store = write_pairs(tmp_path / "in", 1)
    data = store.read("ir/0000.png")
    for number in range(400):
        store.write(f"ir/{number:04d}.png", data)
        store.write(f"vis/{number:04d}.png", b"")
    with pytest.raises(RunFailedError, match=r"Stopped: .* at decode"):
        irfuse.run(
            run_options(tmp_path / "in", tmp_path / "out", address=ray_address, shard_size=20)
        )
    assert len(Store(str(tmp_path / "out")).entries("shards")) < 20


def test_fused_images_made_elsewhere_get_the_scores_of_the_run(
    collection: Path, undisturbed: Path, ray_address: str, tmp_path: Path
) -> None:
    fused = Store(str(tmp_path / "fused"))
    expected = read_rows(undisturbed)
    for row in expected[:-1]:
        fused.write(f"{row['pair_id']}.png", row["fused"]["bytes"])
    result = irfuse.score_collection(
        ScoreOptions(
            source=str(collection),
            fused=fused.url,
            name="theirs",
            out=str(tmp_path / "out"),
            address=ray_address,
            workers=2,
        )
    )
    rows = read_rows(tmp_path / "out")
    assert (result.failed, len(rows)) == (1, PAIRS)
    assert {row["method"] for row in rows} == {"theirs"}
    for row, other in zip(rows[:-1], expected[:-1], strict=True):
        assert {m: row[m] for m in METRICS} == {m: other[m] for m in METRICS}
    assert rows[0]["fused"] == {"bytes": None, "path": fused.uri("0000.png")}
    assert (rows[-1]["error_stage"], rows[-1]["fused"]) == ("read", None)
    assert "no fused image" in rows[-1]["error_message"]


def test_fused_images_that_the_manifest_names_get_their_scores(
    collection: Path, ray_address: str, tmp_path: Path
) -> None:
    pair = f"{collection}/ir/0001.png,{collection}/vis/0001.png"
    lines = ["ir_uri,vis_uri,fused_uri", f"{pair},{collection}/ir/0001.png"]
    lines.append(f"{pair.replace('0001', '0002')},")
    (tmp_path / "list.csv").write_text("\n".join(lines))
    result = irfuse.score_collection(
        ScoreOptions(
            source=str(tmp_path / "list.csv"), name="infrared", out=str(tmp_path / "out"),
            metrics=("EN",), address=ray_address, max_failure_rate=0.5,
        )
    )  # fmt: skip
    scored, missing = read_rows(tmp_path / "out")
    assert (result.failed, scored["status"], missing["error_stage"]) == (1, "ok", "read")
    assert scored["fused"] == {"bytes": None, "path": f"{collection}/ir/0001.png"}
    assert scored["EN"] > 0


def test_fused_images_that_nobody_names_are_asked_for(collection: Path, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"--fused, or a manifest with the column fused_uri"):
        irfuse.score_collection(
            ScoreOptions(source=str(collection), name="theirs", out=str(tmp_path))
        )


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
        keys = ("pair_id", "status", "fused", *METRICS)
        assert {k: row[k] for k in keys} == {k: other[k] for k in keys}
        published = shared_reference / "fused" / "densefuse_addition" / f"{row['pair_id']}.png"
        ours = decode_image(row["fused"]["bytes"]).astype(int)
        assert np.abs(ours - decode_image(published.read_bytes())).max() <= 1
    means = {m: np.mean([row[m] for row in rows[:20]]) for m in ("EN", "SCD", "SSIM_a")}
    assert means == pytest.approx({"EN": 6.66296, "SCD": 1.83379, "SSIM_a": 0.72829}, abs=1e-4)
