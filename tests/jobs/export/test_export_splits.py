"""Splits that text files name."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from support.cli import call_cli
from support.computed_runs import compute_run

import irfuse
from fusion_core.errors import InvalidValueError, NotFoundError, RunConflictError
from irfuse import ExportFolderOptions, ExportHfOptions
from jobs.export.splits import split_name

PAIRS = 3
SUBSETS = ("day", "night")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Location of a run of six pairs in two subsets."""
    return compute_run(tmp_path_factory.mktemp("run"), PAIRS, subsets=SUBSETS)[0].url


def write(folder: Path, **files: str) -> tuple[str, ...]:
    for name, text in files.items():
        (folder / f"{name}.txt").write_text(text)
    return tuple(str(folder / f"{name}.txt") for name in files)


def to_yolo(run: str, out: Path, **options: Any) -> Any:
    settings: dict[str, Any] = {"preset": "yolo", **options}
    return irfuse.export_folder(ExportFolderOptions(run=run, out=str(out), **settings))


def images(out: Path) -> list[str]:
    return sorted(str(path.relative_to(out / "images")) for path in out.rglob("*.png"))


def test_files_of_each_split_name_pairs_and_images(run: str, tmp_path: Path) -> None:
    split = write(
        tmp_path,
        align_train="# made by hand\nday/0000\n\n./night/vis/0001.png\n",
        align_validation="day/0002\nnobody\n",
    )
    result = to_yolo(run, tmp_path / "out", split=split)
    assert images(tmp_path / "out") == ["train/0000.png", "train/0001.png", "val/0002.png"]
    text = (tmp_path / "out/data.yaml").read_text()
    assert 'train: "images/train"\nval: "images/val"\n' in text
    assert (result.pairs, result.unfit) == (3, 3)
    assert result.notes[0] == f"1 line of {split[1]} names no pair"
    rows = list(csv.reader((tmp_path / "out/_irfuse/skipped.csv").open()))[1:]
    assert {row[0]: row[1] for row in rows} == dict.fromkeys(
        ("day/0001", "night/0000", "night/0002"), "split"
    )


def test_one_file_may_name_the_split_of_each_pair(run: str, tmp_path: Path) -> None:
    split = write(tmp_path, pairs="day/0000 train\nday/0001,val\nnight/0002\ttest\n")
    irfuse.export_hf(ExportHfOptions(run=run, out=str(tmp_path / "hub"), split=split))
    names = {path.name.partition("-")[0] for path in (tmp_path / "hub/data").iterdir()}
    assert names == {"train", "validation", "test"}
    card = (tmp_path / "hub/README.md").read_text()
    assert "- split: validation\n    path: data/validation-*.parquet" in card


def test_a_template_has_the_split_in_place_of_the_subset(run: str, tmp_path: Path) -> None:
    split = write(tmp_path, test="day/0000\n")
    options = ExportFolderOptions(
        run=run, out=str(tmp_path / "out"), name="{subset}/{vis_dir}/{stem}", split=split
    )
    assert irfuse.export_folder(options).example == "test/day/vis/0000.png"


def test_splits_that_do_not_fit_are_errors_before_anything_is_written(
    run: str, tmp_path: Path
) -> None:
    twice = write(tmp_path, train="day/0000\n", val="day/0000\nday/0001\n")
    with pytest.raises(InvalidValueError, match="'day/0000' is in the splits 'train' and 'val'"):
        to_yolo(run, tmp_path / "out", split=twice)
    within = write(tmp_path, pairs="day/0000 train\n./day/0000 val\n")
    with pytest.raises(
        InvalidValueError, match=r"'\./day/0000' is in the splits 'train' and 'val'"
    ):
        to_yolo(run, tmp_path / "out", split=within)
    with pytest.raises(NotFoundError, match="names no pair of the run in its 2 lines"):
        to_yolo(run, tmp_path / "out", split=write(tmp_path, others="a\nb\n"))
    with pytest.raises(NotFoundError, match=r"missing\.txt"):
        to_yolo(run, tmp_path / "out", split=(f"{tmp_path}/missing.txt",))
    with pytest.raises(ValueError, match="Expected --preset yolo, or a --name"):
        ExportFolderOptions(run=run, out="out", split=twice)
    assert not (tmp_path / "out").exists()


def test_a_condition_that_no_pair_of_a_split_fits_is_an_error(run: str, tmp_path: Path) -> None:
    given: dict[str, Any] = {
        "where": "subset = 'night'",
        "split": write(tmp_path, train="day/0000"),
    }
    options = ExportHfOptions(run=run, out=str(tmp_path / "out"), **given)
    with pytest.raises(InvalidValueError, match="fits --where and --split; there is nothing"):
        irfuse.export_hf(options)
    with pytest.raises(InvalidValueError, match="fits --where and --split; there is nothing"):
        to_yolo(run, tmp_path / "out", **given)
    assert not (tmp_path / "out").exists()


def test_a_file_may_begin_with_a_byte_order_mark(run: str, tmp_path: Path) -> None:
    result = to_yolo(run, tmp_path / "out", split=write(tmp_path, train="\ufeffday/0000\n"))
    assert (result.pairs, result.notes[0][:4]) == (1, "data")


def test_other_splits_for_an_export_are_an_error(run: str, tmp_path: Path) -> None:
    to_yolo(run, tmp_path / "out", split=write(tmp_path, train="day/0000\n"))
    with pytest.raises(RunConflictError, match="splits: existing"):
        to_yolo(run, tmp_path / "out", split=write(tmp_path, train="day/0001\n"))


def test_the_command_takes_several_files_and_the_word_subset(run: str, tmp_path: Path) -> None:
    files = write(tmp_path, train="day/0000\n", val="day/0001\n")
    given = [part for file in files for part in ("--split", file)]
    command = ("export", "folder", run, "--preset", "yolo")
    split = call_cli(*command, tmp_path / "a", *given)
    assert split.returncode == 0, split.stderr
    assert images(tmp_path / "a") == ["train/0000.png", "val/0001.png"]
    assert call_cli(*command, tmp_path / "b", "--split", "subset").returncode == 0
    assert len(images(tmp_path / "b")) == 6


@pytest.mark.parametrize(
    ("text", "name"),
    [("train-all-02", "train"), ("val", "val"), ("instances_test", "test"), ("foggy-1", "foggy_1")],
)
def test_names_of_files_say_which_split_they_are(text: str, name: str) -> None:
    assert split_name(text) == name
