"""`irfuse bench overhead`: what it measures and prints, not how fast this machine is."""

import io
import json
import os
import subprocess
import sys
import time

import pytest
from rich.console import Console
from support.cli import run_cli

from fusion_core.errors import InvalidValueError
from jobs.bench.overhead import OverheadReport, bench_overhead
from jobs.bench.processes import CpuWatch, GpuWatch, repeatedly
from jobs.bench.tables import print_overhead_report

BUSY = "import time\nend = time.process_time() + 1.5\nwhile time.process_time() < end: pass"


def test_job_and_bare_loop_are_measured_and_printed() -> None:
    result = run_cli(
        "bench", "overhead", "--size", "64x48", "--pairs", "4", "--workers", "1", "--repeats", "1",
        "--json", timeout=240,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    report = OverheadReport(**json.loads(result.stdout))
    [part] = report.rounds
    assert (report.pairs, report.workers) == (4, 1)
    assert part.ratio == pytest.approx(part.job_pairs_per_second / part.bare_pairs_per_second)
    assert report.median_ratio == part.ratio
    assert part.start_seconds > 0
    assert min(part.stage_ms.values()) > 0
    assert part.gpu_share is None
    output = io.StringIO()
    print_overhead_report(Console(file=output, width=160), report)
    assert f"{part.ratio:.3f}" in output.getvalue()
    assert "64x48, 4 pairs a round, workers: 1" in output.getvalue()


@pytest.mark.parametrize("setting", [{"pairs": 0}, {"repeats": 0}, {"pairs": 2, "workers": 3}])
def test_measurements_of_nothing_are_refused(setting: dict[str, int]) -> None:
    with pytest.raises(InvalidValueError, match="Expected"):
        bench_overhead(**setting)  # type: ignore[arg-type]


def test_time_of_a_drivers_processes_is_told_by_role() -> None:
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


def test_a_gpus_share_is_the_mean_of_what_its_driver_tells(
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
