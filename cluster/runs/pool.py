"""The pool of workers of a run, which spawns and replaces workers."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import ray
from ray import ObjectRef
from ray.actor import ActorHandle

from cluster.runs.config import WorkerConfig
from cluster.runs.isolation import IsolatedShard
from cluster.runs.memory import estimate_memory
from cluster.runs.messages import ShardTask, WorkerInfo, WorkerProgress
from cluster.runs.node_limits import NodeLimits
from cluster.session import (
    ActivityReport,
    ClusterOptions,
    Software,
    Starting,
    WorkerResources,
    actor_class,
    describe_resources,
    installed_software,
    node_resources,
    started_here,
    use_gpu,
    worker_environment,
)
from fusion_core.errors import RunFailedError

_RESOURCES_EVERY_S = 5.0
_START_DEATHS = 3
_LONGEST_PAUSE_S = 60.0

ShardJob = ShardTask | IsolatedShard


_ACTOR: Any = actor_class(
    "cluster.runs.actor",
    "FusionWorker",
    {
        "start": {},
        "process": {},
        "offsets": {},
        "process_pair": {"num_returns": 2},
        "commit": {},
        "leave": {"concurrency_group": "progress"},
        "measure": {},
        "progress": {"concurrency_group": "progress"},
    },
    max_restarts=0,
    max_task_retries=0,
    max_concurrency=2,
    concurrency_groups={"progress": 1},
)
"""The actors; only workers import their code, which needs torch."""


@dataclass(eq=False)
class PoolWorker:
    """The driver's state of a worker."""

    handle: ActorHandle[Any]
    starting: ObjectRef[Any] | None
    last_progress_at: float
    """Time of the last progress, or at which the worker was requested."""
    activity: str = ""
    """What the worker does until it is ready."""
    avoids: frozenset[str] = frozenset()
    """Nodes on which the worker may not be placed."""
    info: WorkerInfo | None = None
    jobs: dict[ObjectRef[Any], ShardJob] = field(default_factory=dict)
    probe: ObjectRef[Any] | None = None
    steps: int = 0
    pairs: int = 0
    committed: int = 0
    counted: Mapping[tuple[int, int], int] = field(default_factory=dict)
    """Number of the first pairs that need not be counted again, by run and shard."""
    shares_node: bool = False
    """Whether other workers were on the node when the worker was last given something to do."""
    leaving: bool = False
    """Whether its node is about to be taken away, so that it gets nothing more to do."""
    retired: bool = False
    """Whether the pool has stopped it."""

    @property
    def node_id(self) -> str:
        """The worker's node, or an empty string until the worker is ready."""
        return self.info.node_id if self.info else ""

    @property
    def node(self) -> str | None:
        """Host name of the worker's node, or None until the worker is ready."""
        return self.info.node if self.info else None

    @property
    def isolating(self) -> bool:
        """Whether the worker computes an isolated shard, and therefore accepts no other."""
        return any(isinstance(job, IsolatedShard) for job in self.jobs.values())

    def begin(self, job: ShardJob) -> ObjectRef[Any]:
        """Start a shard, or the next step of an isolated shard, and return where it is answered."""
        if not self.jobs:
            self.last_progress_at = time.monotonic()
        if isinstance(job, IsolatedShard):
            ref = job.start_step(self.handle)
        else:
            ref = self.handle.process.remote(job)
        self.jobs[ref] = job
        return ref

    def with_counts(self, job: ShardJob) -> ShardJob:
        """Return a shard of the worker with the number of its pairs that it has counted."""
        if isinstance(job, IsolatedShard):
            return job
        return replace(job, counted=job.counted + self.counted.get((job.run, job.shard), 0))

    def restart(self, starting: ObjectRef[Any]) -> None:
        """Note that the worker loads another run."""
        self.info, self.starting, self.probe = None, starting, None
        self.steps = self.pairs = self.committed = 0
        self.counted = {}
        self.last_progress_at = time.monotonic()

    def leave(self) -> None:
        """Let the worker hand back its shards, because its node is about to be taken away."""
        if not self.leaving:
            self.leaving = True
            self.handle.leave.remote()

    def note_progress(self, progress: WorkerProgress) -> None:
        """Process the reply to a progress probe."""
        self.activity, self.pairs = progress.activity, progress.pairs
        self.counted = progress.counted
        self.probe = None
        if progress.steps != self.steps:
            self.steps = progress.steps
            self.last_progress_at = time.monotonic()


class WorkerPool:
    """The workers of a run: the requested number, or as many as the cluster has room for.

    Nodes whose memory has run out get fewer workers for a while (see `NodeLimits`). What the driver
    asks in each step takes the same time however many workers there are, unless nodes are limited.

    Args:
        options: The cluster and the resources to use.
    """

    def __init__(self, options: ClusterOptions) -> None:
        self._starting: dict[PoolWorker, None] = {}
        self._ready: dict[PoolWorker, None] = {}
        self._per_node: Counter[str] = Counter()
        """Number of workers that are ready, of each node that has any."""
        self.deaths = 0
        self.limits = NodeLimits()
        self.software: dict[str, Software] = {}
        """The software of the nodes on which workers were ready, by their host names."""
        self.places = 0
        """Number of workers that the cluster has room for."""
        self._target = 0
        self._options = options
        self._use_gpu = use_gpu(options.device)
        self._activities = ActivityReport(use_gpu=self._use_gpu)
        self._resources = WorkerResources(options.workers_per_gpu if self._use_gpu else None)
        self._memory = 0
        self._without_place = 0
        self._config: WorkerConfig | None = None
        self._own_software = installed_software()
        self._payload: ObjectRef[Any] | None = None
        self._start_deaths = 0
        self._target_at = -_RESOURCES_EVERY_S
        self._none_ready_since = self._spawn_after = time.monotonic()

    def use(self, config: WorkerConfig) -> None:
        """Let all workers, and those that are spawned later, compute the shards of a run.

        Workers that have computed other runs are kept, without starting new processes.
        """
        given = self._options.memory_per_worker
        self._memory = estimate_memory(config) if given is None else given
        self._config = config.on_device("cuda" if self._use_gpu else "cpu")
        self._payload = ray.put(config.payload)
        self._start_deaths = self.deaths = 0
        self._target_at = -_RESOURCES_EVERY_S
        self._none_ready_since = self._spawn_after = time.monotonic()
        for worker in self.workers:
            if worker.info is None or worker.jobs or worker.leaving:
                self._retire(worker)
            else:
                self._forget(worker)
                worker.restart(worker.handle.start.remote(self._config, self._payload))
                self._starting[worker] = None

    @property
    def workers(self) -> list[PoolWorker]:
        """All workers: those that are ready, and those that are not."""
        return [*self._ready, *self._starting]

    @property
    def counts(self) -> tuple[int, int]:
        """Number of workers that are ready, and of those that are not."""
        return len(self._ready), len(self._starting)

    @property
    def withheld(self) -> int:
        """Number of workers that are not started because the memory does not suffice for them."""
        return self.limits.withheld + self._without_place

    @property
    def resources(self) -> WorkerResources:
        """What a worker requests of Ray."""
        return self._resources

    def ready(self) -> list[PoolWorker]:
        """Return the workers that have loaded the method."""
        return list(self._ready)

    def describe_starting(self) -> str:
        """Return what workers that are not ready are doing; empty if all are ready."""
        return self._activities.describe(
            [Starting(w.last_progress_at, w.activity) for w in self._starting]
        )

    def has_neighbours(self, worker: PoolWorker) -> bool:
        """Whether `neighbours` returns any, for a worker that is ready."""
        node = worker.node_id
        return self._per_node[node] > 1 or any(node not in w.avoids for w in self._starting)

    def neighbours(self, worker: PoolWorker) -> list[PoolWorker]:
        """Return the other workers on the worker's node, and those that may be starting there."""
        node = worker.node_id
        others = [other for other in self.workers if other is not worker]
        return [w for w in others if (w.node_id == node if w.info else node not in w.avoids)]

    def retire_surplus(self) -> None:
        """Stop idle workers of nodes that have more workers than they may have now."""
        for worker in self.ready() if self._overfull() else ():
            node = worker.node_id
            if not worker.jobs and self.limits.surplus(node, self._per_node[node]):
                self._retire(worker)

    def leave_draining(self, nodes: Collection[str]) -> None:
        """Let workers of nodes that are to be taken away finish their pairs, and stop idle ones."""
        for worker in self.ready():
            if worker.node_id in nodes:
                worker.leave()
            if worker.leaving and not worker.jobs:
                self._retire(worker)

    def assignable(self, workers: Iterable[PoolWorker]) -> list[PoolWorker]:
        """Return those that may be given shards: none that leaves, or whose node is full."""
        full = self._overfull()
        return [w for w in workers if w.node_id not in full and not (w.leaving or w.retired)]

    def _overfull(self) -> list[str]:
        """Return the nodes that have more workers than they may have now."""
        return [n for n in self.limits.nodes if self.limits.surplus(n, self._per_node[n])]

    def reserve_node(self) -> str:
        """Limit the node with the fewest workers to one worker, and return it.

        No further worker will start there. Returns an empty string if there are no workers.
        """
        counts = self._per_node
        if not counts:
            return ""
        node = min(counts, key=lambda node: (counts[node], node))
        self.limits.set(node, counts[node], 1)
        for worker in list(self._starting):
            if node not in worker.avoids:
                self._retire(worker)
        return node

    def spawn(self, jobs: int) -> list[PoolWorker]:
        """Spawn workers, but no more than there are jobs, and return them.

        Raises:
            RunFailedError: No worker could be placed within the time limit.
        """
        now = time.monotonic()
        if now - self._target_at >= _RESOURCES_EVERY_S:
            self._plan(node_resources())
            self._target_at = now
        full = frozenset(self.limits.full(self._per_node))
        for worker in list(self._starting):
            if not worker.avoids <= full:  # it may wait for a place elsewhere
                self._retire(worker)
        wanted = min(max(1, self._target - self.withheld), jobs)
        spawned = []
        while sum(self.counts) < wanted and now >= self._spawn_after:
            spawned.append(self._spawn_one(full))
        if self._ready:
            self._none_ready_since = now
        elif now - self._none_ready_since > self._options.start_timeout_s:
            raise RunFailedError(
                f"No worker could be placed within {self._options.start_timeout_s:.0f} s; a worker "
                f"requires {self._resources}, and the cluster has {describe_resources()}"
            )
        return spawned

    def _plan(self, nodes: Mapping[str, Mapping[str, float]]) -> None:
        """Decide what a worker requests and how many there are, given the nodes that are alive."""
        self.limits.keep(nodes)
        resources = replace(self._resources, memory=self._memory)
        if self._options.memory_per_worker is None:
            resources = resources.within(nodes.values())
        self._resources, self._activities.memory = resources, resources.memory
        self.places = places = max(1, sum(resources.places(node) for node in nodes.values()))
        self._target = self._options.workers or places
        self._without_place = max(0, self._target - places) if started_here() else 0

    def _spawn_one(self, avoids: frozenset[str]) -> PoolWorker:
        resources = self._resources.options()
        if avoids:
            resources["label_selector"] = {"ray.io/node-id": f"!in({','.join(sorted(avoids))})"}
        handle = _ACTOR.options(
            scheduling_strategy="SPREAD",
            runtime_env=self._runtime_env(),
            **resources,
        ).remote()
        starting = handle.start.remote(self._config, self._payload)
        worker = PoolWorker(handle, starting, time.monotonic(), avoids=avoids)
        self._starting[worker] = None
        return worker

    def _runtime_env(self) -> dict[str, Any]:
        """Return the environment of a worker, which is empty if that of its node will do."""
        variables = worker_environment()
        return {**self._options.runtime_env, **({"env_vars": variables} if variables else {})}

    def started(self, worker: PoolWorker, info: WorkerInfo) -> None:
        """Record that a worker is ready.

        Raises:
            RunConflictError: Its node has other software than the driver.
        """
        self._own_software.check_node(info.node, info.software)
        self.software[info.node] = info.software
        self._forget(worker)
        worker.info, worker.starting = info, None
        self._ready[worker] = None
        self._per_node[info.node_id] += 1
        worker.last_progress_at = time.monotonic()
        self._start_deaths = 0

    def remove(self, worker: PoolWorker, reason: str, *, shared_memory: bool) -> None:
        """Remove a worker that is dead, hung or unreachable; `spawn` replaces it.

        Args:
            worker: The worker.
            reason: Reason of its death.
            shared_memory: Whether the memory of its node ran out, so that it gets fewer workers.

        Raises:
            RunFailedError: Workers keep dying before they are ready.
        """
        if shared_memory:
            self.limits.halve(worker.node_id, self._per_node[worker.node_id])
        self._retire(worker)
        self.deaths += 1
        if worker.info is None:
            self._start_deaths += 1
            pause = min(_LONGEST_PAUSE_S, 2.0**self._start_deaths)
            self._spawn_after = time.monotonic() + pause
        if self._start_deaths >= _START_DEATHS and not self._ready:
            raise RunFailedError(f"Workers die before they are ready: {reason}")

    def stop(self) -> None:
        """Stop all workers."""
        for worker in self.workers:
            self._retire(worker)

    def _retire(self, worker: PoolWorker) -> None:
        self._forget(worker)
        worker.retired = True
        ray.kill(worker.handle, no_restart=True)

    def _forget(self, worker: PoolWorker) -> None:
        """Remove a worker from those that are ready, or from those that are not."""
        if worker in self._starting:
            del self._starting[worker]
            return
        del self._ready[worker]
        self._per_node[worker.node_id] -= 1
        if not self._per_node[worker.node_id]:
            del self._per_node[worker.node_id]
