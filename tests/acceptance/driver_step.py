"""Measurement of the driver loop alone, with many workers that compute nothing.

Run `python -m tests.acceptance.driver_step` in a checkout; see the README in this folder.
"""

from __future__ import annotations

import heapq
import random
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pyarrow as pa
from cyclopts import App
from pydantic import ConfigDict, computed_field
from rich.console import Console

from cluster.collections import MANIFEST_KEY, freeze
from cluster.runs import (
    AttemptWriter,
    EndEstimate,
    RunGauges,
    RunLog,
    RunObserver,
    RunTarget,
    ScorePartWriter,
    ShardFacts,
    ShardReport,
    ShardTask,
    Snapshot,
    WorkerConfig,
    WorkerPool,
    run_label,
    run_shards,
)
from cluster.runs.messages import WorkerInfo, WorkerProgress
from cluster.runs.metering import Usage, WorkDone
from cluster.runs.score_parts import PartEntry, ShardScores, score_schema
from cluster.runs.telemetry import NoTelemetry
from cluster.session import ClusterOptions, installed_software
from cluster.storage import Store
from jobs.bench.measuring import Report, check_setting, describe_machine, versions
from tests.acceptance.console import JsonOutput, run_app, show
from tests.acceptance.made_runs import make_record, make_rows

_WORKERS_PER_NODE = 8
_PAIRS = 64
_LOOK_EVERY_S = 0.002


class DriverStepReport(Report):
    """Result of the measurement."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    workers: int
    shards: int
    """Number of shards that were committed."""
    shard_seconds: float
    """Time for which a worker computes a shard; 0 for workers that answer at once."""
    seconds: float
    """Time from the first step of the loop to the last one."""
    driver_seconds: float
    """CPU time of the thread of the loop."""
    process_seconds: float
    """CPU time of the process, including the false workers."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def commits_per_second(self) -> float:
        """Committed shards per second."""
        return self.shards / self.seconds

    @computed_field  # type: ignore[prop-decorator]
    @property
    def core_share(self) -> float:
        """Share of a core that the loop took."""
        return self.driver_seconds / self.seconds

    @computed_field  # type: ignore[prop-decorator]
    @property
    def microseconds_per_commit(self) -> float:
        """CPU time of the loop per committed shard."""
        return self.driver_seconds / self.shards * 1e6


class _Call:
    """The reference to the result of a call, and its future, as far as the driver uses them."""

    __slots__ = ("_result", "_told")
    _lock = threading.Lock()

    def __init__(self) -> None:
        self._result: list[Any] = []
        self._told: Callable[[_Call], None] | None = None

    def future(self) -> _Call:
        return self

    def add_done_callback(self, told: Callable[[_Call], None]) -> None:
        with self._lock:
            self._told = told
            done = bool(self._result)
        if done:
            told(self)

    def result(self) -> Any:
        return self._result[0]

    def answer(self, result: object) -> None:
        with self._lock:
            self._result.append(result)
            told = self._told
        if told is not None:
            told(self)


class _Cluster:
    """Workers whose calls are answered by one thread when their time has come."""

    def __init__(self, shard_seconds: float, scores: ShardScores) -> None:
        self._seconds, self._scores = shard_seconds, scores
        self._waiting: list[tuple[float, int, _Call, object]] = []
        self._numbers, self._lock = count(), threading.Lock()
        self._ended = threading.Event()
        self._work = WorkDone(
            Usage(bytes_read=1, bytes_written=1, compute_seconds=1.0), seconds=1.0
        )
        self._random = random.Random(0)
        self.started = 0

    def actor(self) -> Any:
        """Return the handle of another worker."""
        self.started += 1
        node = f"node-{(self.started - 1) // _WORKERS_PER_NODE:04d}"
        info = WorkerInfo(installed_software(), node, node, None)
        progress = WorkerProgress("", 1, 0, None)
        return SimpleNamespace(
            start=_method(lambda *_: self._answer(info)),
            progress=_method(lambda: self._answer(progress)),
            process=_method(self._process),
        )

    def _process(self, task: ShardTask) -> _Call:
        facts = self._scores.entry.facts.model_copy(update={"shard": task.shard})
        scores = ShardScores(PartEntry(version=str(task.shard), facts=facts), self._scores.rows)
        report = ShardReport(task.shard, _PAIRS, {}, _PAIRS, task.run, self._work, scores)
        return self._answer([report], self._seconds)

    def _answer(self, result: object, seconds: float = 0.0) -> _Call:
        call = _Call()
        if seconds:
            with self._lock:
                due = time.monotonic() + seconds * self._random.uniform(0.5, 1.5)
                heapq.heappush(self._waiting, (due, next(self._numbers), call, result))
        else:
            call.answer(result)
        return call

    @contextmanager
    def running(self) -> Iterator[None]:
        """Answer calls while the block runs."""
        thread = threading.Thread(target=self._run, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()

    def _run(self) -> None:
        while not self._ended.wait(_LOOK_EVERY_S):
            now, due = time.monotonic(), []
            with self._lock:
                while self._waiting and self._waiting[0][0] <= now:
                    due.append(heapq.heappop(self._waiting))
            for _, _, call, result in due:
                call.answer(result)


def _method(call: Callable[..., _Call]) -> Any:
    return SimpleNamespace(remote=call)


def measure_driver_step(
    *, workers: int = 1000, shards: int = 20_000, shard_seconds: float = 0.0
) -> DriverStepReport:
    """Let the driver loop of a run commit shards that false workers compute in no time.

    Everything that the driver does is done, with the record of the attempt, the log, the gauges and
    the compacted scores. Only calls to Ray are not made: the workers are objects of this process.

    Args:
        workers: Number of workers, eight on each node.
        shards: Number of shards.
        shard_seconds: Time after which a worker has computed a shard; with 0 it answers at once.

    Raises:
        InvalidValueError: A number is below 1.
    """
    check_setting(min(workers, shards), "cpu")
    with tempfile.TemporaryDirectory(prefix="irfuse-bench-") as folder:
        target, scores = _begin(Path(folder), shards)
        return _measure(target, _Cluster(shard_seconds, scores), workers, shards, shard_seconds)


def _begin(folder: Path, shards: int) -> tuple[RunTarget, ShardScores]:
    """Return a run of which nothing is computed, and what a worker reports of a shard."""
    rows, table = make_rows(_PAIRS)
    info, manifest = freeze(table.to_batches())
    out = Store(str(folder))
    out.write(MANIFEST_KEY, manifest)
    record = make_record(info).model_copy(update={"rows": shards * len(rows)})
    values = pa.Table.from_pylist(
        [row.to_record() for row in rows], schema=score_schema(record.metrics)
    )
    now = datetime.now(UTC)
    facts = ShardFacts(
        fingerprint=record.fingerprint,
        shard=0,
        rows=_PAIRS,
        failed=0,
        pairs="0" * 64,
        content="0" * 64,
        started=now,
        committed=now,
    )
    return RunTarget(record, out), ShardScores.of("0", facts, values)


def _measure(
    target: RunTarget, cluster: _Cluster, workers: int, shards: int, shard_seconds: float
) -> DriverStepReport:
    options = ClusterOptions(device="cpu", workers=workers, memory_per_worker=0)
    rows, label = target.record.rows, run_label(target.record, target.out)
    observers: list[RunObserver] = [
        RunGauges(target, rows, NoTelemetry()),
        AttemptWriter(target, rows, ["irfuse"], print),
        RunLog(label),
        EndEstimate(label, rows),
        scores := ScorePartWriter(target, print),
    ]
    committed: set[int] = set()
    with ExitStack() as block:
        for name, stand_in in _stand_ins(cluster, workers).items():
            block.enter_context(patch(name, stand_in))
        block.enter_context(cluster.running())
        pool = WorkerPool(options)
        began = time.monotonic(), time.thread_time(), time.process_time()
        run_shards(
            [ShardTask(shard) for shard in range(shards)],
            WorkerConfig(target.record, target.out),
            options,
            pool,
            on_commit=lambda report: committed.add(report.shard),
            on_progress=_no_progress,
            observers=observers,
        )
        ended = time.monotonic(), time.thread_time()
        scores.close()
        process = time.process_time() - began[2]
    seconds, driver = (end - start for start, end in zip(began[:2], ended, strict=True))
    assert len(committed) == shards
    return DriverStepReport(
        machine=describe_machine("cpu"),
        versions=versions("irfuse", "ray"),
        workers=workers,
        shards=shards,
        shard_seconds=shard_seconds,
        seconds=seconds,
        driver_seconds=driver,
        process_seconds=process,
    )


def _no_progress(snapshot: Snapshot) -> None:
    pass


def _stand_ins(cluster: _Cluster, workers: int) -> dict[str, object]:
    """Return what takes the place of Ray, by its name."""
    options = SimpleNamespace(remote=cluster.actor)
    nodes = {
        f"node-{n:04d}": {"CPU": float(_WORKERS_PER_NODE)}
        for n in range(-(-workers // _WORKERS_PER_NODE))
    }
    return {
        "cluster.runs.pool._ACTOR": SimpleNamespace(options=lambda **_: options),
        "cluster.runs.pool.ray": SimpleNamespace(put=lambda value: value, kill=lambda *_, **__: 0),
        "cluster.runs.pool.node_resources": lambda: nodes,
        "cluster.runs.driver.draining_nodes": set,
    }


def print_report(console: Console, report: DriverStepReport) -> None:
    """Print the speed of the loop and what it takes."""
    console.print(
        f"{report.machine}; {report.workers:,} workers, {report.shards:,} shards: "
        f"{report.commits_per_second:,.0f} commits per second, {report.core_share:.0%} of a core, "
        f"{report.microseconds_per_commit:.0f} µs of CPU time per commit",
        highlight=False,
        soft_wrap=True,
    )


app = App(name="driver_step", help="Measure the driver loop with workers that compute nothing.")


@app.default
def main(
    *,
    workers: int = 1000,
    shards: int = 20_000,
    shard_seconds: float = 0.0,
    json_output: JsonOutput = False,
) -> None:
    """Measure how many shards the driver loop commits per second, and the CPU time that it takes.

    Args:
        workers: Number of workers.
        shards: Number of shards.
        shard_seconds: Time after which a worker has computed a shard; with 0 it answers at once.
        json_output: Print JSON instead of a line.
    """
    report = measure_driver_step(workers=workers, shards=shards, shard_seconds=shard_seconds)
    show(report, print_report, as_json=json_output)


if __name__ == "__main__":
    run_app(app)
