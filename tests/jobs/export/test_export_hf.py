"""Exports for Hugging Face: columns, splits, boxes, masks, the card, and what `datasets` reads."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from support.cli import call_cli
from support.collections import read_rows
from support.computed_runs import compute_run

import irfuse
from cluster.runs import RunRecord
from cluster.storage import Store
from fusion_core.errors import ManifestError
from irfuse import ExportCheckOptions, ExportHfOptions, HfExport
from jobs.export.objects import read_objects

PAIRS = 4
SUBSETS = ("train", "test.night")
Run = tuple[Store, RunRecord]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of eight pairs in two shards, of which train/0003 failed, with labels of YOLO."""
    names = [f"{subset}/{number:04d}" for subset in SUBSETS for number in range(PAIRS)]
    files = {f"labels/{name}.txt": b"1 .5 .5 .5 .25\n" for name in names[:-1]}
    folder = tmp_path_factory.mktemp("hf")
    return compute_run(folder, PAIRS, subsets=SUBSETS, damaged=(3,), files=files)


def export(run: Run, out: Path, **options: Any) -> HfExport:
    return irfuse.export_hf(ExportHfOptions(run=run[0].url, out=str(out), **options))


def test_rows_hold_images_scores_and_boxes(run: Run, tmp_path: Path) -> None:
    result = export(run, tmp_path, with_sources=True, classes=("car", "person"))
    assert (result.pairs, result.failed, result.labels) == (7, 1, 6)
    assert result.splits == {"test": 4, "train": 3}
    (file,) = (tmp_path / "data").glob("train-*.parquet")
    rows = {row["pair_id"]: row for row in pq.read_table(file).to_pylist()}
    expected = {row["pair_id"]: row for row in read_rows(run[0].url)}
    assert list(rows) == ["train/0000", "train/0001", "train/0002"]
    for pair_id, row in rows.items():
        assert row["fused"]["bytes"] == expected[pair_id]["fused"]["bytes"]
        source = Path(run[1].source, "train/vis", row["visible"]["path"])
        assert row["visible"]["bytes"] == source.read_bytes()
        assert [row[name] for name in ("EN", "SD", "width", "subset")] == [
            expected[pair_id][name] for name in ("EN", "SD", "width", "subset")
        ]
        width, height = row["width"], row["height"]
        box = [width / 4, height * 3 / 8, width / 2, height / 4]
        assert row["objects"]["bbox"] == [pytest.approx(box)]
        assert row["objects"]["category"] == ["person"]
    irfuse.check_export(ExportCheckOptions(out=str(tmp_path))).require_sound()


def test_the_card_names_method_licence_and_splits(run: Run, tmp_path: Path) -> None:
    export(run, tmp_path, license="cc-by-4.0")
    card = (tmp_path / "README.md").read_text()
    assert 'license: "cc-by-4.0"' in card
    assert "- split: test\n    path: data/test-*.parquet" in card
    assert "`average` of irfuse" in card
    assert "Its licence and its citation apply" in card


def test_datasets_of_hugging_face_decodes_the_folder(run: Run, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="an optional library of readers")
    from huggingface_hub import DatasetCard

    export(run, tmp_path / "out", with_sources=True)
    loaded = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert {split: len(rows) for split, rows in loaded.items()} == {"train": 3, "test": 4}
    images = [n for n, f in loaded["train"].features.items() if isinstance(f, datasets.Image)]
    assert images == ["fused", "infrared", "visible"]
    info = DatasetCard.load(str(tmp_path / "out/README.md")).data.to_dict()["dataset_info"]
    assert datasets.Features._from_yaml_list(info["features"]) == loaded["train"].features
    sizes = dict.fromkeys(loaded, 0)
    for file in (tmp_path / "out/data").iterdir():
        sizes[file.name.partition("-")[0]] += file.stat().st_size
    assert {s["name"]: (s["num_examples"], s["num_bytes"]) for s in info["splits"]} == {
        split: (len(rows), sizes[split]) for split, rows in loaded.items()
    }
    row = loaded["train"][0]
    assert row["fused"].size == (row["width"], row["height"])
    assert row["objects"]["category"] == ["class1"]


def test_masks_are_images(tmp_path: Path) -> None:
    masks = {f"train/Segmentation_labels/{n:04d}.png": bytes([n]) * 9 for n in range(2)}
    run = compute_run(tmp_path, 2, subsets=("train",), files=masks)
    export(run, tmp_path / "hf")
    (file,) = (tmp_path / "hf/data").iterdir()
    found = [row["mask"]["bytes"] for row in pq.read_table(file).to_pylist()]
    assert found == list(masks.values())


def test_an_export_resumes_with_the_same_bytes(run: Run, tmp_path: Path) -> None:
    export(run, tmp_path)
    files = sorted((tmp_path / "data").iterdir())
    digests = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    for marker in (tmp_path / "_irfuse/done").iterdir():
        marker.unlink()
    assert export(run, tmp_path).written == 7
    assert [hashlib.sha256(file.read_bytes()).hexdigest() for file in files] == digests
    assert export(run, tmp_path).written == 0


def test_boxes_of_coco_files(run: Run, tmp_path: Path) -> None:
    content = {
        "images": [{"id": 5, "file_name": "train/0001.jpg", "width": 9}],
        "annotations": [{"id": 1, "image_id": 5, "category_id": 2, "bbox": [1, 2, 3, 4.5]}],
        "categories": [{"id": 2, "name": "person"}],
    }
    (tmp_path / "coco").mkdir()
    (tmp_path / "coco/instances.json").write_text(json.dumps(content))
    options = {"labels": str(tmp_path / "coco"), "max_missing_labels": 9}
    assert export(run, tmp_path / "out", **options).labels == 1
    (file,) = (tmp_path / "out/data").glob("train-*.parquet")
    rows = {row["pair_id"]: row["objects"] for row in pq.read_table(file).to_pylist()}
    assert rows["train/0001"] == {"bbox": [[1.0, 2.0, 3.0, 4.5]], "category": ["person"]}
    assert rows["train/0000"] is None


def test_boxes_of_voc_and_damaged_labels() -> None:
    text = (
        b"<annotation><object><name>car</name><bndbox><xmin>1</xmin><ymin>2</ymin>"
        b"<xmax>11</xmax><ymax>5</ymax></bndbox></object></annotation>"
    )
    given = {"width": 20, "height": 10, "classes": (), "name": "a"}
    assert read_objects(text, "xml", **given) == {
        "bbox": [[1.0, 2.0, 10.0, 3.0]],
        "category": ["car"],
    }
    polygon = b"0 .1 .1 .5 .1 .5 .5 .1 .5"
    damaged = ((b"<x", "xml"), (b"car 1 2", "txt"), (b"\xff", "txt"), (polygon, "txt"))
    for data, extension in damaged:
        with pytest.raises(ManifestError, match="The label a cannot be read"):
            read_objects(data, extension, **given)


def test_the_command_says_what_was_exported(run: Run, tmp_path: Path) -> None:
    ran = call_cli("export", "hf", run[0].url, tmp_path / "out", "--where", "subset='train'")
    assert ran.returncode == 0, ran.stderr
    assert "average: 3 pairs exported (3 in train), 3 newly written" in ran.stdout
    assert "Left out: 1 failed, 4 by --where" in ran.stdout
