"""The pool of workers of a run, which spawns and replaces workers."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import ray
from ray import ObjectRef
from ray.actor import ActorHandle

from cluster.runs.actor import ACTOR_CLASS, WorkerInfo
from cluster.runs.isolation import IsolatedShard
from cluster.runs.stages import WorkerConfig
from cluster.runs.worker import ShardTask
from cluster.session import (
    WORKER_ENVIRONMENT,
    ClusterOptions,
    describe_resources,
    use_gpu,
    worker_places,
)
from fusion_core.errors import RunConflictError, RunFailedError

_RESOURCES_EVERY_S = 5.0
_START_DEATHS = 3
_LONGEST_PAUSE_S = 60.0

ShardJob = ShardTask | IsolatedShard


@dataclass(eq=False)
class PoolWorker:
    """The driver's state of a worker."""

    handle: ActorHandle[Any]
    starting: ObjectRef[Any] | None
    last_progress_at: float
    info: WorkerInfo | None = None
    jobs: dict[ObjectRef[Any], ShardJob] = field(default_factory=dict)
    probe: ObjectRef[Any] | None = None
    probed_at: float = 0.0
    steps: int = 0
    pairs: int = 0
    committed: int = 0

    @property
    def isolating(self) -> bool:
        """Whether the worker computes an isolated shard, and therefore accepts no other."""
        return any(isinstance(job, IsolatedShard) for job in self.jobs.values())

    def begin(self, job: ShardJob) -> None:
        """Start a shard, or the next step of an isolated shard."""
        if not self.jobs:
            self.last_progress_at = time.monotonic()
        if isinstance(job, IsolatedShard):
            self.jobs[job.start_step(self.handle)] = job
        else:
            self.jobs[self.handle.process.remote(job)] = job

    def note_progress(self, steps: int, pairs: int) -> None:
        """Process the reply to a progress probe."""
        self.pairs = pairs
        self.probe = None
        if steps != self.steps:
            self.steps = steps
            self.last_progress_at = time.monotonic()


class WorkerPool:
    """The workers of a run: the requested number, or as many as the cluster has room for.

    Args:
        config: Settings of the workers.
        options: The cluster and the resources to use.
    """

    def __init__(self, config: WorkerConfig, options: ClusterOptions) -> None:
        self.workers: list[PoolWorker] = []
        self.deaths = 0
        self.target = 0
        self._options = options
        self._use_gpu = use_gpu(options.device)
        self._config = config.on_device("cuda" if self._use_gpu else "cpu")
        self._weights = ray.put(config.weights)
        self._start_deaths = 0
        self._target_at = -_RESOURCES_EVERY_S
        self._none_ready_since = self._spawn_after = time.monotonic()

    def ready(self) -> list[PoolWorker]:
        """Return the workers that have loaded the method."""
        return [worker for worker in self.workers if worker.info]

    def spawn(self, jobs: int) -> None:
        """Spawn workers, but no more than there are jobs.

        Raises:
            RunFailedError: No worker could be placed within the time limit.
        """
        now = time.monotonic()
        if now - self._target_at >= _RESOURCES_EVERY_S:
            self.target = self._options.workers or worker_places(gpu=self._use_gpu)
            self._target_at = now
        while len(self.workers) < min(self.target, jobs) and now >= self._spawn_after:
            resources = {"num_gpus": 1, "num_cpus": 1} if self._use_gpu else {"num_cpus": 1}
            handle = ACTOR_CLASS.options(
                scheduling_strategy="SPREAD",
                runtime_env={"env_vars": WORKER_ENVIRONMENT},
                **resources,
            ).remote()
            starting = handle.start.remote(self._config, self._weights)
            self.workers.append(PoolWorker(handle, starting, now))
        if self.ready():
            self._none_ready_since = now
        elif now - self._none_ready_since > self._options.start_timeout_s:
            raise RunFailedError(
                f"No worker could be placed within {self._options.start_timeout_s:.0f} s; a worker "
                f"requires {'1 GPU and ' if self._use_gpu else ''}1 CPU, and the cluster has "
                f"{describe_resources()}"
            )

    def started(self, worker: PoolWorker, info: WorkerInfo) -> None:
        """Record that a worker is ready.

        Raises:
            RunConflictError: Another version of irfuse is installed on its node.
        """
        if info.version != version("irfuse"):
            raise RunConflictError(
                f"Node {info.node} has irfuse {info.version}, but the driver has irfuse "
                f"{version('irfuse')}; install the same version on all nodes"
            )
        worker.info, worker.starting = info, None
        worker.last_progress_at = time.monotonic()
        self._start_deaths = 0

    def remove(self, worker: PoolWorker, reason: str) -> None:
        """Remove a worker that is dead, hung or unreachable; `spawn` replaces it.

        Raises:
            RunFailedError: Workers keep dying before they are ready.
        """
        self.workers.remove(worker)
        ray.kill(worker.handle, no_restart=True)
        self.deaths += 1
        if worker.info is None:
            self._start_deaths += 1
            pause = min(_LONGEST_PAUSE_S, 2.0**self._start_deaths)
            self._spawn_after = time.monotonic() + pause
        if self._start_deaths >= _START_DEATHS and not self.ready():
            raise RunFailedError(f"Workers die before they are ready: {reason}")

    def stop(self) -> None:
        """Stop all workers."""
        for worker in self.workers:
            ray.kill(worker.handle, no_restart=True)
        self.workers.clear()
