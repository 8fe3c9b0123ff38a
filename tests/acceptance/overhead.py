"""Measurement of the overhead of Ray, storage and driver compared with a bare loop.

Run `python -m tests.acceptance.overhead` in a checkout; see the README in this folder.
"""

from __future__ import annotations

import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cyclopts import App
from pydantic import BaseModel, ConfigDict, computed_field
from rich.console import Console
from rich.table import Table

from cluster.runs import TIMED_STAGES, Ledger, RunRecord
from cluster.session import usable_cpus
from cluster.storage import Store, read_record
from fusion_core.errors import InvalidValueError, RunFailedError
from fusion_core.images import encode_png
from jobs.bench.measuring import (
    Report,
    check_setting,
    describe_machine,
    noisy_pair,
    to_levels,
    versions,
)
from jobs.console.progress import terminal_progress
from jobs.progress import Progress, SilentProgress
from tests.acceptance.bare_loop import bare_rate
from tests.acceptance.console import JsonOutput, run_app, show
from tests.acceptance.processes import IRFUSE, CpuWatch, GpuWatch, repeatedly

_DISTINCT_PAIRS = 16


class Round(BaseModel):
    """Measurements of the same pairs in the bare loop and in the job."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    bare_pairs_per_second: float
    """Rate of the plain processes, from the start of the first pair to the end of the last one."""
    job_pairs_per_second: float
    """Rate of the job, from the start of the first shard to the commit of the last one."""
    start_seconds: float
    """Time from the start of the command to the first fused and scored pair."""
    driver_share: float
    """Share of the driver in the CPU time between the first and the last pair."""
    ray_share: float
    """Share of Ray's processes other than the workers in this CPU time."""
    gpu_share: float | None
    """Share of the time between the first and the last pair in which the GPU computed."""
    stage_ms: dict[str, float]
    """Mean time per pair in each stage of the job in milliseconds."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def ratio(self) -> float:
        """Rate of the job as a share of the rate of the bare loop."""
        return self.job_pairs_per_second / self.bare_pairs_per_second


class OverheadReport(Report):
    """Result of the measurement."""

    width: int
    """Pixels."""
    height: int
    """Pixels."""
    pairs: int
    """Number of pairs per round."""
    workers: int
    """Number of plain processes, and of workers of the job."""
    rounds: list[Round]
    """Measurements of each round, in order."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def median_ratio(self) -> float:
        """Median of the rounds' ratios."""
        return statistics.median(part.ratio for part in self.rounds)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def median_start_seconds(self) -> float:
        """Median of the rounds' start-up times."""
        return statistics.median(part.start_seconds for part in self.rounds)


def measure_overhead(
    *,
    width: int = 640,
    height: int = 480,
    pairs: int = 128,
    workers: int | None = None,
    repeats: int = 3,
    device: Literal["cpu", "cuda"] = "cpu",
    progress: Progress | None = None,
) -> OverheadReport:
    """Fuse synthetic pairs with DenseFuse and score them, in a bare loop and in a job alternately.

    The bare loop consists of as many plain processes as workers. Each reads, decodes, fuses,
    scores, encodes and writes its share pair by pair, with the same functions as the job.

    Args:
        width: Width of the images in pixels.
        height: Height of the images in pixels.
        pairs: Number of pairs per round, for both the bare loop and the job.
        workers: Number of workers; by default one per usable CPU, or one for a GPU.
        repeats: Number of rounds.
        device: Device to compute on.
        progress: Receives the progress; silent by default.

    Raises:
        InvalidValueError: A number is below 1, there are fewer pairs than workers, or the device
            does not exist.
        RunFailedError: The job failed.
    """
    count = (1 if device == "cuda" else usable_cpus()) if workers is None else workers
    check_setting(min(width, height, pairs, count, repeats), device)
    if pairs < count:
        raise InvalidValueError(f"Expected at least a pair for each of {count} workers")
    progress = progress or SilentProgress()
    rounds = []
    with tempfile.TemporaryDirectory(prefix="irfuse-bench-") as name:
        folder = Path(name)
        write_pairs(Store(str(folder / "pairs")), pairs, height, width)
        for number in range(repeats):
            progress.message(f"Round {number + 1} of {repeats}: plain processes")
            bare = bare_rate(folder, pairs, count, device)
            progress.message(f"Round {number + 1} of {repeats}: the job")
            rounds.append(_job_round(folder, number, count, device, bare))
    return OverheadReport(
        machine=describe_machine(device),
        versions=versions("irfuse", "torch", "ray"),
        width=width,
        height=height,
        pairs=pairs,
        workers=count,
        rounds=rounds,
    )


def write_pairs(store: Store, pairs: int, height: int, width: int) -> None:
    """Write pairs, of which only some are distinct, because generating noise is slow."""
    drawn = [
        [encode_png(to_levels(image)) for image in noisy_pair(height, width, seed)]
        for seed in range(min(pairs, _DISTINCT_PAIRS))
    ]
    for number in range(pairs):
        for modality, data in zip(("ir", "vis"), drawn[number % len(drawn)], strict=True):
            store.write(f"{modality}/{number:06d}.png", data)


def _job_round(folder: Path, number: int, workers: int, device: str, bare: float) -> Round:
    out = str(folder / f"run-{number}")
    command = [*IRFUSE, "run", str(folder / "pairs"), "--out", out]
    options = ["--workers", str(workers), "--device", device, "--address", "local"]
    started = time.time()
    with subprocess.Popen(
        [*command, *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        cpu, gpu = CpuWatch(process.pid), GpuWatch(workers)
        with repeatedly(cpu.look), repeatedly(gpu.look):
            output = process.communicate()[0]
    if process.returncode:
        raise RunFailedError(f"The job failed: {output.strip().splitlines()[-1]}")
    shards = _read_shards(Store(out))
    first, last = min(s.started for s in shards), max(s.committed for s in shards)
    spent = cpu.between(first, last)
    total = sum(spent.values()) or 1.0  # a job that ends between two samples
    rows = sum(shard.rows for shard in shards)
    return Round(
        bare_pairs_per_second=bare,
        job_pairs_per_second=rows / (last - first),
        start_seconds=min(s.first_pair for s in shards) - started,
        driver_share=spent["driver"] / total,
        ray_share=spent["ray"] / total,
        gpu_share=gpu.between(first, last) if device == "cuda" else None,
        stage_ms={
            stage: statistics.mean(s.stage_ms[stage] for s in shards) for stage in TIMED_STAGES
        },
    )


@dataclass(frozen=True, slots=True)
class _Shard:
    """Start and end of the computation of a shard, in seconds since the epoch."""

    rows: int
    started: float
    first_pair: float
    committed: float
    stage_ms: dict[str, float]


def _read_shards(out: Store) -> list[_Shard]:
    columns = [f"{stage}_ms" for stage in TIMED_STAGES]
    shards = []
    for content in Ledger(out, read_record(out, RunRecord)).contents(columns):
        assert content.table is not None
        spent = {stage: content.table[f"{stage}_ms"].to_pylist() for stage in TIMED_STAGES}
        started = content.facts.started.timestamp()
        shards.append(
            _Shard(
                rows=content.facts.rows,
                started=started,
                first_pair=started + sum(times[0] for times in spent.values()) / 1e3,
                committed=content.facts.committed.timestamp(),
                stage_ms={stage: statistics.mean(times) for stage, times in spent.items()},
            )
        )
    return shards


def print_report(console: Console, report: OverheadReport) -> None:
    """Print the rates of the job and the bare loop."""
    title = (
        f"{report.machine}; {report.width}x{report.height}, {report.pairs} pairs per round, "
        f"workers: {report.workers}"
    )
    table = Table(title=title, title_justify="left")
    columns = ["bare, pairs/s", "job, pairs/s", "ratio", "start, s", "driver CPU", "Ray CPU"]
    with_gpu = any(part.gpu_share is not None for part in report.rounds)
    for column in [*columns, *(["GPU busy"] if with_gpu else [])]:
        table.add_column(column, justify="right")
    for part in report.rounds:
        table.add_row(
            f"{part.bare_pairs_per_second:.2f}",
            f"{part.job_pairs_per_second:.2f}",
            f"{part.ratio:.3f}",
            f"{part.start_seconds:.1f}",
            f"{part.driver_share:.1%}",
            f"{part.ray_share:.1%}",
            *([f"{part.gpu_share or 0.0:.0%}"] if with_gpu else []),
        )
    console.print(table)
    stages = ", ".join(f"{name} {spent:.0f}" for name, spent in report.rounds[-1].stage_ms.items())
    console.print(
        f"Median ratio {report.median_ratio:.3f}, median start "
        f"{report.median_start_seconds:.1f} s. Milliseconds per pair in the "
        f"stages of the job: {stages}.",
        highlight=False,
        soft_wrap=True,
    )


app = App(name="overhead", help="Measure the job against a bare loop in plain processes.")


@app.default
def main(
    *,
    width: int = 640,
    height: int = 480,
    pairs: int = 128,
    workers: int | None = None,
    repeats: int = 3,
    device: Literal["cpu", "cuda"] = "cpu",
    json_output: JsonOutput = False,
) -> None:
    """Measure the job against a bare loop over the same pairs in plain processes, alternately.

    Args:
        width: Width of the synthetic pairs in pixels.
        height: Height of the synthetic pairs in pixels.
        pairs: Number of pairs per round, for both the bare loop and the job.
        workers: Number of plain processes, and of workers of the job; one per CPU by default.
        repeats: Number of rounds.
        device: Device to compute on.
        json_output: Print JSON instead of the table.
    """
    with terminal_progress() as progress:
        report = measure_overhead(
            width=width,
            height=height,
            pairs=pairs,
            workers=workers,
            repeats=repeats,
            device=device,
            progress=progress,
        )
    show(report, print_report, as_json=json_output)


if __name__ == "__main__":
    run_app(app)
