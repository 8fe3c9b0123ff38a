"""The studies of published tables: they are valid, and their values are those of the papers."""

import re
import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest
from support.reference_data import read_golden

from fusion_core.errors import InvalidValueError
from jobs.study.definition import check_methods, define_study
from jobs.study.options import StudyRunOptions
from jobs.study.papers import list_papers, read_paper
from jobs.study.settings import StudySettings

NAMES = [
    "densefuse-table2", "res2netfuse-table2", "res2netfuse-table4",
    *(f"resnet-zca-table{n}" for n in range(1, 7)), "resnet152-table1", "vgg-table1", "vgg-table2",
]  # fmt: skip


def define(name: str, folder: Path, **options: object) -> StudySettings:
    (folder / "TNO").mkdir(exist_ok=True)
    return define_study(
        StudyRunOptions(
            sources=(f"paper:{name}",),
            out=str(folder / "out"),
            collections=f"TNO={folder}/TNO",
            **options,
        )
    )


def published(name: str) -> dict[str, dict[str, float]]:
    rows = tomllib.loads(read_paper(f"paper:{name}"))["published"]
    return {row["label"]: row["values"] for row in rows}


def test_all_tables_are_there() -> None:
    assert list_papers() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_the_study_of_a_paper_can_be_computed(name: str, tmp_path: Path) -> None:
    study = define(name, tmp_path)
    check_methods(study, untrained=False)
    assert study.collections["TNO"].source == f"{tmp_path}/TNO"
    rows = {row.label: row for row in study.published}
    assert set(study.methods) <= set(rows), "every method has its published row"
    assert study.metrics.names is not None
    for row in rows.values():
        assert set(row.values) == set(study.metrics.names)
        assert re.search(r"Table", row.source)


@pytest.mark.parametrize("table", [1, 2, 3])
def test_the_tables_of_resnet_and_zca_have_twelve_layers(table: int) -> None:
    assert len(published(f"resnet-zca-table{table}")) == 12


def test_values_that_stand_in_two_tables_are_equal() -> None:
    norms, networks = published("resnet-zca-table4"), published("resnet-zca-table1")
    assert norms["l1 conv4"] == networks["ResNet50 conv4"]
    longer = published("resnet-zca-table5")["l1 conv4"]
    assert norms["l1 conv4"].items() <= longer.items()
    assert published("vgg-table1")["VGG-ML"]["Nabf"] == published("vgg-table2")["VGG-ML"]["Nabf"]


@pytest.mark.parametrize(
    ("name", "label", "method", "pairs"),
    [
        ("vgg-table1", "CBF", "cbf", range(1, 22)),
        ("resnet152-table1", "CBF", "cbf", (1, 8, 12, 13, 16)),
    ],
)
def test_published_means_are_those_of_the_published_pairs(
    shared_reference: Path, name: str, label: str, method: str, pairs: Sequence[int]
) -> None:
    rows = [r for r in read_golden(shared_reference) if r.method == method and r.pair in pairs]
    for metric, mean in published(name)[label].items():
        values = [row.value for row in rows if row.metric == metric]
        assert len(values) == len(pairs)
        assert sum(values) / len(values) == pytest.approx(mean, abs=6e-5), metric


def test_own_images_can_stand_in_for_a_method(tmp_path: Path) -> None:
    study = define("densefuse-table2", tmp_path, fused=f"CNN={tmp_path}/cnn")
    assert study.methods["CNN"].fused == {"TNO": f"{tmp_path}/cnn"}
    assert study.methods["CBF"].method == "cbf"


def test_a_missing_collection_says_how_to_give_it(tmp_path: Path) -> None:
    options = StudyRunOptions(sources=("paper:vgg-table1",), out="x")
    with pytest.raises(InvalidValueError, match="give --collections TNO=FOLDER"):
        define_study(options)


def test_an_unknown_paper_gets_a_suggestion() -> None:
    with pytest.raises(InvalidValueError, match="did you mean vgg-table1"):
        read_paper("paper:vgg-tabel1")
