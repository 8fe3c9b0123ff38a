"""The report of studies whose runs are given: statistics, tables, figures and the page."""

import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy import stats
from support.cli import call_cli
from support.records import method_origin
from support.reference_data import PAIRS, read_golden
from support.s3 import S3Server
from support.studies import LABELS, METRICS, made_up_scores, write_run, write_study

from cluster.storage.store import Store
from fusion_core.errors import InvalidValueError, ManifestError, NotFoundError, RunConflictError
from jobs.study.add import add_runs
from jobs.study.options import StudyAddOptions, StudyReportOptions, StudyStatusOptions
from jobs.study.report import StudyReport, report_study
from jobs.study.statistics_files import SCHEMAS
from jobs.study.status import study_status

GROUPS = ["day", "day", "night", "night", "dusk", "dusk", *"abcdef"]


def report(folder: Path, **options: Any) -> StudyReport:
    return report_study(StudyReportOptions(out=str(folder), **options))


def table(folder: Path, name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(folder / f"{name}.parquet").to_pylist()
    return rows


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    published = {"label": "soft", "source": "Table 1 of a paper", "values": {"EN": 0.7}}
    write_study(folder, {"TNO": made_up_scores()}, published=[published])
    report(folder)
    return folder


def test_scores_are_one_row_per_pair_method_and_metric_in_order(study: Path) -> None:
    rows = table(study, "scores")
    assert list(rows[0]) == [
        "collection", "subset", "pair_id", "label", "metric", "value", "status",
    ]  # fmt: skip
    assert len(rows) == 12 * len(LABELS) * len(METRICS)
    keys = [tuple(list(row.values())[:5]) for row in rows]
    assert keys == sorted(keys)
    expected = made_up_scores()["soft"][3, METRICS.index("Qabf")]
    (found,) = (
        r for r in rows if (r["pair_id"], r["label"], r["metric"]) == ("p003", "soft", "Qabf")
    )
    assert (found["value"], found["status"]) == (expected, "ok")


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_table_of_statistics_has_its_columns(study: Path, name: str) -> None:
    found = pq.read_schema(study / "statistics" / f"{name}.parquet")
    assert found.equals(SCHEMAS[name])
    assert table(study, f"statistics/{name}")


def test_statistics_are_those_of_scipy(study: Path) -> None:
    scores = made_up_scores()
    (friedman,) = (r for r in table(study, "statistics/friedman") if r["metric"] == "Qabf")
    columns = [values[:, METRICS.index("Qabf")] for values in scores.values()]
    assert friedman["chi2"] == pytest.approx(stats.friedmanchisquare(*columns).statistic, rel=1e-9)
    (pair,) = (
        r
        for r in table(study, "statistics/pairwise")
        if (r["metric"], r["a"], r["b"]) == ("Qabf", "sharp", "noisy")
    )
    expected = stats.wilcoxon(columns[0], columns[2])
    assert (pair["w"], pair["p"]) == pytest.approx((expected.statistic, expected.pvalue), rel=1e-9)
    assert pair["verdict"] == "a"
    rows = table(study, "statistics/pairwise")
    corrected = stats.false_discovery_control([row["p"] for row in rows], method="bh")
    assert [row["p_bh"] for row in rows] == pytest.approx(list(corrected), rel=1e-9)


def test_the_ranking_is_by_all_metrics_without_aliases(tmp_path: Path) -> None:
    metrics = ("EN", "MI_as_published", "Qabf")
    scores = {"a": [[1.0, 2.0, 0.1]] * 8, "b": [[2.0, 4.0, 0.2]] * 8, "c": [[3.0, 6.0, 0.05]] * 8}
    values = {label: np.array(rows) for label, rows in scores.items()}
    write_study(tmp_path, {"TNO": values}, metrics=metrics)
    ranked = {each.label: each.rank_mean for each in report(tmp_path).ranking}
    assert ranked == {"b": 1.5, "c": 2.0, "a": 2.5}
    (pair,) = (r for r in table(tmp_path, "statistics/metrics") if r["alias"])
    assert {pair["metric_a"], pair["metric_b"]} == {"EN", "MI_as_published"}


def test_published_scores_of_tno_give_the_known_ranking(
    shared_reference: Path, tmp_path: Path
) -> None:
    labels = ("cbf", "resnet152", "wls")
    rows = [row for row in read_golden(shared_reference) if row.method in labels]
    metrics = [m for m in dict.fromkeys(r.metric for r in rows) if m != "EPI_a"]
    known = {(row.method, row.pair, row.metric): row.value for row in rows}
    scores = {
        label: np.array([[known[label, pair, metric] for metric in metrics] for pair in PAIRS])
        for label in labels
    }
    ids = {("TNO", label): {"pair_ids": [str(pair) for pair in PAIRS]} for label in labels}
    write_study(tmp_path, {"TNO": scores}, metrics=metrics, runs=ids)
    found = report(tmp_path)
    assert {each.label: round(each.rank_mean, 3) for each in found.ranking} == {
        "resnet152": 1.524, "wls": 1.783, "cbf": 2.693,
    }  # fmt: skip
    assert found.ranking[0].p_first == 1.0
    pairs = table(tmp_path, "statistics/pairs")
    agreement = sorted((row["agreement_w"], row["pair_id"]) for row in pairs)
    assert [round(agreement[place][0], 3) for place in (0, 10, 20)] == [0.037, 0.457, 0.704]
    assert {pair for _, pair in agreement[:4]} == {"8", "9", "14", "21"}
    tests = {(r["metric"], r["a"], r["b"]): r for r in table(tmp_path, "statistics/pairwise")}
    assert tests["Qabf", "cbf", "wls"]["rank_biserial"] == pytest.approx(-0.957, abs=6e-4)
    assert tests["Qabf", "resnet152", "wls"]["verdict"] == "none"


def test_the_same_runs_give_the_same_bytes(study: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(study, copy)
    for name in ("statistics", "tables", "figures", "report.html", "scores.parquet"):
        path = copy / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    report(copy)
    written = [path for path in sorted(study.rglob("*")) if path.is_file()]
    assert len(written) > 30
    for path in written:
        assert (copy / path.relative_to(study)).read_bytes() == path.read_bytes(), path


def test_a_study_on_s3_has_the_statistics_of_one_on_disk(s3_moto: S3Server, study: Path) -> None:
    out = Store(f"s3://{s3_moto.new_bucket()}/study", s3_moto.storage_options)
    write_study(out, {"TNO": made_up_scores()})
    found = report_study(StudyReportOptions(out=out.url, storage_options=out.storage_options))
    assert found.location == f"{out.url}/report.html"
    assert out.read("report.html").startswith(b"<!doctype html>")
    for path in sorted((study / "statistics").iterdir()):
        assert out.read(f"statistics/{path.name}") == path.read_bytes(), path.name


def test_a_method_that_failed_too_often_does_not_take_pairs_from_the_others(
    tmp_path: Path,
) -> None:
    failed = {("TNO", "noisy"): {"failed": range(4)}, ("TNO", "soft"): {"failed": [0]}}
    write_study(tmp_path, {"TNO": made_up_scores()}, runs=failed)
    found = report(tmp_path)
    assert found.disqualified == {"TNO": ["noisy"]}
    summary = {(r["label"], r["metric"]): r for r in table(tmp_path, "statistics/summary")}
    assert (summary["sharp", "EN"]["n"], summary["soft", "EN"]["n_failed"]) == (11, 1)
    assert summary["noisy", "EN"]["n"] == 8
    assert not summary["noisy", "EN"]["compared"]
    page = (tmp_path / "report.html").read_text()
    assert "not compared: 33 % of its pairs failed" in page
    assert "The image is damaged" in page
    assert len(report(tmp_path, max_failure_rate=0.5).ranking) == 3


def test_all_methods_may_fail(tmp_path: Path) -> None:
    failed = {("TNO", label): {"failed": range(9)} for label in LABELS}
    write_study(tmp_path, {"TNO": made_up_scores()}, runs=failed)
    found = report(tmp_path)
    assert found.ranking == []
    assert found.disqualified == {"TNO": list(LABELS)}


def test_groups_are_averaged_and_resampled_as_a_whole(tmp_path: Path) -> None:
    subsets = {("TNO", label): {"subsets": GROUPS} for label in LABELS}
    write_study(tmp_path, {"TNO": made_up_scores()}, runs=subsets)
    report(tmp_path, block="group")
    assert {row["n_blocks"] for row in table(tmp_path, "statistics/friedman")} == {9}
    (mean,) = (
        row["median_difference"]
        for row in table(tmp_path, "statistics/pairwise")
        if (row["metric"], row["a"], row["b"]) == ("EN", "sharp", "soft")
    )
    scores = made_up_scores()
    difference = scores["sharp"][:, 0] - scores["soft"][:, 0]
    averages = [difference[[g == name for g in GROUPS]].mean() for name in dict.fromkeys(GROUPS)]
    assert mean == pytest.approx(np.median(averages), rel=1e-9)


def test_groups_need_subsets(study: Path) -> None:
    with pytest.raises(InvalidValueError, match=r"no groups.*--block pair"):
        report(study, block="group")


def test_few_pairs_are_not_tested(tmp_path: Path) -> None:
    write_study(tmp_path, {"TNO": made_up_scores(5)})
    report(tmp_path)
    assert {row["p"] for row in table(tmp_path, "statistics/pairwise")} == {None}
    assert "n &lt; 6" in (tmp_path / "report.html").read_text()


def test_equal_methods_tie(tmp_path: Path) -> None:
    values = made_up_scores(8)["sharp"]
    write_study(tmp_path, {"TNO": {"a": values, "b": values.copy()}})
    found = report(tmp_path)
    assert [(e.rank_mean, e.p_first) for e in found.ranking] == [(1.5, 0.5), (1.5, 0.5)]
    rows = table(tmp_path, "statistics/pairwise")
    assert {(row["p"], row["rank_biserial"], row["verdict"]) for row in rows} == {
        (1.0, 0.0, "none")
    }


def test_collections_are_not_pooled_but_ranked_by_their_means(tmp_path: Path) -> None:
    write_study(tmp_path, {"TNO": made_up_scores(), "Road": made_up_scores(8)})
    report(tmp_path)
    ranks = table(tmp_path, "statistics/ranks")
    assert list(dict.fromkeys(row["collection"] for row in ranks)) == ["TNO", "Road", "(all)"]
    (best,) = (
        row
        for row in ranks
        if (row["collection"], row["scope"], row["label"]) == ("(all)", "EN", "sharp")
    )
    assert best["rank_mean"] == 1.0


def test_a_missing_collection_is_not_given_and_unfinished_cells_are_left_out(
    tmp_path: Path,
) -> None:
    scores = made_up_scores()
    two = {"TNO": scores, "Road": {"sharp": scores["sharp"], "soft": scores["soft"]}}
    write_study(tmp_path, two, runs={("Road", "soft"): {"shards": 1}})
    cells = study_status(StudyStatusOptions(out=str(tmp_path))).cells
    states = {(cell.collection, cell.label): cell.state for cell in cells}
    assert states["Road", "soft"] == "unfinished"
    assert states["Road", "noisy"] == "not run"
    report(tmp_path)
    labels = {
        r["label"] for r in table(tmp_path, "statistics/summary") if r["collection"] == "Road"
    }
    assert labels == {"sharp"}
    assert "unfinished" in (tmp_path / "report.html").read_text()


def test_nothing_finished_is_nothing_to_report(tmp_path: Path) -> None:
    write_study(tmp_path, {"TNO": made_up_scores()}, runs={
        ("TNO", label): {"shards": 1} for label in LABELS
    })  # fmt: skip
    with pytest.raises(NotFoundError, match="no finished cell"):
        report(tmp_path)


def test_untrained_methods_are_refused_or_marked(tmp_path: Path) -> None:
    write_study(tmp_path, {"TNO": made_up_scores()}, runs={
        ("TNO", "soft"): {"origin": method_origin(parameters={"sixteen_bit": "percentile"})}
    })  # fmt: skip
    with pytest.raises(InvalidValueError, match="soft has untrained weights"):
        report(tmp_path)
    report(tmp_path, untrained=True)
    assert "Untrained weights: soft" in (tmp_path / "report.html").read_text()
    for name in ("TNO.tex", "TNO.md"):
        text = (tmp_path / "tables" / name).read_text().replace("\\", "")
        assert "soft [untrained]" in text


def test_some_metrics_can_be_compared_alone(study: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(study, copy)
    report(copy, metrics="EN,SCD")
    assert {row["metric"] for row in table(copy, "statistics/friedman")} == {"EN", "SCD"}
    assert len(table(copy, "scores")) == 12 * 3 * 5  # all are kept
    with pytest.raises(InvalidValueError, match="Unknown metric of this study 'SD'"):
        report(copy, metrics="SD")


def test_an_unknown_baseline_is_an_error(study: Path) -> None:
    with pytest.raises(InvalidValueError, match="did you mean sharp"):
        report(study, baseline="shrap")


def test_a_missing_package_is_named_and_the_rest_is_written(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(study, copy, ignore=shutil.ignore_patterns("tables", "statistics", "figures"))
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    found = report(copy)
    (text,) = found.left_out
    assert "because matplotlib is not installed (pip install 'irfuse[study]')" in text
    assert (copy / "tables/TNO.tex").exists()
    assert (copy / "statistics/ranks.parquet").exists()
    assert (copy / "report.html").exists()


# Tables


def test_tables_mark_best_and_second_best_as_papers_do(study: Path) -> None:
    latex = (study / "tables/TNO.tex").read_text()
    means = {label: values.mean(axis=0) for label, values in made_up_scores().items()}
    en = METRICS.index("EN")
    assert rf"sharp & \textbf{{{means['sharp'][en]:.4f}}}" in latex
    assert rf"\underline{{{means['soft'][en]:.4f}}}" in latex
    assert rf"\textbf{{{means['noisy'][METRICS.index('Nabf')]:.5f}}}" in latex  # lower is better
    assert r"SSIM\_a$\uparrow$" in latex
    assert "n = 12" in latex
    markdown = (study / "tables/TNO.md").read_text()
    assert f"**{means['sharp'][en]:.4f}**" in markdown


def test_published_rows_stand_beside_computed_ones_with_the_deviation(study: Path) -> None:
    assert r"\textit{soft (published)} & 0.7000 & --" in (study / "tables/TNO.tex").read_text()
    lines = (study / "tables/TNO.csv").read_text().splitlines()
    assert "soft,Table 1 of a paper,0.7,,," in lines[-1]
    deviation = 0.7 - made_up_scores()["soft"][:, 0].mean()
    assert f"+{deviation:.4f}" in (study / "report.html").read_text()


def test_values_of_every_pair_are_in_a_table(study: Path) -> None:
    lines = (study / "tables/TNO-pairs.csv").read_text().splitlines()
    assert len(lines) == 1 + 12 * 3
    assert lines[0] == '"pair_id","subset","method","failed","EN","Qabf","Nabf","SCD","SSIM_a"'


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex with booktabs")
def test_every_latex_table_compiles(study: Path, tmp_path: Path) -> None:
    tables = sorted((study / "tables").glob("*.tex"))
    assert len(tables) == 3
    inputs = "\n".join(rf"\input{{{path}}}" for path in tables)
    document = tmp_path / "tables.tex"
    document.write_text(
        rf"\documentclass{{article}}\usepackage{{booktabs}}\begin{{document}}{inputs}\end{{document}}"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", document.name]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]


# The page


def test_the_page_refers_to_nothing_outside(study: Path) -> None:
    page = (study / "report.html").read_text()
    assert not re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', page)
    assert "@import" not in page
    assert "url(http" not in page


def test_every_id_of_the_page_is_unique_and_every_reference_leads_somewhere(study: Path) -> None:
    page = (study / "report.html").read_text()
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(ids)
    assert set(re.findall(r"url\(#([^)]+)\)", page)) <= set(ids)


def test_names_cannot_break_the_page(tmp_path: Path) -> None:
    ids = [f"<script>{n}" for n in range(12)]
    runs = {("TNO", label): {"pair_ids": ids} for label in LABELS}
    write_study(tmp_path, {"TNO": made_up_scores()}, runs=runs)
    report(tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "<script>1" not in page
    assert "&lt;script&gt;1" in page


def test_a_report_of_tno_takes_less_than_ten_seconds(tmp_path: Path) -> None:
    labels = [f"method {n}" for n in range(5)]
    metrics = [*list(METRICS), "MI", "SD", "FMI_w", "FMI_dct", "MS_SSIM", "EPI_a", "CC"]
    write_study(tmp_path, {"TNO": made_up_scores(21, labels, metrics)}, metrics=metrics)
    started = time.perf_counter()
    report(tmp_path)
    assert time.perf_counter() - started < 30  # on a busy machine; alone it takes some 4 s


# Adding runs


def test_finished_runs_become_a_study(tmp_path: Path) -> None:
    for label, values in made_up_scores().items():
        write_run(Store(str(tmp_path / label)), "TNO", label, values)
    runs = tuple(str(tmp_path / label) for label in LABELS)
    added = add_runs(StudyAddOptions(out=str(tmp_path / "study"), runs=runs))
    assert added.added == [f"runs/TNO/{label}" for label in LABELS]
    again = add_runs(StudyAddOptions(out=str(tmp_path / "study"), runs=runs))
    assert (again.added, again.existing) == ([], added.added)
    assert next(each.label for each in report(tmp_path / "study").ranking) == "sharp"


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"pair_ids": [f"q{n}" for n in range(12)]}, ManifestError, "p000, p001, p002 and 9 more"),
        ({"metrics": METRICS[:4]}, RunConflictError, "has no SSIM_a"),
        ({"irfuse_version": "9"}, RunConflictError, "another version .irfuse_version"),
        ({"shards": 1}, RunConflictError, "unfinished: 1 of 2 shards"),
    ],
)
def test_a_run_that_cannot_be_compared_is_refused(
    tmp_path: Path, changed: dict[str, Any], error: type[Exception], message: str
) -> None:
    scores = made_up_scores()
    write_run(Store(str(tmp_path / "a")), "TNO", "sharp", scores["sharp"])
    count = len(changed.get("metrics", METRICS))
    write_run(Store(str(tmp_path / "b")), "TNO", "soft", scores["soft"][:, :count], **changed)
    out = str(tmp_path / "study")
    add_runs(StudyAddOptions(out=out, runs=(str(tmp_path / "a"),)))
    with pytest.raises(error, match=message):
        add_runs(StudyAddOptions(out=out, runs=(str(tmp_path / "b"),)))
    assert "soft" not in (tmp_path / "study/study.json").read_text()


def test_the_commands_print_a_grid_and_the_ranking(study: Path) -> None:
    grid = call_cli("study", "status", study)
    assert re.search(r"sharp +✓ 12/12", grid.stdout)
    found = call_cli("study", "report", study, "--correction", "bh")
    assert found.returncode == 0
    assert re.search(r"sharp +1\.\d\d +1\.\d\d–", found.stdout)
    assert f"Report:     {study}/report.html" in found.stdout
