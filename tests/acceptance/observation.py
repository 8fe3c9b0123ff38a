"""Measurement of what metrics, attempts and logs cost, compared with the same work without them.

Run `python -m tests.acceptance.observation` in a checkout; see the README in this folder.
"""

from __future__ import annotations

import logging
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cyclopts import App
from pydantic import BaseModel, ConfigDict, computed_field
from rich.console import Console

from cluster.runs import (
    LOGGER,
    AttemptWriter,
    RayTelemetry,
    RunGauges,
    RunLog,
    ShardProcessor,
    ShardTask,
    Snapshot,
    WorkerConfig,
    run_label,
    shard_key,
)
from cluster.session import ClusterOptions, ray_session
from cluster.storage import Store
from jobs.bench.measuring import Report, check_setting, describe_machine, one_thread, versions
from jobs.console.logs import json_line
from jobs.console.progress import terminal_progress
from jobs.execution import PlannedRun
from jobs.fusing import plan_fusing
from jobs.options import RunOptions
from jobs.progress import Progress, SilentProgress
from tests.acceptance.console import JsonOutput, run_app, show
from tests.acceptance.overhead import write_pairs

_SNAPSHOTS_PER_SECOND = 2.0


class Round(BaseModel):
    """CPU seconds of the same shard, watched and not."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    plain_seconds: float
    """CPU time of the process without metrics, attempts and logs."""
    watched_seconds: float
    """CPU time of the process with them."""


class ObservationReport(Report):
    """Result of the measurement."""

    width: int
    """Pixels."""
    height: int
    """Pixels."""
    pairs: int
    """Number of pairs of the shard."""
    method: str
    rounds: list[Round]
    """Measurements of each round, in order."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def cost_ms_per_pair(self) -> float:
        """Median of the rounds' differences, in milliseconds of CPU time per pair."""
        differences = [part.watched_seconds - part.plain_seconds for part in self.rounds]
        return statistics.median(differences) * 1e3 / self.pairs

    @computed_field  # type: ignore[prop-decorator]
    @property
    def error_ms_per_pair(self) -> float:
        """Half the 95 % interval of the mean difference, in the same unit."""
        differences = [part.watched_seconds - part.plain_seconds for part in self.rounds]
        spread = statistics.stdev(differences) if len(differences) > 1 else float("nan")
        error: float = 1.96 * spread / len(differences) ** 0.5 * 1e3 / self.pairs
        return error

    @computed_field  # type: ignore[prop-decorator]
    @property
    def share(self) -> float:
        """Median of the differences as a share of the median of the plain CPU times."""
        plain = statistics.median(part.plain_seconds for part in self.rounds)
        return self.cost_ms_per_pair * self.pairs / 1e3 / plain


def measure_observation(
    *,
    width: int = 160,
    height: int = 120,
    pairs: int = 16,
    method: str = "densefuse",
    metrics: str = "default",
    repeats: int = 40,
    progress: Progress | None = None,
) -> ObservationReport:
    """Compute one shard again and again, with and without those who watch a run, alternately.

    Both the worker's part (counting, and giving values to Ray) and the driver's part (gauges, the
    record of the attempt, and a log in JSON) are done in this process.

    Args:
        width: Width of the images in pixels.
        height: Height of the images in pixels.
        pairs: Number of pairs of the shard.
        method: Fusion method.
        metrics: Metrics and presets, separated by commas.
        repeats: Number of rounds.
        progress: Receives the progress; silent by default.

    Raises:
        InvalidValueError: A number is below 1.
    """
    check_setting(min(width, height, pairs, repeats), "cpu")
    progress = progress or SilentProgress()
    with tempfile.TemporaryDirectory(prefix="irfuse-bench-") as name, one_thread():
        folder = Path(name)
        write_pairs(Store(str(folder / "pairs")), pairs, height, width)
        options = RunOptions(
            source=str(folder / "pairs"),
            out=str(folder / "run"),
            method=method,
            metrics=tuple(metrics.split(",")),
            shard_size=pairs,
        )
        run = PlannedRun(plan_fusing(options, SilentProgress()), SilentProgress())
        with ray_session(ClusterOptions(address="local", workers=1)):
            rounds = list(_rounds(run, folder, repeats, progress))
    return ObservationReport(
        machine=describe_machine("cpu"),
        versions=versions("irfuse", "torch", "ray"),
        width=width,
        height=height,
        pairs=pairs,
        method=method,
        rounds=rounds,
    )


def _rounds(run: PlannedRun, folder: Path, repeats: int, progress: Progress) -> Iterator[Round]:
    config = WorkerConfig(run.record, run.target.out, run.payload)
    plain = ShardProcessor(config)
    telemetry = RayTelemetry()
    watched = ShardProcessor(config, plain.stages.fuser, telemetry)
    attempt = AttemptWriter(run.target, run.record.rows, ["irfuse"], progress.note)
    log = RunLog(run_label(run.record, run.target.out))
    gauges = RunGauges(run.target, run.record.rows, telemetry)
    worker: Any = _Worker()
    snapshot = Snapshot(1, 0, 1, 0, 0, nodes={"host": 1})

    def compute_plain() -> None:
        plain.process(ShardTask(0))

    def compute_watched() -> None:
        began = time.monotonic()
        report = watched.process(ShardTask(0))
        for observer in (gauges, attempt, log):
            observer.committed(worker, report)
            for _ in range(round((time.monotonic() - began) * _SNAPSHOTS_PER_SECOND) or 1):
                observer.progressed(snapshot)

    with _log_file(folder / "log.json"), gauges.shown("cpu"):
        for number in range(-1, repeats):  # the first round fills caches
            progress.message(f"Round {number + 1} of {repeats}")
            both = (compute_plain, compute_watched)
            spent: dict[Callable[[], None], float] = {}
            for compute in both if number % 2 else reversed(both):
                run.target.out.delete(shard_key(0))
                began = time.process_time()
                compute()
                spent[compute] = time.process_time() - began
            if number >= 0:
                yield Round(
                    plain_seconds=spent[compute_plain], watched_seconds=spent[compute_watched]
                )


class _Worker:
    """What the observers need of a worker."""

    node = "host"
    info = None


@contextmanager
def _log_file(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        handler = logging.StreamHandler(file)
        handler.format = json_line  # type: ignore[method-assign]
        LOGGER.addHandler(handler)
        LOGGER.setLevel(logging.INFO)
        try:
            yield
        finally:
            LOGGER.removeHandler(handler)


def print_report(console: Console, report: ObservationReport) -> None:
    """Print the cost per pair and its share."""
    console.print(
        f"{report.machine}; {report.width}x{report.height}, {report.pairs} pairs, "
        f"{report.method}, {len(report.rounds)} rounds: metrics, attempts and logs take "
        f"{report.cost_ms_per_pair:.3f} ± {report.error_ms_per_pair:.3f} ms of CPU time per pair, "
        f"{report.share:.2%}",
        highlight=False,
        soft_wrap=True,
    )


app = App(name="observation", help="Measure what metrics, attempts and logs cost.")


@app.default
def main(
    *,
    width: int = 160,
    height: int = 120,
    pairs: int = 16,
    method: str = "densefuse",
    metrics: str = "default",
    repeats: int = 40,
    json_output: JsonOutput = False,
) -> None:
    """Compute one shard with and without metrics, attempts and logs, alternately.

    Args:
        width: Width of the synthetic pairs in pixels.
        height: Height of the synthetic pairs in pixels.
        pairs: Number of pairs of the shard.
        method: Fusion method.
        metrics: Metrics and presets, separated by commas.
        repeats: Number of rounds.
        json_output: Print JSON instead of a line.
    """
    with terminal_progress() as progress:
        report = measure_observation(
            width=width,
            height=height,
            pairs=pairs,
            method=method,
            metrics=metrics,
            repeats=repeats,
            progress=progress,
        )
    show(report, print_report, as_json=json_output)


if __name__ == "__main__":
    run_app(app)
