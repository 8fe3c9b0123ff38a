"""The measurement of overhead: what it measures and prints, not how fast this machine is."""

import io
import json
import os
import subprocess
import sys
import time

import pytest
from rich.console import Console
from support.cli import run_module

from fusion_core.errors import InvalidValueError
from tests.acceptance.overhead import (
    OverheadReport,
    Round,
    measure_overhead,
    print_report,
)
from tests.acceptance.processes import CpuWatch, GpuWatch, repeatedly

pytestmark = pytest.mark.slow

BUSY = "import time\nend = time.process_time() + 1.5\nwhile time.process_time() < end: pass"


def test_job_and_bare_loop_are_measured_and_printed() -> None:
    arguments = ("--width", 64, "--height", 48, "--pairs", 4, "--workers", 1, "--repeats", 1)
    result = run_module("tests.acceptance.overhead", *map(str, arguments), "--json", timeout=240)
    assert result.returncode == 0, result.stderr
    report = OverheadReport(**json.loads(result.stdout))
    [part] = report.rounds
    assert (report.pairs, report.workers) == (4, 1)
    assert min(part.bare_pairs_per_second, part.job_pairs_per_second) > 0
    assert part.start_seconds > 0
    assert min(part.stage_ms.values()) > 0
    assert part.gpu_share is None


def test_ratio_and_start_are_medians_of_the_rounds() -> None:
    rounds = [
        Round(
            bare_pairs_per_second=10.0, job_pairs_per_second=rate, start_seconds=start,
            driver_share=0.003, ray_share=0.02, gpu_share=None, stage_ms={"fuse": 7.0},
        )
        for rate, start in ((5.0, 30.0), (9.0, 10.0), (7.0, 11.0))
    ]  # fmt: skip
    report = OverheadReport(
        machine="m", versions={}, width=64, height=48, pairs=4, workers=1, rounds=rounds
    )
    assert (report.median_ratio, report.median_start_seconds) == (0.7, 11.0)
    output = io.StringIO()
    print_report(Console(file=output, width=160), report)
    assert "0.900" in output.getvalue()
    assert "m; 64x48, 4 pairs per round, workers: 1" in output.getvalue()
    assert "Median ratio 0.700, median start 11.0 s." in output.getvalue()


@pytest.mark.parametrize("setting", [{"pairs": 0}, {"repeats": 0}, {"pairs": 2, "workers": 3}])
def test_measurements_of_nothing_are_refused(setting: dict[str, int]) -> None:
    with pytest.raises(InvalidValueError, match="Expected"):
        measure_overhead(**setting)  # type: ignore[arg-type]


def test_time_of_a_drivers_processes_is_reported_by_role() -> None:
    started = time.time()
    nested = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BUSY!r}])\n{BUSY}"
    with subprocess.Popen([sys.executable, "-c", nested]) as driver:
        watch = CpuWatch(driver.pid)
        with repeatedly(watch.look):
            driver.wait()
    spent = watch.between(started, time.time())
    assert spent["driver"] > 0.3
    assert spent["ray"] > 0.3  # whatever is below a driver and is no worker
    assert spent["workers"] == 0.0
    assert watch.between(0.0, 1.0) == {"driver": 0.0, "workers": 0.0, "ray": 0.0}


def test_a_gpus_share_is_the_mean_that_its_driver_reports(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = f"{tmp_path}/nvidia-smi"
    with open(program, "w") as file:
        file.write("#!/bin/sh\necho 80\necho 5\necho 60\n")
    os.chmod(program, 0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    started = time.time()
    watch = GpuWatch(2)
    watch.look()
    assert watch.between(started, time.time()) == pytest.approx(0.7)
    assert watch.between(0.0, 1.0) is None
