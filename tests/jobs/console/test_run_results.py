"""What is printed at the end of a run."""

import io

import pytest
from rich.console import Console
from support.summaries import run_summary

from jobs.console.tables import print_run
from jobs.execution import RunResult
from jobs.options import LocationOptions
from jobs.preview import Preview


def shown(seconds: float, estimated: float | None) -> str:
    console = Console(file=io.StringIO(), width=80)
    result = RunResult(
        "out", 400, 1, 400, run_summary("a", EN=7.0), Preview("p"), seconds, estimated
    )
    print_run(console, result, LocationOptions())
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("seconds", "sentence"),
    [
        (660.0, "They took 11 min, 10 % more than estimated from the first pairs (10 min)."),
        (300.0, "They took 5 min, 50 % less than estimated from the first pairs (10 min)."),
        (601.0, "They took 10 min, as estimated from the first pairs (10 min)."),
    ],
)
def test_the_time_of_a_run_is_compared_with_its_estimate(seconds: float, sentence: str) -> None:
    assert f"399 pairs ok, 1 failed, 400 newly computed.\n{sentence}\n" in shown(seconds, 600.0)


@pytest.mark.parametrize(("seconds", "estimated"), [(59.0, 50.0), (600.0, None)])
def test_short_runs_and_those_without_an_estimate_say_nothing(
    seconds: float, estimated: float | None
) -> None:
    assert "They took" not in shown(seconds, estimated)
