"""A shard that killed a worker, computed pair by pair until the killer is known."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from ray import ObjectRef
from ray.actor import ActorHandle

from cluster.runs.stages import Failure
from cluster.runs.worker import ShardTask

DEATHS_TO_BLAME = 2
"""Workers that must die on one pair before the pair is blamed: one may die for other reasons."""
DEATHS_TO_GIVE_UP = 3
"""Workers that may die while a shard's finished rows are committed."""

Step = Literal["list", "pair", "commit"]


@dataclass(eq=False)
class CarefulShard:
    """Which rows of a suspected shard are done, and who was at work when a worker died.

    The rows stay with the workers' nodes as references; the driver never holds an image.
    """

    task: ShardTask
    offsets: list[int] | None = None
    rows: dict[int, ObjectRef[Any]] = field(default_factory=dict)
    failures: dict[int, Failure] = field(default_factory=dict)
    deaths: int = 0
    _running: Step = "list"
    _pair: int | None = None

    @property
    def step(self) -> Step:
        """What comes next: listing the rows to compute, a pair, or the commit."""
        if self.offsets is None:
            return "list"
        return "pair" if self._left() else "commit"

    def call(self, worker: ActorHandle[Any]) -> ObjectRef[Any]:
        """Start the next step on a worker and return the reference that tells its end."""
        self._running = self.step
        if self._running == "list":
            return worker.offsets.remote(self.task)
        if self._running == "commit":
            return worker.commit.remote(self.task, self.rows, self.failures)
        self._pair = self._left()[0]
        references: list[ObjectRef[Any]] = worker.process_pair.remote(self.task, self._pair)
        done, self.rows[self._pair] = references
        return done

    def step_done(self, result: Any) -> bool:  # noqa: ANN401
        """Note that the step under way ended well; returns whether it was the commit."""
        if self._running == "list":
            self.offsets = list(result)
        self.deaths = 0
        self._pair = None
        return self._running == "commit"

    def worker_died(self, reason: str) -> bool:
        """Note that the worker died; returns False when there is no point in going on."""
        self.deaths += 1
        offset, self._pair = self._pair, None
        if offset is None:
            return self.deaths < DEATHS_TO_GIVE_UP
        del self.rows[offset]
        if self.deaths >= DEATHS_TO_BLAME:
            self.failures[offset] = Failure("crash", "WorkerDied", reason)
            self.deaths = 0
        return True

    def restart(self) -> None:
        """Forget the rows, because the node that kept them is lost."""
        self.rows.clear()
        self.deaths = 0
        self._pair = None

    def _left(self) -> list[int]:
        done = self.rows.keys() | self.failures.keys()
        return [offset for offset in self.offsets or [] if offset not in done]
