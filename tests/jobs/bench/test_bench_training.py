"""`irfuse bench train`: what it measures and prints, not how fast this machine is."""

import io
import json

import pytest
from rich.console import Console
from support.cli import run_cli

from fusion_core.errors import InvalidValueError
from jobs.bench.tables import print_training_report
from jobs.bench.training import TrainingReport, bench_training


def test_a_measurement_goes_through_the_job_and_is_printed() -> None:
    result = run_cli(
        "bench", "train", "--method", "densefuse", "--iterations", "4", "--crop", "16", "--json",
        timeout=180,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    report = TrainingReport(**json.loads(result.stdout))
    [timing] = report.timings
    assert (timing.method, timing.batch, report.iterations) == ("densefuse", 2, 4)
    assert timing.steps_per_second > 0
    assert 0 < timing.share_outside_passes < 1
    output = io.StringIO()
    print_training_report(Console(file=output, width=160), report)
    assert f"{timing.steps_per_second:.2f}" in output.getvalue()
    assert "16x16, fp32, workers: 1, 4 steps" in output.getvalue()


def test_a_measurement_of_nothing_is_refused() -> None:
    with pytest.raises(InvalidValueError, match="at least 2 iterations, but got 1"):
        bench_training(iterations=1)
