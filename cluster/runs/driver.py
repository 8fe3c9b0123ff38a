"""The driver loop of a run, which assigns shards to workers and collects their reports.

The driver holds shard numbers, never images. Ray never restarts workers: the loop replaces a dead
worker, requeues its shards, and isolates a shard that crashed its worker.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import ray
from ray import ObjectRef
from ray.exceptions import ObjectLostError, RayError, RayTaskError

from cluster.runs.config import WorkerConfig
from cluster.runs.deaths import Cause, Death, explain_death
from cluster.runs.isolation import IsolatedShard
from cluster.runs.observing import RunObserver
from cluster.runs.pool import PoolWorker, ShardJob, WorkerPool
from cluster.runs.snapshot import Snapshot
from cluster.runs.worker import ShardReport, ShardTask
from cluster.session import ClusterOptions, check_connection, draining_nodes, started_here
from cluster.storage import redact_text
from fusion_core.errors import IrfuseError, RunFailedError

_SHARDS_PER_WORKER = 2
_POLL_S = 0.5
_PROBE_EVERY_S = 2.0
_DRAINING_EVERY_S = 2.0


def run_shards(
    tasks: Sequence[ShardTask],
    config: WorkerConfig,
    options: ClusterOptions,
    pool: WorkerPool,
    *,
    on_commit: Callable[[ShardReport], None],
    on_progress: Callable[[Snapshot], None],
    observers: Sequence[RunObserver] = (),
) -> None:
    """Compute shards on the connected cluster until every one is committed.

    Args:
        tasks: The shards to compute.
        config: Settings of the workers.
        options: The cluster and the resources to use.
        pool: The workers, which are kept for later calls unless this one fails.
        on_commit: Called for each committed shard; may raise to stop the run.
        on_progress: Called a few times per second.
        observers: Are told what happens.

    Raises:
        RunFailedError: Workers cannot be placed, do not start, or keep dying.
        IrfuseError: A worker met an error that no other worker would avoid, such as an output
            location that cannot be written.
    """
    pool.use(config)
    loop = _ShardLoop(tasks, pool, options.pair_timeout_s, on_commit, observers)
    try:
        while loop.unfinished:
            loop.step()
            snapshot = loop.snapshot()
            on_progress(snapshot)
            for observer in observers:
                observer.progressed(snapshot)
    except BaseException:
        pool.stop()
        raise


@contextmanager
def kept_workers(
    options: ClusterOptions, notify: Callable[[str], None] = lambda message: None
) -> Iterator[WorkerPool]:
    """Keep the workers of one or several calls of `run_shards` for the duration of the block.

    At the end, workers stay on a cluster for `metrics_linger_s` seconds. Ray sends the metrics of a
    process every ten seconds, and Prometheus reads them every fifteen seconds or so; what a worker
    has counted since would be lost.

    Args:
        options: The cluster and the resources to use.
        notify: Called with a message while workers stay.
    """
    pool = WorkerPool(options)
    try:
        yield pool
        if pool.workers and not started_here():
            _linger(options.metrics_linger_s, notify)
    finally:
        pool.stop()


def _linger(seconds: float, notify: Callable[[str], None]) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        check_connection()
        notify("Waiting until the last metrics are read (--metrics-linger)")
        time.sleep(min(left, _POLL_S))


class _ShardLoop:
    """The state of the driver loop; `step` is one iteration."""

    def __init__(
        self,
        tasks: Sequence[ShardTask],
        pool: WorkerPool,
        pair_timeout_s: float,
        on_commit: Callable[[ShardReport], None],
        observers: Sequence[RunObserver],
    ) -> None:
        self.pool = pool
        self._observers = observers
        self._pending = deque(tasks)
        self._isolated: deque[IsolatedShard] = deque()
        self._pair_timeout_s = pair_timeout_s
        self._on_commit = on_commit
        self._rows = self._failed = 0
        self._draining_at = 0.0
        self._deaths: Counter[tuple[Cause, int]] = Counter()
        """Number of deaths of workers by cause and shard."""

    @property
    def unfinished(self) -> bool:
        """Whether any shard is not yet committed."""
        return bool(self._pending or self._isolated or any(w.jobs for w in self.pool.workers))

    def step(self) -> None:
        """Spawn workers, assign shards, wait for results briefly, and process them."""
        check_connection()
        self._leave()
        self._assign()
        busy = sum(1 for worker in self.pool.workers if worker.jobs)
        self.pool.spawn(len(self._pending) + len(self._isolated) + busy)
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
            activity=self.pool.describe_starting(),
            withheld=self.pool.withheld,
            nodes=Counter(worker.info.node for worker in self.pool.ready() if worker.info),
        )

    def _leave(self) -> None:
        """Leave the nodes that are to be taken away, such as spot instances."""
        now = time.monotonic()
        if self.pool.ready() and now - self._draining_at > _DRAINING_EVERY_S:
            self._draining_at = now
            self.pool.leave_draining(draining_nodes())

    def _assign(self) -> None:
        self.pool.retire_surplus()
        reserved = self.pool.reserve_node() if any(job.alone for job in self._isolated) else ""
        workers = self.pool.assignable()
        for worker in workers:
            if not worker.jobs:
                self._assign_isolated(worker, alone=worker.node_id == reserved)
        for depth in range(_SHARDS_PER_WORKER):
            for worker in workers:
                free = len(worker.jobs) == depth and not worker.isolating
                if self._pending and free and worker.node_id != reserved:
                    self._begin(worker, self._pending.popleft())

    def _assign_isolated(self, worker: PoolWorker, *, alone: bool) -> None:
        """Give an idle worker an isolated shard: one that requires that it is alone, or another."""
        job = next((job for job in self._isolated if job.alone == alone), None)
        if job is not None:
            self._isolated.remove(job)
            self._begin(worker, job)

    def _begin(self, worker: PoolWorker, job: ShardJob) -> None:
        worker.shares_node = bool(self.pool.neighbours(worker))
        worker.begin(job)

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
        except RayError as error:
            self._died(worker, error)
        else:
            if ref == worker.starting:
                self.pool.started(worker, result)
                for observer in self._observers:
                    observer.worker_ready(worker)
            elif ref == worker.probe:
                worker.note_progress(result)
            else:
                self._finished(worker, worker.jobs.pop(ref), result)

    def _finished(self, worker: PoolWorker, job: ShardJob, result: Any) -> None:  # noqa: ANN401
        worker.last_progress_at = time.monotonic()
        if isinstance(job, IsolatedShard) and not job.step_done(result):
            if worker.leaving:
                self._isolated.append(job)
            else:
                self._begin(worker, job)
            return
        if isinstance(job, ShardTask) and isinstance(result, int):
            self._put_back(replace(job, counted=job.counted + result))
            return
        self.pool.limits.note_commit(worker.node_id)
        for report in result:
            worker.committed += report.computed
            self._rows += report.computed
            self._failed += sum(report.failed.values())
            for observer in self._observers:
                observer.committed(worker, report)
            self._on_commit(report)

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
        for worker in self.pool.workers[:]:
            if not worker.jobs and not worker.starting:
                continue
            if worker.jobs and now - worker.last_progress_at > self._pair_timeout_s:
                self._died(worker, f"no progress for {self._pair_timeout_s:.0f} s")
            elif worker.probe is None and now - worker.probed_at > _PROBE_EVERY_S:
                worker.probe = worker.handle.progress.remote()
                worker.probed_at = now

    def _died(self, worker: PoolWorker, error: RayError | str) -> None:
        """Remove a dead, hung or unreachable worker and requeue its shards.

        A shard is computed again as before if its worker died because of its node, which may have
        been taken away with a notice, and once each if the worker cannot be reached or shared a
        node whose memory ran out. Otherwise it is isolated.
        """
        death = explain_death(worker, error, self.pool.neighbours(worker))
        shards = sorted({_task_of(job).shard for job in worker.jobs.values()})
        for observer in self._observers:
            observer.worker_died(worker, death, shards)
        self.pool.remove(worker, death.reason, shared_memory=death.cause == "shared memory")
        for job in map(worker.with_counts, worker.jobs.values()):
            shard = _task_of(job).shard
            self._deaths[death.cause, shard] += 1
            first = self._deaths[death.cause, shard] == 1
            if death.cause == "node" or (death.cause == "unreachable" and first):
                self._put_back(job)
            elif isinstance(job, IsolatedShard):
                self._continue_isolated(job, death)
            elif death.cause == "shared memory" and first:
                self._put_back(job)
            else:
                again = (replace(single, attempt=job.attempt + 1) for single in job.single())
                self._isolated.extend(map(IsolatedShard, again))

    def _put_back(self, job: ShardJob) -> None:
        if isinstance(job, IsolatedShard):
            job.restart()
            self._isolated.append(job)
        else:
            self._pending.appendleft(job)

    def _continue_isolated(self, job: IsolatedShard, death: Death) -> None:
        if not job.worker_died(death.reason, shared_memory=death.cause == "shared memory"):
            raise RunFailedError(
                f"Shard {job.task.shard} cannot be committed: every worker that tries to dies "
                f"({death.reason})"
            )
        self._isolated.append(job)


def _task_of(job: ShardJob) -> ShardTask:
    return job.task if isinstance(job, IsolatedShard) else job
