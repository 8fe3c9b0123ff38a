"""A long run whose workers and drivers are killed at random, and a look at every row afterwards."""

from __future__ import annotations

import contextlib
import math
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from pydantic import computed_field

from cluster.collections.frozen_manifest import MANIFEST_KEY, PairRow
from cluster.runs.ledger import Ledger
from cluster.runs.plan import SHARDS_PREFIX, shard_key
from cluster.runs.record import RUN_KEY, RunRecord, read_run
from cluster.runs.rows import TIMED_STAGES
from cluster.runs.stages import PairStages
from cluster.session.ray_session import ClusterOptions, ray_session
from cluster.storage.store import Store
from cluster.storage.weights import find_stored_weights
from fusion_core.errors import InvalidValueError, RunFailedError
from fusion_core.images.encoding import encode_png
from fusion_core.images.synthetic import synthetic_pair
from fusion_core.methods import get_method
from jobs.bench.measuring import Report, describe_machine, one_thread, versions
from jobs.bench.processes import find_workers
from jobs.console.progress import Progress, SilentProgress
from jobs.execution import worker_config
from jobs.summarize import SUMMARY_CSV_KEY, SUMMARY_KEY

_METHOD = "densefuse"
_DISTINCT_PAIRS = 97
"""Prime, so that no shard holds the same pairs as another."""
_VOLATILE = {"pair_id", "ir_uri", "vis_uri", "attempt", "node", *(f"{s}_ms" for s in TIMED_STAGES)}
_LOOK_EVERY_S = 0.1
_STUCK_S = 900.0


class SoakReport(Report):
    """What `irfuse bench soak` found."""

    pairs: int
    """Of the collection."""
    seconds: float
    """Until the last driver had finished."""
    workers_killed: int
    """By SIGKILL."""
    drivers_killed: int
    """By SIGKILL; each was started again."""
    lost: int
    """Pairs without a row."""
    doubled: int
    """Rows of a pair that has one already."""
    wrong: int
    """Rows that are not what an undisturbed process computes, or not in the manifest's order."""
    strays: list[str]
    """Objects at the output location that belong to no run."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def flawless(self) -> bool:
        """Whether every pair has its one right row, and nothing else is there."""
        return not (self.lost or self.doubled or self.wrong or self.strays)


def bench_soak(
    *,
    pairs: int = 20_000,
    side: int = 32,
    kill_every: float = 15.0,
    workers: int = 2,
    seed: int = 0,
    progress: Progress | None = None,
) -> SoakReport:
    """Fuse and score a made-up collection while workers and drivers are killed.

    Args:
        pairs: Of the collection.
        side: Of the images.
        kill_every: Seconds between two kills, of any worker or the driver.
        workers: Of the run.
        seed: Of the choice of victims.
        progress: Where to tell how far it is.

    Raises:
        InvalidValueError: A number is out of its range.
        RunFailedError: A driver ended by itself with an error, or nothing moved for a quarter of an
            hour.
    """
    if min(pairs, side, workers) < 1 or not 0 < kill_every < math.inf:
        raise InvalidValueError("Expected at least one pair, pixel and worker, and some seconds")
    progress = progress or SilentProgress()
    with tempfile.TemporaryDirectory(prefix="irfuse-soak-") as name:
        source, out = Store(f"{name}/pairs"), Store(f"{name}/run")
        progress.message("Making the collection")
        write_collection(source, pairs, side)
        started = time.monotonic()
        with ray_session(ClusterOptions(address="local", workers=workers)) as address:
            kills = _Killing(
                source=source,
                out=out,
                address=address,
                workers=workers,
                every=kill_every,
                chance=random.Random(seed),
                errors=Path(name) / "errors.txt",
                progress=progress,
            )
            kills.run_until_done()
        seconds = time.monotonic() - started
        progress.message("Looking at every row")
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


def write_collection(store: Store, pairs: int, side: int) -> None:
    """Write pairs of square images, of which every 97th is the same."""
    drawn = [
        [encode_png(image) for image in synthetic_pair(side, side, seed=seed)]
        for seed in range(min(pairs, _DISTINCT_PAIRS))
    ]
    # Not by the store, which waits for the disk after each of these many small files.
    folders = [Path(store.path(modality)) for modality in ("ir", "vis")]
    for folder in folders:
        folder.mkdir(parents=True)
    for number in range(pairs):
        for folder, data in zip(folders, drawn[number % len(drawn)], strict=True):
            (folder / _file_name(number)).write_bytes(data)


def _file_name(number: int) -> str:
    return f"{number:07d}.png"


@dataclass
class _Killing:
    """Runs drivers, one after the other, and kills them and their workers by turns."""

    source: Store
    out: Store
    address: str
    workers: int
    every: float
    chance: random.Random
    errors: Path
    """Where the driver writes what it has to say."""
    progress: Progress
    killed: Counter[str] = field(default_factory=Counter)

    def run_until_done(self) -> None:
        """Start drivers until one comes to an end by itself."""
        next_kill = time.monotonic() + self.every
        moved_at, done = time.monotonic(), -1
        driver = self._start()
        try:
            while driver.poll() is None:
                if time.monotonic() >= next_kill:
                    if self._kill_one(driver):
                        driver = self._start()
                    next_kill = time.monotonic() + self.every
                    now_done = len(self.out.entries(SHARDS_PREFIX))
                    if now_done != done:
                        moved_at, done = time.monotonic(), now_done
                    elif time.monotonic() - moved_at > _STUCK_S:
                        raise RunFailedError(f"No shard was committed for {_STUCK_S:.0f} s")
                    self.progress.message(
                        f"{done} shards, {self.killed['worker']} workers and "
                        f"{self.killed['driver']} drivers killed"
                    )
                with contextlib.suppress(subprocess.TimeoutExpired):
                    driver.wait(_LOOK_EVERY_S)
        finally:
            driver.kill()
            driver.wait()
        if driver.returncode:
            raise RunFailedError(
                f"A driver ended by itself with status {driver.returncode}: "
                f"{self.errors.read_text().strip()[-1000:]}"
            )

    def _start(self) -> subprocess.Popen[bytes]:
        command = [
            sys.executable,
            "-m",
            "jobs.console.commands",
            "run",
            self.source.url,
            "--out",
            self.out.url,
        ]
        options = ["--address", self.address, "--workers", str(self.workers), "--device", "cpu"]
        with self.errors.open("wb") as errors:
            return subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL, stderr=errors)

    def _kill_one(self, driver: subprocess.Popen[bytes]) -> bool:
        """Kill a worker or the driver; returns whether it was the driver."""
        victim = self.chance.choice([None, *find_workers(os.getpid())])
        if victim is None:
            driver.kill()
            killed = driver.wait() == -signal.SIGKILL  # it may have ended by itself just before
            self.killed["driver"] += killed
            return killed
        with contextlib.suppress(psutil.NoSuchProcess):
            victim.kill()
            self.killed["worker"] += 1
        return False


@dataclass
class Findings:
    """What is wrong with the rows of a run."""

    lost: int
    doubled: int
    wrong: int
    strays: list[str]


def inspect_rows(source: Store, out: Store, pairs: int) -> Findings:
    """Compare every row with what an undisturbed process computes."""
    record = read_run(out)
    expected = _compute_alone(source, out, record, min(pairs, _DISTINCT_PAIRS))
    columns = [*expected[0], "pair_id"]
    seen: Counter[str] = Counter()
    wrong = place = 0
    for content in Ledger(out, record).contents(columns):
        assert content.table is not None
        for row in content.table.to_pylist():
            pair_id = row.pop("pair_id")
            seen[pair_id] += 1
            right = pair_id == Path(_file_name(place)).stem
            wrong += not (right and row == expected[place % len(expected)])
            place += 1
    known = {RUN_KEY, MANIFEST_KEY, SUMMARY_KEY, SUMMARY_CSV_KEY}
    known |= {shard_key(shard) for shard in range(record.plan.count)}
    return Findings(
        lost=sum(Path(_file_name(number)).stem not in seen for number in range(pairs)),
        doubled=sum(count - 1 for count in seen.values()),
        wrong=wrong,
        strays=[entry.key for entry in out.entries() if entry.key not in known],
    )


def _compute_alone(
    source: Store, out: Store, record: RunRecord, pairs: int
) -> list[dict[str, Any]]:
    """Return the rows of the first pairs, without what differs between two computations."""
    parameters = get_method(_METHOD).parameters.parse(record.parameters)
    weights = find_stored_weights(_METHOD, parameters, None, None, SilentProgress())
    config = worker_config(record, out.url, weights, {})
    rows = {
        number: PairRow(
            pair_id=str(number),
            ir_uri=source.uri(f"ir/{_file_name(number)}"),
            vis_uri=source.uri(f"vis/{_file_name(number)}"),
            subset="",
        )
        for number in range(pairs)
    }
    with one_thread():
        records = PairStages(config).compute(rows, dict.fromkeys(rows, 1))
    return [
        {name: value for name, value in records[number].items() if name not in _VOLATILE}
        for number in range(pairs)
    ]
