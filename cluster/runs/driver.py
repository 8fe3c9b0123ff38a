"""The driver loop of a run, which assigns shards to workers and collects their reports.

The driver holds shard numbers, never images. Ray never restarts workers: the loop replaces a dead
worker, requeues its shards, and isolates a shard that crashed its worker.
"""

from __future__ import annotations

import re
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import ray
from ray import ObjectRef
from ray.exceptions import ActorUnavailableError, ObjectLostError, RayError, RayTaskError

from cluster.runs.isolation import IsolatedShard
from cluster.runs.pool import PoolWorker, ShardJob, WorkerPool
from cluster.runs.stages import WorkerConfig
from cluster.runs.worker import ShardReport, ShardTask
from cluster.session import ClusterOptions, alive_nodes
from cluster.storage import redact_text
from fusion_core.errors import IrfuseError, RunFailedError

_SHARDS_PER_WORKER = 2
_POLL_S = 0.5
_PROBE_EVERY_S = 2.0
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_MOST_CONSECUTIVE_CRASHES = 12


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The progress of a run at one moment."""

    rows: int
    """Pairs computed by this call, committed or not."""
    failed: int
    """Failed rows among the committed rows."""
    workers: int
    """Workers that are ready."""
    waiting: int
    """Workers that are starting or waiting for resources."""
    deaths: int
    """Number of workers that have died."""


def run_shards(
    tasks: Sequence[ShardTask],
    config: WorkerConfig,
    options: ClusterOptions,
    *,
    on_commit: Callable[[ShardReport], None],
    on_progress: Callable[[Snapshot], None],
) -> None:
    """Compute shards on the connected cluster until every one is committed.

    Args:
        tasks: The shards to compute.
        config: Settings of the workers.
        options: The cluster and the resources to use.
        on_commit: Called for each committed shard; may raise to stop the run.
        on_progress: Called a few times per second.

    Raises:
        RunFailedError: Workers cannot be placed, do not start, or keep dying.
        IrfuseError: A worker met an error that no other worker would avoid, such as an output
            location that cannot be written.
    """
    loop = _ShardLoop(tasks, WorkerPool(config, options), options.pair_timeout_s, on_commit)
    try:
        while loop.unfinished:
            loop.step()
            on_progress(loop.snapshot())
    finally:
        loop.pool.stop()


class _ShardLoop:
    """The state of the driver loop; `step` is one iteration."""

    def __init__(
        self,
        tasks: Sequence[ShardTask],
        pool: WorkerPool,
        pair_timeout_s: float,
        on_commit: Callable[[ShardReport], None],
    ) -> None:
        self.pool = pool
        self._pending = deque(tasks)
        self._isolated: deque[IsolatedShard] = deque()
        self._pair_timeout_s = pair_timeout_s
        self._on_commit = on_commit
        self._rows = self._failed = 0
        self._consecutive_crashes = 0
        self._last_reason = ""
        self._unreachable: Counter[int] = Counter()

    @property
    def unfinished(self) -> bool:
        """Whether any shard is not yet committed."""
        return bool(self._pending or self._isolated or any(w.jobs for w in self.pool.workers))

    def step(self) -> None:
        """Spawn workers, assign shards, wait for results briefly, and process them."""
        busy = sum(1 for worker in self.pool.workers if worker.jobs)
        self.pool.spawn(len(self._pending) + len(self._isolated) + busy)
        self._assign()
        self._collect()
        self._watch()

    def snapshot(self) -> Snapshot:
        """Return the counts for the progress line."""
        workers, ready = self.pool.workers, len(self.pool.ready())
        uncommitted = sum(max(0, worker.pairs - worker.committed) for worker in workers)
        return Snapshot(
            rows=self._rows + uncommitted,
            failed=self._failed,
            workers=ready,
            waiting=len(workers) - ready,
            deaths=self.pool.deaths,
        )

    def _assign(self) -> None:
        ready = self.pool.ready()
        for worker in ready:
            if self._isolated and not worker.jobs:
                worker.begin(self._isolated.popleft())
        for depth in range(_SHARDS_PER_WORKER):
            for worker in ready:
                if self._pending and len(worker.jobs) == depth and not worker.isolating:
                    worker.begin(self._pending.popleft())

    # Results

    def _collect(self) -> None:
        awaited: dict[ObjectRef[Any], PoolWorker] = {}
        for worker in self.pool.workers:
            refs = [*worker.jobs, worker.starting, worker.probe]
            awaited.update({ref: worker for ref in refs if ref is not None})
        if not awaited:
            time.sleep(_POLL_S)
            return
        first, _ = ray.wait(list(awaited), num_returns=1, timeout=_POLL_S, fetch_local=False)
        if not first:
            return
        ready, _ = ray.wait(list(awaited), num_returns=len(awaited), timeout=0, fetch_local=False)
        for ref in ready:
            if awaited[ref] in self.pool.workers:
                self._take(awaited[ref], ref)

    def _take(self, worker: PoolWorker, ref: ObjectRef[Any]) -> None:
        try:
            result = ray.get(ref)
        except RayTaskError as error:
            self._task_failed(worker, ref, error)
        except ActorUnavailableError as error:
            self._died(worker, str(error), unreachable=True)
        except RayError as error:
            self._died(worker, str(error))
        else:
            if ref == worker.starting:
                self.pool.started(worker, result)
            elif ref == worker.probe:
                worker.note_progress(*result)
            else:
                self._finished(worker, worker.jobs.pop(ref), result)

    def _finished(self, worker: PoolWorker, job: ShardJob, result: Any) -> None:  # noqa: ANN401
        self._consecutive_crashes = 0
        worker.last_progress_at = time.monotonic()
        if isinstance(job, IsolatedShard) and not job.step_done(result):
            worker.begin(job)
            return
        worker.committed += result.computed
        self._rows += result.computed
        self._failed += sum(result.failed.values())
        self._on_commit(result)

    def _task_failed(self, worker: PoolWorker, ref: ObjectRef[Any], error: RayTaskError) -> None:
        """Handle an exception of a worker; errors of single pairs become rows instead."""
        cause = error.cause
        job = worker.jobs.get(ref)
        if isinstance(job, IsolatedShard) and isinstance(cause, ObjectLostError):
            worker.jobs.pop(ref)
            job.restart()
            self._isolated.append(job)
            return
        if isinstance(cause, IrfuseError):
            raise cause
        reason = redact_text(f"{type(cause).__name__}: {cause}")
        raise RunFailedError(f"A worker failed: {reason}") from error

    # Deaths and hangs

    def _watch(self) -> None:
        now = time.monotonic()
        for worker in self.pool.ready():
            if not worker.jobs:
                continue
            if now - worker.last_progress_at > self._pair_timeout_s:
                self._died(worker, f"no progress for {self._pair_timeout_s:.0f} s")
            elif worker.probe is None and now - worker.probed_at > _PROBE_EVERY_S:
                worker.probe = worker.handle.progress.remote()
                worker.probed_at = now

    def _died(self, worker: PoolWorker, reason: str, *, unreachable: bool = False) -> None:
        """Remove a dead, hung or unreachable worker and requeue its shards.

        If its node is lost, the worker died because of the node. If it cannot be reached, that is
        assumed once per shard. In all other cases its shards are isolated.
        """
        self._last_reason = _reason_in(reason)
        self.pool.remove(worker, self._last_reason)
        node_lost = worker.info is not None and worker.info.node_id not in alive_nodes()
        crashed = False
        for job in worker.jobs.values():
            shard = job.task.shard if isinstance(job, IsolatedShard) else job.shard
            self._unreachable[shard] += unreachable
            if node_lost or (unreachable and self._unreachable[shard] == 1):
                self._put_back(job)
            else:
                crashed = True
                self._isolate(job)
        self._consecutive_crashes += crashed
        if self._consecutive_crashes >= max(_MOST_CONSECUTIVE_CRASHES, 2 * self.pool.target):
            raise RunFailedError(
                f"{self._consecutive_crashes} workers in a row died before they completed a pair: "
                f"{self._last_reason}"
            )

    def _put_back(self, job: ShardJob) -> None:
        if isinstance(job, IsolatedShard):
            job.restart()
            self._isolated.append(job)
        else:
            self._pending.appendleft(job)

    def _isolate(self, job: ShardJob) -> None:
        if isinstance(job, ShardTask):
            self._isolated.append(IsolatedShard(replace(job, attempt=job.attempt + 1)))
        elif job.worker_died(f"The worker died while it computed this pair: {self._last_reason}"):
            self._isolated.append(job)
        else:
            raise RunFailedError(
                f"Shard {job.task.shard} cannot be committed: every worker that tries to dies "
                f"({self._last_reason})"
            )


def _reason_in(text: str) -> str:
    """Return the line of a Ray error that states the reason, without terminal colours."""
    plain = _COLOURS.sub("", text)
    lines = [line.strip() for line in plain.splitlines() if line.strip()]
    if not lines:
        return "no reason given"
    return lines[-1] if "creation task" in lines[0] else lines[0]
