"""The driver loop of a run, which assigns shards to workers and collects their reports.

The driver holds shard numbers, never images. Ray never restarts workers: the loop replaces a dead
worker, requeues its shards, and isolates a shard that crashed its worker.

A step touches the workers that have answered, and those whose turn it is to be watched. What looks
at all of them, such as the snapshot for the progress, is done a few times per second.
"""

from __future__ import annotations

import heapq
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from typing import Any

from ray import ObjectRef
from ray.exceptions import ObjectLostError, RayError, RayTaskError

from cluster.runs.answers import Answer, Answers
from cluster.runs.config import WorkerConfig
from cluster.runs.deaths import Cause, Death, explain_death
from cluster.runs.isolation import IsolatedShard
from cluster.runs.messages import ShardReport, ShardTask
from cluster.runs.observing import RunObserver
from cluster.runs.pool import PoolWorker, ShardJob, WorkerPool
from cluster.runs.snapshot import Snapshot
from cluster.session import ClusterOptions, check_connection, draining_nodes, started_here
from cluster.storage import redact_text
from fusion_core.errors import IrfuseError, RunFailedError

_SHARDS_PER_WORKER = 2
_POLL_S = 0.5
_SNAPSHOT_EVERY_S = 0.2
_PROBE_EVERY_S = 2.0
_MOST_PROBES_PER_S = 100
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
    seen_at = -_SNAPSHOT_EVERY_S
    try:
        while loop.unfinished:
            loop.step()
            now = time.monotonic()
            if now - seen_at >= _SNAPSHOT_EVERY_S or not loop.unfinished:
                seen_at, snapshot = now, loop.snapshot()
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
        self._busy: set[PoolWorker] = set()
        """The workers that have something to do."""
        self._free: dict[PoolWorker, None] = {}
        """The workers that are ready and could have more to do."""
        self._answers: Answers[PoolWorker] = Answers()
        self._watched: list[tuple[float, int, PoolWorker]] = []
        """When each worker is looked at next, as a heap."""
        self._numbers = count()
        for worker in pool.workers:
            self._welcome(worker)

    @property
    def unfinished(self) -> bool:
        """Whether any shard is not yet committed."""
        return bool(self._pending or self._isolated or self._busy)

    def step(self) -> None:
        """Spawn workers, assign shards, wait for results briefly, and process them."""
        check_connection()
        self._leave()
        self._assign()
        jobs = len(self._pending) + len(self._isolated) + len(self._busy)
        for worker in self.pool.spawn(jobs):
            self._welcome(worker)
        for answer in self._answers.wait(_POLL_S):
            self._take(answer)
        self._watch()

    def snapshot(self) -> Snapshot:
        """Return the counts for the progress line."""
        ready, waiting = self.pool.counts
        workers = self.pool.ready()
        uncommitted = sum(max(0, worker.pairs - worker.committed) for worker in workers)
        return Snapshot(
            rows=self._rows + uncommitted,
            failed=self._failed,
            workers=ready,
            waiting=waiting,
            deaths=self.pool.deaths,
            activity=self.pool.describe_starting(),
            withheld=self.pool.withheld,
            nodes=Counter(worker.info.node for worker in workers if worker.info),
        )

    def _welcome(self, worker: PoolWorker) -> None:
        """Wait for a worker that is starting, and watch it from now on."""
        if worker.starting is not None:
            self._answers.expect(worker, worker.starting)
        heapq.heappush(self._watched, (0.0, next(self._numbers), worker))

    def _leave(self) -> None:
        """Leave the nodes that are to be taken away, such as spot instances."""
        now = time.monotonic()
        if now - self._draining_at > _DRAINING_EVERY_S and self.pool.ready():
            self._draining_at = now
            self.pool.leave_draining(draining_nodes())

    def _assign(self) -> None:
        self.pool.retire_surplus()
        if not (self._pending or self._isolated):
            return
        reserved = self.pool.reserve_node() if any(job.alone for job in self._isolated) else ""
        workers = self.pool.assignable(self._free)
        for worker in workers:
            if not worker.jobs:
                self._assign_isolated(worker, alone=worker.node_id == reserved)
        for depth in range(_SHARDS_PER_WORKER):
            for worker in workers:
                free = len(worker.jobs) == depth and not worker.isolating
                if self._pending and free and worker.node_id != reserved:
                    self._begin(worker, self._pending.popleft())
        for worker in list(self._free):
            if worker.retired or worker.leaving or not _has_room(worker):
                del self._free[worker]

    def _assign_isolated(self, worker: PoolWorker, *, alone: bool) -> None:
        """Give an idle worker an isolated shard: one that requires that it is alone, or another."""
        job = next((job for job in self._isolated if job.alone == alone), None)
        if job is not None:
            self._isolated.remove(job)
            self._begin(worker, job)

    def _begin(self, worker: PoolWorker, job: ShardJob) -> None:
        worker.shares_node = self.pool.has_neighbours(worker)
        self._answers.expect(worker, worker.begin(job))
        self._busy.add(worker)

    # Results

    def _take(self, answer: Answer[PoolWorker]) -> None:
        worker, ref = answer.asked, answer.ref
        asked = ref in worker.jobs or ref == worker.starting or ref == worker.probe
        if worker.retired or not asked:
            return
        try:
            result = answer.future.result()
        except RayTaskError as error:
            self._task_failed(worker, ref, error)
        except RayError as error:
            self._died(worker, error)
        else:
            if ref == worker.starting:
                self.pool.started(worker, result)
                self._free[worker] = None
                for observer in self._observers:
                    observer.worker_ready(worker)
            elif ref == worker.probe:
                worker.note_progress(result)
            else:
                self._finished(worker, self._end(worker, ref), result)

    def _end(self, worker: PoolWorker, ref: ObjectRef[Any]) -> ShardJob:
        """Note that a worker does not compute a shard any more, and return it."""
        job = worker.jobs.pop(ref)
        if not worker.jobs:
            self._busy.discard(worker)
        self._free[worker] = None
        return job

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
            self._end(worker, ref)
            job.restart()
            self._isolated.append(job)
            return
        if isinstance(cause, IrfuseError):
            raise cause
        reason = redact_text(f"{type(cause).__name__}: {cause}")
        raise RunFailedError(f"A worker failed: {reason}") from error

    # Deaths and hangs

    def _watch(self) -> None:
        """Ask the workers whose turn it is how far they are, and end those that hang."""
        now = time.monotonic()
        workers = sum(self.pool.counts)
        pause = max(_PROBE_EVERY_S, min(workers / _MOST_PROBES_PER_S, self._pair_timeout_s / 4))
        while self._watched and self._watched[0][0] <= now:
            _, _, worker = heapq.heappop(self._watched)
            if worker.retired:
                continue
            due = now + pause
            if worker.jobs:
                hung_at = worker.last_progress_at + self._pair_timeout_s
                if now > hung_at:
                    self._died(worker, f"no progress for {self._pair_timeout_s:.0f} s")
                    continue
                due = min(due, max(hung_at, now + _POLL_S))
            if (worker.jobs or worker.starting) and worker.probe is None:
                worker.probe = worker.handle.progress.remote()
                self._answers.expect(worker, worker.probe)
            heapq.heappush(self._watched, (due, next(self._numbers), worker))

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
        self._busy.discard(worker)
        self._free.pop(worker, None)
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


def _has_room(worker: PoolWorker) -> bool:
    """Whether a worker may be given a further shard."""
    return len(worker.jobs) < _SHARDS_PER_WORKER and not worker.isolating


def _task_of(job: ShardJob) -> ShardTask:
    return job.task if isinstance(job, IsolatedShard) else job
