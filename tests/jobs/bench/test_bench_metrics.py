"""`irfuse bench metrics`: what it measures and prints, not how fast this machine is."""

import io
import json
from typing import Any

import pytest
import torch
from rich.console import Console
from support.cli import call_cli
from support.clock import steps_of

from fusion_core.errors import InvalidValueError
from fusion_core.metrics import METRICS, list_metrics
from jobs.bench import metrics as bench
from jobs.bench.metrics import MetricsReport, MetricTiming, bench_metrics
from jobs.bench.tables import print_metrics_report
from jobs.console.commands import app

COMMAND = ("bench", "metrics", "--repeats", "2")


@pytest.fixture(scope="module")
def printed() -> dict[str, Any]:
    """What the command prints, as JSON, of two metrics."""
    result = call_cli(*COMMAND, "--size", "48x44", "--metrics", "SCD,EN", "--json")
    assert result.returncode == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


@pytest.fixture(scope="module")
def report() -> MetricsReport:
    """A measurement of all metrics in this process, but for the compiling in fresh ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench, "_measure_compiling", lambda names: (20.0, 0.5))
        return bench_metrics(width=48, height=44, repeats=2)


def measure(monkeypatch: pytest.MonkeyPatch, **settings: Any) -> MetricsReport:
    monkeypatch.setattr(bench, "_measure_compiling", lambda names: (20.0, 0.5))
    return bench_metrics(width=9, height=7, metrics=["EN"], repeats=1, **settings)


def table(report: MetricsReport) -> str:
    output = io.StringIO()
    print_metrics_report(Console(file=output, width=120), report)
    return output.getvalue()


def test_the_printed_json_is_a_report(printed: dict[str, Any]) -> None:
    found = MetricsReport.model_validate(printed)
    assert (found.width, found.height, found.repeats, found.batch) == (48, 44, 2, 1)


def test_the_chosen_metrics_are_measured_in_column_order_and_the_suite_last(
    printed: dict[str, Any],
) -> None:
    assert [timing["name"] for timing in printed["timings"]] == ["EN", "SCD", "suite"]


def test_compiling_and_loading_are_measured(printed: dict[str, Any]) -> None:
    assert min(printed["compile_seconds"], printed["load_seconds"]) > 0


def test_every_metric_is_measured_by_default(report: MetricsReport) -> None:
    assert [timing.name for timing in report.timings] == [*METRICS, "suite"]


def test_all_times_are_positive_and_the_median_lies_between_the_extremes(
    report: MetricsReport,
) -> None:
    for timing in report.timings:
        assert 0 < timing.fastest <= timing.seconds_per_megapixel <= timing.slowest
        assert timing.reference_seconds_per_megapixel is not None
        assert timing.reference_seconds_per_megapixel > 0


def test_times_ratios_and_rates_follow_from_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "_measure_compiling", lambda names: (20.0, 0.5))
    with steps_of(0.25):
        report = bench_metrics(width=50, height=40, metrics=["EN", "SCD"], repeats=3)
    *single, suite = report.timings
    for timing in report.timings:
        assert (timing.fastest, timing.slowest) == (125.0, 125.0)
        assert (timing.seconds_per_megapixel, timing.pairs_per_second) == (125.0, 4.0)
    assert [timing.ratio for timing in single] == [1.0, 1.0]
    assert (suite.reference_seconds_per_megapixel, suite.ratio) == (250.0, 2.0)


def test_the_report_names_machine_versions_and_memory(report: MetricsReport) -> None:
    assert report.machine
    assert set(report.versions) == {"python", "irfuse", "torch", "numpy", "numba", "scipy"}
    assert min(report.memory_before_mb, report.peak_memory_mb) > 1


def test_without_the_reference_there_is_no_ratio(monkeypatch: pytest.MonkeyPatch) -> None:
    timings = measure(monkeypatch, reference=False).timings
    found = [(timing.reference_seconds_per_megapixel, timing.ratio) for timing in timings]
    assert found == [(None, None)] * 2


def test_a_batch_counts_all_its_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    with steps_of(0.25):
        report = measure(monkeypatch, reference=False, batch=3)
    assert [timing.pairs_per_second for timing in report.timings] == [12.0, 12.0]


def test_the_number_of_threads_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        measure(monkeypatch, reference=False)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_what_cannot_be_measured_is_refused() -> None:
    refused: list[tuple[dict[str, Any], str]] = [
        ({"width": 0}, "numbers of at least 1, but got 0"),
        ({"height": -1}, "of at least 1, but got -1"),
        ({"repeats": 0}, "of at least 1, but got 0"),
        ({"batch": 0}, "of at least 1, but got 0"),
        ({"metrics": []}, "Expected at least one metric"),
        ({"device": "tpu"}, "Expected cpu, or cuda where there is a GPU, but got tpu"),
        ({"metrics": ["EN", "nope"]}, "Unknown metric 'nope'"),
    ]
    for settings, message in refused:
        with pytest.raises(InvalidValueError, match=message):
            bench_metrics(**settings)


def test_the_table_has_a_line_for_each_metric_with_its_ratio(report: MetricsReport) -> None:
    lines = [line.split() for line in table(report).splitlines() if line.endswith("│")]
    assert [line[1] for line in lines] == [*list_metrics(), "suite"]
    assert all(line[-4].endswith("x") and float(line[-4][:-1]) >= 0 for line in lines)


def test_the_table_says_how_long_compiling_and_loading_take(report: MetricsReport) -> None:
    assert "Compiling, once a machine: 20.0 s. Loading" in table(report)


def test_the_table_of_a_gpu_says_nothing_of_compiling() -> None:
    timing = MetricTiming(
        name="suite", seconds_per_megapixel=0.5, fastest=0.4, slowest=0.6,
        reference_seconds_per_megapixel=None, pairs_per_second=2.0,
    )  # fmt: skip
    report = MetricsReport(
        machine="a GPU", versions={}, width=9, height=7, batch=64, repeats=3, timings=[timing],
        compile_seconds=None, load_seconds=None, memory_before_mb=1.0, peak_memory_mb=2.0,
    )  # fmt: skip
    assert "a GPU; 9x7, batches of 64" in table(report)
    assert "Compiling" not in table(report)


def test_the_command_prints_the_table_without_the_reference_where_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(bench, "_measure_compiling", lambda names: (20.0, 0.5))
    with pytest.raises(SystemExit) as ended:
        app([*COMMAND, "--size", "9x7", "--metrics", "EN", "--no-reference"])
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("│ EN "))
    assert (ended.value.code, line.split()[-6:-3]) == (0, ["–", "│", "–"])


def test_wrong_options_are_usage_errors_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for arguments, message in (
        (["--size", "48"], "Error: Expected a size such as 640x480, but got 48"),
        (["--size", "48x-4"], "Error: Expected a size such as 640x480, but got 48x-4"),
        (["--metrics", ","], "Error: Expected at least one metric"),
        (["--metrics", "EN,nope"], "Error: Unknown metric 'nope'; the metrics are: "),
        (["--device", "cuda"], "Error: Expected cpu, or cuda where there is a GPU, but got cuda"),
    ):
        result = call_cli(*COMMAND, *arguments)
        assert (result.returncode, result.stdout) == (2, ""), arguments
        (line,) = result.stderr.splitlines()
        assert line.startswith(message)
