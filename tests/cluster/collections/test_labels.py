from __future__ import annotations

import time
from pathlib import Path

import pytest

from cluster.collections import LabelledPair, find_labels, label_folder
from cluster.collections.discovery import discover
from cluster.collections.layouts import find_pairs
from cluster.collections.user_manifest import read_user_manifest
from cluster.storage.store import Store
from fusion_core.images import encode_png, synthetic_pair


def labels_of(images: list[str], labels: list[str]) -> dict[str, str]:
    """Return the labels of the pairs that are found among images."""
    found = find_pairs(images + labels, layout="auto")
    pairs = [LabelledPair(p.pair_id, p.ir_key, p.vis_key, p.subset) for p in found.pairs]
    assert pairs
    used = {key for pair in pairs for key in (pair.ir_key, pair.vis_key)}
    return dict(find_labels([key for key in images + labels if key not in used], pairs).keys)


LLVIP = [
    "infrared/train/01.jpg",
    "visible/train/01.jpg",
    "infrared/test/02.jpg",
    "visible/test/02.jpg",
]
KAIST = [f"set00/V00{v}/{m}/I0.jpg" for v in (0, 1) for m in ("lwir", "visible")]
FLIR = ["align/JPEGImages/F_2_PreviewData.jpeg", "align/JPEGImages/F_2_RGB.jpg"]


@pytest.mark.parametrize(
    ("images", "labels", "found"),
    [
        (LLVIP, ["Annotations/01.xml", "Annotations/02.xml"], 2),
        (LLVIP, ["labels/train/01.txt", "labels/test/02.txt"], 2),
        (LLVIP, ["train/labels/01.txt", "test/labels/02.txt"], 2),
        (LLVIP, ["visible/labels/train/01.txt"], 1),
        (LLVIP, ["infrared/train/01.txt"], 1),
        (["Train_LLVIP_ir/1.jpg", "Train_LLVIP_vi/1.jpg"], ["Train_LLVIP_labels/1.txt"], 1),
        (["train/ir/1D.png", "train/vi/1D.png"], ["train/Segmentation_labels/1D.png"], 1),
        (["M/Ir/0.png", "M/Vis/0.png"], ["M/Annotation/0.xml"], 1),
        (["train/Infrared/0.png", "train/Visible/0.png"], ["train/Label/0.png"], 1),
        (KAIST, ["annotations/set00/V000/I0.txt", "annotations/set00/V001/I0.txt"], 2),
        (FLIR, ["align/Annotations/F_2_PreviewData.xml"], 1),
        (["train/trainimgr/1.jpg", "train/trainimg/1.jpg"], ["train/trainlabel/1.xml"], 1),
        (["0_ir.png", "0_co.png"], ["Annotations512/0.txt"], 1),
        (["IR1.png", "VIS1.png"], ["labels/1.json"], 1),
        # Nothing is guessed.
        (LLVIP, ["Annotations/train.txt", "labels/03.txt", "README.txt"], 0),
        (LLVIP, ["labels/test/01.txt"], 0),
        (KAIST, ["annotations/I0.txt"], 0),
        (LLVIP, ["train.png"], 0),
    ],
)
def test_labels_of_public_collections_are_found(
    images: list[str], labels: list[str], found: int
) -> None:
    assert sorted(labels_of(images, labels).values()) == sorted(labels)[:found]


def test_a_label_belongs_to_the_pair_at_its_place() -> None:
    labels = [f"annotations/set00/V00{v}/I0.txt" for v in (1, 0)]
    assert labels_of(KAIST, labels) == {"set00/V000/I0": labels[1], "set00/V001/I0": labels[0]}


def test_all_pairs_of_a_subset_get_labels_of_the_kind_that_most_have() -> None:
    keys = [*(f"masks/{n}.png" for n in range(3)), "labels/0.txt", "labels/1.txt"]
    found = find_labels(
        keys, [LabelledPair(str(n), f"ir/{n}.png", f"vis/{n}.png") for n in range(3)]
    )
    assert dict(found.keys) == {str(n): f"masks/{n}.png" for n in range(3)}
    assert dict(found.others) == {"labels/*.txt": 2}


def test_in_a_folder_of_labels_every_file_may_be_one() -> None:
    pairs = [LabelledPair("train/1", "/d/ir/train/1.png", "/d/vis/train/1.png", "train")]
    assert find_labels(["train/1.png"], pairs).keys == {}
    assert find_labels(["train/1.png"], pairs, only=True).keys == {"train/1": "train/1.png"}


@pytest.mark.parametrize(
    ("key", "folder"),
    [
        ("Annotations/train/1.xml", "Annotations"),
        ("train/Segmentation_labels/1.png", "Segmentation_labels"),
        ("train/ir/1.txt", "labels"),
    ],
)
def test_labels_keep_the_name_of_their_folder(key: str, folder: str) -> None:
    assert label_folder(key) == folder


def test_the_manifest_names_labels_and_the_rest_stays_ignored(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "in"))
    for number in range(2):
        for folder, image in zip(("ir", "vis"), synthetic_pair(16, 16, seed=0), strict=True):
            store.write(f"{folder}/{number}.png", encode_png(image))
    for key in ("labels/1.txt", "labels/classes.txt", "labels/zebra.txt"):
        store.write(key, b"0 .5 .5 .1 .1")
    found = discover(store)
    rows = [row for batch in found.batches() for row in batch.to_pylist()]
    assert [row["label_uri"] for row in rows] == ["", store.uri("labels/1.txt")]
    assert found.discovery.ignored == {"labels, masks and annotations": 2}
    assert found.discovery.ignored_examples == {
        "labels, masks and annotations": "labels/classes.txt"
    }


def test_labels_and_repetitions_are_the_same_if_files_are_divided(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    for split, count in (("train", 6), ("test", 6), ("all", 3)):
        for number in range(count):
            for folder in ("ir", "vis"):
                store.write(f"{split}/{folder}/{number}.png", b"x" * (number + 1))
            store.write(f"{split}/labels/{number}.txt", b"x")
            store.write(f"Annotations/{split}/{number}.xml", b"x")
    store.write("train/labels/classes.txt", b"x")
    whole, divided = discover(store), discover(store, at_once=4)
    assert list(divided.batches()) == list(whole.batches())
    assert divided.labels == whole.labels
    assert len(whole.labels.rows) == 15
    assert divided.repetitions == whole.repetitions
    assert [one.subset for one in whole.repetitions] == ["all", "test", "train"]
    assert divided.discovery == whole.discovery


def test_labels_in_many_places_take_time_that_grows_with_their_number() -> None:
    def seconds(scenes: int) -> float:
        pairs = [LabelledPair(f"{n}/1", f"{n}/ir/1.png", f"{n}/vis/1.png") for n in range(scenes)]
        labels = [f"labels/{n}/1.txt" for n in range(scenes)]
        start = time.process_time()
        assert len(find_labels(labels, pairs).keys) == scenes
        return time.process_time() - start

    assert min(seconds(4000) for _ in range(3)) < 10 * min(seconds(1000) for _ in range(3))


def test_a_manifest_may_name_labels_by_relative_locations(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text(
        "ir_uri,vis_uri,label_uri\ni.png,v.png,labels/a.txt\nj.png,w.png,\n"
    )
    (batch,) = read_user_manifest(Store(str(tmp_path)), "m.csv")
    assert batch.column("label_uri").to_pylist() == [str(tmp_path / "labels/a.txt"), ""]
