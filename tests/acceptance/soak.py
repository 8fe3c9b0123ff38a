"""Soak test: a long run whose workers and drivers are killed at random, and a check of every row.

Run `python -m tests.acceptance.soak` in a checkout; see the README in this folder.
"""

from __future__ import annotations

import contextlib
import math
import os
import random
import signal
import subprocess
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from cyclopts import App
from pydantic import computed_field
from rich.console import Console
from rich.table import Table

from cluster.runs import SHARDS_PREFIX
from cluster.session import ClusterOptions, ray_session
from cluster.storage import Store
from fusion_core.errors import InvalidValueError, RunFailedError
from jobs.bench.measuring import Report, describe_machine, versions
from jobs.console.progress import terminal_progress
from jobs.progress import Progress, SilentProgress
from tests.acceptance.console import JsonOutput, run_app, show
from tests.acceptance.inspection import inspect_rows, write_collection
from tests.acceptance.processes import IRFUSE, find_workers

_POLL_S = 0.1
_STUCK_S = 900.0


class SoakReport(Report):
    """Result of the soak test."""

    pairs: int
    """Number of pairs of the collection."""
    seconds: float
    """Time until the last driver finished."""
    workers_killed: int
    """Number of workers that were killed by SIGKILL."""
    drivers_killed: int
    """Number of drivers that were killed by SIGKILL and started again."""
    lost: int
    """Number of pairs without a row."""
    doubled: int
    """Number of additional rows of pairs that already have one."""
    wrong: int
    """Number of rows that differ from an undisturbed computation or from the manifest's order."""
    strays: list[str]
    """Objects at the output location that do not belong to the run."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def flawless(self) -> bool:
        """Whether every pair has exactly one correct row, and there are no other objects."""
        return not (self.lost or self.doubled or self.wrong or self.strays)


def measure_soak(
    *,
    pairs: int = 20_000,
    side: int = 32,
    kill_every: float = 15.0,
    workers: int = 2,
    seed: int = 0,
    progress: Progress | None = None,
) -> SoakReport:
    """Fuse and score a synthetic collection while workers and drivers are killed.

    Args:
        pairs: Number of pairs of the collection.
        side: Side of the images in pixels.
        kill_every: Seconds between two kills of a worker or the driver.
        workers: Number of workers of the run.
        seed: Seed of the choice of processes to kill.
        progress: Receives the progress; silent by default.

    Raises:
        InvalidValueError: A number is out of its range.
        RunFailedError: A driver ended by itself with an error, or there was no progress for 15
            minutes.
    """
    if min(pairs, side, workers) < 1 or not 0 < kill_every < math.inf:
        raise InvalidValueError("Expected at least one pair, pixel and worker, and some seconds")
    progress = progress or SilentProgress()
    with tempfile.TemporaryDirectory(prefix="irfuse-soak-") as name:
        source, out = Store(f"{name}/pairs"), Store(f"{name}/run")
        progress.message("Writing the collection")
        write_collection(source, pairs, side)
        started = time.monotonic()
        with ray_session(ClusterOptions(address="local", workers=workers)) as address:
            kills = _Killing(
                source=source,
                out=out,
                address=address,
                workers=workers,
                every=kill_every,
                generator=random.Random(seed),
                errors=Path(name) / "errors.txt",
                progress=progress,
            )
            kills.run_until_done()
        seconds = time.monotonic() - started
        progress.message("Checking every row")
        found = inspect_rows(source, out, pairs)
    return SoakReport(
        machine=describe_machine("cpu"),
        versions=versions("irfuse", "torch", "ray"),
        pairs=pairs,
        seconds=seconds,
        workers_killed=kills.killed["worker"],
        drivers_killed=kills.killed["driver"],
        lost=found.lost,
        doubled=found.doubled,
        wrong=found.wrong,
        strays=found.strays,
    )


@dataclass
class _Killing:
    """Runs drivers one after another, and kills them and their workers alternately."""

    source: Store
    out: Store
    address: str
    workers: int
    every: float
    generator: random.Random
    errors: Path
    """File with the output of the driver."""
    progress: Progress
    killed: Counter[str] = field(default_factory=Counter)

    def run_until_done(self) -> None:
        """Start drivers until one finishes by itself."""
        next_kill = time.monotonic() + self.every
        last_progress_at, done = time.monotonic(), -1
        driver = self._start()
        try:
            while driver.poll() is None:
                if time.monotonic() >= next_kill:
                    if self._kill_one(driver):
                        driver = self._start()
                    next_kill = time.monotonic() + self.every
                    now_done = len(self.out.entries(SHARDS_PREFIX))
                    if now_done != done:
                        last_progress_at, done = time.monotonic(), now_done
                    elif time.monotonic() - last_progress_at > _STUCK_S:
                        raise RunFailedError(f"No shard was committed for {_STUCK_S:.0f} s")
                    self.progress.message(
                        f"{done} shards, {self.killed['worker']} workers and "
                        f"{self.killed['driver']} drivers killed"
                    )
                with contextlib.suppress(subprocess.TimeoutExpired):
                    driver.wait(_POLL_S)
        finally:
            driver.kill()
            driver.wait()
        if driver.returncode:
            raise RunFailedError(
                f"A driver ended by itself with status {driver.returncode}: "
                f"{self.errors.read_text().strip()[-1000:]}"
            )

    def _start(self) -> subprocess.Popen[bytes]:
        command = [*IRFUSE, "run", self.source.url, "--out", self.out.url]
        options = ["--address", self.address, "--workers", str(self.workers), "--device", "cpu"]
        with self.errors.open("wb") as errors:
            return subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL, stderr=errors)

    def _kill_one(self, driver: subprocess.Popen[bytes]) -> bool:
        """Kill a worker or the driver, and return whether it was the driver."""
        victim = self.generator.choice([None, *find_workers(os.getpid())])
        if victim is None:
            driver.kill()
            killed = driver.wait() == -signal.SIGKILL  # it may have ended by itself just before
            self.killed["driver"] += killed
            return killed
        with contextlib.suppress(psutil.NoSuchProcess):
            victim.kill()
            self.killed["worker"] += 1
        return False


def print_report(console: Console, report: SoakReport) -> None:
    """Print the numbers of kills and of errors in the rows."""
    table = Table(title=report.machine, title_justify="left", show_header=False)
    table.add_column("what")
    table.add_column("count", justify="right")
    table.add_row("pairs", f"{report.pairs:,}")
    table.add_row("seconds", f"{report.seconds:.0f}")
    table.add_row("workers killed", str(report.workers_killed))
    table.add_row("drivers killed", str(report.drivers_killed))
    table.add_row("rows lost", str(report.lost))
    table.add_row("rows doubled", str(report.doubled))
    table.add_row("rows wrong", str(report.wrong))
    table.add_row("stray objects", str(len(report.strays)))
    console.print(table)


app = App(name="soak", help="Kill workers and drivers of a run at random, and check every row.")


@app.default
def main(
    *,
    pairs: int = 20_000,
    size: int = 32,
    kill_every: str = "15s",
    workers: int = 2,
    seed: int = 0,
    json_output: JsonOutput = False,
) -> None:
    """Run a job while its workers and drivers are killed at random, and check every row.

    The exit status is 1 if a row is lost, doubled or wrong.

    Args:
        pairs: Number of pairs of the synthetic collection.
        size: Side of the images in pixels.
        kill_every: Time between two kills, such as 15s or 2m.
        workers: Number of workers of the run.
        seed: Seed of the choice of processes to kill.
        json_output: Print JSON instead of the table.
    """
    with terminal_progress() as progress:
        report = measure_soak(
            pairs=pairs,
            side=size,
            kill_every=parse_seconds(kill_every),
            workers=workers,
            seed=seed,
            progress=progress,
        )
    show(report, print_report, as_json=json_output)
    if not report.flawless:
        raise RunFailedError("Rows were lost, doubled or wrong")


def parse_seconds(text: str) -> float:
    """Return the seconds of a time such as 15s, 2m or 1h.

    Raises:
        InvalidValueError: The text is not a time.
    """
    units = {"s": 1.0, "m": 60.0, "h": 3600.0}
    number, unit = (text[:-1], units[text[-1]]) if text[-1:] in units else (text, 1.0)
    try:
        return float(number) * unit
    except ValueError:
        raise InvalidValueError(f"Expected a time such as 15s or 2m, but got {text}") from None


if __name__ == "__main__":
    run_app(app)
