"""Isolation of shards that crash workers: pairs are computed singly to identify the cause."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from ray import ObjectRef
from ray.actor import ActorHandle

from cluster.runs.messages import ShardTask
from cluster.runs.pair_state import Failure

CRASHES_TO_BLAME = 2
"""Workers that must die on a pair until it is marked as failed; one may die for other reasons."""
CRASHES_TO_GIVE_UP = 3
"""Number of workers dying while they commit a shard after which the run fails."""

Step = Literal["list", "pair", "commit"]


@dataclass(eq=False)
class IsolatedShard:
    """The state of an isolated shard: the completed rows, and the pair that is being computed.

    The driver holds references to the rows, which stay on the nodes of the workers.
    """

    task: ShardTask
    offsets: list[int] | None = None
    rows: dict[int, ObjectRef[Any]] = field(default_factory=dict)
    failures: dict[int, Failure] = field(default_factory=dict)
    counted: set[int] = field(default_factory=set)
    """Pairs that the metrics count, also if their rows are lost."""
    crashes: int = 0
    alone: bool = False
    """Whether the next step requires a worker that is alone on its node."""
    _running: Step = "list"
    _pair: int | None = None

    @property
    def step(self) -> Step:
        """The next step: list the rows to compute, compute a pair, or commit."""
        if self.offsets is None:
            return "list"
        return "pair" if self._remaining() else "commit"

    def start_step(self, worker: ActorHandle[Any]) -> ObjectRef[Any]:
        """Start the next step on a worker and return the reference to its result."""
        self._running = self.step
        if self._running == "list":
            return worker.offsets.remote(self.task)
        if self._running == "commit":
            return worker.commit.remote(self.task, self.rows, self.failures)
        self._pair = self._remaining()[0]
        references: list[ObjectRef[Any]] = worker.process_pair.remote(
            self.task, self._pair, self._pair in self.counted
        )
        done, self.rows[self._pair] = references
        return done

    def step_done(self, result: Any) -> bool:  # noqa: ANN401
        """Record that the current step succeeded, and return whether it was the commit."""
        if self._running == "list":
            self.offsets = list(result)
            self.counted.update(self.offsets[: self.task.counted])
        elif self._pair is not None:
            self.counted.add(self._pair)
        self.crashes = 0
        self.alone = False
        self._pair = None
        return self._running == "commit"

    def worker_died(self, reason: str, *, shared_memory: bool = False) -> bool:
        """Record that the worker died, and return whether to try again.

        Args:
            reason: Reason of the death.
            shared_memory: Whether the memory of a node ran out that other workers shared. This is
                not held against the pair, which is computed again by a worker that is alone on its
                node.
        """
        offset, self._pair = self._pair, None
        if offset is not None:
            del self.rows[offset]
        if shared_memory:
            self.alone = True
            return True
        self.crashes += 1
        if offset is None:
            return self.crashes < CRASHES_TO_GIVE_UP
        if self.crashes >= CRASHES_TO_BLAME:
            where = ", alone on its node" if self.alone else ""
            message = f"The worker died while it computed this pair{where}: {reason}"
            self.failures[offset] = Failure("crash", "WorkerDied", message)
            self.crashes, self.alone = 0, False
        return True

    def restart(self) -> None:
        """Discard the rows, because the node that stored them is lost."""
        self.rows.clear()
        self.crashes = 0
        self.alone = False
        self._pair = None

    def _remaining(self) -> list[int]:
        done = self.rows.keys() | self.failures.keys()
        return [offset for offset in self.offsets or [] if offset not in done]
