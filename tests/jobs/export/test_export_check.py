"""The check of exports: files, labels and equal names in each form."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.cli import call_cli
from support.computed_runs import compute_run

import irfuse
from cluster.runs import RunRecord
from cluster.storage import Store
from fusion_core.errors import StorageError
from irfuse import (
    ExportCheck,
    ExportCheckOptions,
    ExportFolderOptions,
    ExportHfOptions,
    ExportWebDatasetOptions,
)
from jobs.export.record import describe_file

PAIRS = 3
SUBSETS = ("test", "train")
NAMES = [f"{subset}/{number:04d}" for subset in SUBSETS for number in range(PAIRS)]
FORMS: dict[str, Callable[..., Any]] = {
    "folder": lambda **given: irfuse.export_folder(ExportFolderOptions(**given)),
    "webdataset": lambda **given: irfuse.export_webdataset(ExportWebDatasetOptions(**given)),
    "hf": lambda **given: irfuse.export_hf(ExportHfOptions(**given)),
}
Run = tuple[Store, RunRecord]
of_each_form = pytest.mark.parametrize("form", FORMS)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of six pairs in two shards with labels of YOLO; train/0002 has none."""
    files = {f"labels/{name}.txt": b"0 .5 .5 .2 .2\n" for name in NAMES[:-1]}
    return compute_run(tmp_path_factory.mktemp("run"), PAIRS, subsets=SUBSETS, files=files)


def export(form: str, run: Run, out: Path, **options: Any) -> Any:
    return FORMS[form](run=run[0].url, out=str(out), **options)


def check(out: Path) -> ExportCheck:
    return irfuse.check_export(ExportCheckOptions(out=str(out)))


def markers(out: Path) -> list[Path]:
    return sorted((out / "_irfuse/done").iterdir())


def rewrite(out: Path, key: str, data: bytes) -> None:
    """Replace a file of an export, as if the export had written it so."""
    old = describe_file(key, (out / key).read_bytes()).model_dump_json()
    (out / key).write_bytes(data)
    for marker in (*markers(out), out / "_irfuse/shared.json"):
        text = marker.read_text()
        marker.write_text(text.replace(old, describe_file(key, data).model_dump_json()))


def relabel(out: Path, pair_id: str, **changed: str) -> None:
    """Change what the markers say about the label of a pair."""
    for marker in markers(out):
        content = json.loads(marker.read_text())
        if pair_id in content["images"]:
            key = content["images"][pair_id]
            content["labels"][pair_id] = {"key": key, "source": "both", **changed}
            marker.write_text(json.dumps(content))


def test_missing_changed_and_foreign_files_are_found(run: Run, tmp_path: Path) -> None:
    export("folder", run, tmp_path, labels="none")
    assert call_cli("export", "check", tmp_path).returncode == 0
    (tmp_path / "train/fused/0000.png").unlink()
    (tmp_path / "train/fused/0001.png").write_bytes(b"other")
    (tmp_path / "mine.txt").write_text("mine")
    checked = call_cli("export", "check", tmp_path, "--json")
    assert checked.returncode == 1
    assert (
        "1 missing file, 1 changed file, 1 foreign file; remove the foreign files" in checked.stderr
    )
    found = json.loads(checked.stdout)
    assert (found["pairs"], found["skipped"], found["files"]) == (6, 0, 6)
    assert found["missing"] == ["train/fused/0000.png"]
    assert found["changed"] == ["train/fused/0001.png"]
    assert found["foreign"] == ["mine.txt"]


@of_each_form
def test_the_labels_of_a_sound_export_are_counted(form: str, run: Run, tmp_path: Path) -> None:
    export(form, run, tmp_path)
    found = check(tmp_path)
    found.require_sound()
    assert (found.labels, found.unlabelled, found.lost_labels, found.clashes) == (5, 1, [], [])


@of_each_form
def test_the_labels_in_files_that_are_missing_or_changed_are_lost(
    form: str, run: Run, tmp_path: Path
) -> None:
    export(form, run, tmp_path)
    label = {
        "folder": ["test/labels/0001.txt"],
        "webdataset": ["test-000000.tar"],
        "hf": ["data/test-00000-of-00001.parquet"],
    }[form]
    lost = ["test/0001"] if form == "folder" else NAMES[:PAIRS]
    for damage in (lambda path: path.write_bytes(b"other"), Path.unlink):
        damage(tmp_path / label[0])
        found = check(tmp_path)
        assert label in (found.missing, found.changed)
        assert (found.lost_labels, found.labels) == (lost, 5 - len(lost))
        with pytest.raises(StorageError, match=f"1 (missing|changed) file, {len(lost)} lost label"):
            found.require_sound()
    for marker in found.unsound:
        (tmp_path / marker).unlink()
    assert 0 < export(form, run, tmp_path).written <= len(NAMES)
    check(tmp_path).require_sound()


@of_each_form
def test_a_label_that_the_files_do_not_hold_is_lost(form: str, run: Run, tmp_path: Path) -> None:
    export(form, run, tmp_path)
    relabel(tmp_path, "train/0002", **({"key": "x/0002.txt"} if form == "folder" else {}))
    ran = call_cli("export", "check", tmp_path)
    assert ran.returncode == 1
    assert "Labels: 5 found, 0 missing, 1 lost" in ran.stdout
    assert "lost label of  train/0002" in ran.stdout
    assert "is not sound: 1 lost label; " in ran.stderr


def test_a_coco_file_that_does_not_name_an_image_has_lost_its_label(tmp_path: Path) -> None:
    run = compute_run(tmp_path / "run", 2)
    images = [{"id": n, "file_name": f"{n:04d}.jpg"} for n in range(2)]
    coco: dict[str, Any] = {"images": images, "annotations": [], "categories": []}
    (tmp_path / "coco").mkdir()
    (tmp_path / "coco/all.json").write_text(json.dumps(coco))
    out = tmp_path / "out"
    export("folder", run, out, labels=str(tmp_path / "coco"))
    assert check(out).labels == 2
    written = json.loads((out / "coco/all.json").read_text())
    written["images"] = written["images"][:1]
    rewrite(out, "coco/all.json", json.dumps(written).encode())
    found = check(out)
    assert (found.labels, found.lost_labels, found.changed) == (1, ["0001"], [])


@pytest.mark.parametrize("form", ["folder", "webdataset"])
def test_names_that_differ_in_letter_case_only_clash(form: str, tmp_path: Path) -> None:
    run = compute_run(tmp_path / "run", 1, subsets=("Day", "day"))
    export(form, run, tmp_path / "out", **({"with_sources": True} if form == "folder" else {}))
    ran = call_cli("export", "check", tmp_path / "out", "--json")
    assert ran.returncode == 1
    assert "differ in letter case only, overwrite each other" in ran.stderr
    found = json.loads(ran.stdout)
    pairs = {"folder": "Day/fused/0000.png", "webdataset": "Day__0000"}[form]
    assert [clash for clash in found["clashes"] if clash["pairs"]] == [
        {"names": [pairs, pairs.replace("Day", "day")], "pairs": ["Day/0000", "day/0000"]}
    ]
    files = [clash["names"] for clash in found["clashes"] if not clash["pairs"]]
    assert files == ([["Day-000000.tar", "day-000000.tar"]] if form == "webdataset" else [])


def test_rows_whose_pairs_differ_in_letter_case_only_do_not_clash(tmp_path: Path) -> None:
    run = compute_run(tmp_path / "run", 1, subsets=("Day", "day"))
    export("hf", run, tmp_path / "out")
    check(tmp_path / "out").require_sound()


def test_two_pairs_of_one_name_are_named(run: Run, tmp_path: Path) -> None:
    export("folder", run, tmp_path, labels="none")
    for marker in markers(tmp_path):
        marker.write_text(marker.read_text().replace('"train/fused/0001.png"', '"t/0.png"'))
        marker.write_text(marker.read_text().replace('"train/fused/0002.png"', '"t/0.png"'))
    (clash,) = check(tmp_path).clashes
    assert (clash.names, clash.pairs) == (["t/0.png"], ["train/0001", "train/0002"])


def test_a_pair_that_a_file_holds_twice_is_named(run: Run, tmp_path: Path) -> None:
    export("webdataset", run, tmp_path / "tars")
    tar = (tmp_path / "tars/test-000000.tar").read_bytes()
    twice = tar[: tar.rindex(b"test__0002.fused.png")] + tar
    rewrite(tmp_path / "tars", "test-000000.tar", twice)
    assert [clash.pairs for clash in check(tmp_path / "tars").clashes] == [NAMES[:1], NAMES[1:2]]

    export("hf", run, tmp_path / "hf")
    key = "data/test-00000-of-00001.parquet"
    table = pq.read_table(tmp_path / "hf" / key)
    buffer = io.BytesIO()
    pq.write_table(pa.concat_tables([table, table.slice(0, 1)]), buffer)
    rewrite(tmp_path / "hf", key, buffer.getvalue())
    assert [clash.names for clash in check(tmp_path / "hf").clashes] == [NAMES[:1]]


def test_labels_without_a_column_are_missing_for_hugging_face(tmp_path: Path) -> None:
    files = {f"labels/{n:04d}.json": b'{"imagePath": "a.png", "shapes": []}' for n in range(2)}
    run = compute_run(tmp_path / "run", 2, files=files)
    result = export("hf", run, tmp_path / "out")
    assert (result.pairs, result.labels) == (2, 0)
    check(tmp_path / "out").require_sound()
    assert export("webdataset", run, tmp_path / "tars").labels == 2
