"""`irfuse bench metrics`: measurements and output, independent of the speed of this machine."""

import io
import json
import signal
import sys
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from rich.console import Console
from support.cli import run_cli

from fusion_core.errors import InvalidValueError
from fusion_core.metrics import select_metrics
from fusion_core.metrics.base import ScoredBatch
from jobs.bench import metrics as bench
from jobs.bench.metrics import MetricsReport, MetricTiming, bench_metrics
from jobs.bench.tables import print_metrics_report
from jobs.console.commands import build_app
from jobs.console.main import main

COMMAND = ("bench", "metrics", "--repeats", "2")


@pytest.fixture(scope="module")
def printed() -> dict[str, Any]:
    """What the command prints, as JSON, of two metrics."""
    result = run_cli(*COMMAND, "--size", "48x44", "--metrics", "SCD,EN", "--json")
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


def test_the_default_metrics_are_measured_by_default(report: MetricsReport) -> None:
    assert [timing.name for timing in report.timings] == [*select_metrics(), "suite"]


def test_all_times_are_positive_and_the_median_lies_between_the_extremes(
    report: MetricsReport,
) -> None:
    for timing in report.timings:
        assert 0 < timing.fastest <= timing.seconds_per_megapixel <= timing.slowest


def test_times_are_per_megapixel_and_speeds_per_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "time_repeats", lambda compute, repeats, warm_ups: [3.0, 1.0, 2.0])
    monkeypatch.setattr(bench, "_measure_compiling", lambda names: (20.0, 0.5))
    report = bench_metrics(width=200, height=100, metrics=["EN"], repeats=3, batch=10)
    for timing in report.timings:  # 0.2 megapixels in 10 pairs
        assert (timing.fastest, timing.seconds_per_megapixel, timing.slowest) == (5.0, 10.0, 15.0)
        assert timing.pairs_per_second == 5.0


def test_the_report_names_machine_versions_and_memory(report: MetricsReport) -> None:
    assert report.machine
    assert set(report.versions) == {"python", "irfuse", "torch", "numpy", "numba", "scipy"}
    assert min(report.memory_before_mb, report.peak_memory_mb) > 1


def test_a_batch_is_computed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    batches: list[int] = []
    score_batch = bench.score_batch

    def note(batch: ScoredBatch, names: Sequence[str]) -> torch.Tensor:
        batches.append(batch.gray.shape[1])
        return score_batch(batch, names)

    monkeypatch.setattr(bench, "score_batch", note)
    measure(monkeypatch, batch=3)
    assert set(batches) == {3}


def test_the_number_of_threads_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        measure(monkeypatch)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"width": 0}, "counts of at least 1, but got 0"),
        ({"height": -1}, "of at least 1, but got -1"),
        ({"repeats": 0}, "of at least 1, but got 0"),
        ({"batch": 0}, "of at least 1, but got 0"),
        ({"metrics": []}, "Expected at least one metric"),
        ({"device": "tpu"}, "Expected cpu, or cuda if there is a GPU, but got tpu"),
        ({"metrics": ["EN", "nope"]}, "Unknown metric 'nope'"),
    ],
)
def test_what_cannot_be_measured_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        bench_metrics(**settings)


def test_the_table_has_a_line_for_each_metric_with_its_time(report: MetricsReport) -> None:
    lines = [line.split() for line in table(report).splitlines() if line.endswith("│")]
    found = {line[1]: float(line[3]) for line in lines}
    assert list(found) == [*select_metrics(), "suite"]
    expected = [timing.seconds_per_megapixel for timing in report.timings]
    assert list(found.values()) == pytest.approx(expected, abs=5.1e-5)


def test_the_table_says_how_long_compiling_and_loading_take(report: MetricsReport) -> None:
    assert "Compiling, once per machine: 20.0 s. Loading" in table(report)


def test_the_table_of_a_gpu_says_nothing_of_compiling() -> None:
    timing = MetricTiming(
        name="suite", seconds_per_megapixel=0.5, fastest=0.4, slowest=0.6, pairs_per_second=2.0,
    )  # fmt: skip
    report = MetricsReport(
        machine="a GPU", versions={}, width=9, height=7, batch=64, repeats=3, timings=[timing],
        compile_seconds=None, load_seconds=None, memory_before_mb=1.0, peak_memory_mb=2.0,
    )  # fmt: skip
    assert "a GPU; 9x7, batches of 64" in table(report)
    assert "Compiling" not in table(report)


def test_the_command_prints_the_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(bench, "_measure_compiling", lambda names: (20.0, 0.5))
    with pytest.raises(SystemExit) as ended:
        build_app()([*COMMAND, "--size", "9x7", "--metrics", "EN"])
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    assert (ended.value.code, [line.split()[1] for line in lines]) == (0, ["EN", "suite"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--size", "48"], "Error: Expected a size such as 640x480, but got 48"),
        (["--size", "48x-4"], "Error: Expected a size such as 640x480, but got 48x-4"),
        (["--metrics", ","], "Error: Expected at least one metric"),
        (["--metrics", "EN,nope"], "Error: Unknown metric 'nope'; the metrics are: "),
        (["--device", "cuda"], "Error: Expected cpu, or cuda if there is a GPU, but got cuda"),
    ],
)
def test_wrong_options_are_usage_errors_in_one_line(
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["irfuse", *COMMAND, *arguments])
    monkeypatch.setattr(signal, "signal", lambda number, handler: None)
    with pytest.raises(SystemExit) as ended:
        main()
    printed = capsys.readouterr()
    assert (ended.value.code, printed.out) == (2, "")
    (line,) = printed.err.splitlines()
    assert line.startswith(message)


def test_installed_packages_that_compute_a_metric_are_measured_beside_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bench, "_measure_compiling", lambda names: (20.0, 0.5))
    found = bench_metrics(width=48, height=44, metrics=["EN", "PSNR"], repeats=1)
    timings = {timing.name: timing for timing in found.timings}
    assert timings["PSNR"].ports["torchmetrics"] > 0.0
    assert "torchmetrics" not in timings["EN"].ports
    assert "torchmetrics" in table(found)
    assert found.kept_sources is not None
    assert found.kept_sources > 0.0
