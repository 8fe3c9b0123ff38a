import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError
from support.cli import call_cli

from cluster.storage.store import Store
from fusion_core.errors import InvalidValueError, NotFoundError, WeightsError
from fusion_core.images.encoding import encode_png
from fusion_core.images.synthetic import synthetic_pair
from jobs.options import ReconstructOptions
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


def test_the_command_prints_a_table_or_json(images: Path, tmp_path: Path) -> None:
    command = ["reconstruct", "res2netfuse", "--images", images, "--output", tmp_path / "r.parquet"]
    table = call_cli(*command)
    assert table.returncode == 0, table.stderr
    assert "3 images reconstructed" in table.stdout
    assert "1 images failed" in table.stdout
    found = json.loads(call_cli(*command, "--json").stdout)
    assert found["metrics"]["SSIM"]["mean"] > 0.9
    assert found["trained"] is True


def test_wrong_arguments_are_refused(images: Path, tmp_path: Path) -> None:
    output = str(tmp_path / "rows.parquet")
    with pytest.raises(ValidationError, match="'densefuse' or 'res2netfuse'"):
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
