"""Exports to folders: names, content, resuming, and the errors before anything is written."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.cli import call_cli
from support.collections import FinishedRun, read_rows
from support.computed_runs import compute_run
from support.s3 import S3Server

import irfuse
from cluster.runs import RunRecord
from cluster.runs.config import WorkerConfig
from cluster.runs.messages import ShardTask
from cluster.runs.worker import ShardProcessor
from cluster.storage import Store
from fusion_core.errors import (
    InvalidValueError,
    NotFoundError,
    RunConflictError,
    StorageError,
)
from irfuse import ExportCheckOptions, ExportFolderOptions, FolderExport

PAIRS = 6
SUBSETS = ("train", "test")
Run = tuple[Store, RunRecord]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of twelve pairs in three shards, of which the pair train/0003 failed."""
    return compute_run(tmp_path_factory.mktemp("run"), PAIRS, subsets=SUBSETS, damaged=(3,))


def export(run: Run, out: object, **options: Any) -> FolderExport:
    return irfuse.export_folder(ExportFolderOptions(run=run[0].url, out=str(out), **options))


def tree(folder: Path) -> dict[str, str]:
    """Return the digests of the files of an export, without its own records."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "_irfuse" not in path.parts
    }


def images(run: Run) -> dict[str, bytes]:
    rows = read_rows(run[0].url)
    return {row["pair_id"]: row["fused"]["bytes"] for row in rows if row["fused"]}


def skipped(folder: Path) -> list[list[str]]:
    return list(csv.reader((folder / "_irfuse/skipped.csv").open()))[1:]


def test_files_hold_the_bytes_of_the_rows_in_the_tree_of_the_visible_images(
    run: Run, tmp_path: Path
) -> None:
    result = export(run, tmp_path)
    found = {
        path.relative_to(tmp_path).with_suffix("").as_posix(): path.read_bytes()
        for path in tmp_path.rglob("*.png")
    }
    expected = {
        f"{pair_id.partition('/')[0]}/fused/{pair_id.partition('/')[2]}": data
        for pair_id, data in images(run).items()
    }
    assert found == expected
    assert (result.pairs, result.written, result.failed, result.files) == (11, 11, 1, 11)
    assert [row[:2] for row in skipped(tmp_path)] == [["train/0003", "failed"]]
    assert skipped(tmp_path)[0][2].startswith("at decode: ")


def test_a_second_call_writes_nothing(run: Run, tmp_path: Path) -> None:
    export(run, tmp_path)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.png")}
    assert export(run, tmp_path).written == 0
    assert times == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.png")}


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"preset": "pair-id"}, "train/0001.png"),
        ({"preset": "yolo"}, "images/train/0001.png"),
        ({"name": "{vis_dir}/{ir_stem}-{subset}"}, "train/vis/0001-train.png"),
        ({"name": "x/{pair_id}.fused.{ext}"}, "x/train/0001.fused.png"),
    ],
)
def test_presets_and_templates_name_the_files(
    run: Run, tmp_path: Path, options: dict[str, Any], name: str
) -> None:
    export(run, tmp_path, **options)
    assert (tmp_path / name).read_bytes() == images(run)["train/0001"]


def test_yolo_describes_its_splits_and_classes(run: Run, tmp_path: Path) -> None:
    export(run, tmp_path, preset="yolo", classes=("person", "car"))
    text = (tmp_path / "data.yaml").read_text()
    assert 'train: "images/train"\nval: "images/test"\n' in text
    assert 'names:\n  0: "person"\n  1: "car"\n' in text


def test_sources_are_copied_byte_by_byte(run: Run, tmp_path: Path) -> None:
    export(run, tmp_path / "mirror", with_sources=True)
    export(run, tmp_path / "ids", preset="pair-id", with_sources=True)
    for folder, short in (("ir", "infrared"), ("vis", "visible")):
        source = Path(run[1].source, "train", folder, "0002.png").read_bytes()
        assert (tmp_path / "mirror/train" / folder / "0002.png").read_bytes() == source
        assert (tmp_path / "ids/sources" / short / "train/0002.png").read_bytes() == source


def test_a_condition_selects_rows_and_lists_the_others(run: Run, tmp_path: Path) -> None:
    result = export(run, tmp_path, where="subset = 'test' AND EN > 0")
    assert (result.pairs, result.unfit, result.failed) == (6, 5, 1)
    assert {row[1] for row in skipped(tmp_path) if row[0] != "train/0003"} == {"where"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "{stem}"}, "5 file names belong to more than one pair, such as '0000.png' for"),
        ({"name": "../{pair_id}"}, "outside of OUT"),
        ({"name": "_irfuse/{pair_id}"}, "the export's own files"),
        ({"name": "{pair}"}, "[Uu]nknown field 'pair'"),
        ({"name": "{stem"}, "expected '}'"),
        ({"name": "{subset}" * 60 + "{stem}"}, "more than 255 bytes"),
        ({"where": "entropy > 6"}, "[Uu]nknown column 'entropy'"),
        ({"where": "EN > 100"}, "No pair of .* fits --where"),
    ],
)
def test_bad_names_and_conditions_are_errors_before_anything_is_written(
    run: Run, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidValueError, match=message):
        export(run, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "options",
    [
        {"preset": "yolo", "name": "{stem}"},
        {"quality": 90},
        {"classes": ("person",)},
    ],
)
def test_options_that_do_not_fit_together_are_errors(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="Expected"):
        ExportFolderOptions(run="a", out="b", **options)


def test_a_folder_with_other_files_is_an_error(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(RunConflictError, match=r"not empty \(it contains mine.txt\)"):
        export(run, tmp_path)


def test_a_folder_inside_of_the_collection_is_an_error(run: Run) -> None:
    with pytest.raises(InvalidValueError, match="inside of the collection"):
        export(run, f"{run[1].source}/fused")


def test_other_settings_for_an_export_are_an_error_that_names_them(
    run: Run, tmp_path: Path
) -> None:
    export(run, tmp_path)
    with pytest.raises(RunConflictError, match="preset: existing 'mirror', requested 'pair-id'"):
        export(run, tmp_path, preset="pair-id")


def test_a_run_without_images_is_an_error(tmp_path: Path) -> None:
    run = compute_run(tmp_path, 2, keep_images=False)
    with pytest.raises(NotFoundError, match="made with --no-keep-images"):
        export(run, tmp_path / "fused")


def test_an_unfinished_run_needs_partial_and_is_completed_later(tmp_path: Path) -> None:
    run = compute_run(tmp_path, 6, shards=range(1))
    with pytest.raises(NotFoundError, match=r"1 of 2 shards are committed; .* --partial"):
        export(run, tmp_path / "fused")
    result = export(run, tmp_path / "fused", partial=True)
    assert (result.pairs, result.unfinished) == (4, 2)
    ShardProcessor(WorkerConfig(run[1], run[0])).process(ShardTask(1))
    result = export(run, tmp_path / "fused")
    assert (result.pairs, result.written, result.unfinished) == (6, 2, 0)


def test_a_shard_whose_failed_pairs_were_computed_again_is_written_again(tmp_path: Path) -> None:
    run = compute_run(tmp_path, 6, damaged=(5,))
    assert export(run, tmp_path / "fused").failed == 1
    source = Path(run[1].source, "vis")
    (source / "0005.png").write_bytes((source / "0002.png").read_bytes())
    ShardProcessor(WorkerConfig(run[1], run[0])).process(ShardTask(1, failed_only=True))
    result = export(run, tmp_path / "fused")
    assert (result.failed, result.pairs, result.written) == (0, 6, 2)
    assert skipped(tmp_path / "fused") == []


def test_an_interrupted_export_resumes_and_leaves_the_same_files(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(run, tmp_path / "whole")
    write_all, calls = Store.write_all, list[int]()

    def failing(store: Store, objects: Any, **options: Any) -> None:
        calls.append(1)
        if len(calls) == 2:
            write_all(store, dict(list(objects.items())[:1]), **options)
            raise StorageError("the disk is full")
        write_all(store, objects, **options)

    monkeypatch.setattr(Store, "write_all", failing)
    with pytest.raises(StorageError, match="disk is full"):
        export(run, tmp_path / "cut", threads=1)
    monkeypatch.undo()
    assert 0 < len(tree(tmp_path / "cut")) < 11
    assert export(run, tmp_path / "cut").written < 11
    assert tree(tmp_path / "cut") == tree(tmp_path / "whole")


def test_jpeg_keeps_the_chroma_and_its_loss_is_reported(run: Run, tmp_path: Path) -> None:
    result = export(run, tmp_path, format="jpg", quality=90)
    with Image.open(tmp_path / "train/fused/0001.jpg") as image:
        assert image.format == "JPEG"
        assert image.layer[0][1:3] == image.layer[1][1:3]  # sampling factors
    assert result.loss is not None
    assert result.loss.pairs == 8
    assert 25 < result.loss.lowest_psnr <= result.loss.psnr < 60
    assert result.loss.scores.keys() == {"EN", "SD"}
    assert any(result.loss.scores.values())


def test_the_scores_of_an_export_are_those_of_its_run_to_the_last_bit(
    small: FinishedRun, ray_address: str, tmp_path: Path
) -> None:
    run = (
        Store(str(small.out)),
        RunRecord.model_validate_json((small.out / "run.json").read_text()),
    )
    export(run, tmp_path / "fused", preset="pair-id")
    irfuse.score_collection(
        irfuse.ScoreOptions(
            source=str(small.source),
            fused=str(tmp_path / "fused"),
            name="exported",
            out=str(tmp_path / "scores"),
            address=ray_address,
            workers=1,
        )
    )
    metrics = run[1].metrics
    assert len(metrics) >= 12
    expected = {row["pair_id"]: [row[m] for m in metrics] for row in read_rows(small.out)}
    rows = read_rows(tmp_path / "scores")
    assert {row["pair_id"]: [row[m] for m in metrics] for row in rows} == expected

    scored = Store(str(tmp_path / "scores"))
    copied = export((scored, run[1]), tmp_path / "again", preset="pair-id")
    assert copied.pairs == len(expected)
    assert tree(tmp_path / "again") == tree(tmp_path / "fused")


def test_the_command_says_what_was_exported(run: Run, tmp_path: Path) -> None:
    ran = call_cli("export", "folder", run[0].url, tmp_path / "out", "--where", "subset='train'")
    assert ran.returncode == 0, ran.stderr
    assert "average: 5 of 12 pairs exported, 5 newly written; 5 files" in ran.stdout
    assert "Without a file: 1 failed, 6 left out by --where" in ran.stdout


def test_runs_and_exports_may_be_on_s3(run: Run, tmp_path: Path, s3_moto: S3Server) -> None:
    options = s3_moto.storage_options
    bucket = s3_moto.new_bucket()
    local, remote = run[0], Store(f"s3://{bucket}/run", options)
    for entry in local.entries():
        remote.write(entry.key, local.read(entry.key))
    result = irfuse.export_folder(
        ExportFolderOptions(run=remote.url, out=f"s3://{bucket}/fused", storage_options=options)
    )
    assert result.pairs == 11
    exported = Store(f"s3://{bucket}/fused", options)
    export(run, tmp_path)
    for key, digest in tree(tmp_path).items():
        assert hashlib.sha256(exported.read(key)).hexdigest() == digest
    check = irfuse.check_export(ExportCheckOptions(out=exported.url, storage_options=options))
    check.require_sound()
    assert check.files == 11


def test_names_may_have_dots_spaces_accents_and_200_characters(run: Run, tmp_path: Path) -> None:
    long = "é. " + "x" * 200
    export(run, tmp_path, name=f"{{subset}}/{long}.{{stem}}")
    assert (tmp_path / f"train/{long}.0001.png").read_bytes() == images(run)["train/0001"]
