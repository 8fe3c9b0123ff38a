"""The Ray side of a run: a crew of workers, and the loop that hands out shards.

The driver holds shard numbers, never images. Workers are never restarted by Ray: the loop replaces
a dead one, puts its shards back, and computes a shard that killed its worker pair by pair.
"""

from __future__ import annotations

import re
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from typing import Any

import ray
from ray import ObjectRef
from ray.actor import ActorHandle
from ray.exceptions import ActorUnavailableError, ObjectLostError, RayError, RayTaskError

from cluster.runs.actor import FusionWorker, WorkerInfo
from cluster.runs.isolation import CarefulShard
from cluster.runs.stages import WorkerConfig
from cluster.runs.worker import ShardReport, ShardTask
from cluster.session.ray_session import WORKER_ENVIRONMENT, ClusterOptions
from cluster.session.resources import alive_nodes, describe_resources, use_gpu, worker_places
from cluster.storage.locations import redact_text
from fusion_core.errors import IrfuseError, RunConflictError, RunFailedError

_SHARDS_PER_WORKER = 2
_POLL_S = 0.5
_PROBE_EVERY_S = 2.0
_RESOURCES_EVERY_S = 5.0
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_START_DEATHS = 3
_LONGEST_PAUSE_S = 60.0
_DEATHS_WITHOUT_A_PAIR = 12


@dataclass(frozen=True, slots=True)
class Snapshot:
    """How far the run is, for the progress line."""

    rows: int
    """Pairs computed in this run, committed or not."""
    failed: int
    """Failed rows among the committed."""
    workers: int
    """Workers that are ready."""
    waiting: int
    """Workers that are starting or wait for a place."""
    deaths: int
    """Workers that died so far."""


def run_shards(
    tasks: Sequence[ShardTask],
    config: WorkerConfig,
    options: ClusterOptions,
    *,
    on_commit: Callable[[ShardReport], None],
    on_progress: Callable[[Snapshot], None],
) -> None:
    """Compute shards on the cluster that is connected until every one is committed.

    Args:
        tasks: The shards to compute.
        config: What the workers are told.
        options: Where and on how much.
        on_commit: Called for each committed shard; may raise to stop the run.
        on_progress: Called a few times a second.

    Raises:
        RunFailedError: Workers cannot be placed, do not start, or keep dying.
        IrfuseError: A worker met something that no other worker would do better, such as an output
            location that cannot be written.
    """
    loop = _ShardLoop(tasks, config, options, on_commit)
    try:
        while loop.unfinished:
            loop.step()
            on_progress(loop.snapshot())
    finally:
        loop.dismiss_all()


@dataclass(eq=False)
class _Worker:
    """A worker as the driver sees it."""

    handle: ActorHandle[Any]
    starting: ObjectRef[Any] | None
    moved_at: float
    info: WorkerInfo | None = None
    jobs: dict[ObjectRef[Any], ShardTask | CarefulShard] = field(default_factory=dict)
    probe: ObjectRef[Any] | None = None
    probed_at: float = 0.0
    steps: int = 0
    pairs: int = 0
    committed: int = 0

    @property
    def careful(self) -> bool:
        return any(isinstance(job, CarefulShard) for job in self.jobs.values())


class _ShardLoop:
    """The state of the driver loop; `step` is one turn of it."""

    def __init__(
        self,
        tasks: Sequence[ShardTask],
        config: WorkerConfig,
        options: ClusterOptions,
        on_commit: Callable[[ShardReport], None],
    ) -> None:
        self._pending = deque(tasks)
        self._suspects: deque[CarefulShard] = deque()
        self._workers: list[_Worker] = []
        self._options = options
        self._on_commit = on_commit
        self._use_gpu = use_gpu(options.device)
        self._weights = ray.put(config.weights)
        self._config = replace(config, weights=None, device="cuda" if self._use_gpu else "cpu")
        self._rows = self._failed = self._deaths = 0
        self._start_deaths = self._fruitless_deaths = 0
        self._target = 0
        self._target_at = -_RESOURCES_EVERY_S
        self._last_reason = ""
        self._none_ready_since = self._hire_after = time.monotonic()
        self._unreachable: Counter[int] = Counter()

    @property
    def unfinished(self) -> bool:
        """Whether any shard is not yet committed."""
        return bool(self._pending or self._suspects or any(w.jobs for w in self._workers))

    def step(self) -> None:
        """Hire, hand out work, wait a moment, and take in what came back."""
        self._hire()
        self._assign()
        self._collect()
        self._watch()

    def snapshot(self) -> Snapshot:
        """Return the counts for the progress line."""
        ready = sum(1 for worker in self._workers if worker.info)
        uncommitted = sum(max(0, worker.pairs - worker.committed) for worker in self._workers)
        waiting = len(self._workers) - ready
        return Snapshot(self._rows + uncommitted, self._failed, ready, waiting, self._deaths)

    def dismiss_all(self) -> None:
        """End every worker."""
        for worker in self._workers:
            ray.kill(worker.handle, no_restart=True)
        self._workers.clear()

    # Hiring

    def _hire(self) -> None:
        now = time.monotonic()
        if now - self._target_at >= _RESOURCES_EVERY_S:
            self._target = self._options.workers or worker_places(gpu=self._use_gpu)
            self._target_at = now
        work = len(self._pending) + len(self._suspects) + sum(1 for w in self._workers if w.jobs)
        while len(self._workers) < min(self._target, work) and now >= self._hire_after:
            resources = {"num_gpus": 1, "num_cpus": 1} if self._use_gpu else {"num_cpus": 1}
            handle = FusionWorker.options(
                scheduling_strategy="SPREAD",
                runtime_env={"env_vars": WORKER_ENVIRONMENT},
                **resources,
            ).remote()
            starting = handle.start.remote(self._config, self._weights)
            self._workers.append(_Worker(handle, starting, now))
        if any(worker.info for worker in self._workers):
            self._none_ready_since = now
        elif now - self._none_ready_since > self._options.start_timeout_s:
            raise RunFailedError(
                f"No worker could be placed within {self._options.start_timeout_s:.0f} s; a worker "
                f"needs {'1 GPU and ' if self._use_gpu else ''}1 CPU, and the cluster has "
                f"{describe_resources()}"
            )

    def _started(self, worker: _Worker, info: WorkerInfo) -> None:
        if info.version != version("irfuse"):
            raise RunConflictError(
                f"Node {info.node} has irfuse {info.version} but this driver is "
                f"{version('irfuse')}; install one version everywhere"
            )
        worker.info, worker.starting = info, None
        worker.moved_at = time.monotonic()
        self._start_deaths = 0

    # Handing out

    def _assign(self) -> None:
        ready = [worker for worker in self._workers if worker.info]
        for worker in ready:
            if self._suspects and not worker.jobs:
                self._begin(worker, self._suspects.popleft())
        for depth in range(_SHARDS_PER_WORKER):
            for worker in ready:
                if self._pending and len(worker.jobs) == depth and not worker.careful:
                    self._begin(worker, self._pending.popleft())

    def _begin(self, worker: _Worker, job: ShardTask | CarefulShard) -> None:
        if not worker.jobs:
            worker.moved_at = time.monotonic()
        if isinstance(job, CarefulShard):
            worker.jobs[job.call(worker.handle)] = job
        else:
            worker.jobs[worker.handle.process.remote(job)] = job

    # Taking in

    def _collect(self) -> None:
        awaited: dict[ObjectRef[Any], _Worker] = {}
        for worker in self._workers:
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
            if awaited[ref] in self._workers:
                self._take(awaited[ref], ref)

    def _take(self, worker: _Worker, ref: ObjectRef[Any]) -> None:
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
                self._started(worker, result)
            elif ref == worker.probe:
                self._probed(worker, result)
            else:
                self._finished(worker, worker.jobs.pop(ref), result)

    def _finished(self, worker: _Worker, job: ShardTask | CarefulShard, result: Any) -> None:  # noqa: ANN401
        self._fruitless_deaths = 0
        worker.moved_at = time.monotonic()
        if isinstance(job, CarefulShard) and not job.step_done(result):
            self._begin(worker, job)
            return
        worker.committed += result.computed
        self._rows += result.computed
        self._failed += sum(result.failed.values())
        self._on_commit(result)

    def _task_failed(self, worker: _Worker, ref: ObjectRef[Any], error: RayTaskError) -> None:
        """A worker raised: not the fault of a pair, which would have become a row."""
        cause = error.cause
        job = worker.jobs.get(ref)
        if isinstance(job, CarefulShard) and isinstance(cause, ObjectLostError):
            worker.jobs.pop(ref)
            job.restart()
            self._suspects.append(job)
            return
        if isinstance(cause, IrfuseError):
            raise cause
        reason = redact_text(f"{type(cause).__name__}: {cause}")
        raise RunFailedError(f"A worker failed: {reason}") from error

    # Deaths and hangs

    def _watch(self) -> None:
        now = time.monotonic()
        for worker in list(self._workers):
            if not worker.info or not worker.jobs:
                continue
            if now - worker.moved_at > self._options.pair_timeout_s:
                self._died(worker, f"no progress for {self._options.pair_timeout_s:.0f} s")
            elif worker.probe is None and now - worker.probed_at > _PROBE_EVERY_S:
                worker.probe = worker.handle.progress.remote()
                worker.probed_at = now

    def _probed(self, worker: _Worker, progress: tuple[int, int]) -> None:
        steps, worker.pairs = progress
        worker.probe = None
        if steps != worker.steps:
            worker.steps = steps
            worker.moved_at = time.monotonic()

    def _died(self, worker: _Worker, reason: str, *, unreachable: bool = False) -> None:
        """Dismiss a dead, hung or unreachable worker and put its shards back.

        A worker that went with its node died of the node. One that cannot be reached probably did,
        and is believed once for each shard; in all other cases its shards are looked at closely.
        """
        self._workers.remove(worker)
        ray.kill(worker.handle, no_restart=True)
        self._deaths += 1
        self._last_reason = _reason_in(reason)
        if worker.info is None:
            self._start_deaths += 1
            pause = min(_LONGEST_PAUSE_S, 2.0**self._start_deaths)
            self._hire_after = time.monotonic() + pause
        node_lost = worker.info is not None and worker.info.node_id not in alive_nodes()
        suspected = False
        for job in worker.jobs.values():
            shard = job.task.shard if isinstance(job, CarefulShard) else job.shard
            self._unreachable[shard] += unreachable
            if node_lost or (unreachable and self._unreachable[shard] == 1):
                self._put_back(job)
            else:
                suspected = True
                self._suspect(job)
        self._fruitless_deaths += suspected
        self._give_up_if_hopeless()

    def _put_back(self, job: ShardTask | CarefulShard) -> None:
        if isinstance(job, CarefulShard):
            job.restart()
            self._suspects.append(job)
        else:
            self._pending.appendleft(job)

    def _suspect(self, job: ShardTask | CarefulShard) -> None:
        if isinstance(job, ShardTask):
            self._suspects.append(CarefulShard(replace(job, attempt=job.attempt + 1)))
        elif job.worker_died(f"The worker died while it computed this pair: {self._last_reason}"):
            self._suspects.append(job)
        else:
            raise RunFailedError(
                f"Shard {job.task.shard} cannot be committed: each worker that tries dies "
                f"({self._last_reason})"
            )

    def _give_up_if_hopeless(self) -> None:
        any_ready = any(worker.info for worker in self._workers)
        if self._start_deaths >= _START_DEATHS and not any_ready:
            raise RunFailedError(f"Workers die before they are ready: {self._last_reason}")
        if self._fruitless_deaths >= max(_DEATHS_WITHOUT_A_PAIR, 2 * self._target):
            raise RunFailedError(
                f"{self._fruitless_deaths} workers in a row died before one pair was done: "
                f"{self._last_reason}"
            )


def _reason_in(text: str) -> str:
    """Return the line of a Ray error that says why, without terminal colours."""
    plain = _COLOURS.sub("", text)
    lines = [line.strip() for line in plain.splitlines() if line.strip()]
    if not lines:
        return "no reason given"
    return lines[-1] if "creation task" in lines[0] else lines[0]
