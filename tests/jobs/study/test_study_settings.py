"""Study files, studies on the command line, and the record that may only grow."""

from pathlib import Path
from typing import Any

import pytest

from cluster.storage.store import Store
from fusion_core.errors import InvalidValueError, RunConflictError
from jobs.study.cells import choose_cells, options_of
from jobs.study.definition import check_methods, define_study
from jobs.study.options import StudyRunOptions
from jobs.study.record import STUDY_KEY, StudyRecord, find_study, grow, record_of, save_study
from jobs.study.settings import StudySettings

FILE = """
[collections]
TNO = "data/TNO"
Road = { source = "s3://bucket/Road", sample = 100 }
[methods.dense_l1]
method = "densefuse"
params = { strategy = "l1_norm" }
[methods.cbf]
fused = { TNO = "results/cbf" }
[metrics]
names = ["EN", "Qabf"]
[statistics]
correction = "bh"
[[published]]
label = "cbf"
collection = "TNO"
source = "a table"
values = { EN = 6.8 }
"""


def define(folder: Path, text: str = FILE, **options: Any) -> StudySettings:
    path = folder / "study.toml"
    path.write_text(text)
    return define_study(StudyRunOptions(sources=(str(path),), out=str(folder / "out"), **options))


def test_locations_in_a_study_file_are_relative_to_it(tmp_path: Path) -> None:
    study = define(tmp_path)
    assert study.collections["TNO"].source == f"{tmp_path}/data/TNO"
    assert study.collections["Road"].source == "s3://bucket/Road"
    assert study.methods["cbf"].fused == {"TNO": f"{tmp_path}/results/cbf"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("params = {", "parms = {"), r"study.toml: methods.dense_l1.parms: there is no such key"),
        (('correction = "bh"', 'correction = "hol"'), "statistics.correction.*did you mean holm"),
        (('TNO = "results', 'NOT = "results'), "names the collection 'NOT'"),
        (("[metrics]", "[metrics"), "not a TOML file"),
        (("values = { EN", "values = { NE"), "Unknown metric: NE"),
        (("[methods.cbf]", '[methods."a/b"]'), "Expected a name"),
        (('method = "densefuse"', ""), "Expected either method or fused"),
        (("sample = 100", "sample = 0"), "collections.Road.sample"),
    ],
)
def test_a_mistake_in_a_study_file_is_named_by_its_key(
    tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    assert change[0] in FILE
    with pytest.raises(InvalidValueError, match=message):
        define(tmp_path, FILE.replace(*change))


def test_collections_and_methods_on_the_command_line_need_no_file(tmp_path: Path) -> None:
    for name in ("TNO", "Road"):
        (tmp_path / name).mkdir()
    (tmp_path / "cbf/TNO").mkdir(parents=True)
    (tmp_path / "cbf/TNO/1.png").touch()
    study = define_study(
        StudyRunOptions(
            sources=(f"{tmp_path}/TNO", f"{tmp_path}/Road"),
            methods="densefuse,average",
            fused=f"cbf={tmp_path}/cbf",
            out="x",
        )
    )
    assert list(study.collections) == ["TNO", "Road"]
    assert list(study.methods) == ["densefuse", "average", "cbf"]
    assert study.methods["cbf"].fused == {"TNO": f"{tmp_path}/cbf/TNO"}  # Road is not given


def test_one_folder_of_fused_images_belongs_to_the_only_collection(tmp_path: Path) -> None:
    (tmp_path / "TNO").mkdir()
    options = StudyRunOptions(sources=(f"{tmp_path}/TNO",), fused=f"cbf={tmp_path}/cbf", out="x")
    assert define_study(options).methods["cbf"].fused == {"TNO": f"{tmp_path}/cbf"}


def test_the_command_line_replaces_the_source_of_a_collection(tmp_path: Path) -> None:
    study = define(tmp_path, collections=f"Road={tmp_path}/other")
    assert study.collections["Road"].source == f"{tmp_path}/other"
    assert study.collections["Road"].sample == 100


def test_a_study_without_methods_says_how_to_give_them(tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError, match=r"has no methods.*--methods"):
        define_study(StudyRunOptions(sources=(str(tmp_path),), out="x"))


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ({"method": "densfuse"}, "methods.m: Unknown method.*densefuse"),
        ({"method": "densefuse", "params": {"strategy": "l2"}}, "methods.m: Parameter strategy"),
        ({"method": "densefuse", "weights": "random:0"}, "untrained weights.*--untrained"),
    ],
)
def test_methods_are_checked_before_anything_is_computed(
    method: dict[str, Any], message: str
) -> None:
    study = StudySettings(collections={"c": "/c"}, methods={"m": method})  # type: ignore[dict-item]
    with pytest.raises(InvalidValueError, match=message):
        check_methods(study, untrained=False)


def test_untrained_weights_can_be_accepted() -> None:
    method = {"method": "densefuse", "weights": "random:0"}
    study = StudySettings(collections={"c": "/c"}, methods={"m": method})  # type: ignore[dict-item]
    check_methods(study, untrained=True)


def test_a_record_grows_by_collections_methods_and_folders(tmp_path: Path) -> None:
    first = record_of(define(tmp_path))
    more = FILE.replace('TNO = "results/cbf" }', 'TNO = "results/cbf", Road = "road/cbf" }')
    more += '[methods.mean]\nmethod = "average"\n'
    grown = grow(first, record_of(define(tmp_path, more)))
    assert set(grown.methods) == {"dense_l1", "cbf", "mean"}
    assert grown.methods["cbf"].fused == {
        "TNO": f"{tmp_path}/results/cbf",
        "Road": f"{tmp_path}/road/cbf",
    }
    fewer = record_of(
        define(tmp_path, FILE.replace('Road = { source = "s3://bucket/Road", sam', "#"))
    )
    assert set(grow(first, fewer).collections) == {"TNO", "Road"}


@pytest.mark.parametrize(
    ("change", "key"),
    [
        (("l1_norm", "addition"), "methods.dense_l1.params.strategy: existing 'l1_norm'"),
        (("data/TNO", "data/other"), "collections.TNO.source"),
        (("sample = 100", "sample = 99"), "collections.Road.sample: existing 100, requested 99"),
        (('"Qabf"]', '"SCD"]'), "metrics: existing without SCD, requested without Qabf"),
        (("results/cbf", "results/x"), "methods.cbf.fused.TNO"),
    ],
)
def test_another_setting_of_an_existing_label_is_a_conflict_that_names_the_key(
    tmp_path: Path, change: tuple[str, str], key: str
) -> None:
    first = record_of(define(tmp_path))
    with pytest.raises(RunConflictError, match=key):
        grow(first, record_of(define(tmp_path, FILE.replace(*change))))


def test_how_methods_are_compared_may_change(tmp_path: Path) -> None:
    first = record_of(define(tmp_path))
    changed = grow(first, record_of(define(tmp_path, FILE.replace('"bh"', '"holm"'))))
    assert changed.statistics.correction == "holm"
    assert changed.fingerprint == first.fingerprint


def test_the_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    out, record = Store(str(tmp_path / "out")), record_of(define(tmp_path))
    save_study(out, None, record)
    assert find_study(out) == record
    before = (tmp_path / "out" / STUDY_KEY).stat().st_mtime_ns
    save_study(out, record, record)
    assert (tmp_path / "out" / STUDY_KEY).stat().st_mtime_ns == before


@pytest.fixture
def record(tmp_path: Path) -> StudyRecord:
    return record_of(define(tmp_path))


def test_cells_are_in_the_sequence_of_methods_without_those_that_are_not_given(
    record: StudyRecord,
) -> None:
    keys = [cell.key for cell in choose_cells(record, ())]
    assert keys == ["runs/TNO/dense_l1", "runs/Road/dense_l1", "runs/TNO/cbf"]


def test_only_selects_methods_and_collections(record: StudyRecord) -> None:
    assert [c.key for c in choose_cells(record, ["TNO", "cbf"])] == ["runs/TNO/cbf"]
    assert [c.key for c in choose_cells(record, ["Road"])] == ["runs/Road/dense_l1"]
    with pytest.raises(InvalidValueError, match="did you mean cbf"):
        choose_cells(record, ["CBF"])


def test_a_cell_is_an_ordinary_run(record: StudyRecord, tmp_path: Path) -> None:
    options = StudyRunOptions(sources=("x.toml",), out=str(tmp_path / "o"), workers=3)
    run, _, score = (options_of(record, cell, options) for cell in choose_cells(record, ()))
    assert (run.out, run.name, run.collection) == (
        f"{tmp_path}/o/runs/TNO/dense_l1",
        "dense_l1",
        "TNO",
    )
    assert run.model_dump()["params"] == {"strategy": "l1_norm"}
    assert score.model_dump()["fused"] == f"{tmp_path}/results/cbf"
    assert (score.workers, score.metrics) == (3, ("EN", "Qabf"))
