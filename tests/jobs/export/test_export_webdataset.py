"""Exports for WebDataset: members, names, and what the libraries read."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from support.cli import call_cli
from support.collections import read_rows
from support.computed_runs import compute_run

import irfuse
from cluster.runs import RunRecord
from cluster.storage import Store
from fusion_core.errors import InvalidValueError, NotFoundError
from irfuse import ExportCheckOptions, ExportWebDatasetOptions, WebDatasetExport
from jobs.export.webdataset import _Tar, sample_key

PAIRS = 6
LABEL = b"0 .5 .5 .1 .1\n"
Run = tuple[Store, RunRecord]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of twelve pairs in three shards, of which train/0003 failed and test/v.1/0001 has a
    label."""
    return compute_run(
        tmp_path_factory.mktemp("tars"),
        PAIRS,
        subsets=("train", "test/v.1"),
        damaged=(3,),
        files={"labels/test/v.1/0001.txt": LABEL},
    )


def export(run: Run, out: Path, **options: Any) -> WebDatasetExport:
    return irfuse.export_webdataset(
        ExportWebDatasetOptions(run=run[0].url, out=str(out), **{"shard_bytes": 1, **options})
    )


def digests(out: Path) -> dict[str, str]:
    tars = sorted(out.glob("*.tar"))
    return {tar.name: hashlib.sha256(tar.read_bytes()).hexdigest() for tar in tars}


def test_the_members_of_a_pair_are_adjacent_and_hold_its_files(run: Run, tmp_path: Path) -> None:
    result = export(run, tmp_path, with_sources=True)
    assert (result.pairs, result.failed, result.labels, result.tars) == (11, 1, 1, 4)
    row = next(row for row in read_rows(run[0].url) if row["pair_id"] == "test/v.1/0001")
    with tarfile.open(tmp_path / "test__v-1-000000.tar") as tar:
        names = [member.name for member in tar]
        assert names[4:9] == [
            f"test__v-1__0001.{ending}"
            for ending in ("fused.png", "infrared.png", "visible.png", "label.txt", "json")
        ]
        assert {(m.mtime, m.uid, m.uname) for m in tar} == {(0, 0, "")}
        fused, ir, vis, label, text = (tar.extractfile(name).read() for name in names[4:9])  # type: ignore[union-attr]
    source = Path(run[1].source, "test/v.1")
    assert fused == row["fused"]["bytes"]
    assert (ir, vis) == tuple((source / f / "0001.png").read_bytes() for f in ("ir", "vis"))
    assert label == LABEL
    stored = json.loads(text)
    assert (stored["pair_id"], stored["EN"]) == ("test/v.1/0001", row["EN"])


def test_the_bytes_do_not_depend_on_threads_and_resuming(run: Run, tmp_path: Path) -> None:
    export(run, tmp_path / "one", threads=1)
    export(run, tmp_path / "three", threads=3)
    expected = digests(tmp_path / "one")
    assert digests(tmp_path / "three") == expected
    first = next((tmp_path / "three/_irfuse/done").iterdir())
    first.unlink()
    assert 0 < export(run, tmp_path / "three").written < 11
    assert digests(tmp_path / "three") == expected
    meta = json.loads((tmp_path / "three/meta.json").read_text())
    assert {one["name"]: one["sha256"] for one in meta["shards"]} == expected
    assert meta["pairs"] == sum(one["pairs"] for one in meta["shards"]) == 11
    irfuse.check_export(ExportCheckOptions(out=str(tmp_path / "three"))).require_sound()


def test_the_files_of_an_export_stay_as_they_began(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(run, tmp_path)
    expected = digests(tmp_path)
    (tmp_path / "_irfuse/done/shard-000001").unlink()
    # As if the shards of the run had grown by pairs that were computed again.
    monkeypatch.setattr("jobs.export.preparing.group_shards", lambda *_, **__: (0,))
    assert 0 < export(run, tmp_path).written < 11
    assert digests(tmp_path) == expected


def test_shards_are_joined_up_to_a_size(run: Run, tmp_path: Path) -> None:
    export(run, tmp_path, shard_bytes=10**9)
    assert list(digests(tmp_path)) == ["test__v-1-000000.tar", "train-000000.tar"]


def test_webdataset_reads_every_pair(run: Run, tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset", reason="an optional library of readers")
    export(run, tmp_path)
    urls = [str(tar) for tar in sorted(tmp_path.glob("*.tar"))]
    samples = list(webdataset.WebDataset(urls, shardshuffle=False).decode("torchrgb8"))
    rows = [row for row in read_rows(run[0].url) if row["status"] == "ok"]
    assert {sample["json"]["pair_id"] for sample in samples} == {row["pair_id"] for row in rows}
    assert len(samples) == len(rows)
    for sample in samples:
        row = sample["json"]
        assert sample["fused.png"].shape[1:] == (row["height"], row["width"])


def test_datasets_of_hugging_face_reads_every_pair(run: Run, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="an optional library of readers")
    export(run, tmp_path / "tars", labels="none")  # all samples must have the same members
    files = [str(tar) for tar in sorted((tmp_path / "tars").glob("*.tar"))]
    stream = datasets.load_dataset(
        "webdataset", data_files={"train": files}, split="train", cache_dir=str(tmp_path / "cache")
    )
    assert sorted(row["json"]["pair_id"] for row in stream) == sorted(
        row["pair_id"] for row in read_rows(run[0].url) if row["status"] == "ok"
    )


def test_labels_name_the_images_of_the_tar_file(tmp_path: Path) -> None:
    names = [f"v.1/{number:04d}" for number in range(3)]
    voc = "<annotation><filename>0001.jpg</filename><path>/a/0001.jpg</path></annotation>"
    coco = {
        "images": [{"id": 7 + n, "file_name": f"{name}.jpg"} for n, name in enumerate(names[:2])],
        "annotations": [{"id": n, "image_id": 7 + n % 2, "bbox": [n] * 4} for n in range(4)],
        "categories": [{"id": 0, "name": "car"}],
    }
    for folder, name, text in (("voc", names[1], voc), ("coco", "all", json.dumps(coco))):
        path = tmp_path / folder / f"{name}.{'xml' if folder == 'voc' else 'json'}"
        path.parent.mkdir(parents=True)
        path.write_text(text)
    run = compute_run(tmp_path / "run", 3, subsets=("v.1",))
    options = {"shard_bytes": 10**9, "max_missing_labels": 3}
    assert export(run, tmp_path / "a", labels=str(tmp_path / "voc"), **options).labels == 1
    assert export(run, tmp_path / "b", labels=str(tmp_path / "coco"), **options).labels == 2
    with tarfile.open(tmp_path / "a/v-1-000000.tar") as tar:
        text = tar.extractfile("v-1__0001.label.xml").read().decode()  # type: ignore[union-attr]
    image = "v-1__0001.fused.png"
    assert text == voc.replace("/a/0001.jpg", image).replace("0001.jpg", image)
    with tarfile.open(tmp_path / "b/v-1-000000.tar") as tar:
        found = json.load(tar.extractfile("v-1__0001.label.json"))  # type: ignore[arg-type]
        assert not [name for name in tar.getnames() if "0002.label" in name]
    assert found["images"] == [{"id": 8, "file_name": image}]
    assert [one["id"] for one in found["annotations"]] == [1, 3]
    assert found["categories"] == coco["categories"]


def test_an_unfinished_run_and_equal_names_are_errors(tmp_path: Path) -> None:
    unfinished = compute_run(tmp_path / "a", 6, shards=range(1))
    with pytest.raises(NotFoundError, match="1 of 2 shards are committed"):
        export(unfinished, tmp_path / "out")
    equal = compute_run(tmp_path / "b", 2, subsets=("x.y", "x-y"))
    with pytest.raises(InvalidValueError, match=r"2 file names belong to more .*; export these"):
        export(equal, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_tar_files_are_those_of_the_standard_library() -> None:
    members = {"a.json": b"x" * 10, "b" * 99 + ".": b"", "é.png": b"y" * 512, "c" * 150: b"z" * 513}
    found, buffer = _Tar(), io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as expected:
        for name, data in members.items():
            found.add(name, data)
            info = tarfile.TarInfo(name)
            info.size = len(data)
            expected.addfile(info, io.BytesIO(data))
    assert found.close() == buffer.getvalue()


def test_long_names_are_cut_and_stay_different() -> None:
    keys = {sample_key("é" * 100 + ending) for ending in "ab"}
    assert len(keys) == 2
    assert all(len(key.encode()) <= 120 for key in keys)


def test_the_command_takes_sizes_with_units(run: Run, tmp_path: Path) -> None:
    ran = call_cli("export", "webdataset", run[0].url, tmp_path / "out", "--shard-bytes", "256MB")
    assert ran.returncode == 0, ran.stderr
    assert "average: 11 pairs exported, 11 newly written; 2 tar files" in ran.stdout
