"""`irfuse bench train`: measurements and output, independent of the speed of this machine."""

import io
import json

import pytest
from rich.console import Console
from support.cli import run_cli

from fusion_core.errors import InvalidValueError
from jobs.bench.tables import print_training_report
from jobs.bench.training import TrainingReport, TrainingTiming, bench_training


@pytest.mark.slow
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


def test_a_report_is_printed() -> None:
    timing = TrainingTiming(
        method="densefuse", batch=2, steps_per_second=21.74, share_outside_passes=0.527
    )
    report = TrainingReport(
        machine="m", versions={}, crop=16, precision="fp32", workers=1, iterations=4,
        timings=[timing],
    )  # fmt: skip
    output = io.StringIO()
    print_training_report(Console(file=output, width=160), report)
    assert "m; 16x16, fp32, workers: 1, 4 steps" in output.getvalue()
    for text in ("densefuse", "21.74", "52.7%"):
        assert text in output.getvalue()


def test_a_measurement_of_nothing_is_refused() -> None:
    with pytest.raises(InvalidValueError, match="at least 2 iterations, but got 1"):
        bench_training(iterations=1)
