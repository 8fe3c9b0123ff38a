"""Scores of fused images that were made elsewhere, on a real Ray cluster of two nodes."""

from pathlib import Path

import numpy as np
import pytest
from support.collections import (
    SMALL,
    FinishedRun,
    read_rows,
    run_options,
)
from support.s3 import S3Server

import irfuse
from cluster.storage.store import Store
from fusion_core.errors import (
    ManifestError,
)
from fusion_core.images.decoding import decode_image
from fusion_core.metrics import METRICS, select_metrics
from irfuse import ScoreOptions

DEFAULT = select_metrics()


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
