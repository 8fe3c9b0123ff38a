"""What the usual readers and training code make of runs and exports."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import polars
import pytest
import torch
import yaml
from PIL import Image
from support.collections import read_rows
from support.computed_runs import compute_run
from torch.utils.data import DataLoader, Dataset
from torchdata.stateful_dataloader import StatefulDataLoader
from torchvision.datasets import CocoDetection, wrap_dataset_for_transforms_v2
from torchvision.models.detection import fasterrcnn_mobilenet_v3_large_320_fpn
from torchvision.transforms.v2.functional import pil_to_tensor, to_image

import irfuse
from irfuse import ExportFolderOptions, ExportHfOptions
from irfuse.dataset import FusedStream

PAIRS = 6
NAMES = [f"{subset}/{number:04d}" for subset in ("train", "val") for number in range(PAIRS)]
CLASSES = ("person", "car")
Sample = tuple[torch.Tensor, dict[str, torch.Tensor]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Location of a run of twelve pairs in three shards, with labels of YOLO."""
    files = {
        f"labels/{name}.txt": f"{n % 2} .5 .5 .5 .5\n".encode() for n, name in enumerate(NAMES)
    }
    folder = tmp_path_factory.mktemp("run")
    return compute_run(folder, PAIRS, subsets=("train", "val"), files=files)[0].url


@pytest.fixture(scope="module")
def rows(run: str) -> dict[str, dict[str, Any]]:
    return {row["pair_id"]: row for row in read_rows(run)}


def test_duckdb_and_polars_read_shards_and_exports(
    run: str, rows: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    irfuse.export_hf(ExportHfOptions(run=run, out=str(tmp_path)))
    expected = {pair_id: (row["EN"], row["fused"]["bytes"]) for pair_id, row in rows.items()}
    for files in (f"{run}/shards/*.parquet", f"{tmp_path}/data/*.parquet"):
        found = duckdb.execute("SELECT pair_id, EN, fused.bytes FROM read_parquet(?)", [files])
        assert {pair_id: tuple(rest) for pair_id, *rest in found.fetchall()} == expected
        table = polars.read_parquet(files, columns=["pair_id", "EN", "fused"])
        columns = (table["pair_id"], table["EN"], table["fused"].struct.field("bytes"))
        found_by_polars = zip(*(column.to_list() for column in columns), strict=True)
        assert {pair_id: tuple(rest) for pair_id, *rest in found_by_polars} == expected
    boxes = duckdb.execute("SELECT objects.bbox FROM read_parquet(?)", [f"{tmp_path}/data/*"])
    assert all(len(box) == 4 for (found,) in boxes.fetchall() for box in found)


class YoloFolder(Dataset[Sample]):
    """Images and boxes of one split, found as YOLO finds them."""

    def __init__(self, description: Path, split: str) -> None:
        content = yaml.safe_load(description.read_text())
        self.names = content["names"]
        self.images = sorted((description.parent / content["path"] / content[split]).rglob("*.png"))

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, number: int) -> Sample:
        path = self.images[number]
        image = Image.open(path).convert("RGB")
        label = Path(str(path).replace("/images/", "/labels/")).with_suffix(".txt")
        values = torch.tensor([[float(v) for v in line.split()] for line in label.open()])
        size = torch.tensor([image.width, image.height])
        centres, sizes = values[:, 1:3] * size, values[:, 3:5] * size
        boxes = torch.cat([centres - sizes / 2, centres + sizes / 2], 1)
        return pil_to_tensor(image) / 255, {"boxes": boxes, "labels": values[:, 0].long() + 1}


class RgbTensor:
    """The transform of the COCO dataset."""

    def __call__(self, image: Image.Image, target: dict[str, Any]) -> Sample:
        boxes, labels = target["boxes"], target["labels"]
        return to_image(image.convert("RGB")) / 255, {"boxes": boxes, "labels": labels}


def train(samples: Dataset[Any], classes: int, workers: int = 0) -> list[float]:
    """Train a small detector for two steps; return its losses."""
    torch.manual_seed(0)
    model = fasterrcnn_mobilenet_v3_large_320_fpn(
        weights=None, weights_backbone=None, num_classes=1 + classes, min_size=64, max_size=64
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    loader: DataLoader[Any] = DataLoader(
        samples, batch_size=3, num_workers=workers, collate_fn=_columns
    )
    losses = []
    for images, targets in loader:
        loss = sum(model(images, targets).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach().item())
    return losses


def _columns(batch: Sequence[Sample]) -> tuple[list[torch.Tensor], list[dict[str, torch.Tensor]]]:
    return [image for image, _ in batch], [target for _, target in batch]


def test_a_detector_trains_on_a_folder_of_yolo(run: str, tmp_path: Path) -> None:
    irfuse.export_folder(
        ExportFolderOptions(run=run, out=str(tmp_path), preset="yolo", classes=CLASSES)
    )
    samples = YoloFolder(tmp_path / "data.yaml", "train")
    assert samples.names == dict(enumerate(CLASSES))
    assert len(samples) == PAIRS
    image, target = samples[0]
    _, height, width = image.shape
    assert target["boxes"].tolist() == [[width / 4, height / 4, width * 3 / 4, height * 3 / 4]]
    losses = train(samples, len(CLASSES), workers=2)
    assert len(losses) == 2
    assert all(loss > 0 for loss in losses)


def test_a_detector_trains_on_a_coco_file(run: str, tmp_path: Path) -> None:
    content = {
        "categories": [{"id": n, "name": name} for n, name in enumerate(CLASSES, 1)],
        "images": [
            {"id": n, "file_name": f"{name}.jpg", "width": 1, "height": 1}
            for n, name in enumerate(NAMES)
        ],
        "annotations": [
            {
                "id": n, "image_id": n, "category_id": 1 + n % 2, "bbox": [4, 5, 20, 10],
                "area": 200, "iscrowd": 0,
            }
            for n, _ in enumerate(NAMES)
        ],
    }  # fmt: skip
    (tmp_path / "coco").mkdir()
    (tmp_path / "coco/instances.json").write_text(json.dumps(content))
    out = tmp_path / "out"
    irfuse.export_folder(
        ExportFolderOptions(
            run=run, out=str(out), labels=str(tmp_path / "coco"), where="subset = 'train'"
        )
    )
    samples = CocoDetection(str(out), str(out / "coco/instances.json"), transforms=RgbTensor())
    wrapped = wrap_dataset_for_transforms_v2(samples, target_keys=("boxes", "labels"))
    assert len(wrapped) == PAIRS
    assert wrapped[0][1]["boxes"].tolist() == [[4, 5, 24, 15]]
    losses = train(wrapped, len(CLASSES))
    assert len(losses) == 2
    assert all(loss > 0 for loss in losses)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stateful_loader_resumes_an_epoch_of_a_stream(run: str, workers: int) -> None:
    def loader() -> Any:
        stream = FusedStream(run, shuffle=True, seed=3, buffer=4, columns=("pair_id",))
        stream.set_epoch(1)
        return StatefulDataLoader(stream, batch_size=2, num_workers=workers)

    def ids(batches: Any) -> list[list[str]]:
        return [list(batch["pair_id"]) for batch in batches]

    expected = ids(loader())
    assert sorted(pair_id for batch in expected for pair_id in batch) == NAMES
    interrupted = loader()
    batches = iter(interrupted)
    first = ids(next(batches) for _ in range(2))
    state = interrupted.state_dict()
    resumed = loader()
    resumed.load_state_dict(state)
    assert first + ids(resumed) == expected
