import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from pydantic import ValidationError
from support.cli import call_cli

from cluster.storage.images import read_gray
from cluster.storage.store import Store
from cluster.training import reconstructions
from cluster.training.reconstructions import ReconstructionTable
from fusion_core.errors import (
    InvalidValueError,
    NotFoundError,
    RunConflictError,
    StorageError,
    WeightsError,
)
from fusion_core.images.encoding import encode_png
from fusion_core.images.synthetic import synthetic_pair
from jobs import reconstruct as job
from jobs.options import ReconstructOptions
from jobs.progress import SilentProgress
from jobs.reconstruct import reconstruct


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    store = Store(str(folder))
    for number in range(3):
        _, visible = synthetic_pair(30, 44, seed=number, colour=number == 1)
        store.write(f"{number}.png", encode_png(visible))
    store.write("3.png", b"no image")
    return folder


def test_every_image_has_a_row_with_its_metrics_or_its_reason(images: Path, tmp_path: Path) -> None:
    output = str(tmp_path / "rows.parquet")
    report = reconstruct(
        ReconstructOptions(
            method="densefuse", images=str(images), output=output, weights="random:0"
        )
    )
    rows = pq.read_table(output).to_pylist()
    assert [row["image"] for row in rows] == ["0.png", "1.png", "2.png", "3.png"]
    assert [row["status"] for row in rows] == ["ok", "ok", "ok", "failed"]
    assert "3.png" in rows[3]["error_message"]
    assert rows[3]["SSIM"] is None
    assert {(row["width"], row["height"]) for row in rows[:3]} == {(44, 30)}
    assert (report.images, report.failed, report.trained) == (4, 1, False)
    for name in ("SSIM", "PSNR", "MSE"):
        values = [row[name] for row in rows[:3]]
        assert report.metrics[name].mean == pytest.approx(np.mean(values))
        assert (report.metrics[name].min, report.metrics[name].max) == (min(values), max(values))


def test_psnr_and_mse_are_of_one_picture(images: Path, tmp_path: Path) -> None:
    output = str(tmp_path / "rows.parquet")
    reconstruct(
        ReconstructOptions(
            method="res2netfuse", images=str(images), output=output, weights="random:1"
        )
    )
    for row in pq.read_table(output).to_pylist()[:3]:
        assert row["PSNR"] == pytest.approx(-10 * np.log10(row["MSE"]))


class Interruption(Exception):
    pass


class InterruptedProgress(SilentProgress):
    """Interrupts a job after two images."""

    def steps(self, done: int, total: int, text: str) -> None:
        if done == 2:
            raise Interruption


def options_for(images: Path, folder: Path, **changed: Any) -> ReconstructOptions:
    settings = {
        "method": "densefuse", "images": str(images), "output": str(folder / "rows.parquet"),
        "weights": "random:0", **changed,
    }  # fmt: skip
    return ReconstructOptions(**settings)


@pytest.mark.parametrize("killed", [False, True], ids=["interrupted", "killed"])
def test_an_interrupted_job_is_continued_without_computing_images_twice(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed: bool
) -> None:
    whole = tmp_path / "whole"
    whole.mkdir()
    reconstruct(options_for(images, whole))
    with monkeypatch.context() as patched:
        if killed:  # only what was saved before is left
            patched.setattr(reconstructions, "_SAVE_INTERVAL_S", 0.0)
            patched.setattr(reconstructions, "_LARGEST_SHARE", 1e9)
            patched.setattr(ReconstructionTable, "__exit__", lambda *error: None)
        with pytest.raises(Interruption):
            reconstruct(options_for(images, tmp_path), InterruptedProgress())
    assert [path.name for path in tmp_path.glob("rows*")] == ["rows.parquet.partial"]
    seen: list[str] = []

    def watched_read(store: Store, key: str, max_pixels: int) -> Any:
        seen.append(key)
        return read_gray(store, key, max_pixels)

    monkeypatch.setattr(job, "read_gray", watched_read)
    report = reconstruct(options_for(images, tmp_path))
    assert seen == ["2.png", "3.png"]
    assert (report.images, report.computed, report.failed) == (4, 2, 1)
    assert [path.name for path in tmp_path.glob("rows*")] == ["rows.parquet"]
    found, expected = (pq.read_table(folder / "rows.parquet") for folder in (tmp_path, whole))
    assert found.equals(expected)


def test_a_finished_job_computes_only_new_and_failed_images(images: Path, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    shutil.copytree(images, folder)
    reconstruct(options_for(folder, tmp_path))
    before = pq.read_table(tmp_path / "rows.parquet").to_pylist()
    assert reconstruct(options_for(folder, tmp_path)).computed == 1  # the failed one
    shutil.copy(folder / "0.png", folder / "3.png")
    shutil.copy(folder / "0.png", folder / "00.png")
    assert reconstruct(options_for(folder, tmp_path)).computed == 2
    rows = pq.read_table(tmp_path / "rows.parquet").to_pylist()
    assert [row["image"] for row in rows] == ["0.png", "00.png", "1.png", "2.png", "3.png"]
    assert {row["status"] for row in rows} == {"ok"}
    assert [rows[0], *rows[2:4]] == before[:3]


def test_rows_of_other_settings_are_not_continued(images: Path, tmp_path: Path) -> None:
    reconstruct(options_for(images, tmp_path))
    with pytest.raises(
        RunConflictError,
        match=r"rows\.parquet already contains a reconstruction with other settings \(max_pixels: "
        r"existing \d+, requested 5000\); use another --output",
    ):
        reconstruct(options_for(images, tmp_path, max_pixels=5000))


@pytest.mark.parametrize("content", [b"no table", b""])
def test_another_file_is_not_replaced(images: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "rows.parquet").write_bytes(content)
    with pytest.raises(StorageError, match="is no table of `irfuse reconstruct`"):
        reconstruct(options_for(images, tmp_path))
    assert (tmp_path / "rows.parquet").read_bytes() == content


def test_a_damaged_table_is_named_with_the_remedy(images: Path, tmp_path: Path) -> None:
    reconstruct(options_for(images, tmp_path))
    data = bytearray((tmp_path / "rows.parquet").read_bytes())
    data[30] ^= 1
    (tmp_path / "rows.parquet").write_bytes(data)
    with pytest.raises(StorageError, match=r"is no table of `irfuse reconstruct` .*; delete it"):
        reconstruct(options_for(images, tmp_path))


def test_images_over_the_limit_are_failed_rows(images: Path, tmp_path: Path) -> None:
    reconstruct(options_for(images, tmp_path, max_pixels=44 * 30 - 1))
    rows = pq.read_table(tmp_path / "rows.parquet").to_pylist()
    assert {row["status"] for row in rows} == {"failed"}
    assert "over the limit of 1319 pixels" in rows[0]["error_message"]


def test_a_device_that_does_not_exist_is_refused(images: Path, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    with pytest.raises(InvalidValueError, match="Cannot compute on device 'cuda'"):
        reconstruct(options_for(images, tmp_path, device="cuda"))


def test_the_command_prints_a_table_or_json(images: Path, tmp_path: Path) -> None:
    command = ["reconstruct", "res2netfuse", "--images", images, "--output", tmp_path / "r.parquet"]
    table = call_cli(*command)
    assert table.returncode == 0, table.stderr
    assert "3 images reconstructed" in table.stdout
    assert "1 image failed; see the reasons in the table of rows" in table.stdout
    found = json.loads(call_cli(*command, "--json").stdout)
    assert found["metrics"]["SSIM"]["mean"] > 0.9
    assert found["trained"] is True


def test_wrong_arguments_are_refused(images: Path, tmp_path: Path) -> None:
    output = str(tmp_path / "rows.parquet")
    with pytest.raises(ValidationError, match="'densefuse', 'res2netfuse'"):
        ReconstructOptions(method="resnet152", images=str(images), output=output)
    with pytest.raises(InvalidValueError, match=r"ends in \.parquet"):
        reconstruct(
            ReconstructOptions(
                method="densefuse", images=str(images), output="rows.csv", weights="random:0"
            )
        )
    with pytest.raises(NotFoundError, match="There are no images"):
        reconstruct(
            ReconstructOptions(
                method="densefuse", images=str(tmp_path), output=output, weights="random:0"
            )
        )
    with pytest.raises(WeightsError, match="There is no weight file at"):
        reconstruct(
            ReconstructOptions(
                method="densefuse", images=str(images), output=output, weights=str(tmp_path / "w")
            )
        )
