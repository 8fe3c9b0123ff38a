"""Summaries as tables of any width, JSON, CSV, Markdown and LaTeX."""

import csv
import io
import json

import pytest
from pydantic import ValidationError
from rich.console import Console
from support.summaries import metric_summary, run_summary, subset_summary

from fusion_core.metrics import METRICS
from jobs.console.summaries import print_summaries
from jobs.options import SummarizeOptions
from jobs.summary import Summary

TWO = [run_summary("a_b", EN=7.0, Nabf=0.001), run_summary("b", EN=6.5, Nabf=0.00035)]


def shown(summaries: list[Summary], width: int = 80, **form: bool) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None, force_terminal=True)
    outs = tuple(f"out{number}" for number in range(len(summaries)))
    print_summaries(console, summaries, SummarizeOptions(outs=outs, **form))
    assert isinstance(console.file, io.StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())


def test_runs_are_rows_and_metrics_are_columns() -> None:
    assert shown(TWO) == (
        "TNO: 2 runs, 21 pairs\n"
        "      n      EN↑     Nabf↓\n"
        "a_b  21  *7.0000   0.00100\n"
        "         ±0.2500  ±0.25000\n"
        "b    21   6.5000  *0.00035\n"
        "         ±0.2500  ±0.25000\n"
        "* best, ± half the 95 % interval of the mean"
    )


def test_the_subsets_of_one_run_are_its_rows() -> None:
    parts = [
        subset_summary(name, {"EN": metric_summary(mean)}, total=12, count=done, failed=done - 10)
        for name, mean, done in (("day", 7.0, 12), ("", 6.0, 10))
    ]
    assert shown([run_summary("a", *parts, EN=6.5)]) == (
        "TNO: a, 21 pairs\n"
        "                 n      EN↑\n"
        "(all)           21   6.5000\n"
        "                    ±0.2500\n"
        "(no subset)  10/12   6.0000\n"
        "day          10/12   7.0000\n"
        "± half the 95 % interval of the mean, n scored/all pairs"
    )


def test_the_subsets_of_several_runs_have_a_heading() -> None:
    part = subset_summary("day", {"EN": metric_summary(7.0)})
    lines = shown([run_summary("a", part, EN=6.5), run_summary("b", part, EN=6.5)]).splitlines()
    assert [line[:5].rstrip() for line in lines[2:]] == [
        "(all)", "  a", "", "  b", "", "day", "  a", "  b", "± hal",
    ]  # fmt: skip


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_columns_are_split_into_blocks_that_fit_the_terminal(width: int) -> None:
    metrics = list(METRICS)[:13]
    runs = [
        run_summary(name, **dict.fromkeys(metrics, mean))
        for name, mean in (("densefuse(strategy=l1_norm)", 12.5), ("b", 1.0), ("c", 2.0))
    ]
    text = shown(runs, width)
    table = text.split("\n", 1)[1].rsplit("\n", 1)[0]
    if width > 20:
        assert max(map(len, table.splitlines())) <= width
    for name in metrics:
        assert table.count(f" {name}{'↑' if METRICS[name].higher_is_better else '↓'}") == 1
    assert table.count("*") == table.count("+") == len(metrics)
    assert "…" not in table
    assert ("\n\n" in table) == (width < 200)


def test_long_names_of_runs_continue_in_the_line_of_the_interval() -> None:
    text = shown([run_summary("densefuse(strategy=l1_norm)", EN=7.0), run_summary("b", EN=6.0)])
    assert "densefuse             21  *7.0000\n  (strategy=l1_norm)      ±0.2500\n" in text


def test_means_over_other_pairs_are_marked_in_every_form(
    capsys: pytest.CaptureFixture[str],
) -> None:
    other = run_summary("c", EN=metric_summary(9.0, pairs_digest="some"))
    runs = [*TWO, other]
    assert "!9.0000" in shown(runs)
    assert "! mean over other pairs, not compared" in shown(runs)
    shown(runs, markdown=True)
    assert "9.0000 ±0.2500 †" in capsys.readouterr().out
    shown(runs, latex=True)
    assert r"9.0000 $\pm$0.2500$^\dagger$" in capsys.readouterr().out


def test_runs_of_equal_names_are_told_apart_by_their_locations() -> None:
    text = shown([run_summary("a", EN=7.0), run_summary("a", EN=6.0), run_summary("b", EN=6.0)])
    assert "a (out0)" in text
    assert "a (out1)" in text
    assert "b (out2)" not in text


def test_markdown_and_latex_mark_the_best_and_escape_names(
    capsys: pytest.CaptureFixture[str],
) -> None:
    runs = [*TWO, run_summary("c", EN=6.0, Nabf=0.5)]
    shown(runs, markdown=True)
    markdown = capsys.readouterr().out
    assert "| run | n | EN↑ | Nabf↓ |\n| :-- | --: | --: | --: |\n" in markdown
    assert r"| a\_b | 21 | **7.0000** ±0.2500 | <ins>0.00100</ins> ±0.25000 |" in markdown
    shown(runs, latex=True)
    latex = capsys.readouterr().out
    assert r"run & n & EN$\uparrow$ & Nabf$\downarrow$ \\" in latex
    row = r"a\_b & 21 & \textbf{7.0000} $\pm$0.2500 & \underline{0.00100} $\pm$0.25000 \\"
    assert row in latex


def test_json_and_csv_hold_the_same_records_for_one_run_and_for_several(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for runs in (TWO[:1], TWO):
        shown(runs, json_output=True)
        records = json.loads(capsys.readouterr().out)
        shown(runs, csv_output=True)
        lines = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
        assert [list(record) for record in records] == [list(line) for line in lines]
        assert len(records) == 2 * len(runs)
        assert (records[1]["metric"], records[1]["mean"]) == ("Nabf", 0.001)
        assert (lines[1]["metric"], lines[1]["mean"]) == ("Nabf", "0.001")


def test_the_full_tables_hold_every_statistic() -> None:
    full = metric_summary(7.0, std=0.5, min=5.0, q25=6.0, median=7.5, q75=8.0, max=9.0)
    text = shown([run_summary("a", EN=full)], full=True)
    assert "TNO, a, (all): 21 pairs, 0 failed" in text
    assert [cell.strip() for cell in text.splitlines()[-1].split("│")] == [
        "EN↑", "7.0000", "6.7500", "7.2500", "0.5000", "5.0000", "6.0000", "7.5000", "8.0000",
        "9.0000",
    ]  # fmt: skip


def test_only_one_form_is_printed() -> None:
    with pytest.raises(ValidationError, match="Expected one of --full and --json"):
        SummarizeOptions(outs=("x",), full=True, json_output=True)
