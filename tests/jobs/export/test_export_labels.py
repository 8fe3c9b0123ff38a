"""Labels in exports: names, contents, lists, and what training code reads."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from support.cli import call_cli
from support.computed_runs import compute_run

import irfuse
from cluster.runs import RunRecord
from cluster.storage import Store
from fusion_core.errors import ManifestError, NotFoundError
from irfuse import ExportCheckOptions, ExportFolderOptions, FolderExport

PAIRS = 4
SUBSETS = ("train", "test")
VOC = (
    "<annotation><folder>x</folder><filename>{0}.png</filename><path>/old/{0}.png</path>"
    "<object><name>person</name><bndbox><xmin>1</xmin></bndbox></object></annotation>"
)
Run = tuple[Store, RunRecord]


def yolo_files(names: list[str]) -> dict[str, bytes]:
    return {f"labels/{name}.txt": f"{n % 3} .5 .5 .2 .2\n".encode() for n, name in enumerate(names)}


NAMES = [f"{subset}/{number:04d}" for subset in SUBSETS for number in range(PAIRS)]


@pytest.fixture(scope="module")
def yolo(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of eight pairs with labels of YOLO, of which test/0003 has none."""
    files = yolo_files(NAMES[:-1])
    return compute_run(tmp_path_factory.mktemp("yolo"), PAIRS, subsets=SUBSETS, files=files)


@pytest.fixture(scope="module")
def unlabelled(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return compute_run(tmp_path_factory.mktemp("unlabelled"), PAIRS, subsets=SUBSETS)


def export(run: Run, out: Path, **options: Any) -> FolderExport:
    return irfuse.export_folder(ExportFolderOptions(run=run[0].url, out=str(out), **options))


def listed(out: Path) -> list[dict[str, str]]:
    with (out / "labels.csv").open() as file:
        return list(csv.DictReader(file))


def test_labels_are_exported_beside_their_images(yolo: Run, tmp_path: Path) -> None:
    result = export(yolo, tmp_path)
    for number, name in enumerate(NAMES[:-1]):
        subset, _, stem = name.partition("/")
        assert (tmp_path / subset / "fused" / f"{stem}.png").exists()
        text = (tmp_path / subset / "labels" / f"{stem}.txt").read_text()
        assert text == f"{number % 3} .5 .5 .2 .2\n"
    assert (result.labels, result.missing_labels) == (7, 1)
    rows = listed(tmp_path)
    assert rows[0] == {
        "pair_id": "test/0000",
        "image": "test/fused/0000.png",
        "label": "test/labels/0000.txt",
        "label_of": "both",
        "status": "found",
    }
    assert [row["pair_id"] for row in rows if row["status"] == "missing"] == ["test/0003"]
    irfuse.check_export(ExportCheckOptions(out=str(tmp_path))).require_sound()


def test_yolo_finds_the_label_of_every_image_by_its_own_rule(yolo: Run, tmp_path: Path) -> None:
    export(yolo, tmp_path, preset="yolo")
    images = sorted((tmp_path / "images").rglob("*.png"))
    labels = [
        Path(str(image).replace("/images/", "/labels/")).with_suffix(".txt") for image in images
    ]
    assert [path.exists() for path in labels] == [
        path.stem != "0003" or "train" in path.parts for path in labels
    ]
    text = (tmp_path / "data.yaml").read_text()
    assert 'names:\n  0: "class0"\n  1: "class1"\n  2: "class2"\n' in text


def test_labels_may_be_left_out(yolo: Run, tmp_path: Path) -> None:
    result = export(yolo, tmp_path, labels="none")
    assert (result.labels, list(tmp_path.rglob("*.txt"))) == (0, [])
    assert not (tmp_path / "labels.csv").exists()


def test_too_many_missing_labels_end_with_status_1_after_everything_is_written(
    yolo: Run, tmp_path: Path
) -> None:
    result = export(yolo, tmp_path, max_missing_labels=0)
    with pytest.raises(ManifestError, match="1 of 8 exported pairs have no label"):
        result.require_labels()
    ran = call_cli("export", "folder", yolo[0].url, tmp_path, "--max-missing-labels", 1)
    assert ran.returncode == 0, ran.stderr
    assert "Labels: 7 of 8 pairs, 1 missing" in ran.stdout


def test_voc_labels_of_a_folder_name_the_fused_images(unlabelled: Run, tmp_path: Path) -> None:
    for name in NAMES:
        path = tmp_path / "VOC" / f"{name}.xml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(VOC.format(path.stem))
    result = export(unlabelled, tmp_path / "out", labels=str(tmp_path / "VOC"))
    assert (result.labels, result.missing_labels, result.most_missing_labels) == (8, 0, 0)
    root = ElementTree.parse(tmp_path / "out/train/VOC/0002.xml").getroot()
    assert root.findtext("filename") == "0002.png"
    assert root.findtext("path") == "train/fused/0002.png"
    assert root.findtext("object/name") == "person"


def test_labels_that_yolo_does_not_read_are_named(unlabelled: Run, tmp_path: Path) -> None:
    for name in NAMES:
        path = tmp_path / "VOC" / f"{name}.xml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(VOC.format(path.stem))
    options = {"labels": str(tmp_path / "VOC"), "preset": "yolo", "classes": ("person",)}
    result = export(unlabelled, tmp_path / "out", **options)
    assert result.notes == [
        "YOLO reads labels from .txt files; these are .xml and must be converted"
    ]
    assert (tmp_path / "out/VOC/train/0000.xml").exists()


def test_masks_are_copied_byte_by_byte(tmp_path: Path) -> None:
    masks = {f"train/Segmentation_labels/{n:04d}.png": bytes([n]) * 9 for n in range(PAIRS)}
    run = compute_run(tmp_path, PAIRS, subsets=("train",), files=masks)
    assert export(run, tmp_path / "fused").labels == PAIRS
    for key, data in masks.items():
        assert (tmp_path / "fused" / key).read_bytes() == data


def test_coco_files_name_fused_images_and_drop_the_others(unlabelled: Run, tmp_path: Path) -> None:
    names = [f"{name}.png" for name in [*NAMES, "train/9999"]]
    content = {
        "info": {"year": 2026},
        "categories": [{"id": 1, "name": "person"}],
        "images": [{"id": n, "file_name": name, "width": 64} for n, name in enumerate(names)],
        "annotations": [
            {"id": n, "image_id": n, "category_id": 1, "bbox": [1, 2, 3, 4]}
            for n, _ in enumerate(names)
        ],
    }
    (tmp_path / "coco").mkdir()
    (tmp_path / "coco/all.json").write_text(json.dumps(content))
    options = {"labels": str(tmp_path / "coco"), "where": "subset = 'train'"}
    result = export(unlabelled, tmp_path / "out", **options)
    assert (result.labels, result.missing_labels, result.coco_dropped) == (4, 0, 5)
    found = json.loads((tmp_path / "out/coco/all.json").read_text())
    assert [image["file_name"] for image in found["images"]] == [
        f"train/fused/{n:04d}.png" for n in range(PAIRS)
    ]
    assert all((tmp_path / "out" / image["file_name"]).exists() for image in found["images"])
    assert {one["image_id"] for one in found["annotations"]} == {i["id"] for i in found["images"]}
    assert (found["info"], found["categories"]) == (content["info"], content["categories"])
    assert {row["label"] for row in listed(tmp_path / "out")} == {"coco/all.json"}
    irfuse.check_export(ExportCheckOptions(out=str(tmp_path / "out"))).require_sound()


def test_a_label_that_has_vanished_is_listed_as_missing(tmp_path: Path) -> None:
    run = compute_run(tmp_path, PAIRS, files=yolo_files([f"{n:04d}" for n in range(PAIRS)]))
    Path(run[1].source, "labels/0001.txt").unlink()
    assert export(run, tmp_path / "fused").missing_labels == 1
    missing = [row["pair_id"] for row in listed(tmp_path / "fused") if row["status"] == "missing"]
    assert missing == ["0001"]


def test_a_folder_without_labels_of_the_pairs_is_an_error(unlabelled: Run, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="holds no label of the run's pairs among its 0 files"):
        export(unlabelled, tmp_path / "out", labels=str(tmp_path / "missing"))
    assert not (tmp_path / "out").exists()


def test_pairs_says_what_it_took_for_labels(yolo: Run) -> None:
    ran = call_cli("pairs", yolo[1].source)
    assert "Labels: 7 of 8 pairs, such as labels/test/0000.txt" in ran.stdout
    assert "Ignored" not in ran.stdout
