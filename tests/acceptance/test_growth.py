"""The measurement of growth: what it measures and prints, not how fast this machine is."""

import io
import json

import pytest
from rich.console import Console
from support.cli import run_module

from fusion_core.errors import InvalidValueError
from tests.acceptance.growth import GrowthReport, measure_growth, parse_counts, print_report

pytestmark = pytest.mark.slow


def test_runs_of_growing_size_are_measured_and_printed() -> None:
    result = run_module("tests.acceptance.growth", "--rows", "30", "--json", timeout=240)
    assert result.returncode == 0, result.stderr
    report = GrowthReport(**json.loads(result.stdout))
    [point] = report.points
    assert point.rows == 30
    assert min(point.plan_seconds, point.finished_seconds, point.ms_per_pair) > 0
    assert 50 < point.driver_memory_mb < 10_000
    output = io.StringIO()
    print_report(Console(file=output, width=160), report)
    assert f"{point.driver_memory_mb:.0f}" in output.getvalue()
    assert "took 0 MB more" in output.getvalue()


@pytest.mark.parametrize("rows", [[], [0, 10], [10, 10], [20, 10]])
def test_numbers_of_rows_that_do_not_grow_are_refused(rows: list[int]) -> None:
    with pytest.raises(InvalidValueError, match="growing numbers of rows"):
        measure_growth(rows)


def test_numbers_are_separated_by_commas() -> None:
    assert parse_counts("1000, 10_000") == [1000, 10_000]
    with pytest.raises(InvalidValueError, match="numbers such as 1000,10000, but got 10,many"):
        parse_counts("10,many")
